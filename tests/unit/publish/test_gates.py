"""Gates: that they run side by side, and what they leave behind."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from threading import Barrier
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ociwriter import OciWriter

from buildlib.config.policy import PolicyIgnore
from buildlib.containers.runner import Engine
from buildlib.diff.check import Subject
from buildlib.docker.endpoint import EngineKind
from buildlib.errors import CancelledError, EngineError
from buildlib.executor import Completed, Executor
from buildlib.image.archive import open_archive
from buildlib.policy.report import PolicyReport
from buildlib.publish.gates import GateSubject, late_findings, missing_tools, run_gates
from buildlib.publish.receipt import FAILED, PASSED
from buildlib.smoke.report import DROPS_ROOT, CheckResult, CheckState, PlatformResult, SmokeReport

from fakes import FakeExecutor, a_console, a_project, words_after, write_project

CONFIG = 'image = "thing"\nplatforms = ["linux/amd64"]\n'
IGNORE = '[[scan.ignore]]\nid = "CVE-1"\nreason = "never reached"\nuntil = 2026-12-31\n'
MATCH = {
    "vulnerability": {"id": "GHSA-leak", "severity": "High", "fix": {"versions": ["2.0.0"]}},
    "artifact": {"name": "leaky", "version": "1.2.3", "type": "npm", "locations": []},
}


class Tools(FakeExecutor):
    """A scanner and a maker of SBOMs; `meets` is called as each of them begins its work."""

    def __init__(self, *matches: object) -> None:
        super().__init__()
        self.matches = matches

    def meets(self) -> None:
        """Let it go on."""

    def _answer(self, argv: Sequence[str]) -> Completed:
        program = next(word for word in argv if word in {"syft", "grype"})
        if "version" in argv:
            return Completed(code=0, stdout=json.dumps({"version": "0.100.0"}))
        self.meets()
        spdx = {"packages": [{}, {}], "creationInfo": {"creators": ["Tool: syft-1.18.1"]}}
        report = {"matches": self.matches, "descriptor": {}}
        cyclonedx = {"components": [{"purl": "pkg:npm/leaky@1.2.3"}]}
        says = {"syft": (spdx, {}), "grype": (report, cyclonedx)}[program]
        for output, content in zip(words_after(argv, "--output"), says, strict=True):
            Path(output.partition("=")[2]).write_text(json.dumps(content), encoding="utf-8")
        return Completed(code=0)


def _subject(root: Path, executor: Executor, config: str = CONFIG) -> tuple[GateSubject, Any]:
    writer = OciWriter()
    image = writer.image([writer.layer({"a": b"x"})])
    write_project(root, config)
    (root / "dist").mkdir()
    archive = writer.write(root / "dist/thing-1.2.3.oci.tar", writer.index(image))
    console, _, err = a_console()

    def never() -> Engine:
        raise AssertionError

    subject = GateSubject(
        project=a_project(root),
        archive=archive,
        release=True,
        today=date(2026, 1, 31),
        engine=never,
        executor=executor,
        executor_in=lambda _: executor,
        console=console,
    )
    return subject, err


def test_gates_run_side_by_side(tmp_path: Path) -> None:
    # Each waits for the other one: one after the other they would wait in vain.
    barrier = Barrier(2, timeout=20)

    class Meeting(Tools):
        def meets(self) -> None:
            barrier.wait()

    subject, _ = _subject(tmp_path, Meeting())
    outcomes = run_gates(("scan", "sbom"), subject, cancel=lambda: None)
    assert [outcome.record.state for outcome in outcomes] == [PASSED, PASSED], outcomes
    assert [outcome.record.gate for outcome in outcomes] == ["scan", "sbom"]


def test_an_interruption_ends_all_of_them(tmp_path: Path) -> None:
    class Interrupted(Tools):
        def meets(self) -> None:
            raise CancelledError("interrupted")

    ended: list[str] = []
    subject, _ = _subject(tmp_path, Interrupted())
    with pytest.raises(CancelledError):
        run_gates(("scan", "sbom"), subject, cancel=lambda: ended.append("cancelled"))
    assert ended == ["cancelled"]


MODULE = "buildlib.publish.gates"
GATES = ("smoke", "policy", "size", "scan", "sbom", "reproducible", "diff")


def test_tools_that_are_missing_are_reported_together_and_before_there_is_an_archive(
    tmp_path: Path,
) -> None:
    # As env says it, by which syft is started.
    nothing = FakeExecutor({("env",): Completed(code=127)})
    subject, _ = _subject(tmp_path, nothing)
    subject.archive.unlink()
    found = missing_tools(GATES, subject)
    assert [error.what.partition(" not found")[0] for error in found] == [
        "hadolint",
        "the image has no label for: description, licenses, source",
        "grype and trivy",
        "syft",
    ]
    assert [error.exit_code for error in found] == [3, 7, 3, 3]
    rehearsal = missing_tools(GATES, replace(subject, release=False))
    assert [error.exit_code for error in rehearsal] == [3, 3, 3]
    assert missing_tools(("smoke", "size"), subject) == []


FILES = {
    "an env file": ("smoke", '[smoke]\nenv-file = ["gone.env"]\n', "there is no env file"),
    "an env file of run": ("smoke", '[run]\nenv-file = ["gone.env"]\n', "there is no env file"),
    "a mount": ("smoke", '[smoke]\nmounts = ["./gone:/x"]\n', "mounted at /x is not there"),
    "a record of sizes": ("size", '[smoke]\nsize-record = "s.json"\n', "is not a record of sizes"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_a_gate_needs_is_missed_before_the_build(tmp_path: Path, case: str) -> None:
    gate, text, printed = FILES[case]
    (tmp_path / "s.json").write_text("{}", encoding="utf-8")
    subject, _ = _subject(tmp_path, Tools(), CONFIG + text)
    subject = replace(
        subject, engine=lambda: cast("Engine", SimpleNamespace(kind=EngineKind.LINUX))
    )
    (problem,) = missing_tools((gate,), subject)
    assert printed in problem.what


def test_without_an_engine_only_that_is_reported(tmp_path: Path) -> None:
    def none() -> Engine:
        raise EngineError("no engine")

    subject, _ = _subject(tmp_path, Tools(), f'{CONFIG}[smoke]\nmounts = ["./gone:/x"]\n')
    assert missing_tools(("smoke",), replace(subject, engine=none)) == []


def test_tools_that_are_here_are_not_missed(tmp_path: Path) -> None:
    tools: dict[tuple[str, ...], Completed] = {
        ("hadolint",): Completed(code=0),
        ("env",): Completed(code=0, stdout='{"version": "1"}'),
        ("grype",): Completed(code=0, stdout='{"version": "1"}'),
    }
    subject, _ = _subject(tmp_path, FakeExecutor(tools))
    assert missing_tools(GATES, replace(subject, release=False)) == []


def test_a_file_that_the_scanner_is_to_read_is_missed_as_well(tmp_path: Path) -> None:
    subject, _ = _subject(tmp_path, Tools(), f'{CONFIG}[scan]\nvex = ["gone.json"]\n')
    (problem,) = missing_tools(("scan",), subject)
    assert "there is no file gone.json" in str(problem)
    assert problem.exit_code == 2


def test_the_receipt_says_by_which_tools(tmp_path: Path) -> None:
    subject, _ = _subject(tmp_path, Tools())
    scan, sbom = run_gates(("scan", "sbom"), subject, cancel=lambda: None)
    assert scan.record.figures["scanner"] == "grype 0.100.0"
    assert sbom.record.figures["tool"] == "syft 1.18.1"


def _scanned(root: Path, config: str) -> tuple[str, dict[str, Any], str]:
    """Return the gate's outcome, the SARIF that it left, and what was printed."""
    subject, err = _subject(root, Tools(MATCH), config)
    (outcome,) = run_gates(("scan",), subject, cancel=lambda: None)
    sarif = root / "dist/thing-1.2.3.scan.sarif"
    return outcome.record.state, json.loads(sarif.read_text("utf-8")), err.getvalue()


