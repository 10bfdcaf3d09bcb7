"""The migration table: each command line of a repository, and what does the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from buildlib.adopt import facts
from buildlib.adopt.configuration import built_places, image_names
from buildlib.adopt.hidden import hide
from buildlib.adopt.places import Repository, choose_dockerfiles, place_of
from buildlib.adopt.sources import docker_lines
from buildlib.adopt.translate import translate
from buildlib.adopt.translation import How, Part, Row, Translation
from buildlib.errors import InputError
from buildlib.executor import Runner
from buildlib.findings.report import Report

# The tasks that choose an image.
_OF_AN_IMAGE: Final = ("docker-build", "docker-run", "docker-publish")
# What docker-build has options for.
_OF_A_LINE: Final = ("dockerfile", "platforms")


@dataclass(frozen=True, kw_only=True, slots=True)
class MigrationTable(Report):
    """What the command lines of a repository become.

    Args:
        translation: of them.
        names: what `[images]` calls its images; empty: the repository has one.
    """

    translation: Translation
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> list[Row]:
        """Return the rows without secrets, each with the image that its task is about."""
        return [self._chosen(row).hidden() for row in self.translation.rows]

    def _chosen(self, row: Row) -> Row:
        if row.before:
            first = self._chosen(replace(row, command=row.before, before=""))
            row = self._chosen(replace(row, before=""))
            return replace(row, before=first.command) if row.command else row
        name = self.names.get(row.image, "")
        program, _, rest = row.command.partition(" ")
        task, _, options = rest.partition(" ")
        if task not in _OF_AN_IMAGE or not (name or row.image):
            return row
        if name:
            return replace(row, command=f"{program} {task} --only {name} {options}".rstrip())
        if task == "docker-build" and self._differs_by_file(row):
            file = facts.for_shell(place_of(self.translation.others[row.image]))
            return replace(row, command=f"{program} {task} --file {file} {options}".rstrip())
        part = Part(row.image, How.LEFT, f"an image of its own: add [images.{row.image}]")
        return replace(row, command="", parts=(part, *row.parts))

    def _differs_by_file(self, row: Row) -> bool:
        """Return whether a further image has another Dockerfile, and else what the main one has."""
        main, other = self.translation.settings, self.translation.others[row.image]
        known = {key: value for key, value in other.items() if key not in _OF_A_LINE}
        everything = "--platform all" in row.command
        return known.items() <= main.items() and (
            not everything or main.get("platforms") == other.get("platforms")
        )

    def as_text(self) -> str:
        """Return it for people."""
        rows = self.rows
        if not rows:
            return "no command of docker was found"
        left = sum(len(row.left) for row in rows)
        counts = f"{len(rows)} commands of docker, {left} of their parts not carried over"
        return "\n\n".join([*(row.as_text() for row in rows), counts])

    def as_dict(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "rows": [row.as_dict() for row in self.rows],
            "settings": hide(self.translation.settings),
            "others": hide(self.translation.others),
        }


def migration_table(root: Path, runner: Runner | None = None) -> MigrationTable:
    """Return the migration table of a repository.

    Args:
        root: the repository.
        runner: see `docker_lines`.
    """
    return MigrationTable(translation=translate(docker_lines(root, runner), root))


def with_names(table: MigrationTable, repository: Repository) -> MigrationTable:
    """Return a table with the names that `init` gives the images of the repository."""
    translation = table.translation
    built = built_places(translation)
    try:
        chosen, _ = choose_dockerfiles(repository, "", repository.root, built)
    except InputError:
        return table
    names = image_names(chosen)
    images = {"": translation.settings, **translation.others}
    return replace(table, names={key: names.get(place_of(one), "") for key, one in images.items()})
