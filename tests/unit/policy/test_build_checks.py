"""What the frontend warns of, as findings; what buildx printed is in the form of 0.38."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from ociwriter import OciWriter

from buildlib.build.argv import check_argv
from buildlib.errors import InputError, TimedOutError, ToolError
from buildlib.executor import Completed
from buildlib.findings.finding import Finding, Level
from buildlib.findings.sarif import as_sarif
from buildlib.image.archive import open_archive
from buildlib.policy.build_checks import NoBuildChecksError, plan_checks, run_checks
from buildlib.policy.check import check_policy, policy_lines
from buildlib.policy.report import PolicyReport, make_report
from buildlib.project import Project
from buildlib.shell import shell_line

from fakes import FakeExecutor, a_project, write_project

BUILD = ("docker", "buildx", "build")
DOCS = "https://docs.docker.com/go/dockerfile/rule"
CASING = {
    "ruleName": "StageNameCasing",
    "description": "Stage names should be lowercase",
    "url": f"{DOCS}/stage-name-casing/",
    "detail": "Stage name 'Build' should be lowercase",
    "location": {"ranges": [{"start": {"line": 1}, "end": {"line": 1}}]},
}
ELSEWHERE = {"ruleName": "JSONArgsRecommended", "description": "JSON is better", "location": {}}
TODAY = date(2026, 6, 15)
DOCKERFILE = "FROM a:1 AS unneeded\nFROM b:1 AS build\nCOPY f /f\nFROM c:1 AS last\nCMD x\n"
IGNORED = '[[policy.ignore]]\nreason = "x"\nrule = '


def _said(*warnings: dict[str, Any], error: str = "") -> Completed:
    found: dict[str, Any] = {"warnings": list(warnings) or None, "sources": []}
    found |= {"buildError": {"message": error, "location": {}}} if error else {}
    return Completed(code=1 if warnings or error else 0, stdout=json.dumps(found))


def _run(tmp_path: Path, answer: Completed, config: str = "") -> list[Finding]:
    project = _project(tmp_path, config)
    return run_checks(FakeExecutor({BUILD: answer}), plan_checks(project))


def _project(tmp_path: Path, config: str = "", dockerfile: str = DOCKERFILE) -> Project:
    return a_project(write_project(tmp_path, f'image = "t"\n{config}', dockerfile))


def test_each_warning_is_a_finding_with_rule_line_and_link(tmp_path: Path) -> None:
    first, second = _run(tmp_path, _said(CASING, ELSEWHERE))
    assert first == Finding(
        rule="build-check/StageNameCasing",
        level=Level.WARNING,
        message="Stage name 'Build' should be lowercase",
        line=1,
        link=f"{DOCS}/stage-name-casing/",
    )
    assert (second.where, second.message) == ("Dockerfile", "JSON is better")
    assert _run(tmp_path, _said()) == []


def test_the_dockerfile_itself_may_ask_for_errors(tmp_path: Path) -> None:
    (found,) = _run(
        tmp_path, _said(CASING, error="lint violation found for rules: StageNameCasing")
    )
    assert found.level is Level.ERROR


def test_the_checks_are_asked_for_as_the_image_is_built(tmp_path: Path) -> None:
    config = (
        'builder = "b"\nplatforms = ["linux/amd64", "linux/arm64"]\n[build-args]\nX = "1"\n'
        '[base-images]\n"c:1" = "docker-image://mirror.example/c:1"\n'
    )
    executor = FakeExecutor({BUILD: _said()})
    run_checks(executor, plan_checks(_project(tmp_path, config)))
    (argv,) = executor.asked
    assert argv == (
        *("docker", "buildx", "build", "--builder", "b", "--file", str(tmp_path / "Dockerfile")),
        # The stage that is built, and not all of them, whose base images no build needs.
        *("--target", "last", "--build-arg", argv[10], "--build-arg", "X=1"),
        *("--build-context", "c:1=docker-image://mirror.example/c:1", "--progress", "quiet"),
        *("--call", "check,format=json", str(tmp_path)),
    )
    assert argv[10].startswith("SOURCE_DATE_EPOCH=")


def test_the_frontend_reads_the_ignore_file_that_the_build_has(tmp_path: Path) -> None:
    # All of the context is copied: what tasks write there is kept out in a copy of the file.
    project = _project(tmp_path, dockerfile="FROM b:1\nCOPY . /src\n")
    (tmp_path / ".dockerignore").write_text("f\n", encoding="utf-8")
    seen: list[str] = []

    class Executor(FakeExecutor):
        def _answer(self, argv: Sequence[str]) -> Completed:
            beside = Path(f"{argv[argv.index('--file') + 1]}.dockerignore")
            seen.extend(beside.read_text(encoding="utf-8").split())
            return super()._answer(argv)

    plan = plan_checks(project)
    run_checks(Executor({BUILD: _said()}), plan)
    assert {"f", "dist"} <= set(seen)
    assert plan.handover
    assert not plan.handover.exists()


OLD = {
    "buildx is older": (
        {BUILD: Completed(code=1, stderr="unknown flag: --call\nSee 'docker buildx --help'.")},
        "docker buildx has them since 0.15",
    ),
    "docker has no buildx": (
        {BUILD: Completed(code=1, stderr="docker: 'buildx' is not a docker command.")},
        "docker buildx has them since 0.15",
    ),
    "BuildKit is older": (
        {
            BUILD: Completed(
                code=1, stderr="ERROR: failed to solve: unsupported request frontend.lint: x"
            )
        },
        "BuildKit has them since 0.14",
    ),
    "docker is not here": ({}, "docker is not installed"),
}


@pytest.mark.parametrize(("answers", "said"), OLD.values(), ids=OLD)
def test_what_is_older_than_the_checks_is_no_finding(
    tmp_path: Path, answers: dict[tuple[str, ...], Completed], said: str
) -> None:
    with pytest.raises(NoBuildChecksError, match=said):
        run_checks(FakeExecutor(answers), plan_checks(_project(tmp_path)))


FAILURES = {
    "no base image": (_said(CASING, error="failed to resolve source metadata for b:1"), "for b:1"),
    "no frontend": (
        Completed(code=1, stderr="noise\nERROR: failed to solve: x/y: no such host\nD:1\n----\n"),
        "failed to solve: x/y: no such host",
    ),
    "no words": (Completed(code=9), "exited with code 9"),
    "no object": (Completed(code=0, stdout="[]"), "unknown form"),
    "a warning without a name": (_said({"detail": "x"}), "unknown form: KeyError('ruleName')"),
    "a place that is none": (_said({**CASING, "location": {"ranges": ["x"]}}), "unknown form"),
}


@pytest.mark.parametrize(("answer", "why"), FAILURES.values(), ids=FAILURES)
def test_checks_that_fail_have_not_passed(tmp_path: Path, answer: Completed, why: str) -> None:
    with pytest.raises(ToolError, match="could not be made") as caught:
        _run(tmp_path, answer)
    assert caught.value.exit_code == 3
    assert why in caught.value.why
    assert 'ignore the rule "build-check"' in caught.value.hint


def test_checks_that_hang_have_not_passed(tmp_path: Path) -> None:
    class Hanging(FakeExecutor):
        def _answer(self, argv: object) -> Completed:
            raise TimedOutError(f"{argv} did not end")

    with pytest.raises(ToolError, match="could not be made"):
        run_checks(Hanging(), plan_checks(_project(tmp_path)))


def _whole(tmp_path: Path, config: str, build: Completed | None) -> tuple[PolicyReport, list[str]]:
    """Return the report on a project, and the programs that were started for it."""
    answers: dict[tuple[str, ...], Completed] = {("hadolint",): Completed(code=0, stdout="[]")}
    if build:
        answers[BUILD] = build
    executor, project = FakeExecutor(answers), _project(tmp_path, config)
    writer = OciWriter()
    image = writer.image([], platform=("linux", "amd64"), config={"User": "1001:1001"})
    with open_archive(writer.write(tmp_path / "i.tar", image)) as archive:
        report = check_policy(project, archive, executor, image="t:1", release=False, today=TODAY)
    return report, [argv[0] for argv in executor.asked]


def _of_checks(report: PolicyReport) -> list[Finding]:
    return [one for one in report.findings if one.rule.startswith("build-check/")]


def test_the_report_has_them_beside_all_others(tmp_path: Path) -> None:
    report, _ = _whole(tmp_path, "", _said(CASING))
    (found,) = _of_checks(report)
    assert found.level is Level.WARNING
    assert report.left_out == ()
    assert "Dockerfile:1" in report.as_text()
    listed = [one for one in report.as_dict()["findings"] if one["rule"] == found.rule]
    assert [(one["line"], one["link"]) for one in listed] == [(1, CASING["url"])]


def test_one_line_says_that_they_were_left_out_and_since_when_there_are_any(
    tmp_path: Path,
) -> None:
    # An ignore of theirs may have its use elsewhere.
    config = f'{IGNORED}"build-check/StageNameCasing"\n{IGNORED}"hadolint/DL3018"\n'
    report, _ = _whole(tmp_path, config, Completed(code=1, stderr="unknown flag: --call"))
    said = "build checks left out: docker buildx has them since 0.15"
    assert report.as_text().splitlines()[-1] == said
    assert report.as_dict()["left_out"] == [said]
    assert _of_checks(report) == []
    assert [ignore.rule for ignore in report.unused] == ["hadolint/DL3018"]


def test_one_rule_is_ignored_with_a_reason(tmp_path: Path) -> None:
    config = f'{IGNORED}"build-check/StageNameCasing"\n'
    report, _ = _whole(tmp_path, config, _said(CASING))
    assert _of_checks(report) == []
    assert [one.rule for one, _ in report.ignored if one.link] == ["build-check/StageNameCasing"]
    with pytest.raises(InputError, match="no rule 'build-check/'"):
        _project(tmp_path, f'{IGNORED}"build-check/"\n')


def test_a_dry_run_prints_what_would_be_asked(tmp_path: Path) -> None:
    project = _project(tmp_path, dockerfile="FROM b:1 AS last\nCMD x\n")
    lint, checks = policy_lines(project, TODAY)
    assert lint == f"hadolint --no-fail --format json {tmp_path}/Dockerfile"
    assert checks == shell_line(check_argv(plan_checks(project)))
    # The copy that the builder needs is made before, and removed whatever is found.
    copied = _project(tmp_path, dockerfile="FROM b:1\nCOPY . /src\n")
    _, line = policy_lines(copied, TODAY)
    assert line.startswith("mkdir -p -- ")
    assert re.search(
        r"&& \(docker buildx build .* --call check,format=json .* \|\| :\) && rm", line
    )
    assert policy_lines(_project(tmp_path, f'{IGNORED}"build-check"\n'), TODAY) == (lint,)


def test_no_tool_is_run_where_everything_is_ignored(tmp_path: Path) -> None:
    config = f'{IGNORED}"build-check"\n{IGNORED}"hadolint"\n'
    report, started = _whole(tmp_path, config, None)
    assert started == []
    assert (report.left_out, report.unused) == ((), ())


def test_sarif_leads_to_the_page_of_each_rule() -> None:
    finding = Finding(
        rule="build-check/StageNameCasing", level=Level.WARNING, message="x", line=3, link=DOCS
    )
    report = make_report("t", ["linux/amd64"], [finding], [], TODAY)
    (run,) = as_sarif(report, dockerfile="Dockerfile")["runs"]
    (result,) = run["results"]
    assert result["level"] == "warning"
    assert result["locations"][0]["physicalLocation"]["region"] == {"startLine": 3}
    rules = {rule["id"]: rule for rule in run["tool"]["driver"]["rules"]}
    assert rules["build-check/StageNameCasing"]["helpUri"] == DOCS
    assert rules["build-check"]["helpUri"] == "https://docs.docker.com/reference/build-checks/"
