"""Names in an image are anybody's: no report is broken by one, in whatever form it is written."""

from __future__ import annotations

import json
import tarfile
import unicodedata
from dataclasses import replace
from datetime import date
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from ociwriter import ELF, OciWriter

from buildlib.config.policy import Policy, PolicyIgnore
from buildlib.config.scan import ScanIgnore, ScanSettings
from buildlib.findings.finding import Finding
from buildlib.findings.sarif import as_sarif, dockerfile_uri
from buildlib.findings.vulnerability import Severity, Vulnerability
from buildlib.image.archive import open_archive
from buildlib.policy.image_checks import check_image, read_contents
from buildlib.policy.report import PolicyReport
from buildlib.policy.report import make_report as policy_report
from buildlib.scan.report import make_report as scan_report
from buildlib.scan.scanner import Scanned, Suppressed
from buildlib.smoke.report import CheckResult, CheckState, PlatformResult, SmokeReport
from buildlib.terminal.text import to_json

pytestmark = pytest.mark.unmeasured

TODAY = date(2026, 6, 15)
# Written in halves: whoever looks for secrets in this repository should find none.
TOKEN = "ghp_" + "a1b2c3" * 7
NAMES = {
    "a line": "a\nerror  no-secrets  forged",
    "a command of GitHub's": "a\n::error::forged",
    "a colour": "a\x1b[31mb",
    "a title": "a\x1b]0;owned\x07",
    "one control of eight bits": "a\x9b31mb",
    "a line separator": "a\u2028b",
    "text from right to left": "a\u202eb",
    "nothing of UTF-8": "a\udcffb",
    "half a character": "a\ud800b",
    "zero": "a\0b",
    "markup": "a]]></failure><b>&\"'",
    "a pattern": "a[b]*?{c}",
    "columns": "a | b ``` c",
    "a backslash": "a\\x1bb",
}
# Tar ends a name at a zero, and has no way to write half a character.
# JSON that is not UTF-8 is refused before anything is looked for.
WRITABLE = {name for name in NAMES if name not in {"nothing of UTF-8", "half a character"}}
FILES = [name for name in NAMES if name not in {"zero", "half a character"}]


def _findings(root: Path, name: str, path: str) -> list[Finding]:
    """Return what is found in an image with a name that somebody chose wherever there is one."""
    writer = OciWriter()
    entry = tarfile.TarInfo(path)
    entry.mode = 0o4757
    image = writer.image(
        [writer.entries(entry, contents={path: ELF + TOKEN.encode()})],
        [{"created_by": f"RUN {name}={TOKEN}", "empty_layer": True}],
        config={
            "User": name,
            "Env": [f"{name}_TOKEN={TOKEN}"],
            "Labels": {name: TOKEN, "org.opencontainers.image.revision": name},
            "Entrypoint": [name],
        },
    )
    with open_archive(writer.write(root / "i.tar", image)) as archive:
        (one,) = archive.images()
        return list(check_image(read_contents(archive, one), Policy()))


def _one_line(text: str) -> bool:
    return not any(unicodedata.category(one) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for one in text)


def _policy(findings: list[Finding]) -> PolicyReport:
    return policy_report("thing", ["linux/amd64"], findings, [], TODAY)


@pytest.mark.parametrize("case", NAMES)
def test_no_name_in_an_image_breaks_a_report_of_the_policy(tmp_path: Path, case: str) -> None:
    name = NAMES[case]
    path = name if case in FILES else "plain"
    found = _findings(tmp_path, name if case in WRITABLE else "plain", path)
    rules = {finding.rule for finding in found}
    assert rules >= {"non-root", "no-setuid", "no-world-writable", "no-secrets", "complete-labels"}
    report = _policy(found)
    lines = report.as_text().split("\n")
    # A row for each, an empty one, and one that counts.
    assert len(lines) == len(set(found)) + 2
    assert all(map(_one_line, lines))
    for one in json.loads(to_json(report.as_dict()))["findings"]:
        assert _one_line(one["path"] + one["rule"] + one["message"] + one["platform"])
    (run,) = json.loads(to_json(as_sarif(report, dockerfile="Dockerfile")))["runs"]
    assert len(run["results"]) == len(set(found))
    assert all(_one_line(result["message"]["text"]) for result in run["results"])
    prints = {result["partialFingerprints"]["buildlibFinding/v1"] for result in run["results"]}
    assert len(prints) > len(rules)


