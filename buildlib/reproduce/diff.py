"""The differences between two images, down to the file."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any, Final

from buildlib.findings.secrets import hide_assigned
from buildlib.image.archive import Archive, File, Image, Layer
from buildlib.terminal.streams import printable
from buildlib.versioning.version import time_text

_SHORT: Final = 60
_ABSENT: Final = "absent"
ONLY_FIRST: Final = "only in the first build"
ONLY_SECOND: Final = "only in the second build"


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One thing that is not the same.

    Args:
        platform: whose image; empty: the index, which is of all.
        part: `index`, `manifest`, `config`, or `layer 3`, counted from the base, 1.
        item: path of a file in the layer, or of a value in the document; empty: all of it.
        what: what of the item differs.
        first, second: what the two builds have, shortened.
    """

    platform: str
    part: str
    item: str
    what: str
    first: str = ""
    second: str = ""
    made_by: str = ""

    @property
    def row(self) -> tuple[str, ...]:
        """Return it as a row of a table."""
        return (self.item or "(all of it)", self.what, self.first, self.second)


def compare(first: Archive, second: Archive, allowed: Iterable[str] = ()) -> tuple[Difference, ...]:
    """Return every difference between two images, explained as far as it can be.

    Everything hangs on one digest: where that is the same, index, manifests, configurations and
    layers are the same to the byte (OCI image-spec, descriptor.md).

    Args:
        first: archive.
        second: archive.
        allowed: patterns of names that do not name a secret; the values of others are not shown.

    Raises:
        InputError: an archive is not an image, or not whole (exit 2).
    """
    patterns = tuple(allowed)
    if first.top() == second.top():
        return ()
    ones = {image.platform: image for image in first.images()}
    others = {image.platform: image for image in second.images()}
    found = [*_index(first, second)] if set(ones) == set(others) else []
    for platform in sorted(set(ones) | set(others)):
        one, other = ones.get(platform), others.get(platform)
        if one and other:
            found += _image(first, second, one, other)
        else:
            what = ONLY_FIRST if one else ONLY_SECOND
            found.append(Difference(platform=platform, part="index", item="", what=what))
    shown = (replace(one, made_by=hide_assigned(one.made_by, patterns)) for one in found)
    return tuple(shown) or (_unexplained("", "index", first.top(), second.top()),)


def _unexplained(platform: str, part: str, first: str, second: str) -> Difference:
    what = "the same, written in another way"
    return Difference(platform=platform, part=part, item="", what=what, first=first, second=second)


def _index(first: Archive, second: Archive) -> Iterator[Difference]:
    one, other = (json.loads(archive.bytes_of(archive.top())) for archive in (first, second))
    if "manifests" in one and "manifests" in other:
        yield from _document("", "index", _bare(one), _bare(other))
    elif "manifests" in one or "manifests" in other:
        types = [str(document.get("mediaType", _ABSENT)) for document in (one, other)]
        yield Difference(
            platform="", part="index", item="", what="kind", first=types[0], second=types[1]
        )


