"""The record of a build while it runs: its plan, its steps, and how it ended."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from buildlib import interrupts
from buildlib.background import Background
from buildlib.build.argv import buildx_argv
from buildlib.build.layers import archive_layers, engine_layers
from buildlib.build.plan import BuildPlan, Output
from buildlib.build.preflight import read_ignore, secret_values
from buildlib.build.progress import BuildProgress
from buildlib.build.result import BuildResult
from buildlib.docker.client_config import buildx_folder, chosen_builder
from buildlib.docker.engine import Builder, EngineFacts, inspect_builder
from buildlib.dockerfile.definitions import Stage, Written, read_written, stages_of
from buildlib.dockerfile.parser import Dockerfile
from buildlib.errors import BuildlibError, CancelledError, FailureError, InputError
from buildlib.executor import Executor
from buildlib.files import read_regular, write_file
from buildlib.findings.secrets import assigned_secrets, looks_secret
from buildlib.git.facts import GitFacts
from buildlib.project import Project
from buildlib.records.cause import Comparison, platform_variables
from buildlib.records.files import Hashes, Taken, read_files
from buildlib.records.record import Layer, Record, Step, bounded, image_of, short_log
from buildlib.records.redaction import Redaction
from buildlib.records.report.markdown import as_markdown, write_summary
from buildlib.records.store import RecordStore, new_id, open_store
from buildlib.shell import csv_pairs
from buildlib.terminal.activity import BuildStep
from buildlib.terminal.console import Console

_PROXY: Final = "_PROXY"
# The longest error that is kept, in characters.
_ERROR: Final = 4000
# After any time.
_NEVER: Final = "~"
# What is known of a builder, and of how many builders.
_FACTS: Final = ("driver", "nodes", "BuildKit", "when")
_BUILDERS: Final = 20
# Seconds after which buildx is asked again: a builder may have another BuildKit.
_FRESH: Final = 24 * 3600
# Seconds for the files of a build that failed.
_PATIENCE: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What a record is made of.

    Args:
        plan: what is built, from `dockerfile`.
        engine, builder: what builds; None: the builder was not asked.
        unknown: paths of the context that git does not have.
    """

    task: str
    project: Project
    plan: BuildPlan
    dockerfile: Dockerfile
    engine: EngineFacts
    builder: Builder | None
    unknown: Sequence[str]


