"""Layers as the engine unpacks them, and as they are read here: the same files, or none at all."""

from __future__ import annotations

import io
import stat
import subprocess
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from ociwriter import OciWriter
from tarwriter import CAPABILITY, GNU, V7, LayerMaker, TarEntry, pax, tar

from buildlib.errors import InputError
from buildlib.image.archive import open_archive
from buildlib.image.root_filesystem import Stored
from buildlib.image.size import measure
from buildlib.policy.image_checks import read_contents
from buildlib.smoke.load_image import name_of

# Each run tries the first, and `nox -s faults` all of them every week.
CASES = [
    pytest.param(60, marks=[pytest.mark.engine, pytest.mark.toolchain]),
    pytest.param(300, marks=pytest.mark.faults),
]
REFUSED = [
    pytest.param(3, marks=pytest.mark.engine),
    pytest.param(12, marks=pytest.mark.faults),
]
SEED = 20_240_607
PLAIN = "application/vnd.oci.image.layer.v1.tar"
_TYPES = {
    "file": stat.S_IFREG,
    "directory": stat.S_IFDIR,
    "link": stat.S_IFLNK,
    "fifo": stat.S_IFIFO,
    "c": stat.S_IFCHR,
    "b": stat.S_IFBLK,
}
Stack = Sequence[Sequence[TarEntry | bytes]]
# Type, mode, owner, group, size, and where it leads or which device it is.
Facts = tuple[int, int, int, int, int, str]


