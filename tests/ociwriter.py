"""Writes small OCI archives, right ones and broken ones."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"


class OciWriter:
    """Collects blobs, and writes them as an archive."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}

    def blob(self, data: bytes) -> dict[str, object]:
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self._blobs[digest] = data
        return {"digest": digest, "size": len(data)}

    def document(self, data: object) -> dict[str, object]:
        return self.blob(json.dumps(data).encode())

    def layer(self, files: Mapping[str, bytes], media_type: str = GZIP) -> dict[str, object]:
        entries = []
        for path in files:
            entry = tarfile.TarInfo(path)
            if path.endswith("/"):
                entry.type = tarfile.DIRTYPE
            entry.mode, entry.uid, entry.mtime = 0o640, 7, 1234
            entries.append(entry)
        return self.entries(*entries, contents=files, media_type=media_type)

    def entries(
        self,
        *entries: tarfile.TarInfo,
        contents: Mapping[str, bytes] | None = None,
        media_type: str = GZIP,
        level: int = 9,
    ) -> dict[str, object]:
        """Return a layer of entries that are made elsewhere; their contents go by their names."""
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for entry in entries:
                content = (contents or {}).get(entry.name, b"")
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        data = stream.getvalue()
        packed = gzip.compress(data, level, mtime=0) if media_type.endswith("gzip") else data
        return {"mediaType": media_type, **self.blob(packed)}

    def image(
        self,
        layers: Sequence[dict[str, object]],
        history: Sequence[dict[str, object]] = (),
        platform: tuple[str, ...] = ("linux", "amd64"),
        **more: object,
    ) -> dict[str, object]:
        """Return a manifest; `more` is what else its configuration holds."""
        keys = dict(zip(("os", "architecture", "variant"), platform, strict=False))
        config = self.document({**keys, "history": list(history), **more})
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, **config},
            "layers": list(layers),
        }
        return {"mediaType": MANIFEST, **self.document(manifest)}

    def index(self, *manifests: dict[str, object]) -> dict[str, object]:
        whole = {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(manifests)}
        return {"mediaType": INDEX, **self.document(whole)}

    def drop(self, entry: Mapping[str, object]) -> None:
        del self._blobs[str(entry["digest"])]

    def replace(self, entry: Mapping[str, object], data: bytes) -> None:
        """Have other bytes stand under the digest of a blob."""
        self._blobs[str(entry["digest"])] = data

    def write(self, path: Path, *manifests: dict[str, object]) -> Path:
        with tarfile.open(path, "w") as tar:
            documents = {"index.json": json.dumps({"manifests": list(manifests)}).encode()}
            blobs = {f"blobs/{key.replace(':', '/')}": data for key, data in self._blobs.items()}
            for name, data in (documents | blobs).items():
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
        return path
