"""What `goreleaser-config` does; apart from its options, so that only the task itself loads it."""

from __future__ import annotations

import time
from pathlib import Path

from buildlib.build.plan import Output
from buildlib.build.planner import BuildRequest, make_build_plan
from buildlib.commands.session import Edge
from buildlib.commands.version import VersionReport
from buildlib.errors import GateError, InputError
from buildlib.files import difference, write_text
from buildlib.goreleaser.config_block import make_block, with_block
from buildlib.program import PROGRAM
from buildlib.project import Project, load_project
from buildlib.versioning.preconditions import Mode


def _of_the_file(run: Edge) -> Project:
    """Return the project as its configuration has it, whatever this machine's environment adds."""
    ours = {"VERSION", "SOURCE_DATE_EPOCH"}
    env = {
        name: value
        for name, value in run.env.items()
        if name not in ours and not name.startswith("BUILDLIB_")
    }
    return load_project(run.start, env, now=time.time(), image=run.image)


def _block(project: Project) -> str:
    config = project.config
    args = tuple(f"{name}={value}" for name, value in config.goreleaser_settings().build_args)
    platforms = ("all",) if config.platforms else ("linux/amd64", "linux/arm64")
    request = BuildRequest(platforms=platforms, build_args=args, output=Output.OCI)
    return make_block(project, make_build_plan(project, request, project.dockerfile()))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} can't be read", why=str(error)) from error


def configure(run: Edge, *, check: bool, output: str) -> None:
    """Write our part of GoReleaser's configuration, or see that it is as it has to be.

    Raises:
        GateError: with `check`, it is not (exit 7); the difference was printed.
        InputError: it can't be written for this project (exit 2).
    """
    if check and output:
        raise InputError("--check contradicts --output", hint="give one of the two")
    # Elsewhere it is for this machine, with the base images that its environment names.
    project = run.project() if output else _of_the_file(run)
    name, root = project.config.goreleaser_settings().file, project.config.root
    before = _read(root / name)
    after = with_block(before, _block(project))
    if check or run.dry:
        run.console.answer(difference(name, before, after) or f"{name} is as it has to be")
    if check and before != after:
        raise GateError(
            f"{name} differs from what the configuration generates",
            hint=f"{PROGRAM} goreleaser-config",
        )
    if not check and not run.dry:
        path = Path(output) if output else root / name
        if _read(path) != after:
            write_text(path, after)
        run.console.answer(output or name)


def print_not_moved(run: Edge) -> None:
    """Print the tags that a release of this commit would not move, for GoReleaser's templates."""
    project = run.project()
    report = VersionReport(project, Mode.RELEASE)
    registries = project.config.registries
    held = {tag for registry in registries for tag, _ in report.plan(registry).held_back}
    # Never empty: an empty variable can't be told from one that was forgotten.
    run.console.answer(" ".join(sorted(held)) or "none")