class Recording:
    """Makes the record of one build; whatever goes wrong, the build goes on."""

    def __init__(
        self, about: Recorded, store: RecordStore, executor: Executor, console: Console
    ) -> None:
        """Begin; files are hashed while the builder works."""
        self._about, self._store = about, store
        self._executor, self._console = executor, console
        self._began = time.monotonic()
        plan, project = about.plan, about.project
        allowed = project.config.allowed_names()
        values = (value for _, value in secret_values(plan.secrets, project.env))
        self._redaction = Redaction(
            (value.decode(errors="replace") for value in values), store.key(), allowed
        )
        given = {
            name: project.env.get(name, "") if value is None else value
            for name, value in plan.build_args
            if value is not None or not name.upper().endswith(_PROXY)
        }
        written = read_written(plan.dockerfile.read_bytes().decode("utf-8", "replace"))
        stages = self._stages(written, given)
        self._hide(stages, written, allowed)
        self._now = self._beginning(written, given)
        sources = self._sources(stages, given)
        self._hashes = Hashes(store.hashes)
        self._read = Background(lambda: self._reading(sources))
        self._asked = Background(self._builder)
        self._layers: Background[tuple[Layer, ...]] | None = None
        self._progress: BuildProgress | None = None
        self._comparison: Comparison | None = None
        self._taken: dict[str, Step] = {}

    def _reading(self, sources: tuple[str, ...]) -> tuple[Taken, Record | None]:
        """Read the files, and the record before this one if a step will run that needs it."""
        plan = self._about.plan
        taken = self._named(read_files(plan.context, sources, read_ignore(plan), self._hashes))
        return taken, self._store.last(self._now) if self._hashes.computed else None

    def _stages(self, written: Written, args: dict[str, str]) -> list[tuple[Stage, ...]]:
        native = str(self._about.engine.platform or "")
        names = [str(one) for one in self._about.plan.platforms] or [native]
        known = (platform_variables(name, native) for name in names)
        return [stages_of(written, args, variables) for variables in known]

    def _hide(
        self, views: list[tuple[Stage, ...]], written: Written, allowed: Sequence[str]
    ) -> None:
        """Have values that look secret replaced everywhere."""
        variables = {
            (one.name, one.value)
            for stages in views
            for stage in stages
            for step in stage.steps
            for one in step.scope
        }
        self._redaction.hide(v for name, v in variables if looks_secret(name, v, allowed))
        for one in written.instructions:
            self._redaction.hide(assigned_secrets(f"{one.text}\n{one.body}", allowed))

    def _sources(self, views: list[tuple[Stage, ...]], args: dict[str, str]) -> tuple[str, ...]:
        """Return what the stages that are built take from the context."""
        dockerfile = self._about.dockerfile
        needed = dockerfile.needed(self._about.plan.target, args)
        numbers = [dockerfile.stages.index(stage) for stage in needed]
        found = (
            source
            for stages in views
            for number in numbers
            for step in stages[number].steps
            for source in step.sources
        )
        return tuple(dict.fromkeys(found))

    def _beginning(self, written: Written, args: dict[str, str]) -> Record:
        about, hidden = self._about, self._redaction
        plan, git, engine = about.plan, about.project.git, about.engine
        known = {name: hidden.value(name, value) for name, value in sorted(args.items())}
        facts = (
            {
                "revision": git.revision,
                "branch": git.branch,
                "description": git.description,
                "dirty": git.dirty,
            }
            if isinstance(git, GitFacts)
            else {"reason": git.reason}
        )
        return Record(
            id=new_id(),
            task=about.task,
            started=datetime.now(UTC).isoformat(timespec="milliseconds"),
            image=plan.image,
            version=plan.version,
            target=plan.target,
            platforms=tuple(map(str, plan.platforms)),
            native=str(engine.platform or ""),
            output=hidden.text(str(plan.output)),
            archive=hidden.text(str(plan.destination)) if plan.output == Output.OCI else "",
            references=plan.references,
            builder=plan.builder or _current(about),
            tools={"docker": engine.client, "buildx": engine.buildx, "engine": engine.server},
            argv=tuple(self._word(word, known) for word in buildx_argv(plan)),
            args=known,
            secrets=tuple(csv_pairs(one).get("id", "") for one in plan.secrets),
            git=hidden.all(facts),
            bases=dict(_given_bases(plan)),
            dockerfile=about.project.config.dockerfile,
            syntax=written.syntax,
            escape=written.escape,
            instructions=bounded(
                tuple(
                    one._replace(text=hidden.text(one.text), body=hidden.text(one.body))
                    for one in written.instructions
                )
            ),
            not_in_git=tuple(about.unknown),
        )

    def _word(self, word: str, args: dict[str, str]) -> str:
        """Return a word of the command; a build arg has the value that is on record."""
        name, equals, _ = word.partition("=")
        return f"{name}={args[name]}" if equals and name in args else self._redaction.text(word)

    def _builder(self) -> tuple[str, str, str]:
        """Return the builder's driver, its nodes, and their BuildKit.

        buildx is asked once a day for each builder and each version of the tools, and again where
        the builder was created again.
        """
        env, path, name = self._about.project.env, self._store.builders, self._now.builder
        words = [name, env.get("DOCKER_HOST", ""), *sorted(self._now.tools.values())]
        with suppress(OSError):
            words.append(str((buildx_folder(env) / "instances" / name).stat().st_mtime_ns))
        key, known = " ".join(words), dict[str, Any]()
        with suppress(OSError, ValueError, TypeError, RecursionError):
            known = dict(json.loads(read_regular(path)))
        found = self._about.builder
        told = known.get(key)
        if found is None and isinstance(told, list) and len(told) == len(_FACTS):
            driver, nodes, buildkit, when = map(str, told)
            if when.isdecimal() and 0 <= time.time() - int(when) < _FRESH:
                return driver, nodes, buildkit
        found = found or inspect_builder(self._executor, self._about.plan.builder)
        nodes = ", ".join(one.name for one in found.nodes)
        facts = found.driver, nodes, found.versions
        if all(facts):
            newest = [*known.items()][-_BUILDERS:]
            now = str(int(time.time()))
            # The next build asks again.
            with suppress(OSError):
                write_file(path, json.dumps(dict(newest) | {key: [*facts, now]}))
        return facts

    def follow(self, progress: BuildProgress) -> None:
        """Take the steps from here on; a build that is tried again begins again."""
        self._progress, self._comparison, self._layers = progress, None, None
        self._taken.clear()

    def ended(self, step: BuildStep) -> None:
        """Say why a step ran, under its line."""
        if not step.counts or step.cached or step.error:
            return
        with self._spared():
            if reason := self._reason(step.digest):
                self._console.reason(reason)

    @cached_property
    def _before(self) -> Record | None:
        """Return the record before this one, which only a step that ran needs."""
        early = self._read.get()[1] if self._read.wait(0) else None
        return early or self._store.last(self._now)

    def exported(self) -> None:
        """Ask for the layers as soon as there is an image, unless all of it was in the cache."""
        plan, engine = self._about.plan, self._about.engine
        steps = self._progress.steps if self._progress else ()
        if plan.loads and plan.references and any(one.counts and not one.cached for one in steps):
            own = engine.platform if engine.platform in plan.platforms else None
            platform = own or next(iter(plan.platforms), engine.platform)
            words = self._executor, plan.references[0], str(platform or "")
            self._layers = Background(lambda: engine_layers(*words))

    def _image_layers(self, result: BuildResult) -> tuple[Layer, ...]:
        """Return the layers of the image, without the secrets of what made them."""
        found: tuple[Layer, ...] = ()
        if self._about.plan.output == Output.OCI:
            with suppress(FailureError):
                found = archive_layers(Path(result.destination))
        else:
            if self._layers is None:
                self.exported()
            found = self._layers.get() if self._layers else ()
        hidden = self._redaction.command
        return tuple(one._replace(made_by=hidden(one.made_by)) for one in found)

    def _reason(self, digest: str) -> str:
        before = self._before
        if before is None:
            return ""
        if self._comparison is None:
            self._comparison = Comparison(self._files_known, before)
        self._collect()
        for one in self._taken.values():
            self._comparison.take(one)
        cause = self._comparison.cause(digest)
        if cause is None:
            return ""
        return cause.text if cause.digest == digest else f"after {cause.step}: {cause.text}"

    def _named(self, taken: Taken) -> Taken:
        """Return files without the secrets that are in their names."""
        hidden = self._redaction.text
        # One look at all of them takes a fraction of the time, and next to no path has a secret.
        if hidden(paths := "\n".join(taken.files)) == paths:
            return taken
        return taken._replace(files={hidden(path): file for path, file in taken.files.items()})

    @cached_property
    def _files_known(self) -> Record:
        """Return what is known of the build with its files, once they are hashed."""
        return replace(self._now, **self._read.get()[0]._asdict())

    def _collect(self) -> None:
        """Take the steps that ended since the last time, and those that have not."""
        for one in self._progress.steps if self._progress else ():
            known = self._taken.get(one.digest)
            if known is None or not known.ended:
                self._taken[one.digest] = self._step(one)

    def _step(self, one: BuildStep) -> Step:
        hidden = self._redaction.text
        began, seconds = one.started, one.seconds
        ended = began + timedelta(seconds=seconds) if began and seconds is not None else None
        return Step(
            digest=one.digest,
            name=hidden(one.name),
            inputs=one.inputs,
            started=began.isoformat() if began else "",
            ended=ended.isoformat() if ended else "",
            seconds=None if seconds is None else round(seconds, 3),
            cached=one.cached,
            error=hidden(one.error)[:_ERROR],
            size=sum(one.sizes.values()),
            warnings=tuple(map(hidden, one.warnings)),
            # What is cut first may leave a part of a secret.
            log=short_log([*map(hidden, one.head)], [*map(hidden, one.log)], one.lines),
        )

    def end(self, result: BuildResult | None, error: BaseException | None) -> None:
        """Write the record.

        Args:
            error: that ended any other.
        """
        with interrupts.held(), self._spared():
            if not self._read.wait(None if result else _PATIENCE):
                why = f"its files were not read within {_PATIENCE:.0f} s after its end"
                self._console.note(f"no record of this build is kept: {why}")
                self._hashes.save(ended=False)
                return
            record = self._files_known
            self._collect()
            ran = any(one.parts.total and not one.cached for one in self._taken.values())
            driver, node, buildkit = self._asked.get() if result else ("", "", "")
            record = replace(
                record,
                steps=tuple(self._taken.values()),
                layers=self._image_layers(result) if result and ran else (),
                seconds=round(time.monotonic() - self._began, 3),
                driver=driver,
                node=node,
                tools={**record.tools, "buildkit": buildkit},
                **_outcome(result, error, self._redaction),
            )
            before = self._before if ran else None
            comparison = Comparison(record, before) if before else None
            steps = []
            for step in sorted(record.steps, key=lambda one: one.started or _NEVER):
                cause = comparison.cause(step.digest) if comparison else None
                steps.append(replace(step, cause=cause.text) if cause else step)
            images = (image_of(step.name) for step in steps)
            bases = {**record.bases} | {name: one for name, one in filter(None, images) if one}
            record = replace(record, steps=tuple(steps), bases=bases)
            self._store.write(record)
            # They are computed again.
            with suppress(OSError):
                self._hashes.save()
            try:
                write_summary(self._about.project.env, lambda: as_markdown(record))
            except InputError as problem:
                self._console.note(
                    f"no summary of this build is written: {problem.what}: {problem.why}"
                )

    @contextmanager
    def _spared(self) -> Iterator[None]:
        """Let nothing that fails here fail the build."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - a record is worth less than a build
            _not_kept(self._console, error)


def _outcome(
    result: BuildResult | None, error: BaseException | None, hidden: Redaction
) -> dict[str, Any]:
    if result:
        return {
            "platforms": result.platforms,
            "digest": result.digest,
            "size": result.size,
            "warnings": tuple(map(hidden.text, result.warnings)),
        }
    stopped = isinstance(error, KeyboardInterrupt | CancelledError)
    text = error.what if isinstance(error, BuildlibError) else ""
    return {
        "result": "interrupted" if stopped else "failed",
        "error": hidden.text(text)[:_ERROR],
    }


def _current(about: Recorded) -> str:
    """Return the name of the builder in use; that of docker's default context has none."""
    context = about.engine.context
    return chosen_builder(about.project.env) or ("" if context == "default" else context)


