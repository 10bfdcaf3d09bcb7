"""The report of two images: counts first, then what matters most."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from buildlib.diff.compare import ADDED, CHANGED, REMOVED, Change, Section
from buildlib.diff.describe import Facts, Value
from buildlib.files import human_size
from buildlib.findings.report import Report
from buildlib.findings.secrets import HIDDEN
from buildlib.image.reference import short_digest
from buildlib.terminal.streams import printable
from buildlib.terminal.text import table

# Of a section in a terminal, and on a page.
_ROWS: Final = 10
_MARKDOWN_ROWS: Final = 50
_LONGEST: Final = 60
# Characters before the first difference of two long values.
_BEFORE: Final = 20
_PATHS: Final = frozenset({Section.FILES, Section.PRIVILEGES})
_BYTES: Final = frozenset({"size", "stored", "unpacked"})
# What only this kind of change is called otherwise.
_FINDINGS: Final = {ADDED: "new", REMOVED: "fixed", CHANGED: CHANGED}


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """An image that is compared: its name, and the digest of its index or manifest."""

    name: str
    digest: str

    def __str__(self) -> str:
        """Return both, short."""
        return f"{printable(self.name)} ({short_digest(self.digest)})"


@dataclass(frozen=True, kw_only=True, slots=True)
class PlatformDiff:
    """What changed for one platform.

    Args:
        platform: `os/arch[/variant]`.
        instead: the platform of the old image that it is compared with, where that is another one.
        digests: of both manifests.
        sizes: of both, in bytes, measured in the same way.
        changes: the most important first.
    """

    platform: str
    instead: str = ""
    digests: tuple[str, str]
    sizes: tuple[int, int] = (0, 0)
    changes: tuple[Change, ...] = ()

    def of(self, section: Section) -> list[Change]:
        """Return the changes of one section."""
        return [change for change in self.changes if change.section is section]

    def as_dict(self) -> dict[str, Any]:
        """Return every field, ready for JSON."""
        return {
            "platform": self.platform,
            "old": {"digest": self.digests[0], "size": self.sizes[0]},
            "new": {"digest": self.digests[1], "size": self.sizes[1]},
            "changes": [_printable(change.as_dict()) for change in self.changes],
        }

    def counts(self) -> list[tuple[str, str]]:
        """Return a row for each section that has changes, with how many."""
        rows = [("size", _size(*self.sizes))] if any(self.sizes) else []
        for section in Section:
            kinds = Counter(change.what for change in self.of(section))
            if kinds and section is not Section.SIZE:
                parts = [
                    f"{kinds[what]} {_word(section, what)}"
                    for what in (ADDED, REMOVED, CHANGED)
                    if kinds[what]
                ]
                rows.append((str(section), ", ".join(parts)))
        return rows


def _size(old: int, new: int) -> str:
    share = f" ({(new - old) * 100 / old:+.1f} %)" if old and old != new else ""
    same = ", unchanged" if old == new else f" → {human_size(new)}"
    return f"{human_size(old)}{same}{share}"


def _word(section: Section, what: str) -> str:
    return _FINDINGS[what] if section is Section.VULNERABILITIES else what


@dataclass(frozen=True, kw_only=True, slots=True)
class DiffReport(Report):
    """What changed between two images.

    Args:
        old, new: the images.
        platforms: that both are for.
        only_old, only_new: platforms that only one of them is for.
        added: those of the new image, compared with another one of the old image, for rules.
        notes: what was not compared, and why.
    """

    old: Side
    new: Side
    platforms: tuple[PlatformDiff, ...] = ()
    only_old: tuple[str, ...] = ()
    only_new: tuple[str, ...] = ()
    added: tuple[PlatformDiff, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def checked(self) -> tuple[PlatformDiff, ...]:
        """Return what rules are checked of: each platform of the new image."""
        return (*self.platforms, *self.added)

    @property
    def same(self) -> bool:
        """Return whether it is one image."""
        return self.old.digest == self.new.digest

    def as_dict(self) -> dict[str, Any]:
        """Return everything, ready for JSON."""
        return {
            "old": {"name": self.old.name, "digest": self.old.digest},
            "new": {"name": self.new.name, "digest": self.new.digest},
            "same": self.same,
            "platforms": [one.as_dict() for one in self.platforms],
            "only_old": list(self.only_old),
            "only_new": list(self.only_new),
            "not_compared": list(self.notes),
        }

    def _lines(self) -> list[str]:
        """Return what is to be said beside the changes."""
        only = ((self.old, self.only_old), (self.new, self.only_new))
        return [
            *(f"only in {printable(one.name)}: {', '.join(names)}" for one, names in only if names),
            *self.notes,
        ]

    def as_text(self) -> str:
        """Return counts, and the first rows of each section, for each platform."""
        if self.same:
            return f"the same image: {self.new.digest}"
        parts = [f"{self.old} → {self.new}"]
        for one in self.platforms:
            if not one.changes:
                parts.append(f"{one.platform}\n  {_NOTHING}")
                continue
            rows = [(f"  {name}", text) for name, text in one.counts()]
            parts.append(f"{one.platform}\n{table(rows)}")
            parts += [
                "\n".join([section, table(_rows(changes, _ROWS)), *_more(changes, _ROWS)])
                for section in Section
                if (changes := one.of(section))
            ]
        return "\n\n".join([*parts, *(["\n".join(lines)] if (lines := self._lines()) else [])])

    def as_markdown(self) -> str:
        """Return the same for a page that shows Markdown, such as a pull request."""
        if self.same:
            return f"## Image diff\n\nThe same image: {_code(self.new.digest)}\n"
        parts = [f"## Image diff\n\n{_code(str(self.old))} → {_code(str(self.new))}"]
        for one in self.platforms:
            parts.append(f"### {one.platform}")
            if not one.changes:
                parts.append(_NOTHING)
                continue
            parts.append(_markdown(("section", "changes"), one.counts()))
            for section in Section:
                if changes := one.of(section):
                    rows = [map(_code, row) for row in _rows(changes, _MARKDOWN_ROWS)]
                    listed = [_markdown(("", "item", "change"), rows)]
                    listed += [line.strip() for line in _more(changes, _MARKDOWN_ROWS)]
                    head = f"<details><summary>{section}</summary>"
                    parts.append("\n\n".join([head, *listed, "</details>"]))
        lines = "\n".join(f"- {_code(line)}" for line in self._lines())
        return "\n\n".join([*parts, *([lines] if lines else [])]) + "\n"

    def tables(self) -> list[tuple[str, Sequence[str], list[Sequence[str]]]]:
        """Return heading, columns and rows of tables for a page about something else."""
        most = max(_ROWS, _MARKDOWN_ROWS // max(len(self.platforms), 1))
        found: list[tuple[str, Sequence[str], list[Sequence[str]]]] = []
        for one in self.platforms:
            rows: list[Sequence[str]] = [*one.counts()] if one.changes else [("", _NOTHING)]
            found.append((f"Image for {one.platform}", ("Section", "Changes"), rows))
            for section in Section:
                if changes := one.of(section):
                    rows = [*_rows(changes, most)]
                    rows += [("", line.strip(), "") for line in _more(changes, most)]
                    heading = f"{section.capitalize()} of {one.platform}"
                    found.append((heading, ("Change", "Item", "What"), rows))
        return found


_NOTHING: Final = "no difference but times, history or compression"


def _rows(changes: Sequence[Change], most: int) -> list[tuple[str, str, str]]:
    return [
        (f"  {_word(change.section, change.what)}", _item(change), detail(change))
        for change in changes[:most]
    ]


def _item(change: Change) -> str:
    """Return what changed; of a long path the end."""
    if change.section not in _PATHS:
        return _short(change.item)
    path = printable(change.item)
    return path if len(path) <= _LONGEST else f"…{path[1 - _LONGEST :]}"


def _more(changes: Sequence[Change], most: int) -> list[str]:
    left = len(changes) - most
    return [f"  … and {left} more; --json has all"] if left > 0 else []


def detail(change: Change) -> str:
    """Return what differs, in a few words."""
    if change.old is not None and change.new is not None:
        return ", ".join(_changes(change.old, change.new))
    facts = change.new or change.old or {}
    # The digest of something that only one image has says nothing, and most files are root's.
    usual = {"kind": "file", "owner": "0:0", "user": "0", "group": "0"}
    shown = [
        f"{_label(name)}{_text(name, value)}"
        for name, value in facts.items()
        if value != "" and name not in {"content", "digest"} and usual.get(name) != value
    ]
    return ", ".join(shown)


def _changes(old: Facts, new: Facts) -> Iterable[str]:
    names = sorted(old.keys() | new.keys())
    for name in names:
        if name in {"content", "digest"}:
            yield name
            continue
        values = old.get(name, ""), new.get(name, "")
        if HIDDEN in values:
            yield "another value"
            continue
        first, second = (_text(name, value) or "none" for value in values)
        if first == second:
            first, second = _apart(*values)
        yield f"{_label(name)}{first} → {second}"


def _apart(old: Value, new: Value) -> tuple[str, str]:
    """Return two values that look the same in short, from shortly before they differ."""
    if isinstance(old, int) and isinstance(new, int):
        return f"{old} B", f"{new} B"
    texts = [printable(str(value)) for value in (old, new)]
    pairs = enumerate(zip(*texts, strict=False))
    same = next((n for n, (one, other) in pairs if one != other), min(map(len, texts)))
    start = max(same - _BEFORE, 0)
    first, second = (f"…{_cut(text[start:])}" if start else _cut(text) for text in texts)
    return first, second


def _label(name: str) -> str:
    return "" if name in {"value", "version", "kind", "severity"} else f"{name} "


def _text(name: str, value: Value) -> str:
    if name in _BYTES and isinstance(value, int):
        return human_size(value)
    return _short(str(value))


def _short(text: str) -> str:
    return _cut(" ".join(printable(text).split()))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _code(text: str) -> str:
    """Return a text as code, in which nothing is read as Markdown or HTML."""
    text = printable(text.strip()).replace("|", "\\|")
    if not text:
        return ""
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    edge = " " if "`" in text else ""
    return f"{fence}{edge}{text}{edge}{fence}"


def _markdown(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(head)
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _printable(value: object) -> object:
    """Return a value of JSON with names of files that every reader understands."""
    if isinstance(value, dict):
        return {key: _printable(one) for key, one in value.items()}
    return printable(value) if isinstance(value, str) else value
