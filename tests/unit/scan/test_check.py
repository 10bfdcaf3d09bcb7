"""The vulnerability gate, over scanners with given answers."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from ociwriter import ELF, OciWriter

from buildlib.config.load import load_config
from buildlib.config.scan import ScanIgnore, ScanSettings
from buildlib.errors import BuildlibError, GateError, InputError, ToolError
from buildlib.executor import Completed
from buildlib.findings.finding import Level
from buildlib.findings.sarif import as_sarif, dockerfile_uri
from buildlib.findings.vulnerability import Severity, Vulnerability, severity_of
from buildlib.image.archive import open_archive
from buildlib.scan import grype, trivy
from buildlib.scan.check import check_scan, find_scanner
from buildlib.scan.report import ScanReport, join_reports, make_report
from buildlib.scan.scanner import Scanned

from fakes import FakeExecutor, words_after

TODAY = date(2026, 6, 15)
GHSA = "GHSA-aaaa-bbbb-cccc"
CVE = "CVE-2026-0001"
MATCH: dict[str, Any] = {
    "vulnerability": {
        "id": GHSA,
        "severity": "High",
        "dataSource": f"https://example.org/{GHSA}",
        "fix": {"versions": ["1.2.4", "2.0.1"], "state": "fixed"},
    },
    "relatedVulnerabilities": [{"id": CVE, "dataSource": "nvd"}],
    "artifact": {
        "name": "leaky",
        "version": "1.2.3",
        "locations": [{"path": "/usr/lib/node_modules/leaky/package.json"}],
    },
}
RULE = {"vex-status": "not_affected", "vex-justification": "component_not_present"}
GRYPE_SAYS: dict[str, Any] = {
    "matches": [MATCH],
    "ignoredMatches": [
        {**MATCH, "appliedIgnoreRules": [RULE]},
        {**MATCH, "appliedIgnoreRules": [{"reason": "we know"}]},
        {**MATCH, "appliedIgnoreRules": []},
    ],
    "descriptor": {
        "name": "grype",
        "version": "0.121.2",
        "db": {"status": {"built": "2026-06-14T08:00:00Z", "valid": True}},
    },
}
BILL: dict[str, Any] = {
    "components": [
        {"type": "library", "name": "leaky", "purl": "pkg:npm/leaky@1.2.3"},
        {"type": "operating-system", "name": "alpine"},
        {"type": "file", "name": "/etc/x"},
    ]
}
ITEM: dict[str, Any] = {
    "VulnerabilityID": CVE,
    "VendorIDs": [GHSA],
    "PkgName": "leaky",
    "InstalledVersion": "1.2.3",
    "FixedVersion": "1.2.4, 2.0.1",
    "Severity": "HIGH",
    "PrimaryURL": f"https://example.org/{CVE}",
}
TRIVY_SAYS: dict[str, Any] = {
    "SchemaVersion": 2,
    "Results": [
        {
            "Target": "/somewhere/layout (debian 13)",
            "Class": "os-pkgs",
            "Packages": [{"Name": "libc6"}, {"Name": "leaky"}],
            "Vulnerabilities": [ITEM],
        },
        {
            "Target": "usr/bin/app",
            "Class": "lang-pkgs",
            "Packages": [{"Name": "stdlib"}],
            "Vulnerabilities": [
                {"VulnerabilityID": "CVE-2026-0002", "PkgName": "stdlib", "Severity": "UNKNOWN"}
            ],
            "ExperimentalModifiedFindings": [
                {
                    "Type": "vulnerability",
                    "Status": "not_affected",
                    "Statement": "component_not_present",
                    "Source": "OpenVEX",
                    "Finding": {**ITEM, "PkgPath": "usr/lib/leaky"},
                },
                {"Type": "secret", "Status": "ignored", "Finding": {}},
            ],
        },
        {"Target": "nothing", "Class": "lang-pkgs"},
    ],
}
GRYPE_ENV = ("env", "GRYPE_CHECK_FOR_APP_UPDATE=false", "NO_COLOR=1", "grype")
TRIVY_ENV = (
    *("env", "TRIVY_SKIP_VERSION_CHECK=true", "TRIVY_DISABLE_TELEMETRY=true", "NO_COLOR=1"),
    "trivy",
)
RELOCATABLE = ELF[:16] + b"\1" + ELF[17:]
# An image of which a scanner should know something.
PROGRAM = {"a": b"x", "usr/bin/thing": ELF}
NOT_HERE = Completed(code=127, stderr="env: 'x': No such file or directory")


def _ok(data: object) -> Completed:
    return Completed(code=0, stdout=json.dumps(data))


class Scanners(FakeExecutor):
    """Answers as a table says, and writes what it is given to each file that is asked for."""

    def __init__(
        self,
        changes: Mapping[tuple[str, ...], Completed] | None = None,
        files: Mapping[str, object] | None = None,
    ) -> None:
        database = {"UpdatedAt": "2026-06-14T06:00:00Z"}
        answers = {
            (*GRYPE_ENV, "version"): _ok({"version": "0.121.2"}),
            (*GRYPE_ENV, "db", "status"): _ok({"valid": True}),
            GRYPE_ENV: Completed(code=0),
            (*TRIVY_ENV, "version"): _ok({"Version": "0.67.2", "VulnerabilityDB": database}),
            (*TRIVY_ENV, "image"): Completed(code=0),
            **(changes or {}),
        }
        # The longest beginning is the closest.
        super().__init__(dict(sorted(answers.items(), key=lambda item: -len(item[0]))))
        self.files = {
            "grype.json": GRYPE_SAYS,
            "grype.cdx.json": BILL,
            "trivy.json": TRIVY_SAYS,
            **(files or {}),
        }
        self.read: list[str] = []

    def _answer(self, argv: Sequence[str]) -> Completed:
        for output in words_after(argv, "--output"):
            path = Path(output.rpartition("=")[2])
            if path.name in self.files:
                path.write_text(_text(self.files[path.name]), encoding="utf-8")
        for word in argv:
            if word.startswith("oci-archive:"):
                with open_archive(Path(word.partition(":")[2])) as archive:
                    self.read += [image.platform for image in archive.images()]
        for layout in words_after(argv, "--input"):
            assert json.loads(Path(layout, "oci-layout").read_text("utf-8"))
            assert Path(layout, "blobs", "sha256").is_dir()
        return super()._answer(argv)

    def scans(self) -> list[tuple[str, ...]]:
        return [argv for argv in self.asked if {"--input", "oci-archive"} & _kinds(argv)]


def _kinds(argv: Sequence[str]) -> set[str]:
    return {word.partition(":")[0] for word in argv}


def _text(data: object) -> str:
    return data if isinstance(data, str) else json.dumps(data)


Check = Callable[..., ScanReport]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Return a scan of an image of two platforms."""

    def run(
        executor: FakeExecutor, files: Mapping[str, bytes] = PROGRAM, **settings: object
    ) -> ScanReport:
        writer = OciWriter()
        layer = writer.layer(files)
        other = writer.image([layer], platform=("linux", "arm", "v7"))
        path = writer.write(tmp_path / "i.tar", writer.index(writer.image([layer]), other))
        known = ScanSettings(**settings)  # type: ignore[arg-type]
        with open_archive(path) as archive:
            return check_scan(archive, known, executor, root=tmp_path, image="thing", today=TODAY)

    return run


