"""How two builds of one commit differ, for people and for programs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any, Final

from buildlib.errors import GateError
from buildlib.files import counted
from buildlib.findings.report import Report
from buildlib.reproduce.diff import Difference
from buildlib.reproduce.timestamps import Late
from buildlib.terminal.text import table
from buildlib.versioning.version import time_text

# A longer table explains nothing any more; --json has all of it.
_ROWS: Final = 30
_WORDS: Final = 70


@dataclass(frozen=True, kw_only=True, slots=True)
class ReproductionReport(Report):
    """Two builds of one commit.

    Args:
        platforms: `os/arch`, of both builds.
        source: whose files were built: `commit …`, or those of the work tree; empty: there is no
            commit.
        epoch: SOURCE_DATE_EPOCH, seconds.
        digests: of the two, `sha256:…`.
        archives: where the two are kept; empty: nowhere.
        seconds: both builds and the comparison, on the wall clock.
        tools: the versions of what built them, by the names that a receipt has.
    """

    image: str
    version: str
    platforms: tuple[str, ...]
    epoch: int
    digests: tuple[str, str]
    archives: tuple[str, ...]
    seconds: float
    differences: tuple[Difference, ...]
    late: tuple[Late, ...]
    source: str = ""
    tools: Mapping[str, str] = field(default_factory=dict)

    @property
    def reproducible(self) -> bool:
        """Return whether both builds are the same, and carry the epoch."""
        return not self.differences and not self.late

    def as_dict(self) -> dict[str, Any]:
        """Return every field, ready for JSON."""
        found = asdict(self) | {"seconds": round(self.seconds, 3)}
        return found | {"reproducible": self.reproducible}

    def as_text(self) -> str:
        """Return the summary, and a table of what differs, part by part."""
        verdict = "identical" if not self.differences else "not identical"
        first, second = self.digests
        rows = [
            ("version", self.version),
            ("built from", self.source),
            ("built with", ", ".join(f"{name} {text}" for name, text in self.tools.items())),
            ("platforms", ", ".join(self.platforms)),
            ("epoch", f"{self.epoch} ({time_text(self.epoch)})"),
            ("digest", first if first == second else f"{first} and {second}"),
            ("two builds", verdict),
            ("seconds", f"{self.seconds:.1f}"),
            ("kept in", ", ".join(self.archives)),
        ]
        parts = [table([row for row in rows if row[1]])]
        head = ("what", "differs in", "first", "second")
        parts += _grouped(self.differences, "", head)
        parts += _grouped(self.late, ": later than the epoch, or not it")
        return "\n\n".join(parts)

    def problems(self) -> list[GateError]:
        """Return a problem where the two differ, and one where the epoch is not carried."""
        problems = []
        if self.differences:
            first, number = self.differences[0], counted(len(self.differences), "difference")
            problems.append(
                GateError(
                    f"the image is not reproducible: {number}",
                    why=f"the first: {_where(first)}: {first.item} {first.what}".rstrip(),
                    hint="--keep DIR keeps both archives; the documentation on reproducible builds "
                    "lists the usual causes of each",
                )
            )
        if self.late:
            one, number = self.late[0], counted(len(self.late), "other time")
            problems.append(
                GateError(
                    f"the epoch is not in the image: {number}",
                    why=f"the first: {_where(one)}: {one.item} {one.time}",
                    hint="the builder has to know rewrite-timestamp: BuildKit 0.13, Docker 26",
                )
            )
        return problems


def _where(found: Difference | Late) -> str:
    made_by = " ".join(found.made_by.split())
    short = made_by if len(made_by) <= _WORDS else made_by[:_WORDS] + " …"
    place = " ".join(filter(None, (found.platform, found.part)))
    return f"{place}, made by {short}" if short else place


def _grouped(
    found: Sequence[Difference | Late], title: str, *head: tuple[str, ...]
) -> Iterator[str]:
    for where, group in groupby(found[:_ROWS], key=_where):
        rows = table([*head, *(one.row for one in group)])
        yield f"{where}{title}\n{textwrap.indent(rows, '  ')}"
    if len(found) > _ROWS:
        yield f"  and {len(found) - _ROWS} more; --json has all"
