"""What docker-diff finds: each single change by its name, and nothing where nothing changed."""

from __future__ import annotations

import dataclasses
import json
import tarfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ociwriter import OciWriter
from tarwriter import CAPABILITY, TarEntry, tar

from buildlib.config.diff import RULES, DiffSettings
from buildlib.diff.check import DiffRequest, Subject, diff_images
from buildlib.diff.compare import Change, Section, compare
from buildlib.diff.describe import Description, LayerFacts, capabilities
from buildlib.diff.report import DiffReport, PlatformDiff, Side, detail
from buildlib.diff.rules import broken_rules
from buildlib.errors import InputError
from buildlib.executor import Completed
from buildlib.findings.secrets import HIDDEN
from buildlib.findings.vulnerability import Severity, Vulnerability
from buildlib.image.archive import open_archive
from buildlib.image.layout import is_layout, open_layout
from buildlib.program import ways_to_get

from fakes import FakeExecutor, words_after

FILES: dict[str, TarEntry] = {
    "bin/": TarEntry("bin/", b"5", mode=0o755),
    "bin/app": TarEntry("bin/app", data=b"program", mode=0o755),
    "bin/link": TarEntry("bin/link", b"2", link="app"),
    "etc/conf": TarEntry("etc/conf", data=b"a=1\n"),
}
RUNTIME: dict[str, Any] = {
    "User": "1001",
    "Env": ["PATH=/bin", "TOKEN=hidden-1"],
    "Entrypoint": ["/bin/app"],
    "Cmd": ["serve"],
    "WorkingDir": "/",
    "ExposedPorts": {"80/tcp": {}},
    "Volumes": {"/data": {}},
    "Healthcheck": {"Test": ["CMD", "/bin/app", "ping"]},
    "StopSignal": "SIGTERM",
    "Labels": {
        "color": "red",
        "org.opencontainers.image.base.name": "alpine:3.22",
        "org.opencontainers.image.base.digest": "sha256:1",
    },
}


def _write(
    path: Path,
    files: Mapping[str, TarEntry] = FILES,
    runtime: Mapping[str, Any] = RUNTIME,
    more: Sequence[TarEntry] = (),
    platforms: Sequence[str] = ("linux/amd64",),
) -> Path:
    """Write an image of one layer, and of a second where there are more files."""
    writer = OciWriter()
    layers = [writer.tar(tar(*files.values()))]
    layers += [writer.tar(tar(*more))] if more else []
    history: list[dict[str, object]] = [{"created_by": f"COPY {n} /"} for n in range(len(layers))]
    images = [
        writer.image(layers, history, tuple(name.split("/")), config=dict(runtime))
        for name in platforms
    ]
    return writer.write(path, writer.index(*images) if len(images) > 1 else images[0])


def _diff(old: Path, new: Path, request: DiffRequest | None = None) -> DiffReport:
    with ExitStack() as stack:
        first, second = (
            Subject(name=path.name, archive=stack.enter_context(open_archive(path)))
            for path in (old, new)
        )
        return diff_images(first, second, request or DiffRequest())


def _named(changes: Sequence[Change]) -> list[str]:
    """Return the changes but those of sizes and layers, which follow from the files."""
    return [
        f"{one.section} {one.item} {one.what}"
        for one in changes
        if one.section not in {Section.SIZE, Section.LAYERS}
    ]


def _with(path: str, **changes: object) -> dict[str, TarEntry]:
    return FILES | {path: dataclasses.replace(FILES[path], **changes)}  # type: ignore[arg-type]