def test_the_lines_that_are_run(tmp_path: Path) -> None:
    vex = [tmp_path / "a.json", tmp_path / "b.json"]
    assert (*GRYPE_ENV, "version", "--output", "json") == grype.VERSION
    assert (*GRYPE_ENV, "db", "status", "--output", "json") == grype.STATUS
    assert grype.scan_argv(tmp_path / "image.tar", vex) == (
        *GRYPE_ENV,
        f"oci-archive:{tmp_path}/image.tar",
        *("--output", f"json={tmp_path}/grype.json"),
        *("--output", f"cyclonedx-json={tmp_path}/grype.cdx.json"),
        *("--vex", f"{tmp_path}/a.json", "--vex", f"{tmp_path}/b.json"),
    )
    assert (*TRIVY_ENV, "version", "--format", "json") == trivy.VERSION
    assert trivy.scan_argv(tmp_path / "layout", tmp_path / "trivy.json", vex) == (
        *(*TRIVY_ENV, "image", "--input", f"{tmp_path}/layout"),
        *("--scanners", "vuln", "--no-progress"),
        *("--severity", "UNKNOWN,LOW,MEDIUM,HIGH,CRITICAL"),
        *("--ignore-unfixed=false", "--exit-code", "0"),
        *("--list-all-pkgs", "--show-suppressed"),
        *("--vex", f"{tmp_path}/a.json", "--vex", f"{tmp_path}/b.json"),
        *("--format", "json", "--output", f"{tmp_path}/trivy.json"),
    )


