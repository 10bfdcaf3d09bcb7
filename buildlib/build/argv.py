"""Plan to argv, and argv to one line that a shell can run as it stands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from buildlib.build.options import of_image
from buildlib.build.parts import join_lines, parts_of
from buildlib.build.plan import BuildPlan, Output
from buildlib.shell import csv_field, repeated, shell_line


def _pair(name: str, value: str | None) -> str:
    return name if value is None else f"{name}={value}"


def _output(plan: BuildPlan) -> list[str]:
    match plan.output:
        case Output.LOAD:
            return ["--load"]
        case Output.PUSH:
            return ["--push"]
        case Output.OCI | Output.LOCAL:
            field = csv_field(f"dest={plan.partial or plan.destination}")
            # The files in the layers get no later time than SOURCE_DATE_EPOCH, as a local output
            # does by itself; see BuildKit's docs/build-repro.md.
            rewrite = "rewrite-timestamp=true," if plan.output == Output.OCI else ""
            rewrite += "tar=false," if plan.layout else ""
            return ["--output", f"type={plan.output},{rewrite}{field}"]
        case Output.CACHE_ONLY:
            return ["--output", "type=cacheonly"]
        case _:
            return ["--output", plan.output]


def _instructions(plan: BuildPlan) -> list[str]:
    return [
        *(["--builder", plan.builder] if plan.builder else []),
        *["--file", str(plan.file)],
        *(["--target", plan.target] if plan.target else []),
    ]


def _given(plan: BuildPlan) -> tuple[list[str], list[str]]:
    """Return the build args, and what replaces base images."""
    pairs = (plan.build_args, plan.build_contexts)
    args, contexts = ([_pair(name, value) for name, value in found] for found in pairs)
    return repeated("--build-arg", args), repeated("--build-context", contexts)


def _option_words(options: Iterable[tuple[str, str]]) -> list[str]:
    """Return further options; buildx splits hosts at commas, which none of them has."""
    return [word for name, text in options for word in (f"--{name}", text)]


def call_argv(plan: BuildPlan, method: str) -> tuple[str, ...]:
    """Return the command that asks the frontend for something else than a build.

    Args:
        method: as buildx takes it.
    """
    args, contexts = _given(plan)
    options = [
        *_instructions(plan),
        *_platforms(plan),
        *args,
        *contexts,
        *repeated("--secret", plan.secrets),
        *_option_words(of_image(plan.options)),
        *("--progress", "quiet" if plan.progress == "auto" else plan.progress),
        *("--call", method),
    ]
    return ("docker", "buildx", "build", *options, str(plan.context))


def _platforms(plan: BuildPlan) -> list[str]:
    return ["--platform", ",".join(map(str, plan.platforms))] if plan.platforms else []


def _provenance(plan: BuildPlan) -> list[str]:
    """Return whether provenance is made: not by itself, as buildx would.

    An attestation holds the time of the build: the same inputs would give another digest.
    """
    own = any("type=provenance" in text for text in plan.values("attest"))
    return [] if own else [f"--provenance={plan.provenance or 'false'}"]


def check_argv(plan: BuildPlan) -> tuple[str, ...]:
    """Return the command that has the Dockerfile checked by what would build the plan.

    The checks are of no platform: the frontend reads the Dockerfile for the builder's own.
    """
    # The layouts of images below it are not there, nor needed: nothing of a context is read.
    nearby = [(base, str(plan.context)) for base, _ in plan.below]
    contexts = tuple(sorted((dict(plan.build_contexts) | dict(nearby)).items()))
    args, others = _given(replace(plan, build_contexts=contexts))
    options = [*_instructions(plan), *args, *others, "--progress", "quiet"]
    return ("docker", "buildx", "build", *options, "--call", "check,format=json", str(plan.context))


def buildx_argv(plan: BuildPlan) -> tuple[str, ...]:
    """Return the one command that builds the plan."""
    args, contexts = _given(plan)
    options = [
        *_instructions(plan),
        *_platforms(plan),
        *repeated("--tag", plan.references),
        *args,
        *repeated("--label", (_pair(name, value) for name, value in plan.labels)),
        *repeated("--annotation", (f"index:{name}={value}" for name, value in plan.annotations)),
        *contexts,
        *repeated("--secret", plan.secrets),
        *repeated("--cache-from", plan.cache_from),
        *repeated("--cache-to", plan.cache_to),
        *(["--no-cache"] if plan.no_cache else []),
        *(["--pull"] if plan.pull else []),
        *_option_words(plan.options),
        *_provenance(plan),
        *_output(plan),
        *(["--metadata-file", str(plan.metadata_file)] if plan.metadata_file else []),
        *(["--progress", plan.progress] if plan.progress != "auto" else []),
    ]
    return ("docker", "buildx", "build", *options, str(plan.context))


def buildx_line(plan: BuildPlan) -> str:
    """Return the command that builds the plan, for a POSIX shell."""
    argv = buildx_argv(plan.as_printed())
    return shell_line(argv, plan.checkout.folder if plan.checkout else None)


def build_line(plan: BuildPlan) -> str:
    """Return all that a build of the plan runs, as one command for a POSIX shell.

    A file for the digest that nobody would remove is left out.

    An archive gets its name only once it is whole, and buildx makes no directory for it. The files
    of a commit are written by as many lines as that takes, and removed after the build; so are the
    layouts of images below it.
    """
    if plan.layouts:
        below = (build_line(one) for _, one in plan.below)
        removed = shell_line(("rm", "-rf", "--", str(plan.layouts)))
        return " &&\n".join((*below, build_line(replace(plan, below=(), layouts=None)), removed))
    if plan.separate:
        # One after the other, and what joins their results.
        built = " &&\n".join([*map(_one_line, parts_of(plan)), *join_lines(plan)])
    else:
        built = _one_line(plan)
    if plan.checkout is None:
        return built
    written = ("CONTEXT=$(mktemp -d)", *plan.checkout.lines)
    return " &&\n".join((*written, built, 'rm -rf -- "$CONTEXT"'))


def _one_line(plan: BuildPlan) -> str:
    """Return what one `docker buildx build` and its archive take."""
    built = buildx_line(plan)
    if plan.partial and plan.destination:
        make = shell_line(("mkdir", "-p", "--", str(plan.destination.parent)))
        move = shell_line(("mv", "-f", "--", str(plan.partial), str(plan.destination)))
        built = f"{make} && {built} && {move}"
    if plan.layout and plan.destination:
        built = f"{shell_line(('mkdir', '-p', '--', str(plan.destination)))} && {built}"
    return _with_handover(plan, plan.handover, built) if plan.handover else built


def check_line(plan: BuildPlan) -> str:
    """Return all that a check of the plan's Dockerfile runs, as one command for a POSIX shell."""
    return _asked(plan, check_argv(plan))