# What the new image has instead, and what is said.
FILE_CHANGES: dict[str, tuple[dict[str, TarEntry], list[str], Mapping[str, Any]]] = {
    "content": (
        _with("etc/conf", data=b"a=2\n"),
        ["files etc/conf changed"],
        {"content": "sha256:"},
    ),
    "size": (
        _with("etc/conf", data=b"a=10\n"),
        ["files etc/conf changed"],
        {"size": 5, "content": "sha256:"},
    ),
    "mode": (_with("etc/conf", mode=0o600), ["files etc/conf changed"], {"mode": "0600"}),
    "owner": (_with("etc/conf", user=7), ["files etc/conf changed"], {"owner": "7:0"}),
    "mode of a directory": (_with("bin/", mode=0o777), ["files bin changed"], {"mode": "0777"}),
    "link": (_with("bin/link", link="other"), ["files bin/link changed"], {"target": "other"}),
    "kind": (
        FILES | {"bin/link": TarEntry("bin/link", data=b"x")},
        ["files bin/link changed"],
        {"kind": "file", "mode": "0644", "size": 1, "content": "sha256:"},
    ),
    "setuid": (
        _with("bin/app", mode=0o4755),
        ["privileges bin/app added", "files bin/app changed"],
        {"mode": "4755"},
    ),
    "capabilities": (
        _with("bin/app", records=[CAPABILITY]),
        ["privileges bin/app added", "files bin/app changed"],
        {"capabilities": "net_raw"},
    ),
    "attribute": (
        _with("bin/app", records=[(b"SCHILY.xattr.user.note", b"x")]),
        ["files bin/app changed"],
        {"attributes": "user.note"},
    ),
    "added": (
        FILES | {"new": TarEntry("new", data=b"x")},
        ["files new added"],
        {"kind": "file", "owner": "0:0", "mode": "0644", "size": 1, "content": "sha256:"},
    ),
}


@pytest.mark.parametrize("case", FILE_CHANGES)
def test_a_change_of_a_file(tmp_path: Path, case: str) -> None:
    files, expected, facts = FILE_CHANGES[case]
    old, new = _write(tmp_path / "old.tar"), _write(tmp_path / "new.tar", files)
    (one,) = _diff(old, new).platforms
    assert _named(one.changes) == expected
    said = dict(one.changes[-1].new or {})
    if "content" in said:
        said["content"] = str(said["content"])[:7]
    assert said == facts


def test_a_file_that_a_layer_removes(tmp_path: Path) -> None:
    old = _write(tmp_path / "old.tar")
    new = _write(tmp_path / "new.tar", more=[TarEntry("etc/.wh.conf")])
    (one,) = _diff(old, new).platforms
    assert _named(one.changes) == ["files etc/conf removed"]
    assert [(c.item, c.what) for c in one.of(Section.LAYERS)] == [("COPY 1 /", "added")]


def test_a_time_alone_is_no_difference(tmp_path: Path) -> None:
    later = {136: b"%011o\0" % 99}
    old, new = (
        _write(tmp_path / "a.tar"),
        _write(tmp_path / "b.tar", _with("bin/app", fields=later)),
    )
    report = _diff(old, new)
    assert not report.same
    assert _named(report.platforms[0].changes) == []
    assert not report.platforms[0].of(Section.LAYERS)


def _runtime(key: str, value: object) -> dict[str, Any]:
    return {**RUNTIME, key: value}


LABELS = RUNTIME["Labels"]
SETTINGS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "user": (_runtime("User", "0"), ["configuration user changed"]),
    "no user": (_runtime("User", ""), ["configuration user removed"]),
    "entrypoint": (_runtime("Entrypoint", ["/x"]), ["configuration entrypoint changed"]),
    "cmd": (_runtime("Cmd", None), ["configuration cmd removed"]),
    "workdir": (_runtime("WorkingDir", "/x"), ["configuration workdir changed"]),
    "healthcheck": (
        _runtime("Healthcheck", {"Test": ["NONE"]}),
        ["configuration healthcheck changed"],
    ),
    "stop signal": (_runtime("StopSignal", "SIGINT"), ["configuration stopsignal changed"]),
    "port": (
        _runtime("ExposedPorts", {"80/tcp": {}, "81/tcp": {}}),
        ["configuration port 81/tcp added"],
    ),
    "volume": (_runtime("Volumes", {}), ["configuration volume /data removed"]),
    "variable": (
        _runtime("Env", ["PATH=/usr/bin", "TOKEN=hidden-1"]),
        ["configuration env PATH changed"],
    ),
    "label": (_runtime("Labels", {**LABELS, "color": "blue"}), ["labels color changed"]),
    "base": (
        _runtime("Labels", {**LABELS, "org.opencontainers.image.base.digest": "sha256:2"}),
        ["base image changed"],
    ),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_a_change_of_the_configuration(tmp_path: Path, case: str) -> None:
    runtime, expected = SETTINGS[case]
    report = _diff(_write(tmp_path / "old.tar"), _write(tmp_path / "new.tar", runtime=runtime))
    (one,) = report.platforms
    assert _named(one.changes) == expected
    # The layers are the same.
    assert len(one.changes) == 1