def test_what_grype_says() -> None:
    scanned = grype.parse(GRYPE_SAYS, BILL, "linux/amd64")
    assert scanned.findings == (
        Vulnerability(
            rule=GHSA,
            severity=Severity.HIGH,
            package="leaky",
            version="1.2.3",
            platform="linux/amd64",
            fixed_in=("1.2.4", "2.0.1"),
            link=f"https://example.org/{GHSA}",
            source="grype",
            path="/usr/lib/node_modules/leaky/package.json",
            aliases=(CVE,),
        ),
    )
    assert (scanned.packages, scanned.database) == (1, "2026-06-14T08:00:00Z")
    assert [by for _, by in scanned.suppressed] == [
        "VEX: not_affected component_not_present",
        "grype's own configuration: we know",
        "grype's own configuration: no reason given",
    ]


def test_what_trivy_says() -> None:
    scanned = trivy.parse(TRIVY_SAYS, "linux/amd64", "2026-06-14T06:00:00Z")
    system, language = scanned.findings
    assert system == Vulnerability(
        rule=CVE,
        severity=Severity.HIGH,
        package="leaky",
        version="1.2.3",
        platform="linux/amd64",
        fixed_in=("1.2.4", "2.0.1"),
        link=f"https://example.org/{CVE}",
        source="trivy",
        aliases=(GHSA,),
    )
    assert (language.rule, language.severity) == ("CVE-2026-0002", Severity.UNKNOWN)
    assert (language.path, language.fixed_in, language.fix) == ("usr/bin/app", (), "no fix")
    assert scanned.packages == 3
    ((left, by),) = scanned.suppressed
    assert (left.path, by) == (
        "usr/lib/leaky",
        "OpenVEX: not_affected: component_not_present",
    )


def test_an_image_without_a_vulnerability() -> None:
    said = {**GRYPE_SAYS, "matches": [], "ignoredMatches": None}
    assert grype.parse(said, BILL, "linux/amd64").findings == ()
    empty = trivy.parse({"SchemaVersion": 2}, "linux/amd64", "")
    assert empty == Scanned((), (), 0, "")


def test_each_platform_is_given_to_grype_by_itself(check: Check) -> None:
    executor = Scanners()
    report = check(executor)
    assert executor.read == ["linux/amd64", "linux/arm/v7"]
    assert [finding.platform for finding in report.findings] == executor.read
    assert (report.scanner, report.version) == ("grype", "0.121.2")
    assert (report.database, report.threshold) == ("2026-06-14T08:00:00Z", Severity.HIGH)
    assert report.platforms == (("linux/amd64", 1), ("linux/arm/v7", 1))


@pytest.mark.parametrize(
    ("changes", "wanted", "scanner"),
    [
        ({}, "", "grype"),
        ({}, "grype", "grype"),
        ({}, "trivy", "trivy"),
        ({(*GRYPE_ENV, "version"): NOT_HERE}, "", "trivy"),
    ],
)
def test_the_scanner_that_is_wanted_or_the_first_that_is_here(
    check: Check, changes: dict[tuple[str, ...], Completed], wanted: str, scanner: str
) -> None:
    executor = Scanners(changes)
    assert check(executor, scanner=wanted).scanner == scanner
    assert all(scanner in argv for argv in executor.scans())
    assert len(executor.scans()) == 2


def test_trivy_is_asked_for_its_database_after_the_scan(check: Check) -> None:
    executor = Scanners()
    report = check(executor, scanner="trivy")
    assert (report.version, report.database) == ("0.67.2", "2026-06-14T06:00:00Z")
    assert ["image" in argv for argv in executor.asked] == [False, True, False, True, False]


def test_what_would_be_unpacked_elsewhere_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "deep" / "image.tar"
    archive.parent.mkdir()
    with tarfile.open(archive, "w") as tar:
        tar.addfile(tarfile.TarInfo("blobs/../../../escaped"))
    with pytest.raises(InputError, match="is outside of it"):
        trivy.TRIVY.scan(Scanners(), archive, "linux/amd64", ())
    assert not (tmp_path / "escaped").exists()
    archive.write_bytes(b"no archive")
    with pytest.raises(InputError, match="can't unpack the image for linux/amd64"):
        trivy.TRIVY.scan(Scanners(), archive, "linux/amd64", ())


