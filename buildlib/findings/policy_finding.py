"""What a rule does not want, and where it was seen."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from buildlib.streams import printable


class Level(StrEnum):
    """An error fails the gate, a warning is told; a note says why something is no finding."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something that a rule does not want.

    Args:
        rule: its id; `hadolint/DL3018` for one of hadolint's, `build-check/StageNameCasing` for one
            of the frontend's.
        level: whether it fails the gate.
        message: what was seen; never a secret's value.
        platform: whose image; empty: the Dockerfile, which is of all.
        layer: counted from the base, 1; 0: it is not about a layer.
        path: of a file in the image; or a name, such as that of a variable.
        line: of the Dockerfile; 0: not about a line.
        base: the base image brings it.
        link: where the tool that found it explains it; empty: where the rule says.
    """

    rule: str
    level: Level
    message: str
    platform: str = ""
    layer: int = 0
    path: str = ""
    line: int = 0
    base: bool = False
    link: str = ""

    def __post_init__(self) -> None:
        """Make one line of each text: names in an image are anybody's."""
        for name in ("rule", "message", "platform", "path", "link"):
            object.__setattr__(self, name, printable(getattr(self, name)))

    @property
    def where(self) -> str:
        """Return it for people."""
        if not self.platform:
            return f"Dockerfile:{self.line}" if self.line else "Dockerfile"
        layer = f"layer {self.layer}" if self.layer else ""
        layer += " of the base" if self.base and self.layer else ""
        return " ".join(part for part in (self.platform, layer, self.path) if part)
