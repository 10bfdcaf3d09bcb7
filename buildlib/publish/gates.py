"""The gates of a release, side by side where they can be.

Each one checks the very archive that is pushed later.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Final

from buildlib.background import Background
from buildlib.config.containers import check_sources
from buildlib.config.diff import NEW_HIGH_FINDING
from buildlib.config.publish import DIFF, POLICY, REPRODUCIBLE, SBOM, SCAN, SIZE, SMOKE
from buildlib.containers.health import smoke_surroundings
from buildlib.containers.runner import Engine
from buildlib.diff.check import DiffRequest, Subject, diff_images, scanning
from buildlib.diff.rules import broken_rules
from buildlib.docker.endpoint import EngineKind
from buildlib.errors import (
    BuildlibError,
    FailureError,
    GateError,
    ToolError,
    collected,
    raise_problems,
)
from buildlib.executor import Executor
from buildlib.findings.report import Report, warn
from buildlib.findings.sarif import write_sarif
from buildlib.image.archive import Archive, open_archive
from buildlib.image.sbom import find_syft, made_by, make_sboms
from buildlib.image.size import SizeRecord, check_size, read_record
from buildlib.policy.check import check_labels, check_policy, find_linter
from buildlib.policy.report import distinct
from buildlib.project import Project
from buildlib.publish.receipt import FAILED, PASSED, WARNINGS, GateRecord, inside
from buildlib.reproduce.rebuild import ExecutorIn, reproduce
from buildlib.scan.check import check_scan, find_scanner
from buildlib.smoke.runner import SmokeFlow, SmokeRequest
from buildlib.tempfiles import system_problem
from buildlib.terminal.console import Console

# A figure of smoke that the policy goes by.
_DROPPED: Final = "drops root"
# What of the policy would fail a real release, and how each is kept.
_LATE: Final = "refused in a release"
_FIELDS: Final = ("rule", "path", "message")


@dataclass(frozen=True, kw_only=True, slots=True)
class GateSubject:
    """The image to release, and what its gates need.

    Args:
        archive: the one artefact.
        release: the rules of a release count.
        today: in UTC, for what is ignored until a day.
        executor_in: gives an executor with another environment, for the second build.
        dropped: platforms on which smoke saw a start as root become the configured user.
        last_release: gives the release before this one; None: there is none yet.
    """

    project: Project
    archive: Path
    release: bool
    today: date
    engine: Callable[[], Engine]
    executor: Executor
    executor_in: ExecutorIn
    console: Console
    dropped: tuple[str, ...] = ()
    last_release: Callable[[], AbstractContextManager[Subject | None]] = nullcontext

    def beside(self, end: str) -> Path:
        """Return the path of a file beside the archive that is called after it."""
        return self.archive.with_name(f"{self.archive.name.removesuffix('.oci.tar')}.{end}")

    @property
    def name(self) -> str:
        """Return what files about it are called after."""
        return self.project.config.short_name


Figures = dict[str, Any]


def _pass(report: Report, console: Console) -> None:
    """Print the warnings of a report, and raise its problems."""
    warn(report, console)
    raise_problems(report.problems())


def _smoke(subject: GateSubject, _archive: Archive) -> Figures:
    platforms = subject.project.config.platforms or (subject.engine().facts.platform,)
    request = SmokeRequest(
        platforms=tuple(platform for platform in platforms if platform),
        today=subject.today,
        image=str(subject.archive),
        version=subject.project.version.value,
        # It is a gate of its own.
        policy=False,
    )
    report = SmokeFlow(
        subject.project, request, subject.engine(), subject.executor, subject.console
    ).run()
    if report.problems():
        subject.console.note_report(report.as_text())
    _pass(report, subject.console)
    return {
        "checks": {result.platform: len(result.checks) for result in report.results},
        _DROPPED: list(report.drops_root),
    }


def _policy(subject: GateSubject, archive: Archive) -> Figures:
    report = check_policy(
        subject.project,
        archive,
        subject.executor,
        image=subject.archive.name,
        release=subject.release,
        today=subject.today,
        dropped=subject.dropped,
    )
    if report.errors or report.mild:
        subject.console.note_report(report.as_text())
    _pass(report, subject.console)
    for note in (*(f"{one.where}: {one.message}" for one in report.notes), *report.left_out):
        subject.console.note(note)
    ignored = distinct(finding for finding, _ in report.ignored)
    figures: Figures = {WARNINGS: distinct(report.mild), "ignored": ignored}
    if report.late:
        late = {(one.rule, one.path, one.message) for one in report.late}
        figures[_LATE] = [dict(zip(_FIELDS, one, strict=True)) for one in sorted(late)]
    return figures | ({"left out": list(report.left_out)} if report.left_out else {})


def _size(subject: GateSubject, archive: Archive) -> Figures:
    wanted = subject.project.config.smoke
    report = check_size(
        archive,
        budget=wanted.size_budget,
        record=_record(subject),
        growth=wanted.size_growth,
        allowed=subject.project.config.allowed_names(),
    )
    _pass(report, subject.console)
    return {"bytes": {image.platform: image.stored for image in report.images}}


def _record(subject: GateSubject) -> SizeRecord | None:
    config = subject.project.config
    name = config.smoke.size_record
    return read_record(config.root / name) if name else None


def _scan(subject: GateSubject, archive: Archive) -> Figures:
    project, config = subject.project, subject.project.config
    report = check_scan(
        archive,
        config.scan_settings(),
        subject.executor,
        root=config.root,
        image=subject.archive.name,
        today=subject.today,
    )
    sarif = subject.beside("scan.sarif")
    write_sarif(sarif, report, root=project.files, dockerfile=project.dockerfile_path)
    _pass(report, subject.console)
    if report.findings or report.ignored or report.suppressed:
        # The error lists only what fails; the rest would never be seen otherwise.
        subject.console.note_report(report.as_text())
    return {
        "scanner": f"{report.scanner} {report.version}".strip(),
        "database": report.database,
        "findings": len(report.findings),
        "ignored": len(report.ignored),
        "sarif": inside(sarif, config.root),
    }


def _sbom(subject: GateSubject, archive: Archive) -> Figures:
    config = subject.project.config
    report = make_sboms(
        archive,
        subject.name,
        subject.archive.parent,
        subject.executor,
        stem=subject.archive.name.removesuffix(".oci.tar"),
        allow_unknown=config.scan_settings().allow_unknown,
    )
    _pass(report, subject.console)
    return {
        "tool": made_by(Path(report.sboms[0].files[0])),
        "sboms": [
            # Nothing of this machine goes into a receipt.
            one.as_dict() | {"files": [inside(Path(file), config.root) for file in one.files]}
            for one in report.sboms
        ],
    }


def _reproducible(subject: GateSubject, archive: Archive) -> Figures:
    report = reproduce(subject.project, subject.console, subject.executor_in)
    _pass(report, subject.console)
    digest = archive.top()
    if digest not in report.digests:
        raise GateError(
            "the archive is another image than the two builds gave",
            why=f"{digest}, and they are {report.digests[0]}",
            hint="docker-publish without --resume builds it again",
        )
    return {"digest": digest}


def _diff(subject: GateSubject, archive: Archive) -> Figures:
    config, console = subject.project.config, subject.console
    settings = config.diff_settings()
    scan = None
    if NEW_HIGH_FINDING in settings.fail_on:
        scan = scanning(config, subject.executor, subject.today)
    with subject.last_release() as before:
        if before is None:
            console.note("gate diff: this is the first release: there is nothing to compare with")
            return {"compared with": ""}
        request = DiffRequest(rules=True, allowed=config.allowed_names(), scan=scan)
        report = diff_images(before, Subject(name=subject.archive.name, archive=archive), request)
    for one in report.platforms:
        for name, text in one.counts():
            console.note(f"{one.platform} since {report.old.name}: {name}: {text}")
    raise_problems(broken_rules(report, settings))
    return {
        "compared with": report.old.name,
        "digest": report.old.digest,
        "changes": {one.platform: dict(one.counts()) for one in report.platforms},
    }


_GATES: Final[Mapping[str, Callable[[GateSubject, Archive], Figures]]] = {
    SMOKE: _smoke,
    POLICY: _policy,
    SIZE: _size,
    SCAN: _scan,
    SBOM: _sbom,
    REPRODUCIBLE: _reproducible,
    DIFF: _diff,
}


@dataclass(frozen=True, slots=True)
class GateOutcome:
    """A gate's record, and its error where it was not passed."""

    record: GateRecord
    error: BuildlibError | None = None