def test_a_secret_is_named_and_not_shown(tmp_path: Path) -> None:
    runtime = _runtime("Env", ["PATH=/bin", "TOKEN=hidden-2", "URL=http://me:hidden-3@x/"])
    report = _diff(_write(tmp_path / "old.tar"), _write(tmp_path / "new.tar", runtime=runtime))
    assert _named(report.platforms[0].changes) == [
        "configuration env TOKEN changed",
        "configuration env URL added",
    ]
    for text in (report.as_text(), report.as_markdown(), json.dumps(report.as_dict())):
        assert "hidden" not in text


def test_a_password_in_an_instruction_is_not_shown(tmp_path: Path) -> None:
    writer = OciWriter()
    history: list[dict[str, object]] = [{"created_by": "RUN curl https://me:hidden-4@x.example/"}]
    layers = [writer.tar(tar(TarEntry("x", data=b"1")))]
    image = writer.image(layers, history, ("linux", "amd64"), config=dict(RUNTIME))
    report = _diff(_write(tmp_path / "old.tar"), writer.write(tmp_path / "new.tar", image))
    for text in (report.as_text(), report.as_markdown(), json.dumps(report.as_dict())):
        assert "hidden" not in text
        assert "***" in text


@pytest.mark.parametrize(
    ("made_by", "shown"),
    [
        (
            "RUN |1 DB_PASSWORD=hidden-5 /bin/sh -c ./setup # buildkit",
            "RUN |1 DB_PASSWORD=*** /bin/sh -c ./setup # buildkit",
        ),
        (
            "|2 DB_PASSWORD=two hidden words MODE=fast /bin/sh -c ./setup",
            "|2 DB_PASSWORD=*** MODE=fast /bin/sh -c ./setup",
        ),
        (
            "RUN /bin/sh -c API_TOKEN='a hidden-6' ./setup",
            "RUN /bin/sh -c API_TOKEN=*** ./setup",
        ),
        ("RUN |1 OPEN_TOKEN=x /bin/sh -c y", "RUN |1 OPEN_TOKEN=x /bin/sh -c y"),
    ],
)
def test_secret_arguments_of_an_instruction_are_not_shown(
    tmp_path: Path, made_by: str, shown: str
) -> None:
    writer = OciWriter()
    layers = [writer.tar(tar(TarEntry("x", data=b"1")))]
    image = writer.image(
        layers, [{"created_by": made_by}], ("linux", "amd64"), config=dict(RUNTIME)
    )
    report = _diff(
        _write(tmp_path / "old.tar"),
        writer.write(tmp_path / "new.tar", image),
        DiffRequest(allowed=("OPEN_*",)),
    )
    (layer,) = (one for one in report.platforms[0].of(Section.LAYERS) if one.what == "added")
    assert layer.item == shown
    assert "hidden" not in json.dumps(report.as_dict())


def test_a_layer_that_is_larger_is_found_by_its_instruction(tmp_path: Path) -> None:
    old = _write(tmp_path / "old.tar", more=[TarEntry("x", data=b"1")])
    new = _write(tmp_path / "new.tar", more=[TarEntry("x", data=b"12")])
    (one,) = _diff(old, new).platforms
    (layer,) = one.of(Section.LAYERS)
    assert (layer.item, layer.what) == ("COPY 1 /", "changed")
    (size,) = one.of(Section.SIZE)
    assert size.old is not None
    assert size.new is not None
    assert (size.old["unpacked"], size.new["unpacked"]) == (12, 13)


