"""From an image to the report: every platform, side by side where the machine has room."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

from buildlib import interrupts
from buildlib.background import Background, first_ended
from buildlib.build.argv import build_line
from buildlib.build.build_image import build_image
from buildlib.build.checked_plan import plan_build
from buildlib.build.planner import BuildRequest
from buildlib.config.containers import check_sources
from buildlib.containers.health import smoke_surroundings
from buildlib.containers.plan import confined_options
from buildlib.containers.runner import Engine
from buildlib.docker.endpoint import EngineKind
from buildlib.errors import CancelledError, GateError, InputError
from buildlib.executor import Executor
from buildlib.files import counted
from buildlib.findings.finding import Finding
from buildlib.image.archive import Archive
from buildlib.image.labels import VERSION_LABEL
from buildlib.image.platform import Platform, meant_platform, parse_platform
from buildlib.image.size import saved
from buildlib.policy.check import check_policy, find_linter
from buildlib.program import PROGRAM
from buildlib.project import Project
from buildlib.shell import shell_line
from buildlib.smoke.checks import PlatformImage, PlatformSmoke, is_selected
from buildlib.smoke.load_image import SmokeImage, given
from buildlib.smoke.report import (
    DROPS_ROOT,
    POLICY,
    CheckResult,
    CheckState,
    PlatformResult,
    SmokeReport,
)
from buildlib.smoke.sandbox import Lab, new_run_id, remove_stale
from buildlib.smoke.server import server_options
from buildlib.smoke.socket_relay import Socket, sockets
from buildlib.tempfiles import remove_left
from buildlib.terminal.console import Console

# How often a run that is being cancelled looks whether its containers have let go, in seconds.
_LOOK: Final = 0.2
_LEAVES: Final = ("what smoke started", f"{PROGRAM} docker-smoke removes it before it starts again")


@dataclass(frozen=True, kw_only=True, slots=True)
class SmokeRequest:
    """The options of one run.

    Args:
        image: reference, digest, or file of an archive; empty: one is built, and removed again.
        version: that it must have; empty: the one that is built, or of its label.
        only: patterns of the checks to make; empty: all.
        policy: the image is checked against its policy too, where the configuration wants it.
        release: the policy's rules of a release count.
        today: in UTC, for what the policy ignores until a day.
        jobs: platforms at a time; 0: as many as the machine has processors.
    """

    platforms: tuple[Platform, ...]
    today: date
    policy: bool = True
    release: bool = False
    image: str = ""
    version: str = ""
    only: tuple[str, ...] = ()
    jobs: int = 0


def _build_request(platforms: Sequence[Platform], tag: str) -> BuildRequest:
    return BuildRequest(platforms=tuple(map(str, platforms)), only_tags=(tag,))


def planned(project: Project, request: SmokeRequest) -> list[str]:
    """Return the lines that would be run: the build, and each kind of container; nothing is asked.

    The engine's sockets and the volume of the data are made when it runs, and are missing here.

    Raises:
        InputError: the image can't be planned (exit 2).
    """
    config = project.config
    image, lines = request.image, []
    if not image:
        plan, _ = plan_build(project, _build_request(request.platforms, "smoke"))
        image, lines = plan.references[0], [build_line(plan)]
    for platform in request.platforms:
        options = server_options(config, platform, confined_options(config.run), None, "")
        start = ("docker", "run", "--rm", *options)
        smoke = config.smoke
        for command in smoke.commands:
            program, *words = command.entrypoint or ("",)
            entry = ("--entrypoint", program) if program else ()
            lines.append(shell_line((*start, *entry, image, *words, *command.run)))
        if smoke.version_command:
            lines.append(shell_line((*start, image, *smoke.version_command)))
        if smoke.serves:
            published = ("--publish", f"127.0.0.1::{smoke.port}") if smoke.port else ()
            lines.append(shell_line((*start, *published, image)))
    return lines


class SmokeFlow:
    """One run of smoke.

    Args:
        console: shows each check as it ends.
    """

    def __init__(
        self,
        project: Project,
        request: SmokeRequest,
        engine: Engine,
        executor: Executor,
        console: Console,
    ) -> None:
        self._project, self._config = project, project.config
        self._request, self._engine = request, engine
        self._executor, self._console = executor, console
        elsewhere = engine.kind is EngineKind.REMOTE
        self._lab = Lab(executor, new_run_id(), elsewhere=elsewhere)
        self._printing = threading.Lock()
        self._keeps = False

    def run(self) -> SmokeReport:
        """Return what was seen on every platform, in the order of the request.

        Raises:
            InputError: there is nothing to check (exit 2).
            EngineError: there is no such image, it can't be started, or not emulated (exit 4).
            ToolError: the policy's linter is not here (exit 3).
            GateError: the image is not for a platform (exit 7).
            CancelledError: interrupted; nothing is left (exit 130).
        """
        smoke, request = self._config.smoke, self._request
        starts = smoke.commands or smoke.version_command or smoke.serves
        # An image of files alone still has a label and a policy.
        if not (starts or self._wants_policy() or request.version or not request.image):
            raise InputError(
                "there is nothing to check",
                hint=f"add {self._config.table('smoke')} with commands or port",
            )
        if self._engine.kind is not EngineKind.REMOTE:
            given = smoke_surroundings(self._config)
            check_sources(given.mounts, given.env_files)
        for name in remove_stale(self._executor, self._config.image, keep=self._request.image):
            self._console.note(f"removed what {name} had left, a run that was killed")
        remove_left()
        if self._wants_policy():
            find_linter(self._project, self._executor, self._request.today)
        with (
            interrupts.leaving(*_LEAVES),
            self._image() as image,
            self._console.opening(
                f"reading {image.reference}",
                saved(self._executor, str(image.archive or image.reference)),
            ) as archive,
        ):
            self._lab.measure(image.reference)
            subjects = [self._subject(image, archive, one) for one in self._request.platforms]
            results = self._side_by_side(subjects)
            if self._wants_policy():
                results = self._with_policy(archive, subjects[0], results)
            self._keep_for_a_closer_look(image, results)
            return SmokeReport(results=tuple(results))

    @contextmanager
    def _image(self) -> Iterator[SmokeImage]:
        tag = f"{self._config.image}:{self._lab.run_id}"
        if self._request.image:
            with given(self._request.image, tag, self._executor) as image:
                yield image
            return
        request = _build_request(self._request.platforms, self._lab.run_id)
        facts = self._engine.facts
        try:
            build_image(
                self._project,
                request,
                self._executor,
                self._console,
                facts=Background(lambda: facts),
                task="docker-smoke",
            )
            yield SmokeImage(reference=tag)
        finally:
            if not self._keeps:
                # The tag alone: layers that other images share stay.
                with interrupts.held():
                    self._executor.run(("docker", "image", "rm", "--no-prune", tag))

    def _subject(self, image: SmokeImage, archive: Archive, platform: Platform) -> PlatformImage:
        found = {parse_platform(one.platform): one for one in archive.images()}
        meant = meant_platform(platform, found)
        if meant is None:
            raise GateError(
                f"{self._request.image or image.reference} is not for {platform}",
                why=f"it is for {', '.join(map(str, found))}",
            )
        one, here = found[meant], self._engine.facts.platform
        label = one.labels.get(VERSION_LABEL, "")
        built = "" if self._request.image else self._project.version.value
        expected = self._request.version or built
        return PlatformImage(
            image=image.reference,
            source=str(image.archive or image.reference),
            platform=meant,
            digest=one.digest,
            version=expected or label,
            label=label if expected else None,
            foreign=not (here and meant_platform(here, (meant,))),
        )

    def _side_by_side(self, subjects: Sequence[PlatformImage]) -> list[PlatformResult]:
        jobs = self._request.jobs or os.cpu_count() or 1
        smoke = self._config.smoke
        given: AbstractContextManager[tuple[Socket, ...]] = nullcontext(())
        if smoke.engine_path and self._config.run.socket_path:
            image = subjects[0].image
            given = sockets(self._engine, smoke.socket_groups, self._executor, image)
        with given as found, ThreadPoolExecutor(min(jobs, len(subjects))) as pool:
            runs: list[Future[PlatformResult]] = []
            try:
                with interrupts.held():
                    runs += [pool.submit(self._one, subject, found) for subject in subjects]
                left = set(runs)
                while left:
                    left -= (done := first_ended(left))
                    if any(run.exception() for run in done):
                        # One that can't be run at all ends the others.
                        self._cancel(runs)
                        break
            except BaseException:
                self._cancel(runs)
                raise
        # One that had not begun yet has no error of its own.
        begun = [run for run in runs if not run.cancelled()]
        errors = [error for run in begun if (error := run.exception())]
        # The error of the first one, not that the others were cancelled for it.
        for error in sorted(errors, key=lambda error: isinstance(error, CancelledError)):
            raise error
        return [run.result() for run in runs]

    def _wants_policy(self) -> bool:
        smoke = self._config.smoke
        chosen = self._request.policy and smoke.policy
        return chosen and is_selected(self._request.only, POLICY, skip=smoke.skip)

    def _with_policy(
        self, archive: Archive, subject: PlatformImage, results: Sequence[PlatformResult]
    ) -> list[PlatformResult]:
        """Return the results with one check more: whether the image keeps its policy."""
        started = time.monotonic()
        report = check_policy(
            self._project,
            archive,
            self._executor,
            image=subject.image,
            release=self._request.release,
            today=self._request.today,
            dropped=[result.platform for result in results if result.drops_root],
        )
        for reason in report.left_out:
            self._console.note(reason)
        # Read once for all of them.
        seconds = (time.monotonic() - started) / len(results)
        repeat = shell_line((PROGRAM, "docker-policy", "--image", subject.source))
        checked = []
        for result in results:
            broken = report.errors_of(result.platform)
            mild = [one for one in report.mild if one.platform in {"", result.platform}]
            check = CheckResult(
                check=POLICY,
                state=CheckState.FAILED if broken else CheckState.PASSED,
                seconds=seconds,
                detail="\n".join(_broken(one) for one in broken)
                or (f"{counted(len(mild), 'warning')}: {repeat}" if mild else ""),
                repeat=repeat if broken else "",
            )
            self._show(result.platform, check)
            total = result.seconds + seconds
            checked.append(replace(result, seconds=total, checks=(*result.checks, check)))
        return checked

    def _cancel(self, runs: Sequence[Future[PlatformResult]]) -> None:
        """End every container until no thread waits for one any more."""
        with interrupts.held():
            for run in runs:
                run.cancel()
            self._lab.cancel()
            while wait(runs, timeout=_LOOK).not_done:
                self._lab.sweep()
            self._lab.sweep()
            # The engine may still have been making what its client no longer waited for.
            time.sleep(_LOOK)
            self._lab.sweep()

    def _one(self, subject: PlatformImage, found: Sequence[Socket]) -> PlatformResult:
        platform, only = str(subject.platform), self._request.only
        # The policy accepts a start as root only where it was seen to be given up.
        if only and self._wants_policy() and self._config.run.drops_root:
            only = (*only, DROPS_ROOT)
        with self._console.running(f"smoke {platform}") as activity:

            def began(check: str) -> None:
                activity.status = check

            return PlatformSmoke(
                subject,
                self._config,
                self._lab,
                sockets=found,
                only=only,
                on_check=began,
                on_result=lambda result: self._show(platform, result),
            ).run()

    def _show(self, platform: str, result: CheckResult) -> None:
        mark = "" if result.state is CheckState.PASSED else f" {result.state}"
        style = "red" if result.state is CheckState.FAILED else "yellow"
        text = f"{result.seconds:7.1f} s {platform} {result.check}"
        if result.state is CheckState.PASSED and result.detail:
            asked = "" if result.check == POLICY else "asked "
            text += f" ({asked}{result.detail})"
        with self._printing:
            self._console.note(text + (self._console.style(mark, style) if mark else ""))

    def _keep_for_a_closer_look(self, image: SmokeImage, results: Sequence[PlatformResult]) -> None:
        if self._request.image or not any(result.failed for result in results):
            return
        self._keeps = True
        self._console.note(
            f"{image.reference} stays until smoke runs again; docker image rm removes it"
        )


def _broken(finding: Finding) -> str:
    """Return what breaks the policy on one platform, which is said beside it."""
    place = finding.where.removeprefix(finding.platform).strip()
    return ": ".join(filter(None, (finding.rule, place, finding.message)))
