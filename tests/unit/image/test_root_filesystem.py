"""Layers that lie over each other: what a container sees, and what no engine unpacks."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable

import pytest
from tarwriter import CAPABILITY, TarEntry, pax, tar

from buildlib.image import layer as layers
from buildlib.image import limits, root_filesystem
from buildlib.image.layer import File, Layer, LayerError, read_layer
from buildlib.image.root_filesystem import Rootfs, Stored

PLAIN = "application/vnd.oci.image.layer.v1.tar"


def _files(entries: Iterable[TarEntry]) -> list[File]:
    data = tar(*entries)
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    layer = Layer(digest=digest, size=len(data), media_type=PLAIN, diff_id=digest)
    return list(read_layer(io.BytesIO(data), layer))


def _seen(*stack: Iterable[TarEntry]) -> dict[str, Stored]:
    image = Rootfs()
    for entries in stack:
        list(image.unpack(_files(entries)))
    return image.visible()


def _modes(*stack: Iterable[TarEntry]) -> dict[str, str]:
    return {path: f"{one.file.mode:04o}" for path, one in _seen(*stack).items()}


def _folder(name: str, **facts: int) -> TarEntry:
    return TarEntry(f"{name}/", b"5", **{"mode": 0o755, **facts})  # type: ignore[arg-type]


SETUID = TarEntry("a", mode=0o4755, data=b"x")
LINK = TarEntry("b", b"1", link="a", mode=0o4755)


def test_a_hard_link_keeps_what_it_leads_to_when_the_other_name_goes() -> None:
    for later in ([TarEntry(".wh.a")], [TarEntry("a", data=b"yy")], [_folder("a")]):
        seen = _seen([SETUID, LINK], later)
        linked = seen["b"]
        assert (linked.file.kind, linked.file.mode, linked.file.size) == ("file", 0o4755, 1)
        assert (linked.file.path, linked.layer) == ("b", 1)
    assert _modes([SETUID, LINK, TarEntry("a")]) == {"a": "0644", "b": "4755"}


def test_a_hard_link_is_another_name_and_has_the_last_mode_and_owner() -> None:
    link = TarEntry("b", b"1", link="./x/../a", mode=0o600, user=5)
    seen = _seen([TarEntry("a", mode=0o4755, records=[CAPABILITY]), link])
    for path in ("a", "b"):
        file = seen[path].file
        # A change of the owner removes capabilities.
        assert (file.mode, file.user, file.attributes) == (0o600, 5, ())
    kept = _seen([TarEntry("a"), TarEntry("b", b"1", link="a", records=[CAPABILITY])])
    assert kept["a"].file.attributes == ("security.capability",)


def test_a_hard_link_to_a_symbolic_one_is_one() -> None:
    seen = _seen([TarEntry("a", b"2", link="/x"), TarEntry("b", b"1", link="a")])
    assert [(seen[p].file.kind, seen[p].file.target) for p in "ab"] == [("link", "/x")] * 2


@pytest.mark.parametrize(
    "name", ["d/f", "./d/f", "/d/f", "../d/f", "d//./f", "x/../d/f", "/../d/f"]
)
def test_the_names_of_one_path(name: str) -> None:
    assert _modes([TarEntry(name, mode=0o600)]) == {"d": "0755", "d/f": "0600"}


@pytest.mark.parametrize("name", ["", ".", "./", "/", "..", "a/.."])
def test_the_root_stays_as_it_is(name: str) -> None:
    assert _modes([TarEntry(name, b"5", mode=0o700), TarEntry("a")]) == {"a": "0644"}


def test_the_last_of_two_entries_counts() -> None:
    assert _modes([TarEntry("a"), TarEntry("a", mode=0o600)]) == {"a": "0600"}
    assert _modes([_folder("d"), TarEntry("d/f"), _folder("d", mode=0o700)]) == {
        "d": "0700",
        "d/f": "0644",
    }
    assert _modes([TarEntry("d/f"), TarEntry("d")]) == {"d": "0644"}
    assert _modes([TarEntry("d"), _folder("d", mode=0o711)]) == {"d": "0711"}


def test_an_entry_below_a_link_is_where_the_link_leads() -> None:
    link = TarEntry("l", b"2", link="d")
    below = TarEntry("l/f", mode=0o4755)
    assert _modes([_folder("d"), link, below])["d/f"] == "4755"
    assert _modes([_folder("a/d"), TarEntry("a/l", b"2", link="../a/d"), TarEntry("a/l/f")]) == {
        "a": "0755",
        "a/d": "0755",
        "a/d/f": "0644",
        "a/l": "0644",
    }
    assert "a/d/f" in _modes([TarEntry("l", b"2", link="/a/d"), TarEntry("l/f")])
    assert "f" in _modes([TarEntry("l", b"2", link="../../.."), TarEntry("l/f")])
    chain = [TarEntry("l", b"2", link="m"), TarEntry("m", b"2", link="d"), TarEntry("l/f")]
    assert "d/f" in _modes(chain)


def test_a_directory_hides_the_link_of_a_layer_below() -> None:
    base = [_folder("usr/lib"), TarEntry("usr/lib/x"), TarEntry("lib", b"2", link="usr/lib")]
    seen = _modes(base, [TarEntry("lib/y")])
    assert "lib/y" in seen
    assert "usr/lib/y" not in seen
    assert "lib/x" not in seen


def test_a_parent_without_an_entry_is_as_it_is_below() -> None:
    base = [_folder("d", mode=0o2770, user=5, group=6)]
    seen = _seen(base, [TarEntry("d/e/f")])
    assert (seen["d"].file.mode, seen["d"].file.user, seen["d"].layer) == (0o2770, 5, 2)
    # A setgid directory passes its group on.
    assert (seen["d/e"].file.mode, seen["d/e"].file.group) == (0o755, 6)
    far = _seen(base, [TarEntry("x")], [TarEntry("d/f")])
    assert far["d"].file.mode == 0o2770
    assert _seen([TarEntry("d")], [TarEntry("d/f")])["d"].file.mode == 0o755


BELOW = [_folder("d"), TarEntry("d/one"), TarEntry("d/two"), TarEntry("top")]


@pytest.mark.parametrize(
    ("later", "left"),
    [
        pytest.param([TarEntry("d/.wh.one")], {"d", "d/two", "top"}, id="one file"),
        pytest.param([TarEntry(".wh.d")], {"top"}, id="a directory"),
        pytest.param([TarEntry("d/.wh.none")], {"d", "d/one", "d/two", "top"}, id="nothing"),
        pytest.param([TarEntry("d/.wh..wh..opq")], {"d", "top"}, id="all that is in one"),
        pytest.param(
            [TarEntry("d/new"), TarEntry("d/.wh..wh..opq")], {"d", "d/new", "top"}, id="opaque"
        ),
        pytest.param(
            [TarEntry("d/.wh..wh..opq"), TarEntry("d/new")], {"d", "d/new", "top"}, id="before"
        ),
        # The kernel does not look whether the root of a layer is opaque.
        pytest.param([TarEntry(".wh..wh..opq")], {"d", "d/one", "d/two", "top"}, id="the root"),
        pytest.param([TarEntry("d")], {"d", "top"}, id="a file instead of a directory"),
        pytest.param([_folder("top")], {"d", "d/one", "d/two", "top"}, id="a directory instead"),
        pytest.param([TarEntry("d/one", b"3")], {"d", "d/two", "top"}, id="the engine's own sign"),
        # The directory takes the place of the sign, and what is below shines through.
        pytest.param(
            [TarEntry(".wh.d"), _folder("d")], {"d", "d/one", "d/two", "top"}, id="and made again"
        ),
        pytest.param([TarEntry(".wh..wh.x")], {"d", "d/one", "d/two", "top"}, id="another sign"),
    ],
)
def test_what_a_layer_hides(later: list[TarEntry], left: set[str]) -> None:
    assert set(_seen(BELOW, later)) == left


def test_what_hides_something_in_the_base_removes_it() -> None:
    assert set(_seen([*BELOW, TarEntry("d/.wh.one"), TarEntry(".wh.top")])) == {"d", "d/two"}
    opaque = TarEntry("d/.wh..wh..opq")
    assert set(_seen([*BELOW, opaque])) == {"d", "d/one", "d/two", "top"}
    # A directory that was only made as a parent is removed as well.
    assert set(_seen([TarEntry("d/e/f"), TarEntry("d/g"), opaque])) == {"d", "d/g"}


def test_a_file_between_two_directories_hides_the_lower_one() -> None:
    assert set(_seen([TarEntry("d/f")], [TarEntry("d")], [_folder("d")])) == {"d"}


def test_devices_and_fifos_and_modes() -> None:
    seen = _seen(
        [
            TarEntry("null", b"3", device=(1, 3), mode=0o666),
            TarEntry("loop", b"4", device=(7, 0)),
            TarEntry("pipe", b"6"),
            TarEntry("large", b"3", device=(0x1001, 0x100003)),
            TarEntry("f", mode=0o107777, user=-1, group=(1 << 32) + 7),
        ]
    )
    assert [seen[name].file.target for name in ("null", "loop", "large")] == [
        "c 1:3",
        "b 7:0",
        "c 1:3",
    ]
    assert seen["pipe"].file.kind == "fifo"
    # The owner -1 changes nothing, and numbers have 32 bits.
    assert (seen["f"].file.mode, seen["f"].file.user, seen["f"].file.group) == (0o7777, 0, 7)


def test_a_global_header_removes_what_has_its_name() -> None:
    assert set(_seen([TarEntry("a"), TarEntry("a", b"g", pax([(b"x", b"y")]))])) == set()


def test_attributes_of_the_engine() -> None:
    trusted = TarEntry("a", records=[(b"SCHILY.xattr.trusted.x", b"y")])
    assert _seen([trusted])["a"].file.attributes == ()
    with pytest.raises(LayerError, match="the engine's own"):
        _files([TarEntry("a", records=[(b"SCHILY.xattr.trusted.overlay.opaque", b"y")])])


LOOP = [TarEntry("l", b"2", link="l/x")]
REFUSED: dict[str, tuple[list[list[TarEntry]], str]] = {
    "a hard link to nothing": ([[LINK]], "missing in its layer"),
    "a hard link to a layer below": ([[SETUID], [LINK]], "missing in its layer"),
    "a hard link to itself": ([[SETUID, TarEntry("a", b"1", link="a")]], "missing in its layer"),
    "a hard link to a directory": ([[_folder("a"), LINK]], "which is a directory"),
    "a link to nothing": ([[TarEntry("a", b"2")]], "leads to nothing"),
    "an entry below a file": ([[TarEntry("a"), TarEntry("a/b")]], "has to be a directory"),
    "one deep below a file": ([[TarEntry("a"), TarEntry("a/b/c")]], "not a directory"),
    "one below a file of another layer": ([[TarEntry("a")], [TarEntry("a/b/c")]], "through what"),
    "a link that leads to itself": ([[*LOOP, TarEntry("l/f")]], "too many links"),
    "links that lead to each other": (
        [[TarEntry("l", b"2", link="m"), TarEntry("m", b"2", link="l"), TarEntry("l/f")]],
        "too many links",
    ),
    "something hidden in its own layer": ([[], [TarEntry("a"), TarEntry(".wh.a")]], "same layer"),
    "something hidden twice": ([[], [TarEntry(".wh.a")] * 2], "same layer"),
    "nothing hidden": ([[TarEntry("d/.wh.")]], "hides nothing"),
    "the parent hidden": ([[TarEntry("d/.wh...")]], "hides nothing"),
    "a directory whose parent is replaced": ([[_folder("d/e"), TarEntry("d")]], "through what"),
    "a directory that goes": ([[_folder("d"), TarEntry(".wh.d")]], "is replaced"),
    "a directory that a link replaces": (
        [[_folder("d"), TarEntry("d", b"2", link="none")]],
        "is replaced",
    ),
    "a long name": ([[TarEntry("n" * 256)]], "longer than 255"),
    "a long name of a parent": ([[TarEntry("n" * 256 + "/f")]], "longer than 255"),
}


@pytest.mark.parametrize(("stack", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_engines_can_not_unpack(stack: list[list[TarEntry]], reason: str) -> None:
    with pytest.raises(LayerError, match=reason):
        _seen(*stack)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (TarEntry("a", b"7"), "type b'7'"),
        (TarEntry("ab/" * 1500), "a path is longer"),
        (TarEntry("a", b"2", link="a" * 4096), "the target of a link is longer"),
    ],
)
def test_what_no_system_takes(entry: TarEntry, reason: str) -> None:
    with pytest.raises(LayerError, match=reason):
        _files([entry])


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [TarEntry(f"{n}/{n}/f") for n in range(20)]
    assert len(_seen(many)) == 60
    for module, name, limit in (
        (layers, "MOST_ENTRIES", 19),
        (layers, "MOST_NAMES", 100),
        (layers, "LARGEST_LAYER", 2000),
        (root_filesystem, "MOST_ENTRIES", 19),
        (root_filesystem, "MOST_NAMES", 50),
        (root_filesystem, "MOST_STEPS", 20),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, limit)
            with pytest.raises(LayerError):
                _seen(many, many)


def test_a_file_has_no_more_attributes_than_the_kernel_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(root_filesystem, "MOST_ATTRIBUTES", 1)
    links = [
        TarEntry(name, b"1", link="a", records=[(b"SCHILY.xattr.user." + name.encode(), b"x")])
        for name in ("b", "c")
    ]
    with pytest.raises(LayerError, match="more than 1 attributes"):
        _seen([TarEntry("a"), *links])


def test_every_limit_is_above_what_real_images_have() -> None:
    names = [name for name in vars(limits) if name.isupper()]
    assert all(getattr(limits, name) > 0 for name in names)
