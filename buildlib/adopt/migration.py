"""The migration table: each command line of a repository, and what does the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from buildlib.adopt.sources import docker_lines
from buildlib.adopt.translate import translate
from buildlib.adopt.translation import Translation
from buildlib.executor import Runner
from buildlib.findings.report import Report


@dataclass(frozen=True, kw_only=True, slots=True)
class MigrationTable(Report):
    """What the command lines of a repository become."""

    translation: Translation

    def as_text(self) -> str:
        """Return it for people."""
        rows = self.translation.rows
        if not rows:
            return "no command of docker was found"
        left = sum(len(row.left) for row in rows)
        counts = f"{len(rows)} commands of docker, {left} of their parts not carried over"
        return "\n\n".join([*(row.as_text() for row in rows), counts])

    def as_dict(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "rows": [row.as_dict() for row in self.translation.rows],
            "settings": self.translation.settings,
            "others": self.translation.others,
        }


def migration_table(root: Path, runner: Runner | None = None) -> MigrationTable:
    """Return the migration table of a repository.

    Args:
        root: the repository.
        runner: see `docker_lines`.
    """
    return MigrationTable(translation=translate(docker_lines(root, runner), root))
