"""What each check reports, word for word: for people, programs, and the services that read it."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from goldenfiles import Golden

from buildlib.bases.check import BasesReport, BaseStatus
from buildlib.bases.end_of_life import Lifetimes
from buildlib.bases.newer_tags import Newer
from buildlib.builders.manager import BuildersReport, BuilderStatus, NodeStatus
from buildlib.config.policy import PolicyIgnore
from buildlib.config.scan import ScanIgnore, ScanSettings
from buildlib.diff.compare import Change, Section
from buildlib.diff.describe import Facts
from buildlib.diff.report import DiffReport, PlatformDiff, Side
from buildlib.dockerfile.pins import Base
from buildlib.findings.finding import Finding, Level
from buildlib.findings.report import Report
from buildlib.findings.sarif import as_sarif
from buildlib.findings.vulnerability import Severity, Vulnerability
from buildlib.image.sbom import Sbom, SbomReport
from buildlib.image.size import FileSize, ImageSize, LayerSize, RecordedSize, SizeRecord, SizeReport
from buildlib.policy import report as policy
from buildlib.reproduce.diff import Difference
from buildlib.reproduce.report import ReproductionReport
from buildlib.reproduce.timestamps import Late
from buildlib.scan import report as scan
from buildlib.scan.scanner import Scanned, Suppressed
from buildlib.smoke.report import CheckResult, CheckState, PlatformResult, SmokeReport
from buildlib.terminal.text import to_json

TODAY = date(2026, 6, 15)
AMD64, ARM64 = "linux/amd64", "linux/arm64"
OLD, NEW = "sha256:" + "0" * 64, "sha256:" + "1" * 64


def _policy() -> policy.PolicyReport:
    setuid = Finding(
        rule="no-setuid",
        level=Level.ERROR,
        message="setuid or setgid: mode 4755",
        platform=AMD64,
        layer=2,
        path="/bin/su",
    )
    findings = [
        Finding(rule="non-root", level=Level.NOTE, message="it starts as root", platform=AMD64),
        Finding(
            rule="no-world-writable",
            level=Level.WARNING,
            message="everybody can write it: mode 0666",
            platform=ARM64,
            layer=1,
            path="/etc/conf",
            base=True,
        ),
        setuid,
        Finding(rule="hadolint/DL3018", level=Level.ERROR, message="Pin versions", line=7),
        Finding(
            rule="build-check/StageNameCasing",
            level=Level.WARNING,
            message="Stage name 'A' should be lowercase",
            line=3,
            link="https://docs.docker.com/go/dockerfile/rule/stage-name-casing/",
        ),
        Finding(rule="pinned-base", level=Level.ERROR, message="alpine is not", path="alpine"),
        Finding(rule="complete-labels", level=Level.ERROR, message="missing", platform=AMD64),
    ]
    ignores = [
        PolicyIgnore(rule="no-setuid", reason="vendor", until=TODAY, path="/bin/*"),
        PolicyIgnore(rule="complete-labels", reason="internal image"),
        PolicyIgnore(rule="hadolint", reason="later", until=date(2026, 6, 14)),
        PolicyIgnore(rule="no-secrets", reason="gone", path="/etc/x"),
    ]
    return policy.make_report("thing:1", [AMD64, ARM64], findings, ignores, TODAY)


def _vulnerability(name: str, severity: Severity, **facts: object) -> Vulnerability:
    known: dict[str, object] = {
        "package": "leaky",
        "version": "1.2.3",
        "platform": AMD64,
        "fixed_in": ("1.2.4", "2.0.1"),
        "link": f"https://example.org/{name}",
        "source": "grype",
    }
    return Vulnerability(rule=name, severity=severity, **{**known, **facts})  # type: ignore[arg-type]


def _scan() -> scan.ScanReport:
    findings = (
        _vulnerability("CVE-1", Severity.MEDIUM),
        _vulnerability("CVE-2", Severity.CRITICAL, aliases=("GHSA-2",), path="/usr/lib/leaky"),
        _vulnerability("CVE-3", Severity.HIGH, fixed_in=(), link=""),
        _vulnerability("CVE-4", Severity.HIGH),
        _vulnerability("CVE-5", Severity.HIGH, package="other"),
        _vulnerability("CVE-6", Severity.UNKNOWN, package="other"),
    )
    ignores = (
        ScanIgnore(id="GHSA-2", reason="never reached", until=TODAY),
        ScanIgnore(id="CVE-4", reason="waiting", until=date(2026, 6, 14), package="leaky"),
        ScanIgnore(id="CVE-9", reason="gone", until=TODAY, package="leaky"),
    )
    left_out = Suppressed(_vulnerability("CVE-7", Severity.LOW), "VEX: not_affected")
    scans = [
        (AMD64, Scanned(findings, (left_out,), 12, "2026-06-14T08:00:00Z")),
        (ARM64, Scanned((), (), 0, "2026-06-14T08:00:00Z")),
    ]
    settings = ScanSettings(ignore=ignores, only_fixed=True)
    return scan.make_report("thing:1", ("grype", "0.121.2"), scans, settings, TODAY)


def _size() -> SizeReport:
    layers = (
        LayerSize(digest=OLD, stored=3_000_000, unpacked=8_000_000, files=90, created_by=""),
        LayerSize(
            digest=NEW, stored=900_000, unpacked=2_500_000, files=2, created_by="COPY program /"
        ),
    )
    images = tuple(
        ImageSize(
            platform=platform,
            digest=NEW,
            stored=3_900_000,
            unpacked=10_500_000,
            budget=budget,
            layers=layers,
            largest=largest,
        )
        for platform, budget, largest in (
            (AMD64, 3_000_000, (FileSize(path="program", size=2_400_000, layer=2),)),
            (ARM64, 0, ()),
        )
    )
    before = RecordedSize(stored=3_500_000, unpacked=10_000_000, layers=(("", 3_000_000),))
    record = SizeRecord(version="1.2.0", platforms={AMD64: before})
    return SizeReport(images=images, record=record, growth=5)


def _smoke() -> SmokeReport:
    good = CheckResult(check="healthy", state=CheckState.PASSED, seconds=0.25)
    away = CheckResult(check="socket", state=CheckState.LEFT_OUT, detail="not here")
    bad = CheckResult(
        check="a|b",
        state=CheckState.FAILED,
        seconds=1,
        detail="exit code 3\nlog <b>",
        repeat="docker run thing",
    )
    results = tuple(
        PlatformResult(
            image="thing:1",
            platform=platform,
            digest=NEW,
            version="1.2.3",
            seconds=2.5,
            checks=checks,
        )
        for platform, checks in ((AMD64, (good, away)), (ARM64, (good, bad)))
    )
    return SmokeReport(results=results)


def _reproduction() -> ReproductionReport:
    made = {"platform": AMD64, "made_by": "RUN make"}
    return ReproductionReport(
        image="thing",
        version="1.2.3",
        platforms=(AMD64,),
        epoch=1_700_000_000,
        digests=(OLD, NEW),
        archives=("/kept/first.oci.tar", "/kept/second.oci.tar"),
        seconds=12.3456,
        differences=(
            Difference(part="layer 2", item="/app", what="content", first="a", second="b", **made),
            Difference(part="layer 2", item="", what="order of the entries", **made),
        ),
        late=(Late(part="layer 2", item="app", time="2026-01-01T00:00:00Z", **made),),
        source="commit 0123456",
        tools={"buildx": "v0.13.1", "engine": "26.1.5"},
    )


def _bases() -> BasesReport:
    made = datetime(2026, 6, 5, tzinfo=UTC)
    lifetimes = Lifetimes(checked=date(2026, 6, 1), sources=("https://example.org/ends",))
    bases = (
        BaseStatus(
            base=Base(reference="alpine:3.22", digests=(OLD,), lines=(1, 4)),
            current=NEW,
            created=made,
            platforms=(AMD64, ARM64),
            newer=Newer(patch="3.22.1", minor="3.23"),
            end_of_life=date(2026, 5, 1),
            others=("3.22.1 is newer", "past its end of life since 2026-05-01"),
        ),
        BaseStatus(
            base=Base(reference="busybox:1.36", digests=("",), lines=(2,)),
            unknown=("newer tags are not known: denied",),
        ),
    )
    return BasesReport(bases=bases, today=TODAY, lifetimes=lifetimes, table_max_age=30)


def _builders() -> BuildersReport:
    node = NodeStatus(
        name="farm0",
        endpoint="tcp://build-1:1234",
        platforms=(AMD64,),
        state="running",
        buildkit="v0.13.2",
    )
    deaf = NodeStatus(
        name="farm1", endpoint="ssh://me@arm", platforms=(ARM64,), state="error", problem="refused"
    )
    hint = "invoke docker-builder create --name farm"
    builders = tuple(
        BuilderStatus(name=name, driver="remote", state=state, nodes=nodes, hint=hint)
        for name, state, nodes in (
            ("good", "ready", (node,)),
            ("gone", "absent", (node,)),
            ("other", "changed", (node,)),
            ("theirs", "strange", (node,)),
            ("farm", "silent", (node, deaf)),
        )
    )
    return BuildersReport(builders=builders)


def _sboms() -> SbomReport:
    sboms = tuple(
        Sbom(platform=platform, digest=NEW, packages=packages, files=(f"{slug}.spdx.json",))
        for platform, packages, slug in ((AMD64, 12, "amd64"), (ARM64, 0, "arm64"))
    )
    return SbomReport(sboms=sboms)


def _diff() -> DiffReport:
    program: Facts = {"kind": "file", "owner": "0:0", "mode": "0755", "size": 2_400_000}
    changes = (
        Change(section=Section.PRIVILEGES, item="bin/su", new={"mode": "4755"}),
        Change(
            section=Section.PRIVILEGES,
            item="usr/bin/ping",
            old={"capabilities": "net_raw"},
            new={"capabilities": "net_raw,sys_admin"},
        ),
        Change(
            section=Section.CONFIGURATION,
            item="env TOKEN",
            old={"value": "***"},
            new={"value": "***"},
        ),
        Change(section=Section.CONFIGURATION, item="port 81/tcp", new={"value": ""}),
        Change(
            section=Section.CONFIGURATION, item="user", old={"value": "1001"}, new={"value": "0"}
        ),
        Change(
            section=Section.BASE,
            item="image",
            old={"name": "alpine:3.21", "digest": OLD},
            new={"name": "alpine:3.22", "digest": NEW},
        ),
        Change(section=Section.VULNERABILITIES, item="CVE-2 leaky", new={"severity": "critical"}),
        Change(section=Section.VULNERABILITIES, item="CVE-1 leaky", old={"severity": "high"}),
        Change(
            section=Section.PACKAGES,
            item="npm/leaky",
            old={"version": "1.2.3"},
            new={"version": "1.2.4"},
        ),
        Change(section=Section.PACKAGES, item="npm/other", old={"version": "2.0.0"}),
        Change(
            section=Section.SIZE,
            item="image",
            old={"stored": 3_500_000, "unpacked": 9_000_000},
            new={"stored": 3_900_000, "unpacked": 10_500_000},
        ),
        Change(
            section=Section.LAYERS,
            item="COPY program /",
            old={"digest": OLD, "stored": 500_000},
            new={"digest": NEW, "stored": 900_000},
        ),
        Change(section=Section.LABELS, item="color", old={"value": "red"}, new={"value": "blue"}),
        Change(
            section=Section.FILES,
            item="etc/conf",
            old={"content": OLD, "mode": "0644", "size": 4},
            new={"content": NEW, "mode": "0600", "size": 5},
        ),
        *(
            Change(section=Section.FILES, item=f"usr/lib/{number}.so", new=program)
            for number in range(20)
        ),
    )
    return DiffReport(
        old=Side(name="ghcr.io/acme/thing:1.2.0", digest=OLD),
        new=Side(name="thing:latest", digest=NEW),
        platforms=(
            PlatformDiff(
                platform=AMD64, digests=(OLD, NEW), sizes=(3_500_000, 3_900_000), changes=changes
            ),
        ),
        only_old=(ARM64,),
        notes=("packages: not compared: syft is missing",),
    )


REPORTS: dict[str, Report] = {
    "policy": _policy(),
    "scan": _scan(),
    "size": _size(),
    "smoke": _smoke(),
    "reproduce": _reproduction(),
    "bases": _bases(),
    "builders": _builders(),
    "sbom": _sboms(),
    "diff": _diff(),
}


@pytest.mark.parametrize("name", REPORTS)
def test_what_a_report_says(golden: Golden, name: str) -> None:
    report = REPORTS[name]
    golden.check(f"reports/{name}.json", f"{to_json(report.as_dict())}\n")
    lines = [
        report.as_text(),
        *(f"warning: {warning}" for warning in report.warnings()),
        *(f"exit {problem.exit_code}: {problem}" for problem in report.problems()),
    ]
    golden.check(f"reports/{name}.txt", "\n".join(lines) + "\n")


def test_what_services_read(golden: Golden) -> None:
    for name, report in (("policy", _policy()), ("scan", _scan())):
        document = as_sarif(report, dockerfile="docker/Dockerfile")
        golden.check(f"reports/{name}.sarif", f"{to_json(document)}\n")
    golden.check("reports/smoke.xml", _smoke().as_junit())
    golden.check("reports/smoke.md", _smoke().as_markdown())
    golden.check("reports/diff.md", _diff().as_markdown())
