"""Why the steps of a build ran, as text and as JSON; and what would have saved time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from buildlib.errors import InputError, nearest
from buildlib.files import counted
from buildlib.records.cause import Cause, explain, short_text
from buildlib.records.record import Record, Step
from buildlib.terminal.text import table

# What these read, by their own documentation.
_READS: Final = (
    (re.compile(r"\bgo mod download\b"), ("go.mod", "go.sum")),
    (re.compile(r"\bnpm ci\b"), ("package.json", "package-lock.json")),
    (re.compile(r"\bpip install (?:-\S+ )*(?:-r|--requirement)[ =](\S+)"), ()),
)
# What is shown of an instruction, in characters.
_cut: Final = partial(short_text, longest=60)
# Saving less is not worth a line, in seconds.
_LEAST: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class WhyReport:
    """The steps of a build, and why they ran.

    Args:
        record: of the build.
        before: the build that it is compared with; None: there is none.
        steps: those that are asked for.
    """

    record: Record
    before: Record | None
    steps: tuple[Step, ...]

    @property
    def _causes(self) -> Mapping[str, Cause]:
        return explain(self.record, self.before)

    def as_dict(self) -> dict[str, Any]:
        """Return the steps with their causes, ready for JSON."""
        causes = self._causes
        return {
            "record": self.record.id,
            "compared_with": self.before.id if self.before else None,
            "image": self.record.image,
            "version": self.record.version,
            "result": self.record.result,
            "steps": [
                {
                    "step": step.label,
                    "instruction": step.parts.instruction,
                    "cached": step.cached,
                    "seconds": step.seconds,
                    "cause": cause.as_dict() if (cause := causes.get(step.digest)) else None,
                }
                for step in self.steps
            ],
            "advice": advice(self.record, causes),
        }

    def as_text(self) -> str:
        """Return a line for each step, and what would have saved time."""
        record, causes = self.record, self._causes
        steps = [one for one in record.steps if one.parts.total]
        ran = sum(not one.cached for one in steps)
        head = (
            f"{record.task} of {record.image} {record.version}, {record.started[:19]}Z: "
            f"{record.result}, {ran} of {counted(len(steps), 'step')} ran, {record.seconds:.1f} s"
        )
        if not record.steps:
            return f"{head}\n{_NO_STEPS}"
        before = self.before
        with_ = (
            f"compared with {before.task} of {before.version}, {before.started[:19]}Z ({before.id})"
            if before
            else _NOTHING
        )
        rows = [(_seconds(one), one.label, _cut(one.parts.instruction)) for one in self.steps]
        lines = [head, with_]
        for step, row in zip(self.steps, table(rows).splitlines() if rows else (), strict=True):
            lines.append(row)
            if cause := causes.get(step.digest):
                lines.append(f"          {_text(cause, step)}")
        return "\n".join([*lines, *advice(record, causes)])


_NO_STEPS: Final = "buildx drew its own progress: its steps are not on record"
_NOTHING: Final = "there is no earlier record of this image to compare it with"


def _seconds(step: Step) -> str:
    return "   cached" if step.cached else f"{step.seconds or 0:7.1f} s"


def _text(cause: Cause, step: Step) -> str:
    return cause.text if cause.digest == step.digest else f"after {cause.step}: {cause.text}"


def choose_steps(record: Record, name: str) -> tuple[Step, ...]:
    """Return the steps that a name means; without one, those that ran.

    Args:
        record: of the build.
        name: `build 2/5`, `2/5`, or a part of an instruction.

    Raises:
        InputError: no step is called so (exit 2).
    """
    steps = [one for one in record.steps if one.parts.total]
    if not name:
        return tuple(one for one in steps if not one.cached)
    wanted = " ".join(name.strip("[] ").lower().split())
    labels = {one.label.strip("[]").lower(): one for one in steps}
    found = [one for label, one in labels.items() if f" {label}".endswith(f" {wanted}")]
    found = found or [one for one in steps if wanted in one.parts.instruction.lower()]
    if not found:
        known = sorted(steps, key=lambda one: one.parts)
        close = nearest(wanted, [*labels, *(one.parts.instruction for one in steps)])
        raise InputError(
            f"no step is called {name!r}",
            why="\n  ".join(
                (
                    "the steps are:",
                    *(f"{one.label} {_cut(one.parts.instruction)}" for one in known),
                )
            ),
            hint=f"did you mean {close}?" if close else "",
        )
    return tuple(found)


def advice(record: Record, causes: Mapping[str, Cause]) -> list[str]:
    """Return what would have saved time, as far as it follows from the record."""
    found = []
    for digest, cause in causes.items():
        if cause.digest != digest or not cause.kind.startswith("file-"):
            continue
        after = [
            one
            for one in record.steps
            if (own := causes.get(one.digest)) and own.digest == cause.digest
        ]
        seconds = sum(one.seconds or 0 for one in after)
        if seconds < _LEAST:
            continue
        found += _ignored(record, cause, seconds) or _earlier(record, cause, after)
    return found


def _ignored(record: Record, cause: Cause, seconds: float) -> list[str]:
    """Return lines for .dockerignore, where git has none of the files that changed."""
    lines = []
    for path in cause.paths:
        line = next((one for one in record.not_in_git if _is_below(path, one)), "")
        if not line:
            return []
        lines.append(line.rstrip("/"))
    names = ", ".join(dict.fromkeys(lines))
    saved = f"in .dockerignore would have saved {seconds:.1f} s"
    return [f"git does not have {names}: a line for it {saved}"]


def _is_below(path: str, above: str) -> bool:
    return path == above.rstrip("/") or (above.endswith("/") and path.startswith(above))


def _earlier(record: Record, cause: Cause, after: Sequence[Step]) -> list[str]:
    """Return which files a later RUN reads, where none of them changed."""
    for step in after:
        for pattern, names in _READS:
            match = pattern.search(step.parts.instruction)
            if not match:
                continue
            reads = names or (match[1],)
            held = {path.rpartition("/")[2]: path for path in record.files}
            changed = {path.rpartition("/")[2] for path in cause.paths}
            seconds = step.seconds or 0
            bases = [name.rpartition("/")[2] for name in reads]
            if seconds < _LEAST or changed & set(bases) or not set(bases) & held.keys():
                continue
            files = " and ".join(name for name in bases if name in held)
            saved = f"and the rest after it; that would have saved {seconds:.1f} s"
            return [
                f"{step.label} reads {files}, which did not change: COPY that before it, {saved}"
            ]
    return []
