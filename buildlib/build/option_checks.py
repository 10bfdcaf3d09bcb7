"""What would go wrong with the further options of a build: files, agents, names, and versions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from buildlib.build.plan import FILES, BuildPlan
from buildlib.build.preflight import BUILDX_HINT, version_numbers
from buildlib.config.build_options import LAYOUT, is_directory, pair, split_levels
from buildlib.config.buildx_options import BY_NAME, NEWER_VALUES, version_text
from buildlib.docker.buildx_version import says_version
from buildlib.dockerfile.parser import Dockerfile
from buildlib.errors import BuildlibError, EngineError, InputError, ToolError, did_you_mean
from buildlib.findings.secrets import looks_secret
from buildlib.shell import csv_fields

if TYPE_CHECKING:
    from buildlib.docker.engine import Builder, EngineFacts

_AGENT: Final = "SSH_AUTH_SOCK"


def check_versions(options: Iterable[tuple[str, str]], facts: EngineFacts) -> list[BuildlibError]:
    """Return a problem for each option that the buildx at hand does not have yet.

    One that does not say its version is not known to be too old.
    """
    if not says_version(facts.buildx):
        return []
    problems = {}
    for name, text in options:
        value = text.partition("=")[0]
        newer = NEWER_VALUES.get((name, value))
        since = newer or BY_NAME[name].since
        if version_numbers(facts.buildx) < since:
            shown = f"--{name} {value}" if newer else f"--{name}"
            # The short form of the same option, which may be what was typed.
            shown += " and --check" if name == "call" else ""
            problems[shown] = ToolError(
                f"docker buildx {facts.buildx} is too old for {shown}",
                why=f"it came with {version_text(since)}",
                hint=BUILDX_HINT,
            )
    return list(problems.values())


def check_buildkit(options: Iterable[tuple[str, str]], builder: Builder) -> list[BuildlibError]:
    """Return a problem for each option that a node of the builder would ignore without a word.

    One that does not say its version is not known to be too old.
    """
    versions = {builder.buildkit, *(node.buildkit for node in builder.nodes)}
    known = [version for version in versions if version_numbers(version)]
    oldest = min(known, key=version_numbers, default="")
    names = dict.fromkeys(name for name, _ in options)
    return [
        EngineError(
            f"the builder's BuildKit {oldest} is too old for --{name}",
            why=f"it came with {version_text(BY_NAME[name].buildkit)}; an older one ignores it",
            hint="build with a newer builder: docker buildx create --driver docker-container --use",
        )
        for name in names
        if oldest and version_numbers(oldest) < BY_NAME[name].buildkit
    ]


def unused_policy(plan: BuildPlan, facts: EngineFacts) -> tuple[str, ...]:
    """Return a sentence where buildx is too old for the policy beside the Dockerfile."""
    since = BY_NAME["policy"].since
    old = says_version(facts.buildx) and version_numbers(facts.buildx) < since
    if not (plan.source_policy and old):
        return ()
    said = f"docker buildx {facts.buildx} does not apply {plan.source_policy.name}"
    return (f"{said}: policies came with {version_text(since)}",)


def check_options(
    plan: BuildPlan, dockerfile: Dockerfile, env: Mapping[str, str], allowed: Iterable[str] = ()
) -> list[BuildlibError]:
    """Return what is wrong with the further options of a build.

    Args:
        dockerfile: whose stages may be named.
        allowed: patterns of names that are configured as none of a secret.
    """
    return [
        *_secret_names(plan, tuple(allowed)),
        *_stages(plan, dockerfile),
        *_contexts(plan),
        *(problem for text in plan.values("ssh") for problem in _ssh(text, env)),
        *(problem for text in plan.values("policy") for problem in _policies(plan, text)),
        *_written(plan),
    ]


def _secret_names(plan: BuildPlan, allowed: tuple[str, ...]) -> Iterator[BuildlibError]:
    """Yield a problem for each label and annotation that looks like a secret."""
    annotations = [pair(text) for text in plan.values("annotation")]
    named = [("annotation", split_levels(name)[1], value) for name, value in annotations]
    named += [("label", name, value) for name, value in plan.labels]
    for kind, name, value in named:
        if looks_secret(name, value, allowed):
            yield InputError(
                f"{kind} {name} looks like a secret",
                why=f"everybody who has the image can read its {kind}s",
                hint=f'leave it out; if it is not a secret, [policy] allow-names = ["{name}"]',
            )


def _stages(plan: BuildPlan, dockerfile: Dockerfile) -> Iterator[BuildlibError]:
    known = {stage.name.lower(): stage.name for stage in dockerfile.stages if stage.name}
    for name in plan.values("no-cache-filter"):
        if name.lower() not in known:
            yield InputError(
                f"the Dockerfile has no stage {name!r} to build again",
                hint=did_you_mean(name, known.values()),
            )


def _contexts(plan: BuildPlan) -> Iterator[BuildlibError]:
    for name, source in plan.build_contexts:
        if is_directory(source) and not Path(source).is_dir():
            yield InputError(
                f"the build context {name} is not a directory: {source}",
                hint="a directory is relative to the project in the configuration, and to where "
                "you are on the command line",
            )
        layout = source.removeprefix(LAYOUT).partition("@")[0]
        # What replaces a base image may be for another machine.
        own = source.startswith(LAYOUT) and name not in {*plan.bases, *dict(plan.below)}
        if own and not _is_layout(layout):
            yield InputError(f"the build context {name} is not an OCI layout: {layout}")


def _is_layout(text: str) -> bool:
    """Return whether a directory is an OCI layout, with or without a tag behind it."""
    places = (text, text.rpartition(":")[0])
    return any(Path(place, "index.json").is_file() for place in places if place)


def _ssh(text: str, env: Mapping[str, str]) -> Iterator[BuildlibError]:
    name, _, paths = text.partition("=")
    if not paths:
        if not env.get(_AGENT):
            yield InputError(
                f"ssh {name}: no agent is running",
                why=f"{_AGENT} is not set",
                hint=f"start one (ssh-agent), or give a key: --ssh {name}=FILE",
            )
        return
    # A path is not repeated: somebody may have given the key itself.
    if not all(Path(path).exists() for path in paths.split(",")):
        yield InputError(f"ssh {name}: a socket or key is not there", hint="give its path")


def _policies(plan: BuildPlan, text: str) -> Iterator[BuildlibError]:
    for key, value in map(pair, csv_fields(text)):
        if key.strip().lower() != "filename" or value.startswith("cwd://"):
            continue
        if not Path(value).is_relative_to(plan.context):
            yield InputError(
                f"the policy {value} is not in the build context",
                why="buildx reads policies there alone",
                hint=f"move it below {plan.context}, or call it {plan.dockerfile.name}.rego",
            )
        elif not Path(value).is_file():
            yield InputError(f"policy not found: {value}")


def _written(plan: BuildPlan) -> Iterator[BuildlibError]:
    """Yield why a file can't be written after the build, when nothing else is left to do."""
    kept = [("metadata-file", str(plan.metadata_file))] if plan.keeps_metadata else []
    kept += [("iidfile", path) for path in plan.values("iidfile")]
    for option, path in kept:
        if not Path(path).parent.is_dir() or Path(path).is_dir():
            yield InputError(f"--{option} {path} can't be written: it needs a directory and a name")
    if plan.values("iidfile") and plan.kind in FILES:
        yield InputError(f"--iidfile needs an image, and --output {plan.kind} makes none")
