"""Reads an image as it is stored: index, manifests, configurations, layers, and their files.

Source: OCI image-spec, image-layout.md, manifest.md, config.md and layer.md. An archive is a tar
of such a layout, as `docker save` and BuildKit's `type=oci` write it. Whatever is read of it is
compared with its digest and its size, and what is not as it should be is an error that names it.
"""

from __future__ import annotations

import re
import shutil
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from buildlib.errors import InputError
from buildlib.image.blobs import INDEX, BlobFile, unpacker
from buildlib.image.documents import (
    CONFIG,
    MANIFEST,
    Descriptor,
    DocumentError,
    Shape,
    descriptor,
    digest_of,
    is_digest,
    parse_document,
)
from buildlib.image.labels import CREATED_LABEL, OWNER, value_of
from buildlib.image.layer import File, Layer, LayerError, Search, read_layer
from buildlib.image.limits import DEEPEST_INDEX, MOST_LAYERS, MOST_MANIFESTS
from buildlib.image.platform import platform_name
from buildlib.image.reference import parse_reference
from buildlib.program import PROGRAM

__all__ = ["Archive", "File", "Image", "Layer", "archive_file", "open_archive", "unpack_layout"]

INDEX_TYPES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
# An attestation is a manifest of its own, for no platform.
_NO_PLATFORM: Final = "unknown/unknown"
_PLATFORM: Final = re.compile(r"[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+){0,2}")
_TAR_BLOCK: Final = 512
_FILLED: Final = "buildkit.exporter.image.v0"


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

    @property
    def base_layers(self) -> int:
        """Return how many layers, from below, are the base's; 0 where that is not known.

        It can for what was built by these tasks, and not on top of such an image by others.
        """
        created = self.labels.get(CREATED_LABEL) == self.config.get("created")
        if not (created and value_of(self.labels, OWNER)):
            return 0
        own = [number for number, layer in enumerate(self.layers) if self.own(layer)]
        return own[0] if own else len(self.layers)


