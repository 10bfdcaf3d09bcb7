"""Creates builders with buildx, inspects them, and removes those that were created here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from buildlib.builders.commands import (
    RUNNING,
    BuilderStep,
    boot_step,
    boots,
    create_steps,
    files_of,
    fingerprint,
    is_unreachable,
    missing_hint,
    remove_step,
)
from buildlib.builders.ownership import OwnBuilder, OwnBuilders
from buildlib.builders.probe import why_unreachable
from buildlib.builders.usage import read_usage
from buildlib.config.builders import CONTAINER, DOCKER, REMOTE, BuilderSettings, NodeSettings
from buildlib.docker.engine import Builder, Node, inspect_builder
from buildlib.errors import BuildlibError, EngineError, InputError, TimedOutError, raise_problems
from buildlib.executor import Executor
from buildlib.files import counted, human_size
from buildlib.findings.report import Report
from buildlib.program import PROGRAM
from buildlib.tempfiles import passing_folder
from buildlib.terminal.console import Console
from buildlib.terminal.text import table

# buildx itself gives up on a node after 20 s; to start one it may have to pull an image.
_TIMEOUT: Final = 60.0
_BOOT_TIMEOUT: Final = 300.0
_ABSENT: Final = "no builder"
# What to do about what buildx says of the driver cloud.
_HINTS: Final = {
    'failed to find driver "cloud"': "install buildx 0.37 or later",
    "no credentials found for": "docker login, then again",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeStatus:
    """A node as it is now.

    Args:
        state: buildx's own word, or `absent`.
        running: builds that run on it; None where that is not known.
        gc: the rules by which its cache is collected.
        places: the builds that have a place on it, of all machines, and for how many seconds; None
            where places are not shared, or that is not known.
    """

    name: str
    endpoint: str
    platforms: tuple[str, ...]
    state: str
    buildkit: str = ""
    problem: str = ""
    running: int | None = None
    gc: tuple[str, ...] = ()
    places: tuple[tuple[str, float], ...] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class BuilderStatus:
    """A builder as it is now.

    Args:
        state: `ready`, `absent`, `changed` where it is not as described, `strange` where it is
            foreign, created elsewhere, or `silent` where a node can't be reached.
        hint: what makes it as it is described.
        cache: bytes that the caches of all nodes take; None where that is not known.
    """

    name: str
    driver: str
    state: str
    nodes: tuple[NodeStatus, ...]
    hint: str = ""
    cache: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return every field but the hint, ready for JSON."""
        return {key: value for key, value in asdict(self).items() if key != "hint"}

    def as_text(self) -> str:
        """Return a table with a line for each node."""
        head = f"{self.name}  {self.driver}  {self.state}"
        rows = [
            (f"  {n.name}", n.endpoint, ", ".join(n.platforms), n.state, n.buildkit or "-")
            for n in self.nodes
        ]
        whys = [f"  {n.name}: {n.problem}" for n in self.nodes if n.problem]
        runs = [
            f"  {n.name}: {counted(n.running, 'build')} running"
            for n in self.nodes
            if n.running is not None
        ]
        rules = [f"  {n.name}: gc: {rule}" for n in self.nodes for rule in n.gc]
        places = [
            f"  {n.name}: place of {what}, {seconds:.0f} s"
            for n in self.nodes
            for what, seconds in n.places or ()
        ]
        size = [f"  cache of all nodes: {human_size(self.cache)}"] if self.cache is not None else []
        return "\n".join([head, table(rows), *whys, *runs, *places, *size, *rules])

    def warnings(self) -> list[str]:
        """Return what may make two nodes build differently."""
        if len({node.buildkit for node in self.nodes if node.buildkit}) <= 1:
            return []
        found = ", ".join(f"{node.name} {node.buildkit}" for node in self.nodes if node.buildkit)
        versions_differ = f"the nodes of {self.name} have different versions of BuildKit"
        return [f"{versions_differ}, which may give an image different digests: {found}"]

    def problems(self) -> list[BuildlibError]:
        """Return why a build can't use it."""
        wrong = {"absent": "is not there", "changed": "is not as it is described"}
        if self.state in wrong:
            return [EngineError(f"the builder {self.name} {wrong[self.state]}", hint=self.hint)]
        if self.state == "strange":
            return [_foreign(self.name)]
        return [
            EngineError(
                f"node {node.name} of the builder {self.name} does not answer",
                why=node.problem,
                hint="see whether its buildkitd runs, and can be reached from here",
            )
            for node in self.nodes
            if self.state == "silent" and node.problem
        ]