def test_a_grype_that_knows_no_version_is_reported_without_one(check: Check) -> None:
    executor = Scanners({(*GRYPE_ENV, "version"): _ok({"version": "[not provided]"})})
    assert "\ngrype, database of 2026-06-14T08:00:00Z\n" in check(executor).as_text()


def test_a_threshold_of_the_users_own_does_not_stop_grype(check: Check) -> None:
    assert check(Scanners({GRYPE_ENV: Completed(code=2, stderr="above")})).findings


def test_vex_files_are_those_of_the_project(check: Check, tmp_path: Path) -> None:
    (tmp_path / "security").mkdir()
    (tmp_path / "security" / "vex.json").write_text("{}", encoding="utf-8")
    executor = Scanners()
    check(executor, vex=("security/vex.json",))
    for argv in executor.scans():
        assert words_after(argv, "--vex") == [str((tmp_path / "security/vex.json").resolve())]
    with pytest.raises(InputError, match=r"scan\.vex: there is no file other\.json"):
        check(executor, vex=("other.json",))


FAILED = Completed(code=1, stderr="[0000] WARN x\n\x1b[31m[0001] ERROR it went wrong\x1b[0m\n")
NO_DATABASE = Completed(code=1, stderr="ERROR failed to load vulnerability db: no database\n")
TRIVY_DATABASE = Completed(
    code=1, stderr="FATAL Fatal error run error: init error: DB error: failed to download\n"
)
Case = tuple[dict[tuple[str, ...], Completed], dict[str, object], str, type[BuildlibError], str]
STATUS = (*GRYPE_ENV, "db", "status")
FAULTS: dict[str, Case] = {
    "there is no scanner": (
        {(*GRYPE_ENV, "version"): NOT_HERE, (*TRIVY_ENV, "version"): NOT_HERE},
        {},
        "",
        ToolError,
        "grype and trivy not found: nothing was scanned",
    ),
    "the scanner that is wanted is not here": (
        {(*GRYPE_ENV, "version"): NOT_HERE},
        {},
        "grype",
        ToolError,
        "grype not found: nothing was scanned",
    ),
    "the scanner does not start": (
        {(*GRYPE_ENV, "version"): FAILED},
        {},
        "",
        ToolError,
        "grype does not work",
    ),
    "grype has no database": (
        {GRYPE_ENV: NO_DATABASE},
        {},
        "",
        ToolError,
        "grype has no vulnerability database that it would use",
    ),
    "grype has one that it would not use, and says so in other words": (
        {GRYPE_ENV: FAILED, STATUS: Completed(code=1, stdout='{"valid": false}')},
        {},
        "",
        ToolError,
        "grype has no vulnerability database that it would use",
    ),
    "grype does not tell how its database is": (
        {GRYPE_ENV: FAILED, STATUS: Completed(code=0, stdout="fine")},
        {},
        "",
        ToolError,
        "grype has no vulnerability database that it would use",
    ),
    "trivy has no database": (
        {(*TRIVY_ENV, "image"): TRIVY_DATABASE},
        {},
        "trivy",
        ToolError,
        "trivy has no vulnerability database that it would use",
    ),
    "grype fails": (
        {GRYPE_ENV: FAILED},
        {},
        "",
        GateError,
        "grype can't scan the image for linux/amd64\n  [0001] ERROR it went wrong",
    ),
    "trivy fails": (
        {(*TRIVY_ENV, "image"): Completed(code=1)},
        {},
        "trivy",
        GateError,
        "trivy can't scan the image for linux/amd64\n  it exited with code 1",
    ),
    "a version that is nonsense": (
        {(*GRYPE_ENV, "version"): Completed(code=0, stdout="grype 0.1")},
        {},
        "",
        GateError,
        "the answer of grype can't be understood",
    ),
    "a report that is nonsense": (
        {},
        {"grype.json": "not JSON"},
        "",
        GateError,
        "the answer of grype can't be understood",
    ),
    "a report that is another's": (
        {},
        {"grype.json": {"Results": []}},
        "",
        GateError,
        "KeyError: 'descriptor'",
    ),
    "a report that is a list": (
        {},
        {"trivy.json": [1]},
        "trivy",
        GateError,
        "the answer of trivy can't be understood",
    ),
    "a report of another kind": (
        {},
        {"trivy.json": {"SchemaVersion": 3}},
        "trivy",
        GateError,
        "SchemaVersion 3",
    ),
    "a match without a package": (
        {},
        {"grype.json": {**GRYPE_SAYS, "matches": [{"vulnerability": {"id": "x"}}]}},
        "",
        GateError,
        "KeyError: 'artifact'",
    ),
    "grype sees no package": (
        {},
        {"grype.cdx.json": {"components": [{"type": "file"}]}},
        "",
        GateError,
        "grype sees no package in the image for linux/amd64: nothing is known",
    ),
    "trivy sees no package": (
        {},
        {"trivy.json": {"SchemaVersion": 2}},
        "trivy",
        GateError,
        "trivy sees no package in the image for linux/amd64: nothing is known",
    ),
}