def test_a_finding_that_fails_is_left_as_sarif(tmp_path: Path) -> None:
    state, sarif, _ = _scanned(tmp_path, CONFIG)
    assert state == FAILED
    assert [result["ruleId"] for result in sarif["runs"][0]["results"]] == ["GHSA-leak"]


def test_a_finding_that_passes_is_printed_as_well(tmp_path: Path) -> None:
    config = f'{CONFIG}[scan]\nseverity = "critical"\n{IGNORE}'
    state, sarif, printed = _scanned(tmp_path, config)
    assert state == PASSED
    assert [result["level"] for result in sarif["runs"][0]["results"]] == ["warning"]
    assert "GHSA-leak" in printed
    assert "leaky 1.2.3" in printed
    assert "nothing is left to ignore of CVE-1" in printed


def test_an_ignore_that_the_policy_no_longer_needs_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unused = PolicyIgnore(rule="no-setuid", reason="vendor", path="/bin/su")
    report = PolicyReport(image="t", platforms=(), findings=(), unused=(unused,))
    monkeypatch.setattr(f"{MODULE}.check_policy", lambda *_, **__: report)
    subject, err = _subject(tmp_path, FakeExecutor())
    (outcome,) = run_gates(("policy",), subject, cancel=lambda: None)
    assert outcome.record.state == PASSED
    assert "warning: nothing is left to ignore of no-setuid /bin/su" in err.getvalue()


