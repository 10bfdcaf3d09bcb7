"""Merges archives of single platforms into one, as BuildKit writes it for all platforms at once.

The index has the images in the order of the archives, then their attestations. Its bytes are those
of Go's encoding/json, so that its digest is the one that a builder of one node gives. Source: what
BuildKit 0.13 and 0.34 write; OCI image-spec, image-index.md.
"""

from __future__ import annotations

import argparse
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from buildlib.errors import BuildlibError, InputError
from buildlib.image.archive import INDEX_TYPES, Archive, open_archive
from buildlib.image.blobs import add_file, add_folders
from buildlib.image.documents import digest_of
from buildlib.tempfiles import check_room

_INDEX: Final = INDEX_TYPES[0]
_NONE: Final[Mapping[str, str]] = MappingProxyType({})
# How BuildKit names an image in the outermost index, beside annotations that a user gave it.
_NAMING: Final = frozenset(
    {
        "io.containerd.image.name",
        "org.opencontainers.image.created",
        "org.opencontainers.image.ref.name",
    }
)
_ATTESTATION: Final = "vnd.docker.reference.digest"
# As Go escapes them, for HTML and JavaScript.
_ESCAPED: Final = {ord(one): f"\\u{ord(one):04x}" for one in "<>&\u2028\u2029"}


def merge_archives(
    paths: Sequence[Path],
    path: Path,
    annotations: Mapping[str, str] = _NONE,
    descriptor: Mapping[str, str] = _NONE,
) -> str:
    """Write an archive of the images of several; return the digest of its index.

    Args:
        paths: archives of one platform each, in the order of the index.
        path: of the new archive.
        annotations: of the index.
        descriptor: annotations of what points to the index.

    Raises:
        InputError: an archive holds several images or is damaged, or the new one can't be written
            (exit 2).
    """
    with ExitStack() as stack:
        archives = [stack.enter_context(open_archive(one)) for one in paths]
        images: list[dict[str, Any]] = []
        attestations: list[dict[str, Any]] = []
        for archive in archives:
            for entry in _entries(archive):
                about = (entry.get("annotations") or {}).get(_ATTESTATION)
                (attestations if about else images).append(entry)
        index: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": _INDEX,
            "manifests": [*images, *attestations],
        }
        if annotations:
            index["annotations"] = dict(sorted(annotations.items()))
        text = _go_json(index, indent=2)
        digest = digest_of(text)
        outer = _outermost(archives[0], {"digest": digest, "size": len(text)}, descriptor)
        try:
            _write(path, archives, digest, text, _go_json(outer))
        except OSError as error:
            raise InputError(f"can't write {path}", why=str(error)) from error
    return digest


def _entries(archive: Archive) -> list[dict[str, Any]]:
    """Return what an index has of an archive: its image, and what is attested of it."""
    archive.images()  # Raises if an index or a manifest is missing or damaged.
    top, (entry, *_) = archive.top(), archive.outermost()["manifests"]
    if entry.get("mediaType") in INDEX_TYPES:
        entries = list(json.loads(archive.bytes_of(top))["manifests"])
        for one in entries:
            archive.bytes_of(one["digest"])
        return entries
    given = entry.pop("annotations", None) or {}
    given = {name: value for name, value in given.items() if name not in _NAMING}
    keys = ("mediaType", "digest", "size")
    kept = {key: entry.pop(key) for key in keys}
    return [kept | ({"annotations": given} if given else {}) | entry]


def _outermost(
    archive: Archive, index: Mapping[str, object], descriptor: Mapping[str, str]
) -> dict[str, Any]:
    """Return the outermost index of an archive, with an index instead of its image."""
    found = archive.outermost()
    entries = []
    for one in found["manifests"]:
        given = one.get("annotations") or {}
        naming = {name: value for name, value in given.items() if name in _NAMING}
        named = dict(sorted({**descriptor, **naming}.items()))
        entry = {"mediaType": _INDEX, **index}
        entries.append(entry | ({"annotations": named} if named else {}))
    return {**found, "manifests": entries}


def _go_json(document: object, indent: int | None = None) -> bytes:
    separators = None if indent else (",", ":")
    text = json.dumps(document, ensure_ascii=False, indent=indent, separators=separators)
    return text.translate(_ESCAPED).encode()


def _write(
    path: Path, archives: Iterable[Archive], digest: str, index: bytes, outermost: bytes
) -> None:
    """Write the blobs, each once; an index of one platform is left out."""
    holders: dict[str, Archive] = {}
    for archive in archives:
        held = dict.fromkeys(archive.digests(), archive)
        if archive.outermost()["manifests"][0].get("mediaType") in INDEX_TYPES:
            held.pop(archive.top(), None)
        holders = held | holders
    check_room(path.parent, sum(one.size_of(name) for name, one in holders.items()))
    # As Go writes it: a header of PAX only where a number is too large for that of ustar.
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        add_folders(tar)
        for name in sorted({*holders, digest}):
            if name == digest:
                add_file(tar, f"blobs/{name.replace(':', '/')}", index, 0o444)
            else:
                holders[name].add_to(tar, name, holders[name].size_of(name), 0o444)
        add_file(tar, "index.json", outermost)
        add_file(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}', 0o444)


def main(words: Sequence[str] | None = None) -> None:
    """Merge archives from a shell."""
    parser = argparse.ArgumentParser(prog=f"python3 -m {__name__}", description=main.__doc__)
    parser.add_argument("--annotation", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument(
        "--descriptor-annotation", action="append", default=[], metavar="NAME=VALUE"
    )
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("archives", nargs="+", type=Path)
    given = parser.parse_args(words)
    pairs = [
        {name: value for name, _, value in (one.partition("=") for one in texts)}
        for texts in (given.annotation, given.descriptor_annotation)
    ]
    try:
        merge_archives(given.archives, given.output, *pairs)
    except BuildlibError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()