def _find_sources(subject: GateSubject) -> None:
    """Check that the files that smoke gives its containers are there."""
    given = smoke_surroundings(subject.project.config)
    check_sources(given.mounts if given.mounts and _is_here(subject) else (), given.env_files)


def _is_here(subject: GateSubject) -> bool:
    try:
        return subject.engine().kind is not EngineKind.REMOTE
    except FailureError:
        # That there is no engine is reported by whoever starts something in it.
        return False


def _find_policy(subject: GateSubject) -> None:
    problems: list[BuildlibError] = []
    with collected(problems):
        find_linter(subject.project, subject.executor, subject.today)
    if subject.release:
        with collected(problems):
            check_labels(subject.project, subject.today)
    raise_problems(problems)


def _find_scan(subject: GateSubject) -> None:
    config = subject.project.config
    try:
        find_scanner(config.scan_settings(), subject.executor, config.root)
    except ToolError as error:
        error.hint += f'; or leave the gate out: --skip-gate {SCAN} --reason "…"'
        raise


def _find_diff_scanner(subject: GateSubject) -> None:
    config = subject.project.config
    if NEW_HIGH_FINDING in config.diff_settings().fail_on:
        find_scanner(config.scan_settings(), subject.executor, config.root)


_TOOLS: Final[Mapping[str, Callable[[GateSubject], object]]] = {
    SMOKE: _find_sources,
    SIZE: _record,
    POLICY: _find_policy,
    SCAN: _find_scan,
    SBOM: lambda subject: find_syft(subject.executor),
    DIFF: _find_diff_scanner,
}


