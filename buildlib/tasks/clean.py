"""The task that removes what builds wrote: `clean`."""

from __future__ import annotations

from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.tasks import task

from buildlib.tasks.session import edge

if TYPE_CHECKING:
    from buildlib.project import Project


def outputs(project: Project) -> list[Path]:
    """Return what builds wrote below the project, by default or as configured, and nothing else."""
    from buildlib.image.platform import SLUGS  # noqa: PLC0415 - only this task needs it
    from buildlib.image.reference import parse_reference  # noqa: PLC0415 - the same

    root = project.config.root
    name = parse_reference(project.config.image).repository.rpartition("/")[2]
    made = sorted((root / "bin").glob("*")) if (root / "bin").is_dir() else []
    binaries = [path for path in made if any(fnmatchcase(path.name, slug) for slug in SLUGS)]
    archives = sorted((root / "dist").glob(f"{name}-*")) if (root / "dist").is_dir() else []
    own = [root / name for name in project.config.clean]
    # A link is removed, whatever it leads to.
    return [path for path in [*binaries, *archives, *own] if path.exists() or path.is_symlink()]


@task(auto_shortflags=False, help={"dry-run": "print what would be removed, and do nothing"})
def clean(context: Context, *, dry_run: bool = False) -> None:
    """Remove what builds wrote: bin/<os>-<arch>/, dist/<image>-*, and as configured."""
    with edge(context, dry_run=dry_run) as run:
        project = run.project()
        from buildlib.removal import link_on_the_way, remove  # noqa: PLC0415 - while git answers

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