def _foreign(name: str) -> EngineError:
    return EngineError(
        f"there is a builder {name} that was not made here, so it stays",
        hint=f"choose another name, or, if that builder is not needed: docker buildx rm {name}",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildersReport(Report):
    """Several builders as they are now."""

    builders: tuple[BuilderStatus, ...]

    def problems(self) -> list[BuildlibError]:
        """Return why a build can't use one of them."""
        return [problem for one in self.builders for problem in one.problems()]

    def warnings(self) -> list[str]:
        """Return what may make two nodes build differently."""
        return [warning for one in self.builders for warning in one.warnings()]

    def as_dict(self) -> dict[str, Any]:
        """Return every builder, ready for JSON."""
        return {"builders": [one.as_dict() for one in self.builders]}

    def as_text(self) -> str:
        """Return a table for each builder."""
        return "\n".join(one.as_text() for one in self.builders)


def check_files(builder: BuilderSettings, root: Path) -> list[BuildlibError]:
    """Return a problem for each file that a node names and that is not there."""
    return [
        InputError(f"builders.{builder.name}, node {node.name}: {key} {path} is not a file")
        for node in builder.nodes
        for key, path in files_of(node, root).items()
        if not path.is_file()
    ]


class BuilderManager:
    """Creates, inspects and removes the builders of a project.

    Args:
        root: the project's, which files are relative to.
        env: of docker, for where buildx keeps its builders.
    """

    def __init__(
        self, root: Path, env: Mapping[str, str], executor: Executor, console: Console
    ) -> None:
        self._root = root
        self._executor = executor
        self._console = console
        self.records = OwnBuilders(env)

    def create(self, builder: BuilderSettings) -> BuilderStatus:
        """Create it as it is described, or leave it where it is so already.

        Raises:
            InputError: a file is missing (exit 2).
            EngineError: it can't be made, or a node does not answer; a foreign builder has its name
                (exit 4).
        """
        raise_problems(check_files(builder, self._root))
        if builder.driver == DOCKER:
            self._console.note(f"{builder.name} is docker's own builder: there is nothing to make")
            return self._usable(builder)
        found, record = self._find(builder.buildx_name), self.records.read(builder.name)
        if found.driver and not (record and record.owns(found)):
            raise _foreign(builder.name)
        if found.driver and record and record.fingerprint == fingerprint(builder, self._root):
            self._console.note(f"{builder.name} already exists, as it is described")
            return self._usable(builder)
        if found.driver:
            self._console.note(f"{builder.name} is configured differently now: it is created again")
            # The cache is the same whatever else has changed.
            self._run(remove_step(builder.name, keep_state=builder.driver == CONTAINER))
        return self._made(builder)

    def _usable(self, builder: BuilderSettings) -> BuilderStatus:
        status = self.status(builder)
        raise_problems(status.problems())
        return status

    def _made(self, builder: BuilderSettings) -> BuilderStatus:
        """Create it; what can't be used is removed again, and is not there for the next build."""
        # Before anything is created: what is interrupted in the middle is ours all the same.
        names = {node.name: "" for node in builder.nodes}
        record = OwnBuilder(driver=builder.driver, nodes=names)
        self.records.write(builder.name, record)
        made = False
        try:
            for step in create_steps(builder, self._root):
                self._run(step)
                made = True
            if boots(builder):
                self._run(boot_step(builder.name), _BOOT_TIMEOUT)
            found = self._find(builder.name)
            nodes = {node.name: node.endpoint for node in found.nodes}
            done = replace(record, fingerprint=fingerprint(builder, self._root), nodes=nodes)
            self.records.write(builder.name, done)
            return self._usable(builder)
        except BaseException as error:
            refused = isinstance(error, EngineError) and not isinstance(error, TimedOutError)
            self._undo(builder.name, made=made, refused=refused)
            raise

    def _undo(self, name: str, *, made: bool, refused: bool) -> None:
        """Remove what was created, and forget it where it is surely gone."""
        if made:
            removed = self._executor.run(remove_step(name).argv, timeout=_TIMEOUT).code == 0
        else:
            # Interrupted in the middle of the first command, it may be there: it stays ours.
            removed = refused
        if removed:
            self.records.remove(name)
        elif made:
            self._console.warn(f"{name} may be left: {PROGRAM} docker-builder remove --name {name}")

    def _run(self, step: BuilderStep, timeout: float = _TIMEOUT) -> None:
        self._console.note(self._console.style(f"$ {step.line()}", "dim"))
        with self._console.running(" ".join(step.argv)):
            if step.text:
                with passing_folder("builder") as folder:
                    path = folder / "buildkitd.toml"
                    path.write_text(step.text, encoding="utf-8")
                    done = self._executor.run(step.reading(path), timeout=timeout)
            else:
                done = self._executor.run(step.argv, timeout=timeout)
        if done.code != 0:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            raise EngineError(
                f"{' '.join(step.argv[:3])} failed with exit code {done.code}",
                why="\n".join(lines[-3:]),
                hint=next((hint for said, hint in _HINTS.items() if said in done.stderr), ""),
            )

    def _find(self, name: str) -> Builder:
        """Return what buildx says; without a driver where there is no such builder.

        Raises:
            EngineError: buildx does not say (exit 4).
        """
        found = inspect_builder(self._executor, name)
        if not found.driver and _ABSENT not in found.error:
            raise EngineError(f"buildx can't inspect {name}", why=found.error)
        return found

    def remove(self, name: str) -> bool:
        """Remove a builder of ours; return whether there was one.

        Raises:
            EngineError: a foreign builder has its name, or it can't be removed (exit 4).
        """
        found, record = self._find(name), self.records.read(name)
        if not found.driver:
            self.records.remove(name)
            return False
        if not (record and record.owns(found)):
            raise _foreign(name)
        self._run(remove_step(name))
        self.records.remove(name)
        return True

    def status(self, builder: BuilderSettings) -> BuilderStatus:
        """Return what is there of a builder, and whether each node answers."""
        found, record = self._find(builder.buildx_name), self.records.read(builder.name)
        nodes = self._nodes(builder, found)
        state = "ready"
        if not found.driver:
            state = "absent"
        elif builder.driver != DOCKER and not (record and record.owns(found)):
            state = "strange"
        elif record and record.fingerprint != fingerprint(builder, self._root):
            state = "changed"
        elif any(node.problem for node in nodes):
            state = "silent"
        return BuilderStatus(
            name=builder.name,
            driver=found.driver or builder.driver,
            state=state,
            nodes=nodes,
            hint=missing_hint(builder),
        )

    def usage(self, status: BuilderStatus, name: str) -> BuilderStatus:
        """Return the status with what the nodes do and hold, if all of them run.

        Args:
            name: by which buildx knows it.
        """
        if status.state != "ready" or any(node.state != RUNNING for node in status.nodes):
            return status
        found = read_usage(self._executor, name)
        if found.running is None:
            return replace(status, cache=found.cache)
        nodes = (replace(n, running=found.running.get(n.name, 0)) for n in status.nodes)
        return replace(status, cache=found.cache, nodes=tuple(nodes))

    def _nodes(self, builder: BuilderSettings, found: Builder) -> tuple[NodeStatus, ...]:
        settings = {node.name: node for node in builder.nodes}
        if not found.driver:
            return tuple(_absent(node) for node in builder.nodes)
        return tuple(self._node(found.driver, n, settings.get(n.name)) for n in found.nodes)

    def _node(self, driver: str, node: Node, settings: NodeSettings | None) -> NodeStatus:
        problem = ""
        if is_unreachable(driver, node):
            own = why_unreachable(settings, self._root) if settings and driver == REMOTE else ""
            problem = own or node.error or f"it is {node.status or 'not to be reached'}"
        # Without the levels of amd64, which are many and say little.
        platforms = tuple(p for p in node.platforms if not p.startswith("linux/amd64/v"))
        return NodeStatus(
            name=node.name,
            endpoint=node.endpoint,
            platforms=node.given or platforms,
            state=node.status or ("error" if problem else RUNNING),
            buildkit=node.buildkit,
            problem=problem,
            gc=node.gc,
        )


def _absent(node: NodeSettings) -> NodeStatus:
    return NodeStatus(
        name=node.name,
        endpoint=node.endpoint,
        platforms=tuple(map(str, node.platforms)),
        state="absent",
    )