def missing_tools(gates: Iterable[str], subject: GateSubject) -> list[BuildlibError]:
    """Return why gates can't run, which is better known before anything is built.

    Args:
        subject: what will be checked; the archive need not be there.
    """
    asked = [
        Background(lambda find=find: find(subject))  # type: ignore[misc]
        for gate in gates
        if (find := _TOOLS.get(gate))
    ]
    problems: list[BuildlibError] = []
    for answer in asked:
        try:
            answer.get()
        except BuildlibError as error:
            problems += error.problems
    return problems


def dropped(record: GateRecord) -> tuple[str, ...]:
    """Return the platforms on which smoke saw a start as root become the configured user."""
    return tuple(record.figures.get(_DROPPED, ()))


def late_findings(record: GateRecord) -> list[dict[str, str]]:
    """Return what of the policy would fail a real release: rule, path and message of each."""
    return list(record.figures.get(_LATE, ()))


def _run_gate(gate: str, subject: GateSubject) -> GateOutcome:
    started = time.monotonic()
    try:
        # Each opens the file for itself: an open one is read from one place at a time.
        with subject.console.running(f"gate {gate}"), open_archive(subject.archive) as archive:
            figures = _GATES[gate](subject, archive)
    except (FailureError, OSError) as caught:
        error = caught if isinstance(caught, BuildlibError) else system_problem(caught)
        seconds = time.monotonic() - started
        record = GateRecord(gate=gate, state=FAILED, seconds=seconds, detail=str(error))
        subject.console.note(f"{seconds:7.1f} s gate {gate} failed")
        return GateOutcome(record, error)
    seconds = time.monotonic() - started
    record = GateRecord(gate=gate, state=PASSED, seconds=seconds, figures=figures)
    subject.console.note(f"{seconds:7.1f} s gate {gate} {record.outcome}")
    return GateOutcome(record)


def run_gates(
    gates: tuple[str, ...], subject: GateSubject, *, cancel: Callable[[], None]
) -> tuple[GateOutcome, ...]:
    """Return the outcome of every gate, in their order; each runs, also after one that failed.

    Args:
        cancel: ends every process that was started, where this is interrupted.

    Raises:
        CancelledError: interrupted; nothing is left (exit 130).
    """
    # These clean up containers and builds where they are interrupted, or end a download, and only
    # this thread is: they come one after the other, beside all others. A policy that goes by what
    # smoke saw comes after it.
    here = {SMOKE, REPRODUCIBLE, DIFF}
    if subject.project.config.run.drops_root and SMOKE in gates:
        here.add(POLICY)
    others = {
        gate: Background(lambda gate=gate: _run_gate(gate, subject))  # type: ignore[misc]
        for gate in gates
        if gate not in here
    }
    try:
        found: dict[str, GateOutcome] = {}
        for gate in sorted(here.intersection(gates), key=(SMOKE, POLICY, REPRODUCIBLE, DIFF).index):
            found[gate] = _run_gate(gate, subject)
            if gate == SMOKE:
                subject = replace(subject, dropped=dropped(found[gate].record))
        found |= {gate: other.get() for gate, other in others.items()}
    except BaseException:
        # The processes of the others end, and they remove what they made.
        cancel()
        for other in others.values():
            other.wait()
        raise
    return tuple(found[gate] for gate in gates)
