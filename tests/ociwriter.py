"""Writes small OCI archives, right ones and broken ones."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
# What Docker's schema 2 calls the same.
DOCKER = {
    INDEX: "application/vnd.docker.distribution.manifest.list.v2+json",
    MANIFEST: "application/vnd.docker.distribution.manifest.v2+json",
    CONFIG: "application/vnd.docker.container.image.v1+json",
}
# The header of a program for linux/amd64.
ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x3e\x00" + bytes(44)


class OciWriter:
    """Collects blobs, and writes them as an archive.

    Args:
        docker: index, manifests and configurations have Docker's types, of schema 2.
    """

    def __init__(self, *, docker: bool = False) -> None:
        self._types = DOCKER if docker else {kind: kind for kind in DOCKER}
        self._blobs: dict[str, bytes] = {}
        # Of each layer when it is unpacked.
        self._diff_ids: dict[str, str] = {}

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
                content = (contents or {}).get(entry.name, b"") if entry.isreg() else b""
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        return self.tar(stream.getvalue(), media_type, level)

    def tar(self, data: bytes, media_type: str = GZIP, level: int = 9) -> dict[str, object]:
        """Return a layer of a tar stream that is made elsewhere."""
        packed = data
        if media_type.endswith("gzip"):
            packed = gzip.compress(data, level, mtime=0)
        elif media_type.endswith("zstd"):
            packed = zstd.compress(data)
        layer = self.blob(packed)
        self._diff_ids[str(layer["digest"])] = "sha256:" + hashlib.sha256(data).hexdigest()
        return {"mediaType": media_type, **layer}

    def image(
        self,
        layers: Sequence[dict[str, object]],
        history: Sequence[dict[str, object]] = (),
        platform: tuple[str, ...] = ("linux", "amd64"),
        **more: object,
    ) -> dict[str, object]:
        """Return a manifest; `more` is what else its configuration holds."""
        keys = dict(zip(("os", "architecture", "variant"), platform, strict=False))
        diff_ids = [self._diff_ids.get(str(one["digest"]), one["digest"]) for one in layers]
        rootfs = {"type": "layers", "diff_ids": diff_ids}
        config = self.document({**keys, "history": list(history), "rootfs": rootfs, **more})
        manifest = {
            "schemaVersion": 2,
            "mediaType": self._types[MANIFEST],
            "config": {"mediaType": self._types[CONFIG], **config},
            "layers": list(layers),
        }
        return {"mediaType": self._types[MANIFEST], **self.document(manifest)}

    def attestation(
        self, image: Mapping[str, object], *kinds: str, artifact: bool
    ) -> dict[str, object]:
        """Return the entry of BuildKit's attestations about an image, as an index has it.

        Args:
            image: its manifest.
            kinds: predicate types.
            artifact: the form of BuildKit 0.31 and later; before, an image without a platform.
        """
        statements = [
            {
                "mediaType": "application/vnd.in-toto+json",
                **self.document(
                    {
                        "_type": "https://in-toto.io/Statement/v1",
                        "predicateType": kind,
                        "subject": [],
                        "predicate": {"of": kind},
                    }
                ),
                "annotations": {"in-toto.io/predicate-type": kind},
            }
            for kind in kinds
        ]
        rootfs = {"type": "layers", "diff_ids": [one["digest"] for one in statements]}
        nowhere = {"os": "unknown", "architecture": "unknown"}
        config = self.document({} if artifact else {**nowhere, "config": {}, "rootfs": rootfs})
        manifest: dict[str, object] = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, **config},
            "layers": statements,
        }
        if artifact:
            empty = "application/vnd.oci.empty.v1+json"
            manifest |= {
                "artifactType": "application/vnd.docker.attestation.manifest.v1+json",
                "config": {"mediaType": empty, **config, "data": "e30="},
                "subject": {key: image[key] for key in ("mediaType", "digest", "size")},
            }
        return {
            "mediaType": MANIFEST,
            **self.document(manifest),
            "annotations": {
                "vnd.docker.reference.digest": str(image["digest"]),
                "vnd.docker.reference.type": "attestation-manifest",
            },
            "platform": nowhere,
        }

    def index(self, *manifests: dict[str, object]) -> dict[str, object]:
        kind = self._types[INDEX]
        whole = {"schemaVersion": 2, "mediaType": kind, "manifests": list(manifests)}
        return {"mediaType": kind, **self.document(whole)}

    def bytes_of(self, entry: Mapping[str, object]) -> bytes:
        return self._blobs[str(entry["digest"])]

    def drop(self, entry: Mapping[str, object]) -> None:
        del self._blobs[str(entry["digest"])]

    def replace(self, entry: Mapping[str, object], data: bytes) -> None:
        """Have other bytes stand under the digest of a blob."""
        self._blobs[str(entry["digest"])] = data

    def leave_out(self, entry: Mapping[str, object]) -> None:
        """Have a blob be missing."""
        del self._blobs[str(entry["digest"])]

    def write(
        self, path: Path, *manifests: dict[str, object], files: Mapping[str, bytes] | None = None
    ) -> Path:
        """Write the archive of these images; `files` are beside index and blobs."""
        with tarfile.open(path, "w") as tar:
            documents = {"index.json": json.dumps({"manifests": list(manifests)}).encode()}
            blobs = {f"blobs/{key.replace(':', '/')}": data for key, data in self._blobs.items()}
            for name, data in (documents | blobs | dict(files or {})).items():
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
        return path