def test_platforms_that_only_one_image_has_are_named(tmp_path: Path) -> None:
    old = _write(tmp_path / "old.tar", platforms=("linux/amd64", "linux/s390x"))
    new = _write(tmp_path / "new.tar", platforms=("linux/amd64", "linux/arm64"))
    report = _diff(old, new)
    assert (report.only_old, report.only_new) == (("linux/s390x",), ("linux/arm64",))
    # Its manifest is the same, and only the index differs.
    assert [(one.platform, one.changes) for one in report.platforms] == [("linux/amd64", ())]
    text = report.as_text()
    assert "only in old.tar: linux/s390x" in text
    assert "only in new.tar: linux/arm64" in text


def test_the_same_digest_is_the_same_image(tmp_path: Path) -> None:
    one = _write(tmp_path / "one.tar")
    report = _diff(one, _write(tmp_path / "two.tar"))
    assert report.same
    assert report.as_text() == f"the same image: {report.new.digest}"
    assert report.as_dict()["platforms"] == []


class Syft(FakeExecutor):
    """syft that sees other packages in each image."""

    def __init__(self, *packages: Sequence[tuple[str, str]], code: int = 0) -> None:
        super().__init__()
        self._packages, self._code = [*packages], code

    def _answer(self, argv: Sequence[str]) -> Completed:
        if self._code:
            return Completed(code=self._code, stderr="broken")
        listed: list[dict[str, Any]] = [{"SPDXID": "root", "name": "image"}]
        for purl, version in self._packages.pop(0):
            reference = {"referenceType": "purl", "referenceLocator": purl}
            listed.append(
                {
                    "SPDXID": f"{purl}{version}",
                    "name": "x",
                    "versionInfo": version,
                    "externalRefs": [reference],
                }
            )
        described = {"relatedSpdxElement": "root", "relationshipType": "DESCRIBES"}
        document = {"packages": listed, "relationships": [described]}
        for output in words_after(argv, "--output"):
            Path(output.partition("=")[2]).write_text(json.dumps(document), encoding="utf-8")
        return Completed(code=0)


def _pair(folder: Path) -> tuple[Path, Path]:
    files = _with("etc/conf", data=b"a=2\n")
    new = _write(folder / "new.tar", files, runtime=_runtime("User", "7"))
    return _write(folder / "old.tar"), new


def test_packages_are_compared_by_kind_and_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passing = tmp_path / "passing"
    passing.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(passing))
    old = [("pkg:npm/%40a/b@1.0?x=y", "1.0"), ("pkg:apk/alpine/gone@1", "1")]
    new = [
        ("pkg:npm/%40a/b@1.1", "1.1"),
        ("pkg:npm/%40a/b@1.2", "1.2"),
        ("pkg:golang/x.org/new@v2#sub", "v2"),
    ]
    report = _diff(*_pair(tmp_path), DiffRequest(syft=Syft(old, new)))
    found = report.platforms[0].of(Section.PACKAGES)
    assert [(one.item, one.what) for one in found] == [
        ("apk/alpine/gone", "removed"),
        ("golang/x.org/new", "added"),
        ("npm/@a/b", "changed"),
    ]
    assert "  changed  npm/@a/b          1.0 → 1.1, 1.2" in report.as_text()
    assert report.notes == ()
    assert list(passing.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "note"),
    [
        (
            127,
            "packages: not compared: syft is missing; to get it: " + ways_to_get("anchore/syft"),
        ),
        (1, "packages: not compared: syft can't read the image for linux/amd64"),
    ],
)
def test_without_syft_the_rest_is_compared(tmp_path: Path, code: int, note: str) -> None:
    report = _diff(*_pair(tmp_path), DiffRequest(syft=Syft(code=code)))
    assert report.notes == (note,)
    assert note in report.as_text()
    assert "configuration user changed" in _named(report.platforms[0].changes)


def test_packages_of_the_same_files_are_not_asked_for(tmp_path: Path) -> None:
    old = _write(tmp_path / "old.tar")
    new = _write(tmp_path / "new.tar", runtime=_runtime("User", "7"))
    report = _diff(old, new, DiffRequest(syft=Syft(code=1)))
    assert report.notes == ()
    assert _named(report.platforms[0].changes) == ["configuration user changed"]