def call_line(plan: BuildPlan, method: str) -> str:
    """Return all that `call_argv` needs, as one command for a POSIX shell."""
    return _asked(plan, call_argv(plan, method))


def _asked(plan: BuildPlan, argv: Sequence[str]) -> str:
    asked = shell_line(argv)
    # Warnings are a failure to buildx; the copy is removed all the same.
    return _with_handover(plan, plan.handover, f"({asked} || :)") if plan.handover else asked


def _with_handover(plan: BuildPlan, folder: Path, built: str) -> str:
    """Return the line with what hands the Dockerfile over, and removes it again."""
    made = shell_line(("mkdir", "-p", "--", str(folder)))
    files = [(plan.dockerfile, plan.file)]
    if policy := plan.source_policy:
        # buildx looks for it beside the copy.
        files.append((policy, plan.file.with_name(policy.name)))
    copied = " && ".join(
        shell_line(
            ("cp", "--", str(source), str(target)),
            plan.checkout.folder if plan.checkout else None,
        )
        for source, target in files
    )
    lines = shell_line(("printf", "%s", plan.ignored))
    ignored = shell_line((f"{plan.file}.dockerignore",))
    removed = shell_line(("rm", "-rf", "--", str(folder)))
    return f"{made} && {copied} && {lines} > {ignored} && {built} && {removed}"