def _docker(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(("docker", *words), capture_output=True, check=False, timeout=300)


def _write(stack: Stack, path: Path) -> Path:
    writer = OciWriter()
    layers = [writer.tar(tar(*entries), PLAIN) for entries in stack]
    return writer.write(path, writer.image(layers, config={"Cmd": ["/none"]}))


@contextmanager
def _loaded(path: Path) -> Iterator[str]:
    """Load an archive for the time of the block; empty: the engine refuses it."""
    tag = f"buildlib-layers:{uuid4().hex}"
    renamed = path.with_name("renamed.tar")
    with open_archive(path) as archive:
        archive.write_renamed(renamed, name_of(tag))
    try:
        loaded = _docker("load", "--input", str(renamed))
        # Some engines unpack only what is used.
        created = _docker("create", tag) if loaded.returncode == 0 else loaded
        container = created.stdout.decode().strip() if created.returncode == 0 else ""
        try:
            yield container
        finally:
            if container:
                _docker("rm", "--force", container)
    finally:
        _docker("image", "rm", "--force", tag)


def _links(names: Mapping[str, object]) -> set[frozenset[str]]:
    """Return the groups of paths that are names of one file."""
    groups: dict[object, set[str]] = {}
    for path, inode in names.items():
        groups.setdefault(inode, set()).add(path)
    return {frozenset(group) for group in groups.values() if len(group) > 1}


def _exported(container: str) -> tuple[dict[str, Facts], set[frozenset[str]], set[str]]:
    """Return what is in a container, by path; hard links; and what has capabilities."""
    found: dict[str, Facts] = {}
    names: dict[str, str] = {}
    able: set[str] = set()
    data = _docker("export", container).stdout
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for entry in archive:
            path = entry.name.removeprefix("./").rstrip("/")
            names[path] = path
            if "SCHILY.xattr.security.capability" in entry.pax_headers:
                able.add(path)
            if entry.islnk():
                first = entry.linkname.removeprefix("./")
                found[path], names[path] = found[first], names[first]
                continue
            kind = {
                tarfile.REGTYPE: "file",
                tarfile.DIRTYPE: "directory",
                tarfile.SYMTYPE: "link",
                tarfile.FIFOTYPE: "fifo",
                tarfile.CHRTYPE: "c",
                tarfile.BLKTYPE: "b",
            }[entry.type]
            target = entry.linkname if kind == "link" else ""
            if kind in "cb":
                target = f"{entry.devmajor}:{entry.devminor}"
            mode = 0 if kind == "link" else entry.mode
            facts = (_TYPES[kind], mode, entry.uid, entry.gid, entry.size, target)
            found[path] = facts
    return found, _links(names), able


def _facts(stored: Stored) -> Facts:
    file = stored.file
    kind, target = file.kind, file.target
    if kind == "device":
        kind, target = file.target.split()
    mode = 0 if kind == "link" else file.mode
    return (_TYPES[kind], mode, file.user, file.group, file.size, target)


def _below(paths: Iterable[str], folder: str) -> set[str]:
    return {path for path in paths if path == folder or path.startswith(f"{folder}/")}


def _unpacks(stack: Stack, path: Path) -> bool:
    with open_archive(_write(stack, path)) as archive:
        try:
            read_contents(archive, archive.images()[0])
        except InputError:
            return False
    return True


def _stacks(path: Path, cases: int, refused: int) -> tuple[list[Stack], list[Stack]]:
    """Return so many stacks of layers that can be unpacked, and so many that can't."""
    good: list[Stack] = []
    bad: list[Stack] = []
    for seed in range(SEED, SEED + 3000):
        # Far below the root, so that no link leads out of it.
        maker = LayerMaker(seed, f"c{seed}/1/2/3/4/5")
        stack = [maker.entries() for _ in range(maker.random.randint(1, 4))]
        (good if _unpacks(stack, path) else bad).append(stack)
        if len(good) >= cases and len(bad) >= refused:
            break
    return good[:cases], bad[:refused]


def _sparse(version: int) -> bytes:
    """Return a sparse file in one of the formats that engines know."""
    numbers = [(b"size", b"700"), (b"numblocks", b"1")]
    more = {
        0: [*numbers, (b"offset", b"600"), (b"numbytes", b"3")],
        1: [*numbers, (b"map", b"600,3"), (b"name", b"formats/sparse1")],
        2: [(b"major", b"1"), (b"minor", b"0"), (b"realsize", b"700"), (b"name", b"formats/s2")],
    }[version]
    data = b"1\n600\n3\n".ljust(512, b"\0") + b"abc" if version == 2 else b"abc"
    records = [(b"GNU.sparse." + key, value) for key, value in more]
    return bytes(TarEntry(f"formats/sparse{version}", data=data, records=records))


FORMATS: Sequence[TarEntry | bytes] = (
    TarEntry("formats/v7", magic=V7, mode=0o4755, fields={329: b"letters\0", 345: b"\xff" * 100}),
    TarEntry("formats/gnu", magic=GNU, data=b"x", fields={345: b"formats/old"}),
    TarEntry("formats/star", fields={345: b"formats", 476: bytes(24), 508: b"tar\0"}),
    TarEntry("x", b"L", b"formats/" + b"long" * 40 + b"\0"),
    TarEntry("short", user=1 << 21, mode=0o4711),
    TarEntry("x", b"K", b"target" * 40 + b"\0"),
    TarEntry("formats/link", b"2", link="short"),
    TarEntry("formats/" + "p" * 200, records=[(b"uid", b"70000"), (b"gid", b"+7")]),
    TarEntry("x", b"x", pax([(b"path", b"formats/lost")])),
    TarEntry("formats/able", data=b"x", records=[CAPABILITY]),
    TarEntry("formats/global", b"g", pax([(b"uid", b"5")])),
    TarEntry("formats/after"),
    TarEntry("formats/caf\u00e9"),
    *map(_sparse, range(3)),
)


@pytest.mark.parametrize("cases", CASES)
def test_the_engine_and_we_see_the_same_files(tmp_path: Path, cases: int) -> None:
    stacks, _ = _stacks(tmp_path / "case.tar", cases, 0)
    assert len(stacks) == cases
    packed: list[list[TarEntry | bytes]] = [[*FORMATS], [TarEntry(".wh..wh..opq")], [], []]
    for stack in stacks:
        for number, entries in enumerate(stack):
            packed[number] += entries
    path = _write(packed, tmp_path / "packed.tar")
    with open_archive(path) as archive:
        (image,) = archive.images()
        ours = read_contents(archive, image).visible
        report = measure(archive, image)
    with _loaded(path) as container:
        assert container, "the engine can't unpack what we can"
        theirs, links, able = _exported(container)
    mine = {name for name in theirs if name.startswith(("c2", "formats"))}
    assert mine == set(ours)
    different = {
        name: (theirs[name], _facts(ours[name]))
        for name in mine
        if theirs[name] != _facts(ours[name])
    }
    assert different == {}, f"from seed {SEED} on"
    assert links == _links({name: stored.inode for name, stored in ours.items()})
    assert able == {name for name, one in ours.items() if one.file.attributes}
    visible = {one.inode: one.file.size for one in ours.values() if one.file.kind == "file"}
    assert report.unpacked >= sum(visible.values())
    assert report.layers[0].files >= len(FORMATS) - 6


@pytest.mark.parametrize("count", REFUSED)
def test_the_engine_refuses_what_we_refuse(tmp_path: Path, count: int) -> None:
    _, refused = _stacks(tmp_path / "case.tar", 0, count)
    assert len(refused) == count
    for stack in refused:
        with _loaded(_write(stack, tmp_path / "refused.tar")) as container:
            assert not container, stack