SEES_NOTHING = {
    "grype.json": {**GRYPE_SAYS, "matches": [], "ignoredMatches": None},
    "grype.cdx.json": {"components": []},
    "trivy.json": {"SchemaVersion": 2},
}


@pytest.mark.parametrize("scanner", ["grype", "trivy"])
@pytest.mark.parametrize(
    ("files", "allowed"),
    [({"bin/run": b"#!/bin/sh\n", "lib/x.o": RELOCATABLE}, False), (PROGRAM, True), ({}, False)],
    ids=["files", "programs that may be unknown", "nothing"],
)
def test_an_image_without_a_package_is_a_warning_and_passes(
    check: Check, scanner: str, files: Mapping[str, bytes], *, allowed: bool
) -> None:
    executor = Scanners(files=SEES_NOTHING)
    report = check(executor, files, scanner=scanner, allow_unknown=allowed)
    assert report.problems() == []
    assert report.platforms == (("linux/amd64", 0), ("linux/arm/v7", 0))
    assert report.warnings() == tuple(
        f"{scanner} sees no package in the image for {platform}: no vulnerability of what is in it "
        "would be known"
        for platform in ("linux/amd64", "linux/arm/v7")
    )


@pytest.mark.parametrize("head", [b"\0asm\1\0\0\0", b"MZ\x90\0"], ids=["WebAssembly", "Windows"])
def test_a_program_of_any_kind_has_to_be_known(check: Check, head: bytes) -> None:
    with pytest.raises(GateError, match="it holds a program, /app") as caught:
        check(Scanners(files=SEES_NOTHING), {"app": head})
    assert "allow-unknown = true in the table scan" in caught.value.hint


@pytest.mark.parametrize(
    ("changes", "files", "wanted", "kind", "message"), FAULTS.values(), ids=FAULTS
)
def test_a_gate_that_can_not_tell_has_not_passed(
    check: Check,
    changes: dict[tuple[str, ...], Completed],
    files: dict[str, object],
    wanted: str,
    kind: type[BuildlibError],
    message: str,
) -> None:
    with pytest.raises(kind) as caught:
        check(Scanners(changes, files), scanner=wanted)
    assert message in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_a_scanner_that_writes_nothing_has_not_scanned(check: Check) -> None:
    executor = Scanners()
    del executor.files["grype.json"]
    with pytest.raises(GateError, match="the answer of grype can't be understood"):
        check(executor)


def _finding(severity: str = "high", **facts: object) -> Vulnerability:
    known: dict[str, object] = {
        "rule": GHSA,
        "severity": Severity(severity),
        "package": "leaky",
        "version": "1.2.3",
        "platform": "linux/amd64",
        "fixed_in": ("1.2.4",),
        "link": f"https://example.org/{GHSA}",
        "aliases": (CVE,),
    }
    return Vulnerability(**{**known, **facts})  # type: ignore[arg-type]


def _report(*findings: Vulnerability, **settings: object) -> ScanReport:
    scans = [("linux/amd64", Scanned(findings, (), 12, ""))]
    known = ScanSettings(**settings)  # type: ignore[arg-type]
    return make_report("thing", ("grype", "1"), scans, known, TODAY)


