"""Reads an image as it is stored: index, manifests, configurations, layers, and their files.

Source: OCI image-spec, image-layout.md, manifest.md, config.md and layer.md. An archive is a tar
of such a layout, as `docker save` and BuildKit's `type=oci` write it.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from buildlib.errors import InputError
from buildlib.platforms import platform_name

_INDEX_TYPES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
# An attestation is a manifest of its own, for no platform.
_NO_PLATFORM: Final = "unknown/unknown"
_FILLED: Final = "buildkit.exporter.image.v0"
_LARGEST_DOCUMENT: Final = 4 << 20
# Enough to tell what kind of program it is: the header of ELF is 64 bytes.
_HEAD: Final = 64
_CHUNK: Final = 1 << 20
# How tar stores an extended attribute; see GNU tar and the OCI image-spec, layer.md.
_ATTRIBUTE: Final = "SCHILY.xattr."


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """A layer as it is stored: `size` bytes, compressed; `created_by` is what made it, and when."""

    digest: str
    size: int
    media_type: str
    created_by: str = ""
    created: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """One platform's image.

    Args:
        platform: `os/arch[/variant]`.
        digest: of the manifest.
        config: as the OCI image-spec has it.
        config_digest, config_size: of that document; bytes.
        layers: from the base upwards.
    """

    platform: str
    digest: str
    config: Mapping[str, Any]
    config_digest: str
    config_size: int
    layers: tuple[Layer, ...]

    @property
    def size(self) -> int:
        """Return the bytes that are pulled: layers and configuration."""
        return self.config_size + sum(layer.size for layer in self.layers)

    @property
    def runtime(self) -> Mapping[str, Any]:
        """Return what a container of it gets: user, environment, commands, labels and so on."""
        return dict(self.config.get("config") or {})

    @property
    def labels(self) -> Mapping[str, str]:
        """Return its labels."""
        return dict(self.runtime.get("Labels") or {})

    def own(self, layer: Layer) -> bool:
        """Return whether the image's own Dockerfile made a layer, and not that of its base.

        BuildKit gives the image and every step of a build with SOURCE_DATE_EPOCH that one time,
        and leaves the steps of the base as they are.
        """
        return bool(layer.created) and layer.created == self.config.get("created")


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """An entry of a layer.

    Args:
        path: without a slash at either end.
        kind: `file`, `directory`, `link` or `other`.
        size: bytes.
        mode: permission bits, setuid, setgid and sticky included.
        user, group: by number.
        modified: seconds since the epoch.
        target: of a link.
        attributes: names of its extended attributes, such as `security.capability`.
        sha256: of the content, and `head` its first bytes; both empty where nobody asked.
    """

    path: str
    kind: str
    size: int
    mode: int
    user: int
    group: int
    modified: int
    target: str = ""
    attributes: tuple[str, ...] = ()
    sha256: str = ""
    head: bytes = b""


def _kind(entry: tarfile.TarInfo) -> str:
    if entry.isreg():
        return "file"
    if entry.isdir():
        return "directory"
    return "link" if entry.islnk() or entry.issym() else "other"


def _entry(tar: tarfile.TarFile, entry: tarfile.TarInfo, *, contents: bool) -> File:
    sha256, head = "", b""
    content = tar.extractfile(entry) if contents and entry.isreg() else None
    if content:
        head = content.read(_HEAD)
        digest = hashlib.sha256(head)
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
        sha256 = digest.hexdigest()
    return File(
        path=entry.name.removeprefix("./").rstrip("/"),
        kind=_kind(entry),
        size=entry.size,
        mode=entry.mode,
        user=entry.uid,
        group=entry.gid,
        modified=int(entry.mtime),
        target=entry.linkname,
        attributes=tuple(
            sorted(
                name.removeprefix(_ATTRIBUTE)
                for name in entry.pax_headers
                if name.startswith(_ATTRIBUTE)
            )
        ),
        sha256=sha256,
        head=head,
    )


class Archive:
    """A layout in a tar file; open it with `open_archive`."""

    def __init__(self, tar: tarfile.TarFile, name: str) -> None:
        """Keep the open file."""
        self._tar, self._name = tar, name

    def _open(self, path: str) -> IO[bytes]:
        try:
            found = self._tar.extractfile(path)
        except KeyError:
            found = None
        if found is None:
            raise InputError(f"{self._name} is no whole image: {path} is missing")
        return found

    def _document(self, path: str) -> dict[str, Any]:
        with self._open(path) as stream:
            text = stream.read(_LARGEST_DOCUMENT)
        try:
            return dict(json.loads(text))
        except (ValueError, TypeError) as error:
            raise InputError(f"{self._name} is no image: {path} is not JSON") from error

    def _blob(self, digest: str) -> str:
        return "blobs/" + digest.replace(":", "/", 1)

    def bytes_of(self, digest: str) -> bytes:
        """Return a blob that is a document: an index, a manifest or a configuration.

        Raises:
            InputError: it is not here (exit 2).
        """
        with self._open(self._blob(digest)) as stream:
            return stream.read(_LARGEST_DOCUMENT)

    def open_blob(self, digest: str) -> IO[bytes]:
        """Open any blob, such as a layer, for reading.

        Raises:
            InputError: it is not here (exit 2).
        """
        return self._open(self._blob(digest))

    def top(self) -> str:
        """Return the digest by which the whole is known: of its index, or its only manifest.

        Raises:
            InputError: it is no image, or holds several (exit 2).
        """
        digests = {str(e.get("digest")) for e in self._document("index.json")["manifests"]}
        if len(digests) != 1:
            raise InputError(f"{self._name} holds {len(digests)} images, and one is wanted")
        return digests.pop()

    def has(self, digest: str) -> bool:
        """Return whether the archive holds a blob: one of another platform may be left out."""
        try:
            self._tar.getmember(self._blob(digest))
        except KeyError:
            return False
        return True

    def size_of(self, digest: str) -> int:
        """Return how many bytes a blob really has here, whatever is said of it.

        Raises:
            InputError: it is not here (exit 2).
        """
        with self._open(self._blob(digest)) as stream:
            return stream.seek(0, io.SEEK_END)

    def check_blob(self, digest: str, size: int) -> None:
        """Check that a blob has the bytes of its digest, and as many as its descriptor says.

        Raises:
            InputError: it has not, or it is not here (exit 2).
        """
        length = self.size_of(digest)
        if length != size:
            raise InputError(
                f"{self._name} is damaged: {digest} has {length} bytes, not the {size} it should"
            )
        found = hashlib.sha256()
        with self.open_blob(digest) as stream:
            while chunk := stream.read(_CHUNK):
                found.update(chunk)
        if digest != f"sha256:{found.hexdigest()}":
            raise InputError(
                f"{self._name} is damaged: {digest} has the bytes of sha256:{found.hexdigest()}"
            )

    def images(self) -> tuple[Image, ...]:
        """Return the image of each platform that is here, each once.

        Raises:
            InputError: the archive is no image, or not whole (exit 2).
        """
        found: dict[str, Image] = {}
        for digest in self._manifests(self._document("index.json")):
            image = self._image(digest)
            if image.platform != _NO_PLATFORM:
                found.setdefault(image.digest, image)
        if not found:
            raise InputError(f"{self._name} holds no image")
        return tuple(found.values())

    def _manifests(self, index: Mapping[str, Any]) -> Iterator[str]:
        for entry in index.get("manifests") or ():
            digest = str(entry.get("digest", ""))
            if not self.has(digest):
                continue
            if entry.get("mediaType") in _INDEX_TYPES:
                yield from self._manifests(self._document(self._blob(digest)))
            else:
                yield digest

    def _image(self, digest: str) -> Image:
        manifest = self._document(self._blob(digest))
        config = self._document(self._blob(str(manifest["config"]["digest"])))
        # Where a base has no history, BuildKit fills up at the end, and every step would stand
        # beside the layer of another: the layers that nothing is known of are the base's.
        made: list[Mapping[str, Any]] = [
            step
            for step in config.get("history") or ()
            if not step.get("empty_layer") and step.get("comment") != _FILLED
        ]
        stored = manifest.get("layers") or ()
        made = [{}] * (len(stored) - len(made)) + made
        return Image(
            platform=platform_name(config) or _NO_PLATFORM,
            digest=digest,
            config=config,
            config_digest=str(manifest["config"]["digest"]),
            config_size=int(manifest["config"]["size"]),
            layers=tuple(
                Layer(
                    digest=str(layer["digest"]),
                    size=int(layer["size"]),
                    media_type=str(layer.get("mediaType", "")),
                    created_by=str(step.get("created_by", "")),
                    created=str(step.get("created", "")),
                )
                for layer, step in zip(stored, made, strict=False)
            ),
        )

    def write_image(self, image: Image, path: Path) -> None:
        """Write one platform's image as an archive of its own; its manifest stays what it is.

        Not every program finds its way through an index of several platforms.

        Raises:
            InputError: a part of it is missing, or the file can't be written (exit 2).
        """
        entry = {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": image.digest,
            "size": self._tar.getmember(self._blob(image.digest)).size,
        }
        index = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
        layout = json.dumps({"imageLayoutVersion": "1.0.0"}).encode()
        digests = (image.digest, image.config_digest, *(layer.digest for layer in image.layers))
        try:
            with tarfile.open(path, "w") as tar:
                for name, data in (("oci-layout", layout), ("index.json", index)):
                    file = tarfile.TarInfo(name)
                    file.size = len(data)
                    tar.addfile(file, io.BytesIO(data))
                for name in ("blobs/", "blobs/sha256/"):
                    folder = tarfile.TarInfo(name)
                    folder.type, folder.mode = tarfile.DIRTYPE, 0o755
                    tar.addfile(folder)
                for digest in dict.fromkeys(digests):
                    with self._open(self._blob(digest)) as stream:
                        tar.addfile(self._tar.getmember(self._blob(digest)), stream)
        except OSError as error:
            raise InputError(f"can't write {path}", why=str(error)) from error

    def files(self, layer: Layer, *, contents: bool = False) -> Iterator[File]:
        """Yield the entries of a layer, in the order in which they are stored.

        Args:
            layer: of an image that is here.
            contents: read the files as well, for their `sha256` and `head`.

        Raises:
            InputError: it is compressed in a way that can't be read here, or broken (exit 2).
        """
        if layer.media_type.endswith("zstd"):
            raise InputError(
                f"a layer of {self._name} is compressed with zstd, which can't be read here",
                hint="build it with compression=gzip",
            )
        with self._open(self._blob(layer.digest)) as stream:
            packed = layer.media_type.endswith("gzip")
            plain = gzip.GzipFile(fileobj=stream) if packed else stream
            try:
                with tarfile.open(fileobj=plain, mode="r|") as tar:
                    for entry in tar:
                        yield _entry(tar, entry, contents=contents)
            except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
                raise InputError(
                    f"a layer of {self._name} can't be read: {layer.digest}", why=str(error)
                ) from error


def archive_file(image: str) -> Path | None:
    """Return the file that an image was named by; None where it is a reference.

    Raises:
        InputError: it is named as an archive is, and there is none (exit 2).
    """
    path = Path(image)
    if path.is_file():
        return path
    # A tag may end like that as well.
    if image.endswith(".tar") and ":" not in path.name:
        raise InputError(
            f"no such file: {image}",
            hint="invoke docker-build --output oci writes an archive, and names it",
        )
    return None


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open an archive for the time of the block.

    Raises:
        InputError: there is none, it is no tar file, or not a whole one (exit 2).
    """
    try:
        tar = tarfile.open(path)  # noqa: SIM115 - closed below
    except (OSError, tarfile.TarError) as error:
        raise InputError(f"{path} can't be read as an image", why=str(error)) from error
    with tar:
        try:
            yield Archive(tar, path.name)
        except tarfile.TarError as error:
            # Only what is read tells that the file ends too early.
            raise InputError(f"{path} is no whole image", why=str(error)) from error
