"""Results as text for people and as JSON for programs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from buildlib.console import table
from buildlib.errors import InputError
from buildlib.files import human_size, write_file


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """What a build made.

    Args:
        references: full references that the image has now.
        platforms: `os/arch`.
        digest: of the index or manifest, `sha256:…`; empty where the output has none.
        size: bytes, or None where nobody counts it.
        seconds: the build alone, on the wall clock.
        steps, cached: instructions that took part, and those from the cache; None where buildx
            drew its own progress.
        stand_ins: base images that were not the real ones.
        command: the line that was run, without what is secret in it.
    """

    image: str
    version: str
    references: tuple[str, ...]
    platforms: tuple[str, ...]
    output: str
    destination: str
    digest: str
    size: int | None
    seconds: float
    steps: int | None
    cached: int | None
    stand_ins: tuple[str, ...]
    warnings: tuple[str, ...]
    command: str

    def as_dict(self) -> dict[str, Any]:
        """Return every field, ready for JSON."""
        return asdict(self) | {"seconds": round(self.seconds, 3)}

    def as_json(self) -> str:
        """Return one JSON object, keys sorted."""
        return to_json(self.as_dict())

    def as_text(self) -> str:
        """Return the summary that ends a build."""
        steps = f"{self.cached} of {self.steps}" if self.steps is not None else "not counted"
        rows = [
            *[("tag" if n == 0 else "", name) for n, name in enumerate(self.references)],
            ("version", self.version),
            ("platforms", ", ".join(self.platforms)),
            ("digest", self.digest),
            ("size", human_size(self.size)),
            ("written to", self.destination),
            ("seconds", f"{self.seconds:.1f}"),
            ("cached steps", steps),
            ("stand-ins", ", ".join(self.stand_ins)),
        ]
        return table([(name, value) for name, value in rows if value])


def write_text(path: Path, text: str, *, append: bool = False) -> None:
    """Write a report, in a directory that is made where it is not there.

    Raises:
        InputError: it can't be written (exit 2).
    """
    try:
        if append:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as stream:
                stream.write(text)
        else:
            write_file(path, text)
    except OSError as error:
        raise InputError(f"can't write to {path}", why=str(error)) from error


def to_json(data: dict[str, Any]) -> str:
    """Return JSON as every task prints it."""
    return json.dumps(data, indent=2, sort_keys=True)