@pytest.mark.parametrize("case", FILES)
def test_a_name_can_be_ignored_as_it_is_printed(tmp_path: Path, case: str) -> None:
    found = [one for one in _findings(tmp_path, "x", NAMES[case]) if one.rule == "no-setuid"]
    (setuid,) = found
    ignores = [PolicyIgnore(rule="no-setuid", reason="r", path=setuid.path)]
    report = policy_report("thing", ["linux/amd64"], found, ignores, TODAY)
    assert (report.findings, report.unused) == ((), ())


@pytest.mark.parametrize("case", NAMES)
def test_no_name_of_a_package_breaks_a_report_of_a_scan(case: str) -> None:
    name = NAMES[case]
    one = Vulnerability(
        rule=f"CVE-{name}",
        severity=Severity.CRITICAL,
        package=name,
        version=name,
        platform="linux/amd64",
        fixed_in=(name,),
        path=f"/{name}",
        link=f"https://example.org/{name}",
        aliases=(name,),
    )
    other = replace(one, rule="CVE-2", package=f"other {name}")
    ignores = (ScanIgnore(id="CVE-2", reason="r", until=TODAY, package=other.package),)
    settings = ScanSettings(ignore=ignores)
    scanned = Scanned((one, other), (Suppressed(one, name),), 1, "")
    report = scan_report("thing", ("grype", "1"), [("linux/amd64", scanned)], settings, TODAY)
    lines = report.as_text().split("\n")
    assert len(lines) == 3 + 1 + 2
    assert all(map(_one_line, lines))
    ((ignored, why),) = report.ignored
    assert (ignored.rule, why) == ("CVE-2", ignores[0])
    (run,) = json.loads(to_json(as_sarif(report, dockerfile="Dockerfile")))["runs"]
    for rule in run["tool"]["driver"]["rules"]:
        assert _one_line(rule["id"] + rule["fullDescription"]["text"] + rule["help"]["text"])
    assert {r["ruleId"] for r in run["results"]} == {
        r["id"] for r in run["tool"]["driver"]["rules"]
    }


@pytest.mark.parametrize("case", NAMES)
def test_nothing_that_a_container_says_breaks_a_report_of_smoke(case: str) -> None:
    name = NAMES[case]
    check = CheckResult(
        check=f"runs {name}", state=CheckState.FAILED, detail=f"it said\n{name}", repeat=name
    )
    result = PlatformResult(
        image="thing",
        platform="linux/amd64",
        digest="",
        version="1",
        seconds=1,
        checks=(check,),
    )
    report = SmokeReport(results=(result,))
    (suite,) = ET.fromstring(report.as_junit())
    assert [case.tag for case in suite] == ["testcase"]
    (failure,) = suite[0]
    assert failure.get("message") == "it said"
    markdown = report.as_markdown().split("\n")
    fences = [line for line in markdown if set(line) == {"`"}]
    assert len(fences) == 2
    assert fences[0] == fences[1]
    # Head, line, the check, seconds.
    assert [line[0] for line in markdown if line.startswith("|")] == ["|"] * 4
    assert json.loads(to_json(result.as_dict()))["findings"][0]["check"] == check.check


@pytest.mark.parametrize(
    ("path", "uri"),
    [("a b/Dockerfile", "a%20b/Dockerfile"), ("100%#?.df", "100%25%23%3F.df"), ("\udcff", "%FF")],
)
def test_a_dockerfile_is_named_by_a_uri(tmp_path: Path, path: str, uri: str) -> None:
    assert dockerfile_uri(tmp_path, tmp_path / path) == uri
