"""Tasks about the project: `version`, `tag`, `config`, `doctor`, `completion`, `clean`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.tasks import task

from buildlib.errors import InputError
from buildlib.tasks.session import edge
from buildlib.tasks.session import edge as at_the_edge

if TYPE_CHECKING:
    from buildlib.project import Project

_UNSHALLOW_HELP = "first fetch the history and the tags that a shallow clone lacks"
_NEXT_HELP = "which number goes up: major, minor, patch or prerelease"


def _one_of(**given: object) -> None:
    names = [f"--{name}" for name, value in given.items() if value]
    if len(names) > 1:
        raise InputError(f"{' and '.join(names)} exclude each other", hint="give one of them")


@task(
    auto_shortflags=False,
    help={
        "json": "print version, tags, and the tags that are not moved, as JSON",
        "explain": "explain how the version and the tags follow from git",
        "next": f"print the tag to make next; {_NEXT_HELP}",
        "published": "print the tags that docker-publish would write; fail if it may not",
        "snapshot": "as for docker-publish --snapshot",
        "edge": "as for docker-publish --edge",
        "unshallow": _UNSHALLOW_HELP,
    },
)
def version(
    context: Context,
    *,
    json: bool = False,
    explain: bool = False,
    next: str = "",
    published: bool = False,
    snapshot: bool = False,
    edge: bool = False,
    unshallow: bool = False,
) -> None:
    """Print the version that a build would get now."""
    with at_the_edge(context, json=json) as run:
        _one_of(json=json, explain=explain, next=next, published=published)
        _one_of(snapshot=snapshot, edge=edge)
        if not any((json, explain, next, published, unshallow)):
            project = run.project()
            run.warn(project)
            run.console.answer(project.version.value)
            return
        from buildlib.commands import version as version_commands
        from buildlib.versioning.next_tag import parse_step

        step = parse_step(next) if next else None
        project = version_commands.begin(run, unshallow=unshallow)
        if step:
            run.console.answer(version_commands.next_tag_name(project, step))
            return
        report = version_commands.VersionReport(
            project, version_commands.mode(snapshot=snapshot, edge=edge)
        )
        if published:
            run.console.answer("\n".join(report.published()))
            return
        run.warn(project)
        if json or explain:
            run.console.answer(report.as_json() if json else report.as_sentences())
        else:
            run.console.answer(project.version.value)


@task(
    auto_shortflags=False,
    positional=["name"],
    help={
        "name": f"of the tag, v1.2.3, with or without its prefix; or {_NEXT_HELP}",
        "message": "message of the tag; default: its name",
        "push": "push the tag too",
        "remote": "remote to push to; default: origin",
        "unshallow": _UNSHALLOW_HELP,
        "dry-run": "check everything, and print the commands that would run",
    },
)
def tag(
    context: Context,
    name: str,
    *,
    message: str = "",
    push: bool = False,
    remote: str = "origin",
    unshallow: bool = False,
    dry_run: bool = False,
) -> None:
    """Create an annotated release tag.

    First it checks that a release may be made here.
    """
    with at_the_edge(context, dry_run=dry_run) as run:
        from buildlib.commands import version as version_commands

        project = version_commands.begin(run, unshallow=unshallow)
        version_commands.make_tag(
            run, project, name, message=message, remote=remote if push else ""
        )


@task(auto_shortflags=False, help={"json": "print it as JSON"})
def config(context: Context, *, json: bool = False) -> None:
    """Print the configuration as TOML, with its sources."""
    with edge(context, json=json) as run:
        from buildlib.commands import info

        info.show_config(run, as_json=json)


@task(
    auto_shortflags=False,
    help={
        "for": "ask what one kind of work needs, its registries and keys too: build, run, policy, "
        "smoke, scan, sbom, sign, publish, rehearse or builders",
        "skip-gate": "as for docker-publish: leave out what a gate needs; repeat it",
        "json": "print it as JSON",
    },
    iterable=["skip_gate"],
)
def doctor(
    context: Context,
    *,
    for_: str = "",
    skip_gate: Sequence[str] | None = None,
    json: bool = False,
) -> None:
    """Check what each task needs, and say how to get it."""
    with edge(context, json=json) as run:
        from buildlib.commands import info

        info.show_diagnosis(run, group=for_, skips=tuple(skip_gate or ()), as_json=json)


@task(
    auto_shortflags=False,
    positional=["shell"],
    help={"shell": "bash, zsh or fish"},
)
def completion(context: Context, shell: str) -> None:
    """Print the script for completion in bash, zsh or fish."""
    with edge(context) as run:
        from buildlib.commands.completion import print_script

        print_script(run, shell)


def _in(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern)) if folder.is_dir() else []


def outputs(project: Project) -> list[Path]:
    """Return what builds wrote below the project, by default or as configured, and nothing else."""
    from buildlib.image.platform import SLUGS

    root = project.config.root
    programs, archives = (root / project.config.folder(name) for name in ("bin", "dist"))
    slugs = [path for path in _in(programs, "*") if any(fnmatchcase(path.name, s) for s in SLUGS)]
    written = _in(archives, f"{project.config.short_name}-*")
    own = [root / name for name in project.config.clean]
    # A link is removed, whatever it leads to.
    return [path for path in [*slugs, *written, *own] if path.exists() or path.is_symlink()]


@task(auto_shortflags=False, help={"dry-run": "print what would be removed, and do nothing"})
def clean(context: Context, *, dry_run: bool = False) -> None:
    """Remove what builds wrote.

    That is bin/<os>-<arch>/, dist/<image>-*, and what the key clean names.
    """
    with edge(context, dry_run=dry_run) as run:
        project = run.project()
        from buildlib.files import link_on_the_way, remove

        root = project.config.root
        links = set()
        for path in outputs(project):
            if link := link_on_the_way(path, root):
                links.add(link)
                continue
            run.console.answer(str(path.relative_to(root)))
            if not run.dry:
                # It may have gone together with what was removed before.
                with suppress(FileNotFoundError):
                    remove(path)
        for link in sorted(links):
            where = f"{link.relative_to(root)} is a link to {link.readlink()}"
            run.console.warn(f"{where}: nothing there is removed")
