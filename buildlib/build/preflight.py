"""Everything that can be known to go wrong before any work: facts and plan in, problems out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING, Final

from buildlib.build.plan import BuildPlan, Output
from buildlib.config.buildx_options import BY_NAME
from buildlib.docker.buildx_version import PROBED, says_version
from buildlib.dockerfile.ignore import DockerIgnore
from buildlib.dockerfile.parser import PREDEFINED, Dockerfile, context_path
from buildlib.errors import BuildlibError, EngineError, InputError, ToolError, did_you_mean
from buildlib.findings.secrets import looks_secret
from buildlib.shell import csv_fields, csv_pairs
from buildlib.versioning.preconditions import listing

if TYPE_CHECKING:
    from buildlib.docker.engine import Builder, EngineFacts

# The first with `--progress rawjson`, which is how steps and cache hits are counted.
MINIMUM_BUILDX: Final = (0, 13)

_SECRET_KEYS: Final = frozenset({"id", "type", "src", "source", "env"})
# BuildKit takes no larger one.
_LARGEST_SECRET: Final = 500 * 1024
BUILDX_HINT: Final = "install the plugin (docs.docker.com/build/install-buildx)"


def version_numbers(text: str) -> tuple[int, ...]:
    """Return the leading numbers of a version such as `v0.13.1+ds1`."""
    match = re.match(r"v?(\d+(?:\.\d+)*)", text)
    return tuple(map(int, match[1].split("."))) if match else ()


def check_engine(facts: EngineFacts, *, endpoint: str = "") -> list[BuildlibError]:
    """Return what is wrong with docker, buildx and the engine, whatever is to be built.

    Args:
        endpoint: DOCKER_HOST, where the user set it.
    """
    problems: list[BuildlibError] = []
    needed = ".".join(map(str, MINIMUM_BUILDX))
    if not facts.buildx:
        problems.append(ToolError("docker buildx not found", hint=BUILDX_HINT))
    elif facts.buildx_fits is False:
        problems.append(
            ToolError(
                f"docker buildx {facts.buildx} does not report its version, and is too old",
                why=f"docker buildx create has no option {PROBED}, which came with {needed}",
                hint=BUILDX_HINT,
            )
        )
    elif says_version(facts.buildx) and version_numbers(facts.buildx) < MINIMUM_BUILDX:
        problems.append(
            ToolError(
                f"docker buildx {facts.buildx} is too old, {needed} is the oldest that does",
                hint=BUILDX_HINT,
            )
        )
    if not facts.server:
        problems.append(_no_engine(facts, endpoint))
    return problems


def unknown_buildx(facts: EngineFacts) -> list[str]:
    """Return a warning about a buildx that is used though it does not say its version."""
    if not facts.buildx_fits:
        return []
    needed = ".".join(map(str, MINIMUM_BUILDX))
    said = f"docker buildx {facts.buildx} does not report its version"
    return [f"{said}; it is used, as it has what {needed} brought"]


def _no_engine(facts: EngineFacts, endpoint: str) -> BuildlibError:
    where = endpoint or (f"context {facts.context!r}" if facts.context else "the current context")
    if "permission denied" in facts.problem.lower():
        return EngineError(
            f"no permission to use the Docker engine at {where}",
            why=facts.problem,
            hint="join the group that owns the socket (usually docker) and log in again, "
            "or choose another context: docker context ls",
        )
    if "context not found" in facts.problem.lower():
        return EngineError(
            "docker's current context does not exist",
            why=facts.problem,
            hint="docker context ls lists them",
        )
    if "host key verification failed" in facts.problem.lower():
        return EngineError(
            f"ssh does not know the host of the Docker engine at {where}",
            why=facts.problem,
            hint="accept its key once: ssh USER@HOST; docker starts ssh where it can't ask",
        )
    return EngineError(
        f"the Docker engine at {where} does not answer",
        why=facts.problem,
        hint="start it, or choose another: docker context ls",
    )


def check_build_args(
    pairs: Iterable[tuple[str, str | None]], env: Mapping[str, str], allowed: Iterable[str] = ()
) -> list[BuildlibError]:
    """Return a problem for each build arg that looks like a secret.

    Args:
        pairs: names and values; None: the value is taken from the environment.
        allowed: patterns of names that are configured as none of a secret.
    """
    allowed = tuple(allowed)
    return [
        InputError(
            f"build arg {name} looks like a secret",
            why="build args can be read in the image's history and provenance",
            hint=f"hand it over with --secret id={name},env={name}; if it is not a secret, "
            f'[policy] allow-names = ["{name}"]',
        )
        for name, value in pairs
        if name not in PREDEFINED
        and looks_secret(name, env.get(name) if value is None else value, allowed)
    ]


def check_secrets(texts: Iterable[str]) -> list[BuildlibError]:
    """Return a problem for each secret whose form buildx would refuse."""
    return [
        # Never with what was given: somebody may have given the secret itself.
        InputError(
            f"a --secret can't be read: {why}",
            hint="give id=NAME,env=NAME or id=NAME,src=FILE",
        )
        for text in texts
        if (why := _wrong_with_secret(text))
    ]


def _wrong_with_secret(text: str) -> str:
    """Return what buildx would say; it reads one line of CSV, its keys in any case."""
    try:
        fields = csv_fields(text)
    except ValueError as error:
        return str(error)
    if not all("=" in field for field in fields):
        return "it is not a list of key=value"
    given = csv_pairs(text)
    if given.keys() - _SECRET_KEYS:
        return f"its keys are not all of {', '.join(sorted(_SECRET_KEYS))}"
    if given.get("type", "file") not in {"file", "env"}:
        return "its type is neither file nor env"
    return "" if given.get("id") else "it has no id"


def secret_values(texts: Iterable[str], env: Mapping[str, str]) -> tuple[tuple[str, bytes], ...]:
    """Return what build secrets are, by their ids, as far as it can be read.

    Args:
        texts: of `--secret`; one that can't be read is passed over.
    """
    found = []
    for text in texts:
        if _wrong_with_secret(text):
            continue
        given = csv_pairs(text)
        name = given.get("id", "")
        variable = given.get("env") or (name if given.get("type") != "file" else "")
        path = Path(given.get("src") or given.get("source") or name)
        if variable in env and not ({"src", "source"} & given.keys()):
            found.append((name, env[variable].encode(errors="surrogateescape")))
        elif path.is_file():
            found.append((name, path.read_bytes()[:_LARGEST_SECRET]))
    return tuple(found)


def unset_secrets(texts: Iterable[str], env: Mapping[str, str]) -> list[BuildlibError]:
    """Return a problem for each secret whose variable is not set: a build would get an empty one.

    Args:
        texts: of `--secret`, of the form that `check_secrets` wants.
    """
    found: list[BuildlibError] = []
    for text in texts:
        given = csv_pairs(text)
        variable = given.get("env", "")
        if variable and variable not in env:
            found.append(
                InputError(
                    f"the secret {given.get('id', variable)} has no value: {variable} is not set",
                    why="the build would get an empty one",
                    hint=f"export {variable}, or leave the secret out",
                )
            )
    return found


def unwanted_files(plan: BuildPlan, names: Iterable[str]) -> tuple[str, ...]:
    """Return a sentence where the whole build context is copied, with what is not source in it.

    Args:
        names: of files and directories that no image should have, relative to the context.
    """
    if plan.checkout or not any(context_path(source) == "." for source in plan.sources):
        return ()
    there = [name for name in names if (plan.context / name).exists()]
    ignore = read_ignore(plan) if there else DockerIgnore(())
    found = [name for name in there if not ignore.excludes(name, directory=False)]
    text = f"the image gets {', '.join(found)}, which the Dockerfile copies with all of the context"
    return (f"{text}: add these names to .dockerignore, one a line",) if found else ()


def unknown_files(paths: Sequence[str]) -> tuple[str, ...]:
    """Return a sentence about files that the builder reads and no commit has."""
    if not paths:
        return ()
    said = f"the build takes {listing(paths)}, which no commit has"
    return (f"{said}: add them to .dockerignore, one a line, or to [context] allow",)


def undeclared(plan: BuildPlan, dockerfile: Dockerfile) -> tuple[str, ...]:
    """Return a sentence for each build arg that the Dockerfile does not declare."""
    declared = sorted(dockerfile.args)
    return tuple(
        f"the Dockerfile declares no ARG {name}"
        + (f"; it declares {', '.join(declared)}" if declared else "; it declares none")
        for name, _ in plan.build_args
        if name not in dockerfile.args and name not in PREDEFINED
    )


def other_version(plan: BuildPlan, dockerfile: Dockerfile, name: str) -> tuple[str, ...]:
    """Return a sentence where the program does not get the version that the image has.

    Args:
        name: of the build arg that says the version; empty: none does.
    """
    given = dict(plan.build_args).get(name)
    if name in dockerfile.choosing():
        if given is not None:
            return ()
        said = f"{name} chooses a base image, so it is not filled with the version"
        return (f'{said}: inject = {{ VERSION = "…" }} names another ARG, or false',)
    if given is None or given == plan.version:
        return ()
    said = f"the build arg {name} is {given}, and tag and label say {plan.version}"
    return (f"{said}: --version sets all of them",)


def check_files(plan: BuildPlan) -> list[BuildlibError]:
    """Return what is missing on disk: context and Dockerfile."""
    found = (
        _missing("build context", plan.context, S_ISDIR),
        _missing(
            "Dockerfile",
            plan.dockerfile,
            S_ISREG,
            hint='set dockerfile = "path" in the configuration',
        ),
    )
    return [problem for problem in found if problem]


def _missing(
    what: str, path: Path, kind: Callable[[int], bool], hint: str = ""
) -> BuildlibError | None:
    # Python 3.14's is_dir() returns False where it can't be seen.
    try:
        there = kind(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        there = False
    except OSError as error:
        # A name that is too long, or a directory above it that is not for us.
        return InputError(f"{what} can't be looked at: {path}", why=str(error.strerror))
    return None if there else InputError(f"{what} not found: {path}", hint=hint)


def read_ignore(plan: BuildPlan) -> DockerIgnore:
    """Return what stays out of the context of a plan.

    Raises:
        InputError: a pattern is invalid (exit 2).
    """
    return DockerIgnore(plan.ignore.lines + plan.kept_out, name=plan.ignore.name)


def check_dockerfile(
    plan: BuildPlan, dockerfile: Dockerfile, ignore: DockerIgnore
) -> list[BuildlibError]:
    """Return a target that is not there, and sources that the context won't have."""
    if dockerfile.stage(plan.target) is None:
        names = [stage.name for stage in dockerfile.stages if stage.name]
        return [
            InputError(
                f"the Dockerfile has no stage {plan.target!r}"
                if plan.target
                else "the Dockerfile has no FROM",
                hint=did_you_mean(plan.target, names),
            )
        ]
    certain = [one.path for one in plan.filled if one.certain]
    sources = dict.fromkeys([*plan.sources, *certain])
    problems = (_check_source(plan, source, ignore) for source in sources)
    return [problem for problem in problems if problem]