def _finding(rule: str, severity: Severity, package: str = "leaky") -> Vulnerability:
    return Vulnerability(
        rule=rule, severity=severity, package=package, version="1", platform="linux/amd64"
    )


def test_vulnerabilities_are_fixed_or_new(tmp_path: Path) -> None:
    known = {
        "old.tar": (_finding("CVE-1", Severity.HIGH), _finding("CVE-2", Severity.LOW)),
        "new.tar": (_finding("CVE-2", Severity.LOW), _finding("CVE-3", Severity.CRITICAL)),
    }
    request = DiffRequest(scan=lambda _, name: known[name])
    report = _diff(*_pair(tmp_path), request)
    text = report.as_text()
    assert "  new    CVE-3 leaky  critical\n  fixed  CVE-1 leaky  high" in text
    assert "vulnerabilities  1 new, 1 fixed" in text


def test_a_long_list_is_cut_in_text_and_whole_in_json(tmp_path: Path) -> None:
    more = [TarEntry(f"x{number:03}", data=b"1") for number in range(222)]
    old, new = _write(tmp_path / "old.tar"), _write(tmp_path / "new.tar", more=more)
    report = _diff(old, new)
    text = report.as_text()
    assert "… and 212 more; --json has all" in text
    assert "files   222 added" in text
    assert "x009" in text
    assert "x010" not in text
    assert "x221" in json.dumps(report.as_dict())
    assert "… and 172 more; --json has all" in report.as_markdown()


def test_names_can_neither_obey_a_terminal_nor_make_a_page(tmp_path: Path) -> None:
    name = "a`|<b>\x1b[31m\n# x\udcff"
    hostile = TarEntry(name.encode("utf-8", "surrogateescape"), data=b"1")
    report = _diff(_write(tmp_path / "old.tar"), _write(tmp_path / "new.tar", more=[hostile]))
    for text in (report.as_text(), report.as_markdown(), json.dumps(report.as_dict())):
        assert "\x1b" not in text
        assert "\n# x" not in text
        text.encode("utf-8")
    assert "| `` a`\\|<b>" in report.as_markdown()


def test_a_damaged_layer_is_refused(tmp_path: Path) -> None:
    writer = OciWriter()
    layer = writer.tar(tar(*FILES.values()))
    image = writer.image([layer], config=dict(RUNTIME, User="9"))
    writer.replace(layer, writer.bytes_of(layer)[:-1] + b"x")
    damaged = writer.write(tmp_path / "damaged.tar", image)
    with pytest.raises(InputError, match="can't be read"):
        _diff(_write(tmp_path / "old.tar"), damaged)


def _unpacked(archive: Path, folder: Path) -> Path:
    with tarfile.open(archive) as found:
        for member in filter(tarfile.TarInfo.isfile, found):
            content = found.extractfile(member)
            assert content
            path = folder / member.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.read())
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}', encoding="utf-8")
    return folder


def test_a_layout_on_the_disk_is_read_as_an_archive(tmp_path: Path) -> None:
    path = _write(tmp_path / "one.tar")
    layout = _unpacked(path, tmp_path / "layout")
    assert is_layout(layout)
    assert not is_layout(tmp_path)
    with open_layout(layout) as archive, open_archive(path) as same:
        assert archive.top() == same.top()
        archive.verify()


def test_a_layout_with_a_link_in_it_is_refused(tmp_path: Path) -> None:
    layout = _unpacked(_write(tmp_path / "one.tar"), tmp_path / "layout")
    (layout / "blobs/sha256/passwd").symlink_to("/etc/passwd")
    with pytest.raises(InputError, match="passwd is not a file"), open_layout(layout):
        pass