def _bare(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document without what only follows from the parts that are compared themselves."""

    def bare(entry: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in entry.items() if key not in {"digest", "size"}}

    found = dict(document)
    for key in ("manifests", "layers"):
        if key in found:
            found[key] = [bare(entry) for entry in found[key]]
    if "config" in found:
        found["config"] = bare(found["config"])
    return found


def _document(platform: str, part: str, one: object, other: object) -> Iterator[Difference]:
    for path, first, second in _changes(one, other, ""):
        yield Difference(
            platform=platform,
            part=part,
            item=path,
            what="value",
            first=_shown(first),
            second=_shown(second),
        )


def _changes(one: object, other: object, path: str) -> Iterator[tuple[str, object, object]]:
    """Yield path and both values wherever two JSON documents differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            below = f"{path}.{key}" if path else str(key)
            yield from _changes(one.get(key), other.get(key), below)
    elif isinstance(one, list) and isinstance(other, list):
        for number, (a, b) in enumerate(zip_longest(one, other)):
            yield from _changes(a, b, f"{path}[{number}]")
    elif one != other:
        yield path, one, other


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return _ABSENT if value is None else textwrap.shorten(text, width=_SHORT, placeholder=" …")


def _image(first: Archive, second: Archive, one: Image, other: Image) -> Iterator[Difference]:
    if one.digest == other.digest:
        return
    found = [*_config(one, other), *_manifest(first, second, one, other)]
    for number, (a, b) in enumerate(zip_longest(one.layers, other.layers), 1):
        if a is None or b is None:
            what, made_by = (ONLY_FIRST, a) if a else (ONLY_SECOND, b)
            found.append(_layer_difference(one.platform, number, made_by, "", what))
        elif a.digest != b.digest:
            pair = _Pair(one.platform, number, a)
            same = _diff_id(one, number) == _diff_id(other, number) != ""
            found += pair.differences([*_files(first, a)], [*_files(second, b)], unpacked_same=same)
    yield from found or (_unexplained(one.platform, "manifest", one.digest, other.digest),)


def _config(one: Image, other: Image) -> Iterator[Difference]:
    if one.config_digest == other.config_digest:
        return
    found = [
        difference
        for difference in _document(one.platform, "config", one.config, other.config)
        # They follow from the layers.
        if not difference.item.startswith("rootfs.diff_ids")
    ]
    alike = one.config == other.config
    if alike:
        found.append(_unexplained(one.platform, "config", one.config_digest, other.config_digest))
    yield from found


def _manifest(first: Archive, second: Archive, one: Image, other: Image) -> Iterator[Difference]:
    if len(one.layers) == len(other.layers):
        documents = (
            json.loads(first.bytes_of(one.digest)),
            json.loads(second.bytes_of(other.digest)),
        )
        yield from _document(one.platform, "manifest", *map(_bare, documents))


def _files(archive: Archive, layer: Layer) -> Iterator[File]:
    return archive.files(layer, contents=True)


def _diff_id(image: Image, number: int) -> str:
    """Return the digest of a layer as it is unpacked, or nothing."""
    ids = (image.config.get("rootfs") or {}).get("diff_ids") or ()
    return str(ids[number - 1]) if number <= len(ids) else ""


def _layer_difference(
    platform: str, number: int, layer: Layer | None, item: str, what: str, *values: str
) -> Difference:
    first, second = map(printable, values or ("", ""))
    return Difference(
        platform=platform,
        part=f"layer {number}",
        item=printable(item),
        what=what,
        first=first,
        second=second,
        made_by=layer.created_by if layer else "",
    )


@dataclass(frozen=True, slots=True)
class _Pair:
    """A layer of both builds, by its number from the base."""

    platform: str
    number: int
    layer: Layer

    def _of(self, item: str, what: str, *values: str) -> Difference:
        return _layer_difference(self.platform, self.number, self.layer, item, what, *values)

    def differences(
        self, one: Sequence[File], other: Sequence[File], *, unpacked_same: bool
    ) -> list[Difference]:
        """Return what differs between the entries; where nothing does, what else it is."""
        ones, others = {f.path: f for f in one}, {f.path: f for f in other}
        found: list[Difference] = []
        for path in sorted(ones.keys() | others.keys()):
            a, b = ones.get(path), others.get(path)
            if a and b:
                found += [self._of(path, what, *values) for what, *values in _file(a, b)]
            else:
                found.append(self._of(path, ONLY_FIRST if a else ONLY_SECOND))
        if found:
            return found
        for a, b in zip_longest(one, other):
            if a is None or b is None or a.path != b.path:
                names = [file.path if file else _ABSENT for file in (a, b)]
                return [self._of("", "order of the entries", *names)]
        if unpacked_same:
            return [self._of("", "compression: the same when unpacked")]
        return [self._of("", "tar headers that are not compared one by one")]


def _file(one: File, other: File) -> Iterator[tuple[str, str, str]]:
    """Yield what differs between two entries of one path, and how."""
    if one.kind != other.kind:
        yield "kind", one.kind, other.kind
        return
    if (one.sha256, one.size) != (other.sha256, other.size):
        yield "content", _content(one), _content(other)
    if one.mode != other.mode:
        yield "mode", f"{one.mode:04o}", f"{other.mode:04o}"
    if (one.user, one.group) != (other.user, other.group):
        yield "owner", f"{one.user}:{one.group}", f"{other.user}:{other.group}"
    if one.modified != other.modified:
        yield "time", time_text(one.modified), time_text(other.modified)
    if one.target != other.target:
        yield "link", one.target, other.target
    if one.attributes != other.attributes:
        yield "attributes", " ".join(one.attributes), " ".join(other.attributes)


def _content(file: File) -> str:
    return f"{file.size} B sha256:{file.sha256[:12]}"