class Archive(BlobFile):
    """A layout in a tar file; open it with `open_archive`."""

    def _document(self, text: bytes, shape: Shape, name: str) -> dict[str, Any]:
        try:
            return parse_document(text, shape)
        except DocumentError as error:
            raise self._invalid(f"{name} can't be understood", error) from error

    def _descriptor(self, found: Mapping[str, Any] | None, where: str) -> Descriptor:
        try:
            return descriptor(found, where)
        except DocumentError as error:
            raise self._invalid(str(error)) from error

    @cached_property
    def _index(self) -> list[Descriptor]:
        return [self._descriptor(one, INDEX) for one in self.outermost().get("manifests") or ()]

    def outermost(self) -> dict[str, Any]:
        """Return the outermost index, with the names of the image, as it is written."""
        return self._document(self._text(INDEX), MANIFEST, INDEX)

    def top(self) -> str:
        """Return the digest by which the whole is known: of its index, or its only manifest.

        Raises:
            InputError: it is not an image, or holds several (exit 2).
        """
        digests = {one.digest for one in self._index}
        if len(digests) != 1:
            raise InputError(f"{self._name} holds {len(digests)} images instead of one")
        return digests.pop()

    def verify(self) -> None:
        """Check every blob that the index leads to, and everything that is in the layers.

        Raises:
            InputError: one is missing, or is not what it should be (exit 2).
        """
        for image in self.images():
            for layer in image.layers:
                for _ in self.files(layer):
                    pass
        for _, found in self._manifests:
            for part in (found.get("config"), *(found.get("layers") or ())):
                blob = self._descriptor(part, "a part of a manifest")
                self.check_blob(blob.digest, blob.size)

    def images(self) -> tuple[Image, ...]:
        """Return the image of each platform that is here, each once.

        Raises:
            InputError: the archive is not an image, or not whole (exit 2).
        """
        return self._images

    @cached_property
    def _images(self) -> tuple[Image, ...]:
        found = [self._image(one, manifest) for one, manifest in self._manifests]
        known = {(one.digest, one.platform): one for one in found if one.platform != _NO_PLATFORM}
        images = tuple(known.values())
        if not images:
            raise InputError(f"{self._name} holds no image")
        self._check_docker_list(found)
        return images

    @cached_property
    def _manifests(self) -> list[tuple[Descriptor, dict[str, Any]]]:
        """Return each manifest that is here, once for all that say the same of it."""
        manifests = []
        seen: set[str] = set()
        waiting = [(one, 1) for one in reversed(self._index)]
        while waiting:
            one, depth = waiting.pop()
            if repr(one) in seen or not self.has(one.digest):
                continue
            seen.add(repr(one))
            if len(seen) > MOST_MANIFESTS or depth > DEEPEST_INDEX:
                raise self._invalid("it has too many manifests, or indexes in indexes")
            self._check_size(one.digest, one.size)
            found = self._document(self.bytes_of(one.digest), MANIFEST, one.digest)
            is_index = one.media_type in INDEX_TYPES
            own = found.get("mediaType") or one.media_type
            if (own in INDEX_TYPES) != is_index or found.get("layers" if is_index else "manifests"):
                # Programs disagree about what such a document is.
                raise self._invalid(f"{one.digest} is both an index and a manifest")
            if is_index:
                inside = [self._descriptor(i, one.digest) for i in found.get("manifests") or ()]
                waiting += [(i, depth + 1) for i in reversed(inside)]
            else:
                manifests.append((one, found))
        return manifests

    def _image(self, one: Descriptor, manifest: Mapping[str, Any]) -> Image:
        about = self._descriptor(manifest.get("config"), f"the configuration of {one.digest}")
        self._check_size(about.digest, about.size)
        config = self._document(self.bytes_of(about.digest), CONFIG, about.digest)
        stored = manifest.get("layers") or ()
        diff_ids = (config.get("rootfs") or {}).get("diff_ids") or ()
        platform = self._platform(one, config)
        if len(stored) > MOST_LAYERS:
            raise self._invalid(f"it has more than {MOST_LAYERS} layers")
        # An attestation has no platform, and engines never unpack it.
        if platform == _NO_PLATFORM:
            diff_ids = [""] * len(stored)
        elif len(diff_ids) != len(stored) or not all(map(is_digest, diff_ids)):
            raise self._invalid(f"{about.digest} does not have the digest of each layer unpacked")
        # Where a base has no history, BuildKit fills up at the end, and every step would stand
        # beside the layer of another: the layers that nothing is known of are the base's.
        made: list[Mapping[str, Any]] = [
            step
            for step in config.get("history") or ()
            if not step.get("empty_layer") and step.get("comment") != _FILLED
        ]
        made = [{}] * (len(stored) - len(made)) + made
        layers = [self._descriptor(part, f"a layer of {one.digest}") for part in stored]
        return Image(
            platform=platform,
            digest=one.digest,
            config=config,
            config_digest=about.digest,
            config_size=about.size,
            layers=tuple(
                Layer(
                    digest=layer.digest,
                    size=layer.size,
                    media_type=layer.media_type,
                    diff_id=diff_id,
                    created_by=step.get("created_by") or "",
                    created=step.get("created") or "",
                )
                for layer, diff_id, step in zip(layers, diff_ids, made, strict=False)
            ),
        )

    def _platform(self, one: Descriptor, config: Mapping[str, Any]) -> str:
        """Return the platform that an image is for: engines go by the index before all else."""
        said = platform_name(one.platform)
        own = platform_name(config) or _NO_PLATFORM
        if not _PLATFORM.fullmatch(own):
            raise self._invalid(f"{one.digest} is for the platform {own[:80]!r}")
        if said in {"", own, _NO_PLATFORM}:
            return own
        if own == _NO_PLATFORM or own == platform_name({**one.platform, "variant": ""}):
            return said
        raise self._invalid(f"its index says that {one.digest} is for {said}, and that says {own}")

    def _check_docker_list(self, images: list[Image]) -> None:
        """Check docker's older list of images, by which some engines go instead of the index."""
        if self._made or "manifest.json" not in self._members:
            return
        text = b'{"list": ' + self._text("manifest.json") + b"}"
        shape: Shape = {"list": [{"Config": str, "Layers": [str]}]}
        known = {
            self._blob(image.config_digest): [self._blob(layer.digest) for layer in image.layers]
            for image in images
        }
        for one in self._document(text, shape, "manifest.json").get("list") or ():
            if known.get(one.get("Config") or "") != (one.get("Layers") or []):
                raise self._invalid(f"manifest.json is of another image than {INDEX}")
        if "oci-layout" not in self._members:
            raise self._invalid(f"without oci-layout, engines do not read its {INDEX}")

    def entry_of(self, digest: str) -> dict[str, object]:
        """Return what points to a manifest that is here, with the type that it gives itself.

        Raises:
            InputError: it is not here, or damaged (exit 2).
        """
        data = self.bytes_of(digest)
        own = self._document(data, MANIFEST, digest).get("mediaType") or _MANIFEST_TYPE
        return {"mediaType": own, "digest": digest, "size": len(data)}

    def write_image(self, image: Image, path: Path) -> None:
        """Write one platform's image as an archive of its own; its manifest stays what it is.

        Not every program finds its way through an index of several platforms.

        Raises:
            InputError: a part is missing or damaged, or the file can't be written (exit 2).
        """
        entry = self.entry_of(image.digest)
        parts = [(image.digest, self.size_of(image.digest))]
        parts.append((image.config_digest, image.config_size))
        parts += [(layer.digest, layer.size) for layer in image.layers]
        self._write(path, {"schemaVersion": 2, "manifests": [entry]}, parts)

    def write_renamed(self, path: Path, annotations: Mapping[str, str]) -> None:
        """Copy the archive, and give the image in it another name: its own may be in use.

        A name stands beside the image, in the outermost index, and no digest depends on it.

        Args:
            annotations: of the image's entry in that index.

        Raises:
            InputError: it holds several images, is damaged, or can't be written (exit 2).
        """
        top, entries = self.top(), self._index
        entry = {
            "mediaType": entries[0].media_type,
            "digest": top,
            "size": entries[0].size,
            "annotations": dict(annotations),
        }
        parts = [(digest, self.size_of(digest)) for digest in self.digests()]
        self._write(path, {"schemaVersion": 2, "manifests": [entry]}, parts)

    def write_copy(
        self, path: Path, top: tuple[str, bytes] | None = None, more: Iterable[bytes] = ()
    ) -> str:
        """Copy the archive, with another document on top; return that one's digest.

        Args:
            top: media type and text of that document; None: it stays the same.
            more: further blobs.

        Raises:
            InputError: it holds several images, is damaged, or can't be written (exit 2).
        """
        digest, media_type = self.top(), self._index[0].media_type
        added = {digest_of(data): data for data in more}
        if top:
            media_type, text = top
            digest = digest_of(text)
            added[digest] = text
        size = len(added[digest]) if digest in added else self.size_of(digest)
        entry = {"mediaType": media_type, "digest": digest, "size": size}
        parts = [(one, self.size_of(one)) for one in self.digests()]
        # It gets its name when it is whole.
        partial = path.with_name(f".{path.name}.part")
        try:
            self._write(partial, {"schemaVersion": 2, "manifests": [entry]}, parts, added)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        return digest

    def files(
        self, layer: Layer, *, contents: bool = False, search: Search | None = None
    ) -> Iterator[File]:
        """Yield the entries of a layer, in the order in which they are stored.

        The digests are known at the end: nothing may be concluded before.

        Args:
            contents: read the files as well, for their `sha256`.
            search: looks into the files, instead.

        Raises:
            InputError: it can't be read here, or is not what its digests say (exit 2).
        """
        self._check_size(layer.digest, layer.size)
        with self.open_blob(layer.digest) as stream:
            try:
                yield from read_layer(stream, layer, contents=contents, search=search)
            except LayerError as error:
                raise self.unreadable(layer, error) from error
        self._checked.add((layer.digest, layer.size))

    def unreadable(self, layer: Layer, error: LayerError) -> InputError:
        """Return the error of a layer that can't be read or unpacked."""
        return InputError(f"a layer of {self._name} can't be read: {layer.digest}", why=str(error))


