"""Writes archives as `docker save` writes them.

`write_saved` has the form of before Docker 25, which skopeo still writes. `write_layout` has that
of Docker 29 with its own image store, as it was recorded from 29.8: a layout with every image that
was asked for, attestations inside, and beside it the older list, of the engine's platform alone.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ociwriter import OciWriter


class Kept(NamedTuple):
    """An image that an engine keeps.

    Args:
        name: such as `thing:1`.
        top: its index, or its only manifest.
        here: the manifest for the engine's own platform.
    """

    name: str
    top: dict[str, object]
    here: dict[str, object]


def write_layout(path: Path, writer: OciWriter, *images: Kept) -> Path:
    """Write an archive of images, the blobs of which a writer has."""
    entries, listed = [], dict[str, dict[str, object]]()
    for name, top, here in images:
        manifest = json.loads(writer.bytes_of(here))
        notes = {
            "io.containerd.image.name": f"docker.io/library/{name}",
            "org.opencontainers.image.ref.name": name.partition(":")[2],
        }
        if top["digest"] == here["digest"]:
            notes["config.digest"] = manifest["config"]["digest"]
        kept = {key: top[key] for key in ("mediaType", "digest", "size")}
        entries.append({**kept, "annotations": notes})
        # Images that are one are one in the list, with the names of both.
        one = listed.setdefault(
            str(here["digest"]),
            {
                "Config": _blob(manifest["config"]),
                "RepoTags": [],
                "Layers": [_blob(layer) for layer in manifest["layers"]],
            },
        )
        one["RepoTags"] = [*one["RepoTags"], name]  # type: ignore[misc]
    files = {
        "manifest.json": json.dumps([*listed.values()]).encode(),
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
    }
    return writer.write(path, *entries, files=files)


def _blob(entry: Mapping[str, str]) -> str:
    return "blobs/" + entry["digest"].replace(":", "/")


CONFIG = {"os": "linux", "architecture": "amd64", "config": {"Labels": {"a": "b"}}}


def write_tar(files: Mapping[str, bytes]) -> bytes:
    """Return a tar of files."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in files.items():
            _add(archive, name, data)
    return stream.getvalue()


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


def write_saved(
    path: Path,
    *layers: Mapping[str, bytes],
    packed: bool = False,
    links: bool = False,
    prefix: str = "",
    images: int = 1,
) -> Path:
    """Write an archive of images that have the same layers.

    Args:
        path: of the archive.
        layers: their files.
        packed: the layers are compressed.
        links: each layer is there once, and links lead to it, as skopeo does it.
        prefix: of each name.
        images: how many.
    """
    plain = [write_tar(files) for files in layers]
    ids = [hashlib.sha256(data).hexdigest() for data in plain]
    stored = [gzip.compress(data, mtime=0) if packed else data for data in plain]
    listed = []
    with tarfile.open(path, "w") as archive:
        for number in range(images):
            rootfs = {"type": "layers", "diff_ids": [f"sha256:{one}" for one in ids]}
            config = json.dumps({**CONFIG, "rootfs": rootfs, "number": number}).encode()
            about = f"{hashlib.sha256(config).hexdigest()}.json"
            _add(archive, prefix + about, config)
            names = [f"{number}{place}/layer.tar" for place in range(len(stored))]
            for place, (name, data) in enumerate(zip(names, stored, strict=True)):
                _add(archive, f"{prefix}{number}{place}/VERSION", b"1.0")
                if not links:
                    _add(archive, prefix + name, data)
                    continue
                entry = tarfile.TarInfo(prefix + name)
                entry.type, entry.linkname = tarfile.SYMTYPE, f"../{ids[place]}.tar"
                archive.addfile(entry)
                if number == 0 and data not in stored[:place]:
                    _add(archive, f"{prefix}{ids[place]}.tar", data)
            listed.append({"Config": about, "RepoTags": ["thing:1"], "Layers": names})
        _add(archive, prefix + "manifest.json", json.dumps(listed).encode())
        _add(archive, prefix + "repositories", b"{}")
    return path
