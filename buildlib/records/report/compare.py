"""Two builds beside each other: what took longer, what was not cached, what differs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from buildlib.records.cause import explain
from buildlib.records.record import File, Record, Step
from buildlib.records.redaction import is_hidden

# Less is noise, in seconds.
LEAST: Final = 0.1


class Change(NamedTuple):
    """What has a value in both builds, or in one of them; None: it is not there."""

    name: str
    before: str | None
    now: str | None


class Pair(NamedTuple):
    """A step in both builds."""

    before: Step
    now: Step

    @property
    def more(self) -> float:
        """Return by how many seconds it took longer."""
        return (self.now.seconds or 0) - (self.before.seconds or 0)


class LayerChange(NamedTuple):
    """A layer, by what made it, and its bytes in both builds; 0: it is not there."""

    name: str
    before: int
    now: int


class Comparison(NamedTuple):
    """What differs between two builds.

    Args:
        slower, faster: steps that ran in both, the largest difference first.
        lost: steps that were cached before, and why they ran.
        gained: steps that ran before, and were cached.
        added, removed: steps that only one of them has.
        layers: that grew or shrank, the largest difference first.
        packages: that differ.
        files: paths, and what became of them.
        unlisted: files that are not on record by name differ.
        values: build args, base images and the like.
    """

    before: Record
    slower: tuple[Pair, ...]
    faster: tuple[Pair, ...]
    lost: tuple[tuple[Pair, str], ...]
    gained: tuple[Pair, ...]
    added: tuple[Step, ...]
    removed: tuple[Step, ...]
    layers: tuple[LayerChange, ...]
    packages: tuple[Change, ...]
    files: tuple[tuple[str, str], ...]
    unlisted: bool
    values: tuple[Change, ...]


def compare(now: Record, before: Record) -> Comparison:
    """Return what differs between two builds."""
    pairs, added, removed = _pairs(now.steps, before.steps)
    causes = explain(now, before)
    ran = [one for one in pairs if not one.now.cached and not one.before.cached]
    lost = []
    for one in pairs:
        if one.before.cached and not one.now.cached and one.now.parts.total and one.now.ended:
            cause = causes.get(one.now.digest)
            own = cause is None or cause.digest == one.now.digest
            text = cause.text if cause else ""
            lost.append((one, text if own or not cause else f"after {cause.step}: {text}"))
    return Comparison(
        before=before,
        slower=tuple(sorted((one for one in ran if one.more >= LEAST), key=_growth, reverse=True)),
        faster=tuple(sorted((one for one in ran if one.more <= -LEAST), key=_growth)),
        lost=tuple(lost),
        gained=tuple(one for one in pairs if one.now.cached and not one.before.cached),
        added=tuple(one for one in added if one.parts.total),
        removed=tuple(one for one in removed if one.parts.total),
        layers=tuple(_layers(now, before)),
        packages=tuple(_packages(now, before)),
        files=tuple(changed_files(now.files, before.files)),
        unlisted=now.rest != before.rest,
        values=tuple(_values(now, before)),
    )


def _growth(pair: Pair) -> float:
    return pair.more


def _pairs(
    now: Iterable[Step], before: Iterable[Step]
) -> tuple[list[Pair], list[Step], list[Step]]:
    """Return the steps that both have, those that are new, and those that are gone.

    A step is the same where its stage, platform and instruction are; else where its place is.
    """
    pairs: list[Pair] = []
    left_now, left_before = list(now), list(before)
    for key in (_text, _place):
        known: defaultdict[object, list[Step]] = defaultdict(list)
        for step in reversed(left_before):
            known[key(step)].append(step)
        found, rest = [], []
        for step in left_now:
            same = known[key(step)]
            if same and key(step) is not None:
                found.append(Pair(same.pop(), step))
            else:
                rest.append(step)
        pairs += found
        taken = {id(one.before) for one in found}
        left_now = rest
        left_before = [one for one in left_before if id(one) not in taken]
    return pairs, left_now, left_before


def _text(step: Step) -> object:
    parts = step.parts
    return (parts.platform, parts.stage, parts.instruction) if parts.total else step.name


def _place(step: Step) -> object:
    parts = step.parts
    return (parts.platform, parts.stage, parts.position) if parts.total else None


def changed_files(now: Mapping[str, File], before: Mapping[str, File]) -> Iterable[tuple[str, str]]:
    """Yield each path that differs, and how."""
    for path in sorted({*now, *before}):
        new, old = now.get(path), before.get(path)
        if new is None or old is None:
            yield path, "removed" if new is None else "added"
        elif (new.digest, new.size, new.mode[:-4]) != (old.digest, old.size, old.mode[:-4]):
            yield path, "changed"
        elif new.mode != old.mode:
            yield path, f"mode {old.mode[-4:]} → {new.mode[-4:]}"


def _layers(now: Record, before: Record) -> list[LayerChange]:
    """Return the layers whose size differs, where both were counted in the same way."""
    if now.output != before.output or not (now.layers and before.layers):
        return []
    sizes: dict[tuple[str, str, int], list[int]] = {}
    for place, record in enumerate((before, now)):
        seen = Counter[tuple[str, str]]()
        for layer in record.layers:
            name = layer.platform, layer.made_by
            seen[name] += 1
            sizes.setdefault((*name, seen[name]), [0, 0])[place] = layer.size
    several = len({layer.platform for layer in now.layers}) > 1
    found = [
        LayerChange(f"{platform} {made_by}" if several else made_by, *both)
        for (platform, made_by, _), both in sizes.items()
        if both[0] != both[1]
    ]
    return sorted(found, key=lambda one: -abs(one.now - one.before))


def _packages(now: Record, before: Record) -> Iterable[Change]:
    """Yield the packages that differ, on platforms whose packages both builds know."""
    for platform in now.packages.keys() & before.packages.keys():
        new, old = now.packages[platform], before.packages[platform]
        for name in sorted({*new, *old}):
            if new.get(name) != old.get(name):
                yield Change(f"{platform} {name}", old.get(name), new.get(name))


def _values(now: Record, before: Record) -> Iterable[Change]:
    """Yield the values that differ; of a secret, only that it does."""
    facts: tuple[tuple[str, Mapping[str, Any], Mapping[str, Any]], ...] = (
        ("argument ", now.args, before.args),
        ("base ", now.bases, before.bases),
        ("version of ", now.tools, before.tools),
        ("", _facts(now), _facts(before)),
    )
    for kind, new, old in facts:
        for name in sorted({*new, *old}):
            if new.get(name) != old.get(name):
                values = (None if name not in one else str(one[name]) for one in (old, new))
                was, is_now = (
                    "a secret" if one is not None and is_hidden(one) else one for one in values
                )
                yield Change(f"{kind}{name}", was, is_now)


def _facts(record: Record) -> dict[str, str]:
    return {
        "target": record.target,
        "platforms": ", ".join(record.platforms),
        "builder": record.builder or record.node,
        "frontend": record.syntax,
        "digest": record.digest,
        "result": record.result,
        "commit": str(record.git.get("revision") or ""),
    }