def test_a_layout_without_blobs_is_refused(tmp_path: Path) -> None:
    for name in ("oci-layout", "index.json"):
        (tmp_path / name).write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="can't be read as an image"), open_layout(tmp_path):
        pass


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (CAPABILITY[1].hex(), "net_raw"),
        ("0100000201000000" + "00" * 4 + "00010000" + "00" * 4, "chown,checkpoint_restore"),
        ("01", "01"),
        ("01000002" + "00" * 16, "01000002" + "00" * 16),
    ],
)
def test_capabilities_have_their_names(value: str, names: str) -> None:
    assert capabilities(value) == names


SETUID = Change(section=Section.PRIVILEGES, item="bin/su", new={"mode": "4755"})
BROKEN: dict[str, tuple[Change, bool]] = {
    "new-setuid": (SETUID, True),
    "new-setuid, one that is gone": (SETUID.reverse(), False),
    "new-setuid, setgid too": (
        Change(section=Section.PRIVILEGES, item="x", old={"mode": "4755"}, new={"mode": "6755"}),
        True,
    ),
    "new-setuid, fewer rights": (
        Change(section=Section.PRIVILEGES, item="x", old={"mode": "4755"}, new={"mode": "4711"}),
        False,
    ),
    "new-setuid, of another user": (
        Change(section=Section.PRIVILEGES, item="x", old={"user": "1"}, new={"user": "0"}),
        True,
    ),
    "new-setuid, no longer setuid": (
        Change(
            section=Section.PRIVILEGES,
            item="x",
            old={"mode": "6755", "user": "0"},
            new={"mode": "2755"},
        ),
        False,
    ),
    "new-setuid, a capability": (
        Change(
            section=Section.PRIVILEGES,
            item="x",
            old={"capabilities": "net_raw"},
            new={"capabilities": "net_raw,sys_admin"},
        ),
        True,
    ),
    "user-changed": (
        Change(section=Section.CONFIGURATION, item="user", old={"value": "1"}, new={"value": "2"}),
        True,
    ),
    "user-changed, another key": (
        Change(section=Section.CONFIGURATION, item="env user", new={"value": "2"}),
        False,
    ),
    "new-high-finding": (
        Change(section=Section.VULNERABILITIES, item="CVE-1 x", new={"severity": "critical"}),
        True,
    ),
    "new-high-finding, a mild one": (
        Change(section=Section.VULNERABILITIES, item="CVE-1 x", new={"severity": "medium"}),
        False,
    ),
    "new-high-finding, rated higher": (
        Change(
            section=Section.VULNERABILITIES,
            item="CVE-1 x",
            old={"severity": "low"},
            new={"severity": "high"},
        ),
        True,
    ),
}


def _report(*changes: Change, sizes: tuple[int, int] = (100, 110)) -> DiffReport:
    old, new = (Side(name=name, digest=f"sha256:{name * 64}") for name in "ab")
    one = PlatformDiff(
        platform="linux/amd64", digests=("", ""), sizes=sizes, changes=tuple(changes)
    )
    return DiffReport(old=old, new=new, platforms=(one,))


def test_long_paths_and_values_are_cut_where_they_say_least() -> None:
    folder = "opt/" + "x" * 80
    path = f"{folder}/bin:/usr/bin"
    changes = (
        Change(section=Section.FILES, item=f"{folder}/one.py", new={"kind": "file"}),
        Change(section=Section.FILES, item=f"{folder}/two.py", new={"kind": "file"}),
        Change(
            section=Section.CONFIGURATION,
            item="env PATH",
            old={"value": path},
            new={"value": f"{path}:/sbin"},
        ),
        Change(
            section=Section.CONFIGURATION,
            item="env TOKEN",
            old={"value": HIDDEN},
            new={"value": HIDDEN},
        ),
        Change(
            section=Section.SIZE,
            item="image",
            old={"stored": 10_000_001},
            new={"stored": 10_000_002},
        ),
    )
    text = _report(*changes).as_text()
    assert "xxx/one.py" in text
    assert "xxx/two.py" in text
    assert "/bin:/usr/bin → …" in text
    assert "/bin:/usr/bin:/sbin" in text
    assert "stored 10000001 B → 10000002 B" in text
    assert text.count("another value") == 1
    assert [detail(one) for one in changes if one.item == "env TOKEN"] == ["another value"]