def _given_bases(plan: BuildPlan) -> Iterator[tuple[str, str]]:
    """Yield the names for which another image stands, and its digest, as far as it is known."""
    for name, source in plan.build_contexts:
        kind, _, place = source.partition("://")
        path, _, digest = place.partition("@")
        if kind == "oci-layout" and not digest:
            # The first image is the one that is taken where several have no name.
            with suppress(OSError, ValueError, LookupError, TypeError):
                index = json.loads((Path(path) / "index.json").read_text(encoding="utf-8"))
                digest = str(index["manifests"][0]["digest"])
        if digest:
            yield name, digest


def _not_kept(console: Console, error: Exception) -> None:
    why = error.what if isinstance(error, BuildlibError) else str(error)
    console.note(f"no record of this build is kept: {why}; records = false turns records off")


@contextmanager
def recorded(about: Recorded, executor: Executor, console: Console) -> Iterator[Recording | None]:
    """Give what records a build, for the time of the build; None: nothing is kept.

    Args:
        about: what the record is made of; without a task nothing is kept.
        executor: asks buildx for its builder.
        console: says why steps ran.
    """
    recording = None
    if about.task:
        try:
            store = open_store(about.project.config, about.project.env)
            recording = Recording(about, store, executor, console) if store else None
        except Exception as error:  # noqa: BLE001 - a record is worth less than a build
            _not_kept(console, error)
    if recording is None:
        yield None
        return
    try:
        yield recording
    except BaseException as error:
        recording.end(None, error)
        raise
