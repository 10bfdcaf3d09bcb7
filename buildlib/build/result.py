"""Results as text for people and as JSON for programs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from buildlib.files import human_size
from buildlib.terminal.text import table, to_json

_SIZES: Final = {"content": "to pull", "unpacked": "unpacked", "archive": "as an archive"}


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """What a build made.

    Args:
        references: full references that the image has now.
        platforms: `os/arch`.
        digest: of the index or manifest, `sha256:…`; empty where the output has none.
        size: bytes, or None where nobody counts it.
        size_of: what that is: `content` as a registry has it, `unpacked`, or the `archive`.
        size_platform: that it is of, where the image has several and it is of one.
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
    size_of: str = ""
    size_platform: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return every field, ready for JSON."""
        return asdict(self) | {"seconds": round(self.seconds, 3)}

    def as_json(self) -> str:
        """Return one JSON object, keys sorted."""
        return to_json(self.as_dict())

    def _size(self) -> str:
        size = f"{human_size(self.size)} {_SIZES.get(self.size_of, '')}".strip()
        return f"{size}, {self.size_platform}" if self.size_platform else size

    def as_text(self) -> str:
        """Return the summary that ends a build."""
        steps = f"{self.cached} of {self.steps}" if self.steps is not None else "not counted"
        rows = [
            *[("tag" if n == 0 else "", name) for n, name in enumerate(self.references)],
            ("version", self.version),
            ("platforms", ", ".join(self.platforms)),
            ("digest", self.digest),
            ("size", self._size()),
            ("written to", self.destination),
            ("seconds", f"{self.seconds:.1f}"),
            ("cached steps", steps),
            ("placeholders", ", ".join(self.stand_ins)),
        ]
        return table([(name, value) for name, value in rows if value])