@pytest.mark.parametrize(
    ("threshold", "blocking"),
    [
        ("negligible", "critical high medium low unknown negligible"),
        ("low", "critical high medium low unknown"),
        ("medium", "critical high medium"),
        ("high", "critical high"),
        ("critical", "critical"),
    ],
)
def test_the_threshold_and_what_is_worse_fails(threshold: str, blocking: str) -> None:
    findings = [_finding(severity, rule=f"CVE-{severity}") for severity in Severity]
    report = _report(*findings, severity=Severity(threshold))
    assert {str(one.severity) for one in report.errors} == set(blocking.split())
    assert len(report.findings) == len(Severity)
    assert report.findings[0].severity is Severity.CRITICAL


def test_a_severity_in_another_word_is_unknown_and_counts_as_low() -> None:
    assert [severity_of(word) for word in ("Critical", "MODERATE", None)] == [
        Severity.CRITICAL,
        Severity.UNKNOWN,
        Severity.UNKNOWN,
    ]
    assert Severity.UNKNOWN.rank == Severity.LOW.rank


def test_what_has_no_fix_is_only_a_warning_where_that_is_wanted() -> None:
    findings = (_finding(), _finding("critical", rule="CVE-2", fixed_in=()))
    assert len(_report(*findings).errors) == 2
    report = _report(*findings, only_fixed=True)
    assert [one.rule for one in report.errors] == [GHSA]
    assert report.as_text().splitlines()[0].startswith("warning  critical  CVE-2")
    assert "1 of severity high or worse with a fix, 1 warning" in report.as_text()


def _ignore(name: str, until: date = TODAY, package: str = "") -> ScanIgnore:
    return ScanIgnore(id=name, reason="vendor", until=until, package=package)


IGNORES: dict[str, tuple[ScanIgnore, str]] = {
    "its name": (_ignore(GHSA), "ignored"),
    "another name of it": (_ignore(CVE), "ignored"),
    "the package": (_ignore(CVE, package="leaky"), "ignored"),
    "a pattern": (_ignore(CVE, package="leak*"), "ignored"),
    "another package": (_ignore(CVE, package="tight"), "counts"),
    "another one": (_ignore("CVE-2026-0009"), "counts"),
    "until yesterday": (_ignore(CVE, date(2026, 6, 14)), "counts again"),
}


@pytest.mark.parametrize(("ignore", "outcome"), IGNORES.values(), ids=IGNORES)
def test_what_an_ignore_is_about(ignore: ScanIgnore, outcome: str) -> None:
    finding = _finding()
    report = _report(finding, ignore=(ignore,))
    if outcome == "ignored":
        failing = replace(finding, level=Level.ERROR)
        assert (report.findings, report.ignored) == ((), ((failing, ignore),))
        assert report.problems() == []
        assert "until 2026-06-15: vendor" in report.as_text()
    else:
        assert [one.rule for one in report.errors] == [GHSA]
        (problem,) = report.problems()
        assert "thing has 1 known vulnerabilities of severity high" in str(problem)
    assert report.unused == ((ignore,) if outcome == "counts" else ())
    again = outcome == "counts again"
    assert [why for _, why in report.expired] == ([ignore] if again else [])
    assert ("(it was ignored until 2026-06-14)" in report.as_text()) == again


def test_the_error_has_a_table_of_what_fails() -> None:
    low = _finding("low", rule="CVE-mild")
    many = [_finding(rule=f"CVE-{number:02}") for number in range(22)]
    (problem,) = _report(low, *many).problems()
    lines = str(problem).splitlines()
    assert lines[1] == "  high  CVE-00  leaky 1.2.3  linux/amd64  fixed in 1.2.4"
    assert lines[21:] == [
        "  … and 2 more",
        "  update what is fixed; [[scan.ignore]] ignores one for a time, VEX for good",
    ]
    assert "CVE-mild" not in str(problem)


def test_the_same_finding_counts_once() -> None:
    assert len(_report(_finding(), _finding()).findings) == 1