@pytest.mark.parametrize("case", BROKEN)
def test_a_rule_of_the_gate(case: str) -> None:
    change, broken = BROKEN[case]
    rule = case.partition(",")[0]
    found = broken_rules(_report(change), DiffSettings(fail_on=(rule,)))
    assert [error.exit_code for error in found] == [7] * broken
    assert [change.item in error.why and rule in error.hint for error in found] == [True] * broken
    others = tuple(name for name in RULES if name != rule)
    assert broken_rules(_report(change), DiffSettings(fail_on=others)) == []


def test_another_owner_of_a_setuid_file_is_a_change_of_what_it_gives(tmp_path: Path) -> None:
    files = _with("bin/app", mode=0o4755, user=7), _with("bin/app", mode=0o4755)
    old, new = (_write(tmp_path / f"{n}.tar", one) for n, one in enumerate(files))
    (error,) = broken_rules(_diff(old, new), DiffSettings())
    assert "linux/amd64 has new setuid files" in error.what
    assert error.why == "bin/app  user 7 → 0"


@pytest.mark.parametrize("kept", ["linux/amd64", "linux/s390x"])
def test_a_platform_that_was_added_is_checked_by_rules(tmp_path: Path, kept: str) -> None:
    old = _write(tmp_path / "old.tar", platforms=("linux/ppc64le", kept))
    more = (TarEntry("bin/su", data=b"s", mode=0o4755),)
    new = _write(tmp_path / "new.tar", more=more, platforms=("linux/amd64", "linux/arm64"))
    report = _diff(old, new, DiffRequest(rules=True))
    names = [one.what.partition(" ")[0] for one in broken_rules(report, DiffSettings(size=0))]
    sizes = ["linux/amd64"] * (kept == "linux/amd64")
    assert names == ["linux/amd64", *sizes, "linux/arm64"]
    assert "(which had linux/" in broken_rules(report, DiffSettings())[-1].what
    same = _write(tmp_path / "same.tar", platforms=("linux/arm64",))
    assert not broken_rules(_diff(old, same, DiffRequest(rules=True)), DiffSettings())


@pytest.mark.parametrize(("share", "broken"), [(None, 0), (10.0, 0), (9.5, 1), (0.0, 1)])
def test_the_size_may_grow_by_a_share(share: float | None, broken: int) -> None:
    found = broken_rules(_report(), DiffSettings(size=share))
    assert len(found) == broken
    assert all("10.0 %" in error.what for error in found)


_WORDS = st.sampled_from(["a", "b", "c"])
_FACTS = st.builds(
    lambda mode, content, capability: {
        "kind": "file",
        "owner": "0:0",
        "mode": mode,
        "size": 1,
        "content": content,
        **({"capabilities": capability} if capability else {}),
    },
    st.sampled_from(["0644", "4755", "2755"]),
    _WORDS,
    st.sampled_from(["", "net_raw", "chown"]),
)
_VALUES = st.dictionaries(_WORDS, _WORDS)
_DESCRIPTIONS = st.builds(
    Description,
    platform=st.just("linux/amd64"),
    unpacked=st.integers(0, 3),
    packed=st.booleans(),
    layers=st.lists(st.builds(LayerFacts, _WORDS, st.integers(0, 3), _WORDS)).map(tuple),
    config=_VALUES,
    labels=_VALUES,
    base=_VALUES,
    hidden=st.frozensets(_WORDS),
    files=st.dictionaries(_WORDS, _FACTS),
    packages=st.none() | _VALUES,
    findings=st.none()
    | st.lists(st.builds(_finding, _WORDS, st.sampled_from(Severity), _WORDS)).map(tuple),
)


@given(_DESCRIPTIONS)
def test_an_image_does_not_differ_from_itself(one: Description) -> None:
    assert compare(one, one) == ()


@given(_DESCRIPTIONS, _DESCRIPTIONS)
def test_a_comparison_can_be_reversed(one: Description, other: Description) -> None:
    assert tuple(change.reverse() for change in compare(one, other)) == compare(other, one)
