"""A rule, and what a check found against it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, NamedTuple

from buildlib.terminal.streams import printable


class Level(StrEnum):
    """An error fails the gate, a warning is printed; a note says why something is accepted."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Rule(NamedTuple):
    """A rule that findings go by.

    Args:
        what: in a few words.
        why: in more of them.
        link: where to read more; empty: nowhere.
        of_release: its findings are only warnings until a release.
        properties: for a code scanning service, such as `security-severity`.
    """

    id: str
    what: str
    why: str
    link: str = ""
    of_release: bool = False
    properties: Mapping[str, Any] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A violation of a rule, and where it is.

    Args:
        rule: its id; `hadolint/DL3018` for one of hadolint's, `build-check/StageNameCasing` for one
            of the frontend's, `CVE-2024-24790` for a vulnerability.
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
    level: Level = Level.WARNING
    message: str = ""
    platform: str = ""
    layer: int = 0
    path: str = ""
    line: int = 0
    base: bool = False
    link: str = ""

    def __post_init__(self) -> None:
        """Make one line of each text: names in an image can be anything."""
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is str:
                object.__setattr__(self, field.name, printable(value))
            elif isinstance(value, tuple):
                object.__setattr__(self, field.name, tuple(map(printable, value)))

    @property
    def where(self) -> str:
        """Return its place, for people."""
        if not self.platform:
            return f"Dockerfile:{self.line}" if self.line else "Dockerfile"
        layer = f"layer {self.layer}" if self.layer else ""
        layer += " of the base" if self.base and self.layer else ""
        return " ".join(part for part in (self.platform, layer, self.path) if part)

    @property
    def sentence(self) -> str:
        """Return what was seen, for a reader who sees nothing else of it."""
        return self.message

    @property
    def identity(self) -> tuple[str, ...]:
        """Return what stays the same while it is not fixed: neither numbers nor lines do."""
        return (self.rule, self.platform, self.path or self.message)

    def as_dict(self) -> dict[str, Any]:
        """Return every field, ready for JSON."""
        return asdict(self)