def test_the_report_as_text_and_json() -> None:
    scan = grype.parse(GRYPE_SAYS, BILL, "linux/amd64")
    ignores = (_ignore(CVE, date(2026, 6, 1)), _ignore("CVE-2026-0009"))
    settings = ScanSettings(ignore=ignores)
    report = make_report("thing", ("grype", "0.121.2"), [("linux/amd64", scan)], settings, TODAY)
    looked, counts = report.as_text().splitlines()[-2:]
    assert looked == "grype 0.121.2, database of 2026-06-14T08:00:00Z"
    assert counts.startswith("linux/amd64 (1 package): 1 of severity high or worse, 0 warnings")
    assert counts.endswith("0 ignored, 3 left out by grype")
    data = json.loads(json.dumps(report.as_dict()))
    assert (data["image"], data["passed"], data["threshold"]) == ("thing", False, "high")
    assert data["scanner"] == {
        "name": "grype",
        "version": "0.121.2",
        "database": "2026-06-14T08:00:00Z",
    }
    (platform,) = data["platforms"]
    assert (platform["platform"], platform["packages"]) == ("linux/amd64", 1)
    assert platform["findings"][0]["blocks"] is True
    assert platform["findings"][0]["fixed_in"] == ["1.2.4", "2.0.1"]
    assert (data["expired"][0]["until"], data["unused"][0]["id"]) == (
        "2026-06-01",
        "CVE-2026-0009",
    )
    assert data["suppressed"][0]["by"] == "VEX: not_affected component_not_present"


