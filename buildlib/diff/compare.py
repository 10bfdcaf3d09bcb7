"""Compares two descriptions of an image; pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from buildlib.diff.describe import Description, Facts, LayerFacts, Value, privileges
from buildlib.findings.secrets import HIDDEN
from buildlib.findings.vulnerability import Severity, Vulnerability


class Section(StrEnum):
    """What a change is about, the most important first."""

    PRIVILEGES = "privileges"
    CONFIGURATION = "configuration"
    BASE = "base"
    VULNERABILITIES = "vulnerabilities"
    PACKAGES = "packages"
    SIZE = "size"
    LAYERS = "layers"
    LABELS = "labels"
    FILES = "files"


ADDED: Final = "added"
REMOVED: Final = "removed"
CHANGED: Final = "changed"
_ORDER: Final = {section: number for number, section in enumerate(Section)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One thing that is not the same.

    Args:
        section: what it is about.
        item: path, package, variable and so on.
        old, new: what differs of it, by name; None: it is only in the other image.
    """

    section: Section
    item: str
    old: Facts | None = None
    new: Facts | None = None

    @property
    def what(self) -> str:
        """Return whether it was added, removed or changed."""
        if self.old is None:
            return ADDED
        return REMOVED if self.new is None else CHANGED

    def reverse(self) -> Change:
        """Return the change from the new image to the old one."""
        return Change(section=self.section, item=self.item, old=self.new, new=self.old)

    def as_dict(self) -> dict[str, Any]:
        """Return every field, ready for JSON."""
        return {
            "section": self.section,
            "item": self.item,
            "change": self.what,
            "old": None if self.old is None else dict(self.old),
            "new": None if self.new is None else dict(self.new),
        }


def compare(old: Description, new: Description) -> tuple[Change, ...]:
    """Return every change, the most important first.

    Packages and findings are compared where both images have them.
    """
    hidden = old.hidden | new.hidden
    found = [
        *_section(Section.PRIVILEGES, _privileges(old), _privileges(new)),
        *_masked(hidden, _section(Section.CONFIGURATION, _valued(old.config), _valued(new.config))),
        *_section(Section.BASE, _one("image", old.base), _one("image", new.base)),
        *_section(Section.SIZE, *_sizes(old, new)),
        *_layers(old, new),
        *_masked(hidden, _section(Section.LABELS, _valued(old.labels), _valued(new.labels))),
        *_section(Section.FILES, old.files, new.files),
    ]
    if old.packages is not None and new.packages is not None:
        packages = [
            {name: {"version": version} for name, version in one.items()}
            for one in (old.packages, new.packages)
        ]
        found += _section(Section.PACKAGES, *packages)
    if old.findings is not None and new.findings is not None:
        found += _section(
            Section.VULNERABILITIES, _vulnerable(old.findings), _vulnerable(new.findings)
        )
    return tuple(sorted(found, key=_place))


def _place(change: Change) -> tuple[int, int, str]:
    # A vulnerability by how bad it is, worst first, whichever image has it.
    known = (str((facts or {}).get("severity", "")) for facts in (change.old, change.new))
    rank = max((Severity(one).rank for one in known if one), default=0)
    return (_ORDER[change.section], -rank, change.item)


def _section(
    section: Section, old: Mapping[str, Facts], new: Mapping[str, Facts]
) -> Iterator[Change]:
    for item in old.keys() | new.keys():
        one, other = old.get(item), new.get(item)
        if one is None or other is None:
            yield Change(section=section, item=item, old=one, new=other)
        elif one != other:
            names = sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
            yield Change(section=section, item=item, old=_only(one, names), new=_only(other, names))


def _masked(hidden: frozenset[str], changes: Iterator[Change]) -> Iterator[Change]:
    """Yield changes without the values that look secret: that they differ is all that is said."""
    for one in changes:
        if one.item in hidden:
            old, new = (facts and dict.fromkeys(facts, HIDDEN) for facts in (one.old, one.new))
            yield Change(section=one.section, item=one.item, old=old, new=new)
        else:
            yield one


def _only(facts: Facts, names: list[str]) -> Facts:
    return {name: facts[name] for name in names if name in facts}


def _valued(values: Mapping[str, Value]) -> Mapping[str, Facts]:
    return {name: {"value": value} for name, value in values.items()}


def _one(item: str, facts: Facts) -> Mapping[str, Facts]:
    return {item: facts} if facts else {}


def _privileges(one: Description) -> Mapping[str, Facts]:
    found = ((path, privileges(facts)) for path, facts in one.files.items())
    return {path: facts for path, facts in found if facts}


def _sizes(old: Description, new: Description) -> tuple[Mapping[str, Facts], Mapping[str, Facts]]:
    both = old.packed == new.packed
    first, second = (
        {"image": {"unpacked": one.unpacked, **({"stored": one.stored} if both else {})}}
        for one in (old, new)
    )
    return first, second


def _layers(old: Description, new: Description) -> Iterator[Change]:
    """Yield the layers that only one image has; those of the same instruction belong together.

    A layer of which only the times differ has not changed.
    """
    shared = {one.diff_id for one in old.layers} & {one.diff_id for one in new.layers}
    both = old.packed == new.packed

    def named(layers: tuple[LayerFacts, ...]) -> Mapping[str, Facts]:
        found: dict[str, Facts] = {}
        seen: Counter[str] = Counter()
        for layer in layers:
            if layer.diff_id in shared:
                continue
            made_by = " ".join(layer.made_by.split()) or "the base, without a history"
            seen[made_by] += 1
            item = made_by if seen[made_by] == 1 else f"{made_by} ({seen[made_by]})"
            size = {"stored": layer.size} if both else {}
            found[item] = {"digest": layer.diff_id, **size}
        return found

    one, other = named(old.layers), named(new.layers)
    contents = [
        {layer.diff_id: layer.content for layer in layers} for layers in (old.layers, new.layers)
    ]
    alike = {
        item
        for item in one.keys() & other.keys()
        if contents[0][str(one[item]["digest"])]
        and contents[0][str(one[item]["digest"])] == contents[1][str(other[item]["digest"])]
    }
    yield from (
        change for change in _section(Section.LAYERS, one, other) if change.item not in alike
    )


def _vulnerable(findings: tuple[Vulnerability, ...]) -> Mapping[str, Facts]:
    """Return findings by name and package: another version of it may have the same."""
    return {
        f"{one.rule} {one.package}": {"severity": str(one.severity)}
        for one in sorted(findings, key=lambda one: one.severity.rank)
    }
