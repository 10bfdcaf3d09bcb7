"""How `docker-build` builds several images: which of them, how many at a time, in which order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from buildlib.background import first_ended
from buildlib.build.argv import build_line
from buildlib.build.build_image import build_image
from buildlib.build.changed import changed_images
from buildlib.build.checked_plan import plan_build
from buildlib.build.planner import BuildRequest
from buildlib.build.result import BuildResult
from buildlib.commands.outputs import write_outputs
from buildlib.commands.session import Batch, Beginning, Edge
from buildlib.commands.sources import files_of
from buildlib.errors import (
    NOT_BEGUN,
    BuildlibError,
    CancelledError,
    FailureError,
    InputError,
    in_image,
    raise_problems,
)
from buildlib.project import Project
from buildlib.terminal.console import labelled
from buildlib.terminal.text import redacted, to_json

Outcome = BuildResult | str | BuildlibError


def build_images(
    run: Edge,
    beginning: Beginning,
    batch: Batch,
    request: BuildRequest,
    *,
    as_json: bool,
) -> None:
    """Build images, or only say how, and report on each.

    Raises:
        BuildlibError: the first failure, or with `keep_going` all of them.
    """
    if batch.jobs < 1:
        raise InputError("--jobs has to be at least 1")
    projects, answer = beginning.projects(), {}
    if batch.changed is not None:
        compared, reasons = _say_changed(run, projects, request, batch.changed)
        projects = tuple(one for one in projects if reasons[_name(one)])
        answer["changed"] = {"compared_with": compared, "images": reasons}
    flow = _Flow(run, beginning, batch, request, as_json=as_json)
    try:
        flow.build(projects)
    finally:
        if as_json:
            found = {_name(one): _as_dict(flow.outcome(_name(one))) for one in projects}
            run.console.answer(to_json({**answer, "images": found}))
    raise_problems(flow.problems)


def changed_names(run: Edge, names: Sequence[str], ref: str) -> tuple[str, ...]:
    """Return the images that differ from a commit, and say of each why it does or does not.

    Args:
        names: of the images; none: the project has only one, without a table.
        ref: the commit; empty: the usual one.
    """
    _, reasons = _say_changed(run, run.projects(names), BuildRequest(), ref)
    return tuple(name for name, why in reasons.items() if why)


def _say_changed(
    run: Edge, projects: Sequence[Project], request: BuildRequest, ref: str
) -> tuple[str, dict[str, tuple[str, ...]]]:
    compared, found = changed_images(projects, request, ref)
    reasons = {_name(one): why for one, why in zip(projects, found, strict=True)}
    for name, why in reasons.items():
        said = f"in: {'; '.join(why)}" if why else f"out: nothing differs from {compared}"
        run.console.note(f"{name}: {said}")
    return compared, reasons


def _name(project: Project) -> str:
    return project.config.name or project.config.image


def _as_dict(outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, BuildlibError):
        return {"error": redacted(outcome.as_dict())}
    return {"commands": [outcome]} if isinstance(outcome, str) else outcome.as_dict()


class _Flow:
    """The builds of some images.

    Args:
        as_json: nothing is printed here.
    """

    def __init__(
        self, run: Edge, beginning: Beginning, batch: Batch, request: BuildRequest, *, as_json: bool
    ) -> None:
        self._run, self._beginning, self._batch = run, beginning, batch
        self._request, self._as_json = request, as_json
        self.outcomes: dict[str, Outcome] = {}
        self._begun: set[str] = set()
        self.problems: list[BuildlibError] = []

    def build(self, projects: Sequence[Project]) -> None:
        """Build them, each after those of them that it is based on."""
        self._several = len(projects) > 1
        if self._batch.jobs == 1 or self._run.dry:
            for project in projects:
                if not self._has_failed_below(project):
                    self._end(project, lambda one=project: self._one(one))  # type: ignore[misc]
            return
        self._at_once(projects)

    def outcome(self, name: str) -> Outcome:
        """Return what became of one, also where it was left as something else failed."""
        stopped = CancelledError("interrupted") if name in self._begun else NOT_BEGUN
        return self.outcomes.get(name) or stopped

    def _at_once(self, projects: Sequence[Project]) -> None:
        running = dict[Future[Outcome], Project]()
        try:
            with ThreadPoolExecutor(self._batch.jobs) as pool:
                self._begin_each(pool, list(projects), running)
        finally:
            # What ended well meanwhile.
            for future, project in running.items():
                if not (future.cancelled() or future.exception()):
                    self.outcomes[_name(project)] = future.result()

    def _begin_each(
        self,
        pool: ThreadPoolExecutor,
        waiting: list[Project],
        running: dict[Future[Outcome], Project],
    ) -> None:
        try:
            while waiting or running:
                for project in [*waiting]:
                    left = {one.config.name for one in (*waiting, *running.values())}
                    if left.isdisjoint(name for name, _ in project.below):
                        waiting.remove(project)
                        if not self._has_failed_below(project):
                            running[pool.submit(self._labelled, project)] = project
                for ended in first_ended(running):
                    self._end(running.pop(ended), ended.result)
        except BaseException:
            # The processes of the others end, and they remove what they made.
            for one in running:
                one.cancel()
            self._run.close()
            raise

    def _labelled(self, project: Project) -> Outcome:
        """Build one beside others, whose lines come in between."""
        with labelled(f"{_name(project)} | "):
            return self._one(project)

    def _one(self, project: Project) -> Outcome:
        self._begun.add(_name(project))
        with files_of(self._run, project, self._request) as there:
            if self._run.dry:
                plan, warnings = plan_build(there, self._request)
                for warning in warnings:
                    self._run.console.warn(warning)
                return build_line(plan)
            facts = self._beginning.engine
            console = self._run.console
            executor, task = self._run.executor, "docker-build"
            return build_image(there, self._request, executor, console, facts=facts, task=task)

    def _has_failed_below(self, project: Project) -> bool:
        """Return whether it is based on an image that was not built; then that is its problem."""
        for name, _ in project.below:
            if isinstance(self.outcomes.get(name), BuildlibError):
                error = InputError(f"it is not built, as {name} failed")
                self.outcomes[project.config.name] = error
                self._run.console.note(f"{project.config.name}: {error.what}")
                return True
        return False

    def _end(self, project: Project, outcome: Callable[[], Outcome]) -> None:
        """Report on one.

        Raises:
            BuildlibError: it failed, and the others are not built.
        """
        name, console = _name(project), self._run.console
        heading = f"# {name}" if self._several and not self._as_json else ""
        # What is printed while it is built comes below; beside others, each line has its name.
        if first := heading and self._batch.jobs == 1 and not self._run.dry:
            console.answer(heading)
        try:
            found = outcome()
        except FailureError as error:
            self.outcomes[name] = error
            if self._several and not self._as_json:
                in_image(error, name)
            if not self._batch.keep_going:
                raise
            console.note(f"{name} failed: its error is printed at the end")
            self.problems.append(error)
            return
        self.outcomes[name] = found
        if isinstance(found, BuildResult):
            write_outputs(
                self._run.env,
                image=project.config.name,
                version=found.version,
                digest=found.digest,
                tags=found.references,
            )
        if not self._as_json:
            text = found.as_text() if isinstance(found, BuildResult) else str(found)
            console.answer(f"{heading}\n{text}" if heading and not first else text)