def likely_missing(plan: BuildPlan, ignore: DockerIgnore) -> tuple[str, ...]:
    """Return a sentence for each source that is missing unless the base image sets its variable."""
    found = ((one, _check_source(plan, one.path, ignore)) for one in plan.filled if not one.certain)
    return tuple(f"{problem.what} ({one.source})" for one, problem in found if problem)


def _check_source(plan: BuildPlan, source: str, ignore: DockerIgnore) -> BuildlibError | None:
    if re.search(r"[$*?\[\\]", source):
        # What a variable or a pattern comes to is the builder's to say.
        return None
    try:
        folder = S_ISDIR((plan.context / context_path(source)).stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        if plan.checkout:
            return InputError(
                f"the Dockerfile copies {source}, which the commit does not have",
                why="what is released is built from the commit, not from the work tree",
                hint="commit it; what is made before the build is named in [context] include",
            )
        return InputError(f"the Dockerfile copies {source}, which the build context does not have")
    except (OSError, ValueError):
        # Who may not look can't say that it is not there.
        return None
    if ignore.excludes(context_path(source), directory=folder):
        return InputError(
            f"the Dockerfile copies {source}, which {ignore.name} keeps out of the build context",
            hint=f"add the line !{context_path(source)} to {ignore.name}",
        )
    return None


def needs_builder(plan: BuildPlan, facts: EngineFacts) -> bool:
    """Return whether the builder's driver matters; asking for it costs a process."""
    if plan.builder:
        return True
    if any(BY_NAME[name].buildkit for name, _ in plan.options):
        return bool(facts.server)
    demanding = len(plan.platforms) > 1 or plan.output == Output.OCI or plan.exports_cache
    return (
        (demanding or plan.uses_layouts or plan.attests)
        and bool(facts.server)
        and not facts.containerd_store
    )


def check_output(
    plan: BuildPlan,
    facts: EngineFacts,
    builder: Builder | None,
    *,
    hint: str = "docker buildx ls shows those that there are",
) -> list[BuildlibError]:
    """Return what the engine's image store or the builder's driver can't do.

    Args:
        builder: what buildx says about the builder; None: it was not asked.
        hint: what to do where there is no such builder.
    """
    if builder and builder.error and not builder.driver:
        return [
            EngineError(
                f"builder {plan.builder or 'in use'} can't be used",
                why=builder.error,
                hint=hint,
            )
        ]
    if not facts.server or facts.containerd_store:
        return []
    many = len(plan.platforms) > 1
    if many and plan.loads:
        return [_cannot_hold(plan)]
    if builder is None or builder.driver != "docker":
        return []
    needed = [
        *(["more than one platform"] if many else []),
        *(["an OCI archive"] if plan.output == Output.OCI else []),
        *(["cache export"] if plan.exports_cache else []),
        *(["base images as OCI layouts"] if plan.uses_layouts else []),
        *(["attestations"] if plan.attests else []),
    ]
    return [_driver_cannot(what) for what in needed]


def _cannot_hold(plan: BuildPlan) -> BuildlibError:
    names = ", ".join(map(str, plan.platforms))
    return EngineError(
        f"this engine's image store can't hold {names} under one tag",
        why="it is the classic store, which keeps one platform of an image",
        hint="turn on the containerd image store (docs.docker.com/engine/storage/containerd), "
        "or build one at a time with --platform, or use --output oci with a docker-container "
        "builder",
    )


def _driver_cannot(what: str) -> BuildlibError:
    return EngineError(
        f"the docker driver on the classic image store can't do {what}",
        hint="turn on the containerd image store (docs.docker.com/engine/storage/containerd), "
        "or make a builder: docker buildx create --driver docker-container --use",
    )


def check_push(plan: BuildPlan, registries: Sequence[str]) -> list[BuildlibError]:
    """Return a problem where a push would go nowhere, or hold what is not the real base."""
    if not plan.pushes:
        return []
    if plan.stand_ins:
        return [
            InputError(
                f"an image built on placeholders can't be pushed: {', '.join(plan.stand_ins)}",
                hint="build it where the real base images can be pulled, or configure a mirror",
            )
        ]
    if all(registries):
        return []
    return [
        InputError(
            f"{'--push' if plan.output == Output.PUSH else plan.output}, but no registry is named",
            why=f"{plan.references[0]} names none",
            hint="give --tag registry.example/name:tag, or name the registry in image",
        )
    ]