def archive_file(image: str) -> Path | None:
    """Return the file that an image was named by; None where it is a reference.

    Raises:
        InputError: it is named as an archive is, and there is none (exit 2).
    """
    path = Path(image)
    # What has the name of a file may be an image of the engine all the same.
    if path.is_file() and (_is_path(image) or _may_be_archive(path)):
        return path
    # A tag may end like that as well.
    if image.endswith(".tar") and ":" not in path.name:
        raise InputError(
            f"no such file: {image}",
            hint=f"{PROGRAM} docker-build --output oci writes an archive, and names it",
        )
    return None


def _is_path(image: str) -> bool:
    try:
        parse_reference(image)
    except InputError:
        return True
    return image.endswith((".tar", ".tgz", ".tar.gz"))


def _may_be_archive(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            begin = file.read(_TAR_BLOCK)
    except OSError:
        return True
    return bool(unpacker(begin)) or begin[257:262] == b"ustar"


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open an archive for the time of the block.

    Raises:
        InputError: there is none, it is no tar file, or not a whole one (exit 2).
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputError(f"{path} can't be read as an image", why=str(error)) from error
    with file:
        yield Archive(file, path.name)


def unpack_layout(path: Path, folder: Path) -> str:
    """Unpack an archive that buildx made into an OCI layout; return the digest of the image.

    Raises:
        InputError: as `open_archive` (exit 2).
    """
    with open_archive(path) as archive:
        digest = archive.top()
    with tarfile.open(path) as file:
        for entry in file:
            place = folder / entry.name
            # Files of a layout are plain ones, and below it.
            if not entry.isfile() or ".." in place.parts or not place.is_relative_to(folder):
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            content = file.extractfile(entry)
            if content:
                with place.open("wb") as copy:
                    shutil.copyfileobj(content, copy)
    return digest