def test_sarif_has_what_code_scanning_reads() -> None:
    mild = _finding("low", package="other", fixed_in=())
    bare = _finding("medium", rule="CVE-2026-0003", link="", path="/usr/bin/app", aliases=())
    ignored = _finding("critical", rule="CVE-2026-0002")
    report = _report(
        *(_finding(), mild, bare, ignored),
        ignore=(_ignore("CVE-2026-0002"), _ignore(CVE, date(2026, 6, 1), "leaky")),
    )
    document = json.loads(json.dumps(as_sarif(report, dockerfile="docker/Dockerfile")))
    (run,) = document["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["CVE-2026-0002", "CVE-2026-0003", GHSA]
    # The worst finding speaks for the rule.
    assert rules[2]["properties"] == {"security-severity": "8.0", "tags": ["security"]}
    assert rules[2]["helpUri"] == f"https://example.org/{GHSA}"
    assert "helpUri" not in rules[1]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        physical = result["locations"][0]["physicalLocation"]
        assert physical["artifactLocation"]["uri"] == "docker/Dockerfile"
    first, second, third, last = run["results"]
    assert [one["level"] for one in run["results"]] == ["error", "warning", "warning", "error"]
    assert first["message"]["text"] == (
        "linux/amd64: leaky 1.2.3: fixed in 1.2.4 (it was ignored until 2026-06-01)"
    )
    assert second["message"]["text"].startswith("linux/amd64 /usr/bin/app: leaky 1.2.3")
    assert third["message"]["text"] == "linux/amd64: other 1.2.3: no fix"
    assert last["suppressions"][0]["justification"] == "vendor (until 2026-06-15)"
    prints = {next(iter(one["partialFingerprints"].values())) for one in run["results"]}
    assert len(prints) == 4


def test_a_dockerfile_outside_of_the_repository_goes_by_its_name(tmp_path: Path) -> None:
    root = tmp_path / "repo"
    assert dockerfile_uri(root, root / "docker" / "Dockerfile") == "docker/Dockerfile"
    assert dockerfile_uri(root, tmp_path / "elsewhere" / "Other") == "Other"


BAD_TABLES = {
    "an unknown key": ("severty = 'high'", "did you mean scan.severity"),
    "a scanner that is none": ("scanner = 'gripe'", "did you mean grype"),
    "a severity that is none": ("severity = 'hihg'", "did you mean high"),
    "a severity that is no threshold": ("severity = 'unknown'", "there is no severity 'unknown'"),
    "a flag that is none": ("only-fixed = 1", "true or false"),
    "files that are none": ("vex = [1]", "a list of texts"),
    "no reason": (
        "[[scan.ignore]]\nid = 'CVE-1'\nuntil = 2027-01-31",
        "scan.ignore lacks reason",
    ),
    "nothing but a package": ("[[scan.ignore]]\npackage = 'x'", "lacks id and reason and until"),
    "a date that is none": (
        "[[scan.ignore]]\nid = 'CVE-1'\nreason = 'x'\nuntil = 'soon'",
        "a date, such as 2027-01-31",
    ),
    "ignores that are no list": ("ignore = 'CVE-1'", "a list of tables [[scan.ignore]]"),
}


@pytest.mark.parametrize(("text", "message"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_a_bad_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "buildlib.toml").write_text(f'image = "t"\n[scan]\n{text}\n', encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_config(tmp_path, {})
    assert message in str(caught.value)


def test_a_good_table(tmp_path: Path) -> None:
    text = """
image = "t"
[scan]
scanner = "trivy"
severity = "medium"
only-fixed = true
vex = ["security/vex.json"]
[[scan.ignore]]
id = "CVE-2026-0001"
package = "leaky"
reason = "not reached"
until = 2027-01-31
"""
    (tmp_path / "buildlib.toml").write_text(text, encoding="utf-8")
    assert load_config(tmp_path, {}).scan_settings() == ScanSettings(
        scanner="trivy",
        severity=Severity.MEDIUM,
        only_fixed=True,
        vex=("security/vex.json",),
        ignore=(
            ScanIgnore(id=CVE, reason="not reached", until=date(2027, 1, 31), package="leaky"),
        ),
    )


def test_without_a_table_there_are_defaults(tmp_path: Path) -> None:
    (tmp_path / "buildlib.toml").write_text('image = "t"\n', encoding="utf-8")
    settings = load_config(tmp_path, {}).scan_settings()
    assert settings == ScanSettings()
    assert (settings.severity, settings.only_fixed) == (Severity.HIGH, False)


def test_reports_of_several_images_become_one() -> None:
    ignores = (_ignore("CVE-2"), _ignore("CVE-3"))
    both, waived = _finding(level=Level.ERROR), _finding(rule="CVE-2", level=Level.ERROR)
    other = replace(both, rule="CVE-4", severity=Severity.CRITICAL, platform="linux/arm64")
    settings = ScanSettings(ignore=ignores)
    scans = {
        "one": [("linux/amd64", Scanned((both, waived), (), 12, "2026-06-14"))],
        "two": [
            ("linux/amd64", Scanned((both,), (), 11, "2026-06-13")),
            ("linux/arm64", Scanned((other,), (), 11, "2026-06-13")),
        ],
    }
    reports = [
        make_report(name, ("grype", "1"), scan, settings, TODAY) for name, scan in scans.items()
    ]
    joined = join_reports(reports)
    assert (joined.image, joined.database) == ("one, two", "2026-06-13")
    assert joined.platforms == (("linux/amd64", 11), ("linux/arm64", 11))
    assert joined.findings == (other, both)
    assert joined.ignored == ((waived, ignores[0]),)
    # What one image needs is not unused for want of it in the other.
    assert joined.unused == (ignores[1],)
    assert join_reports(reports[:1]) == reports[0]


def test_a_scanner_without_a_database_is_found_before_a_build(tmp_path: Path) -> None:
    version = Completed(code=0, stdout='{"version": "1", "Version": "1"}')
    gone = Completed(code=1, stdout='{"valid": false}')
    refused = "ERROR failed to load vulnerability db: database does not exist"
    answers: dict[tuple[str, ...], Completed] = {
        grype.STATUS: gone,
        grype.NOTHING: Completed(code=1, stderr=refused),
        trivy.DOWNLOAD: Completed(code=1, stderr="FATAL DB error: no connection"),
        ("env",): version,
    }
    for name in ("grype", "trivy"):
        settings = ScanSettings(scanner=name)
        with pytest.raises(ToolError, match=f"{name} has no vulnerability database") as caught:
            find_scanner(settings, FakeExecutor(answers), tmp_path)
        assert "gets one" in caught.value.hint
        assert find_scanner(settings, FakeExecutor(answers), tmp_path, database=False)
    # It got one, is an older version, or was told not to ask.
    others: tuple[tuple[tuple[str, ...], Completed], ...] = (
        (grype.NOTHING, version),
        (grype.NOTHING, Completed(code=1, stderr="could not determine source")),
        (grype.STATUS, Completed(code=0, stdout='{"valid": true}')),
    )
    for argv, said in others:
        assert find_scanner(
            ScanSettings(scanner="grype"), FakeExecutor({**answers, argv: said}), tmp_path
        )
    forbidden = Completed(code=1, stderr="options can not be specified both")
    assert find_scanner(
        ScanSettings(scanner="trivy"),
        FakeExecutor({**answers, trivy.DOWNLOAD: forbidden}),
        tmp_path,
    )