def test_a_platform_that_the_record_of_sizes_lacks_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('{"version": "1.0.0", "platforms": {}}', encoding="utf-8")
    config = f'{CONFIG}[smoke]\nsize-record = "s.json"\n'
    subject, err = _subject(tmp_path, FakeExecutor(), config)
    (outcome,) = run_gates(("size",), subject, cancel=lambda: None)
    assert outcome.record.state == PASSED
    assert "warning: linux/amd64 is not in the record of 1.0.0" in err.getvalue()


DROPPING = f"{CONFIG}[run]\nuser = 1001\ndrops-root = true\n"


def _policy_asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Return what the policy is given of the platforms that drop root, as often as it is asked."""
    asked: list[tuple[str, ...]] = []

    def check_policy(*_: object, dropped: tuple[str, ...], **__: object) -> PolicyReport:
        asked.append(dropped)
        return PolicyReport(image="t", platforms=(), findings=())

    monkeypatch.setattr(f"{MODULE}.check_policy", check_policy)
    return asked


@pytest.mark.parametrize("state", [CheckState.PASSED, CheckState.FAILED, CheckState.LEFT_OUT])
def test_the_policy_goes_by_what_smoke_saw_of_this_very_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: CheckState
) -> None:
    result = PlatformResult(
        image="t",
        platform="linux/amd64",
        digest="",
        version="1",
        seconds=0.0,
        checks=(CheckResult(check=DROPS_ROOT, state=state),),
    )

    class Flow:
        def __init__(self, *_: object) -> None:
            pass

        def run(self) -> SmokeReport:
            return SmokeReport(results=(result,))

    monkeypatch.setattr(f"{MODULE}.SmokeFlow", Flow)
    asked = _policy_asked(monkeypatch)
    subject, _ = _subject(tmp_path, FakeExecutor(), DROPPING)
    subject = replace(subject, engine=lambda: None)  # type: ignore[arg-type, return-value]
    outcomes = run_gates(("policy", "smoke"), subject, cancel=lambda: None)
    assert [outcome.record.gate for outcome in outcomes] == ["policy", "smoke"]
    assert asked == [("linux/amd64",) if state is CheckState.PASSED else ()]


def test_without_smoke_nothing_was_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _policy_asked(monkeypatch)
    subject, _ = _subject(tmp_path, FakeExecutor(), DROPPING)
    run_gates(("policy",), subject, cancel=lambda: None)
    assert asked == [()]


def test_a_release_has_on_record_that_build_checks_were_left_out(tmp_path: Path) -> None:
    said = {
        ("hadolint",): Completed(code=0, stdout="[]"),
        ("docker", "buildx"): Completed(code=1, stderr="unknown flag: --call"),
    }
    config = CONFIG + "".join(
        f'[[policy.ignore]]\nrule = "{rule}"\nreason = "x"\n'
        for rule in ("complete-labels", "exec-healthcheck", "non-root", "pinned-base")
    )
    subject, err = _subject(tmp_path, FakeExecutor(said), config)
    (outcome,) = run_gates(("policy",), subject, cancel=lambda: None)
    assert outcome.record.state == PASSED, outcome.record.detail
    (line,) = outcome.record.figures["left out"]
    assert line == "build checks left out: docker buildx has them since 0.15"
    assert line in err.getvalue()


def test_what_the_system_refuses_is_the_outcome_of_one_gate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(f"{MODULE}.check_scan", full)
    subject, _ = _subject(tmp_path, Tools())
    scan, sbom = run_gates(("scan", "sbom"), subject, cancel=lambda: None)
    assert (scan.record.state, sbom.record.state) == (FAILED, PASSED)
    assert "TMPDIR" in scan.record.detail


def _released(subject: GateSubject, root: Path, **config: object) -> GateSubject:
    """Return a subject whose last release is an image with this configuration."""
    writer = OciWriter()
    image = writer.image([writer.layer({"a": b"x"})], config=config)
    path = writer.write(root / "before.tar", writer.index(image))

    @contextmanager
    def last() -> Iterator[Subject | None]:
        with open_archive(path) as archive:
            yield Subject(name="thing:1.2.2", archive=archive)

    return replace(subject, last_release=last)


def test_a_first_release_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    subject, err = _subject(tmp_path, FakeExecutor())
    (outcome,) = run_gates(("diff",), subject, cancel=lambda: None)
    assert outcome.record.state == PASSED
    assert outcome.record.figures == {"compared with": ""}
    assert "this is the first release" in err.getvalue()


def test_the_last_release_and_what_changed_since_are_on_record(tmp_path: Path) -> None:
    subject, err = _subject(tmp_path, FakeExecutor(), f"{CONFIG}[diff]\nfail-on = []\n")
    (outcome,) = run_gates(("diff",), _released(subject, tmp_path, User="7"), cancel=lambda: None)
    assert outcome.record.state == PASSED, outcome.record.detail
    figures = outcome.record.figures
    assert figures["compared with"] == "thing:1.2.2"
    assert figures["changes"]["linux/amd64"]["configuration"] == "1 removed"
    assert "linux/amd64 since thing:1.2.2: configuration: 1 removed" in err.getvalue()


def test_another_user_than_that_of_the_last_release_fails(tmp_path: Path) -> None:
    subject, _ = _subject(tmp_path, FakeExecutor())
    (outcome,) = run_gates(("diff",), _released(subject, tmp_path, User="7"), cancel=lambda: None)
    assert outcome.record.state == FAILED
    assert outcome.error is not None
    assert outcome.error.exit_code == 7
    assert "linux/amd64 runs as another user since the last release" in outcome.record.detail


NEW_FINDINGS = f'{CONFIG}[diff]\nfail-on = ["new-high-finding"]\n'


def test_only_a_rule_about_findings_needs_a_scanner(tmp_path: Path) -> None:
    nothing = FakeExecutor({("grype",): Completed(code=127), ("trivy",): Completed(code=127)})
    subject, _ = _subject(tmp_path, nothing, NEW_FINDINGS)
    (problem,) = missing_tools(("diff",), subject)
    assert problem.exit_code == 3
    assert "not found" in problem.what


def test_a_finding_that_the_last_release_did_not_have_fails(tmp_path: Path) -> None:
    class Newly(Tools):
        """A scanner that finds something in the second image alone."""

        def meets(self) -> None:
            self.matches = (MATCH,) if self.scans else ()
            self.scans += 1

        scans = 0

    subject, _ = _subject(tmp_path, Newly(), NEW_FINDINGS)
    (outcome,) = run_gates(("diff",), _released(subject, tmp_path, User="7"), cancel=lambda: None)
    assert outcome.record.state == FAILED
    assert "has new vulnerabilities of severity high or worse" in outcome.record.detail
    assert "GHSA-leak leaky" in outcome.record.detail


def test_a_gate_says_how_it_ended_and_with_how_many_warnings(tmp_path: Path) -> None:
    quiet = Completed(code=0, stdout="[]")
    subject, err = _subject(tmp_path, FakeExecutor({("hadolint",): quiet}))
    (passed,) = run_gates(("policy",), replace(subject, release=False), cancel=lambda: None)
    warnings = passed.record.figures["warnings"]
    assert warnings > 1
    assert passed.record.outcome == f"passed, {warnings} warnings"
    assert f"gate policy passed, {warnings} warnings" in err.getvalue()
    # Which they are is in the same output.
    assert "complete-labels" in err.getvalue()
    assert {one["rule"] for one in late_findings(passed.record)} == {
        "complete-labels",
        "pinned-base",
    }
    (failed,) = run_gates(("policy",), subject, cancel=lambda: None)
    assert (failed.record.outcome, late_findings(failed.record)) == ("failed", [])
    assert "gate policy failed" in err.getvalue()
