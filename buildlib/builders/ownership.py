"""Which builders were created here: a record beside buildx's own tells them from foreign ones.

buildx has no labels for builders. The record lies in its directory, so that both are there, or
neither is; and a builder with other nodes than in its record was created elsewhere since.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from buildlib.config.builders import KUBERNETES
from buildlib.docker.client_config import buildx_folder
from buildlib.docker.engine import Builder
from buildlib.errors import EngineError
from buildlib.files import write_file

_FOLDER: Final = "buildlib"


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnBuilder:
    """A builder that was made here.

    Args:
        fingerprint: of the description; empty while it is being made.
        nodes: names and endpoints; an endpoint that only buildx knows is empty.
    """

    driver: str
    fingerprint: str = ""
    nodes: Mapping[str, str] = field(default_factory=dict)

    def owns(self, found: Builder) -> bool:
        """Return whether a builder is the one that was made."""
        if found.driver != self.driver:
            return False
        if self.driver == KUBERNETES:
            # Its nodes are pods, with names of their own.
            return True
        return all(
            node.name in self.nodes and self.nodes[node.name] in {"", node.endpoint}
            for node in found.nodes
        )


class OwnBuilders:
    """Where the records are.

    Args:
        env: for BUILDX_CONFIG, DOCKER_CONFIG and HOME, as buildx itself goes by them.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._folder = buildx_folder(env) / _FOLDER

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def read(self, name: str) -> OwnBuilder | None:
        """Return the record of a builder; None where there is none that can be read."""
        try:
            found: dict[str, Any] = json.loads(self._path(name).read_text(encoding="utf-8"))
            return OwnBuilder(**found)
        except (OSError, ValueError, TypeError):
            return None

    def write(self, name: str, record: OwnBuilder) -> None:
        """Keep a record, in one step.

        Raises:
            EngineError: it can't be written (exit 4).
        """
        path = self._path(name)
        try:
            write_file(path, json.dumps(asdict(record), sort_keys=True))
        except OSError as error:
            raise EngineError(
                f"can't write to {self._folder}",
                why=str(error),
                hint="give buildx a directory of yours in BUILDX_CONFIG",
            ) from error

    def remove(self, name: str) -> None:
        """Forget a builder."""
        self._path(name).unlink(missing_ok=True)
