"""One repository in a registry: reads and writes by OCI distribution-spec 1.1."""

from __future__ import annotations

import hashlib
import io
import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import urlencode

from urllib3.exceptions import LocationValueError
from urllib3.util import Url

from buildlib.errors import EngineError, FailureError, GateError, InputError
from buildlib.registry.address import add_query, follow
from buildlib.registry.limits import Limits
from buildlib.registry.request import Content
from buildlib.registry.response import WHO_ANSWERS, Response, clean, on_one_line, read_object
from buildlib.registry.transport import Transport

INDEX: Final = "application/vnd.oci.image.index.v1+json"
MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
_DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
INDEX_TYPES: Final = frozenset({INDEX, _DOCKER_LIST})
_KNOWN_TYPES: Final = INDEX_TYPES | {MANIFEST, _DOCKER_MANIFEST}
_ACCEPT: Final = f"{INDEX}, {MANIFEST}, {_DOCKER_LIST}, {_DOCKER_MANIFEST}"
# The statuses that docker accepts; the content is checked by its digest or its form.
_FOUND: Final = frozenset({200, 201, 202, 203, 206})
_MAYBE: Final = _FOUND | {404}
_MADE: Final = frozenset({200, 201, 204})
_STARTED: Final = frozenset({200, 201, 202, 204})
# Seconds for a request that may fail.
_COURTESY: Final = 5.0
_DELETED: Final = frozenset({200, 202})
_PAGE: Final = 1000
# OCI image-spec, descriptor.md; distribution-spec, "Pulling manifests". Both are safe in a path and
# on a terminal.
_DIGEST: Final = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")
_TAG: Final = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
# RFC 6838, 4.2.
MEDIA_TYPE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*")
_PARTS: Final = Limits().parts


@dataclass(frozen=True, slots=True)
class Document:
    """The exact bytes of an index or a manifest."""

    data: bytes
    media_type: str

    @property
    def digest(self) -> str:
        """Return the digest of the bytes, whatever the registry says."""
        return "sha256:" + hashlib.sha256(self.data).hexdigest()

    def manifests(self) -> tuple[Mapping[str, Any], ...]:
        """Return the descriptors in an index; OCI image-spec, descriptor.md.

        Raises:
            GateError: it is not an index (exit 7).
        """
        return self._descriptors(lambda found: found.get("manifests") or ())

    def blobs(self) -> tuple[Mapping[str, Any], ...]:
        """Return the descriptors of a manifest's configuration and layers.

        Raises:
            GateError: it is not a manifest (exit 7).
        """
        return self._descriptors(lambda found: (found["config"], *(found.get("layers") or ())))

    def _descriptors(
        self, of: Callable[[dict[str, Any]], Iterable[Any]]
    ) -> tuple[Mapping[str, Any], ...]:
        try:
            found = tuple(of(read_object(self.data)))
            known = len(found) <= _PARTS and all(map(_is_descriptor, found))
        except (ValueError, LookupError, TypeError, AttributeError):
            found, known = (), False
        if not known:
            kind = on_one_line(clean(self.media_type, ()))
            raise GateError(
                f"{self.digest} is not an image of a known type",
                why=f"the registry calls it {kind or 'nothing'}",
                hint=WHO_ANSWERS,
            )
        return found


def own_type(data: bytes) -> str:
    """Return the media type that a document names, or that its form shows; or nothing."""
    try:
        found = read_object(data)
    except ValueError:
        return ""
    # An OCI document need not name its own type.
    kinds = {"manifests": INDEX, "config": MANIFEST}
    own = found.get("mediaType") or next((kinds[key] for key in kinds if key in found), "")
    return own if isinstance(own, str) and MEDIA_TYPE.fullmatch(own) else ""


def is_safe_digest(text: object) -> bool:
    """Return whether something is a digest, which is safe in an address."""
    return isinstance(text, str) and bool(_DIGEST.fullmatch(text))


def _is_descriptor(found: Mapping[str, Any]) -> bool:
    size, platform = found.get("size", 0), found.get("platform") or {}
    return (
        is_safe_digest(found["digest"])
        and isinstance(size, int)
        and size >= 0
        and isinstance(platform, dict)
        and all(
            isinstance(platform.get(key) or "", str) for key in ("os", "architecture", "variant")
        )
    )


class Repository:
    """A repository.

    Args:
        path: its name there.
    """

    def __init__(self, transport: Transport, path: str) -> None:
        self.transport, self._path = transport, path
        self._pull = f"repository:{path}:pull"
        self._push = f"repository:{path}:pull,push"

    @property
    def name(self) -> str:
        """Return the repository with its registry's host."""
        return f"{self.transport.host}/{self._path}"

    def _at(self, kind: str, what: str = "") -> str:
        return f"/v2/{self._path}/{kind}/{what}"

    def request_for(self, reference: str) -> str:
        """Return the request for a manifest, for messages."""
        return f"GET {self._at('manifests', reference)}"

    def manifest(self, reference: str) -> Document | None:
        """Return the document that a tag or a digest points to, or None if it is missing.

        Raises:
            GateError: the bytes have another digest than the requested one (exit 7).
        """
        # A 404 for a digest is safe from anybody, as a digest is never overwritten.
        answer = self._get("manifests", reference, _ACCEPT, sure=not is_safe_digest(reference))
        if answer is None:
            return None
        said = answer.headers.get("content-type", "").partition(";")[0].strip()
        # Some registries and proxies send one type for everything.
        known = said if said in _KNOWN_TYPES else own_type(answer.body) or said
        found = Document(answer.body, known)
        if reference.startswith("sha256:") and found.digest != reference:
            raise GateError(f"{self.name}@{reference} has another digest", why=found.digest)
        return found

    def digest(self, tag: str) -> str:
        """Return the digest that a tag points to, empty if it is missing."""
        found = self.manifest(tag)
        return found.digest if found else ""

    def _get(
        self, kind: str, what: str, accept: str = "application/json", *, sure: bool = True
    ) -> Response | None:
        """Return the answer, or None if the registry does not have it.

        Args:
            kind: `manifests` or `tags`.
            accept: media types.
            sure: a 404 counts only if it is the registry's own.

        Raises:
            EngineError: a 404 may not be the registry's own (exit 4).
        """
        answer = self.transport.call(
            "GET",
            self._at(kind, what),
            scope=self._pull,
            expect=_MAYBE,
            headers={"Accept": accept},
        )
        if answer.status in _FOUND:
            return answer
        if sure and not answer.is_unknown:
            raise EngineError(
                f"{self.transport.host} answers GET {self._at(kind, what)} with a 404 that is not "
                "in the form of a registry",
                why="if the tag exists after all, it would be overwritten",
                hint=WHO_ANSWERS,
            )
        return None

    def blob(self, digest: str) -> bytes:
        """Return a blob that is a document, such as a configuration.

        Raises:
            GateError: it is missing, or its bytes have another digest (exit 7).
        """
        answer = self.transport.call(
            "GET", self._at("blobs", digest), scope=self._pull, expect=_MAYBE
        )
        if answer.status not in _FOUND or Document(answer.body, "").digest != digest:
            raise self._no_blob(digest, answer)
        return answer.body

    def _no_blob(self, digest: str, answer: Response) -> GateError:
        asked = f"GET {self._at('blobs', digest)}"
        found = answer.status in _FOUND
        return GateError(
            f"{self.name} has no whole blob {digest}",
            why=f"{asked}: " + ("other bytes" if found else str(answer.status)),
            hint="push the image again" if found else WHO_ANSWERS,
        )

    def save_blob(self, digest: str, size: int, path: Path) -> None:
        """Write a blob of any size into a file, part by part.

        Raises:
            GateError: it is missing, or its bytes have another digest (exit 7).
            EngineError: it is larger than its size (exit 4).
            InputError: the file can't be written (exit 2).
        """
        self.transport.persist(lambda: self._save_blob_once(digest, size, path))

    def _save_blob_once(self, digest: str, size: int, path: Path) -> None:
        sums = hashlib.sha256()
        with path.open("wb") as file:

            def take(part: bytes) -> None:
                sums.update(part)
                try:
                    file.write(part)
                except OSError as error:
                    # It is not an error of the registry.
                    raise InputError(f"can't write {path}", why=str(error)) from error

            answer = self.transport.ask(
                "GET",
                self._at("blobs", digest),
                scope=self._pull,
                expect=_MAYBE,
                limit=size,
                into=take,
            )
            whole = answer.status in _FOUND and file.tell() == size
        if not whole or f"sha256:{sums.hexdigest()}" != digest:
            raise self._no_blob(digest, answer)

    def has_blob(self, digest: str) -> bool:
        """Return whether a blob already exists."""
        answer = self.transport.call(
            "HEAD", self._at("blobs", digest), scope=self._push, expect=_MAYBE
        )
        return answer.status in _FOUND

    def put_blob(
        self,
        digest: str,
        size: int,
        content: Callable[[], IO[bytes]],
        *,
        sent: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Send a blob; an interrupted upload starts again from the beginning.

        Args:
            size: bytes.
            content: opens it, again for each attempt.
            sent: called with the number of bytes that are sent.

        Raises:
            InputError: the content can't be read (exit 2).
            BuildlibError: as `Transport.ask`.
        """
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}

        def once() -> None:
            self.transport.ask(
                "PUT",
                add_query(self._begin_upload(), urlencode({"digest": digest})).url,
                scope=self._push,
                expect=_MADE,
                headers=headers,
                body=lambda: Content(content, size, sent),
            )

        self.transport.persist(once)

    def _begin_upload(self) -> Url:
        begun = self.transport.ask(
            "POST", self._at("blobs", "uploads/"), scope=self._push, expect=_STARTED
        )
        address = begun.headers.get("location", "")
        if not address:
            raise EngineError(f"{self.name} gives no address for an upload")
        return self._follow(begun, address)

    def _follow(self, answer: Response, address: str) -> Url:
        try:
            return follow(answer.url, address)
        except LocationValueError:
            raise EngineError(
                f"{self.name} names an invalid address",
                why="it is malformed, has a user in it, or leads out of the encryption",
            ) from None

    def check_writable(self) -> None:
        """Begin an upload and cancel it: an account that may not push may not do that either.

        Raises:
            AuthorisationError, TransientError, EngineError: it is not writable (exit 5, 6, 4).
        """
        address = self.transport.persist(self._begin_upload)
        # Registries drop an upload after a while, and not every account may cancel one.
        with suppress(FailureError):
            self.transport.ask(
                *("DELETE", address.url),
                scope=self._push,
                expect=frozenset(),
                seconds=_COURTESY,
            )

    def put_bytes(self, digest: str, data: bytes) -> None:
        """Send a blob that is in memory; errors are those of `put_blob`."""
        self.put_blob(digest, len(data), lambda: io.BytesIO(data))

    def put_manifest(self, reference: str, document: Document) -> None:
        """Put a manifest under its own digest, or under a tag that only this process writes.

        The request is repeated without another look; `registry.tags` writes tags that others may
        write.
        """
        self.transport.persist(lambda: self.put_manifest_once(reference, document))

    def put_manifest_once(self, reference: str, document: Document) -> None:
        """Put a manifest with one request; raises LaterError if it may be repeated."""
        self.transport.ask(
            "PUT",
            self._at("manifests", reference),
            scope=self._push,
            expect=_MADE,
            headers={"Content-Type": document.media_type},
            body=lambda: document.data,
        )

    def delete_manifest(self, digest: str) -> bool:
        """Delete a manifest with every tag that points to it; return whether the registry did.

        Many registries do not delete, or not with credentials to push: that is not an error.
        """
        with suppress(FailureError):
            self.transport.ask(
                "DELETE",
                self._at("manifests", digest),
                scope=f"repository:{self._path}:pull,push,delete",
                expect=_DELETED,
            )
            return True
        return False

    def check(self, reference: str, document: Document) -> None:
        """Read a manifest back.

        Raises:
            GateError: the registry holds another one (exit 7).
        """
        held = self.digest(reference)
        if held != document.digest:
            raise self.other_digest(reference, held, document.digest)

    def other_digest(self, reference: str, held: str, pushed: str) -> GateError:
        """Return the error if another digest is read than was pushed."""
        if not held:
            return GateError(
                f"{self.name} gives nothing under {reference}, which was pushed",
                why=f"{self.request_for(reference)}: 404, and {pushed} was pushed",
                hint="the registry does not keep manifests of this kind, or not yet; an image that "
                "can't be read back can't be published",
            )
        return GateError(
            f"{self.name} holds another image under {reference} than was pushed",
            why=f"{held}, and {pushed} was pushed",
            hint="another publisher is active at the same time, or the registry is broken",
        )

    def tags(self, *, page: int = _PAGE) -> tuple[str, ...]:
        """Return every tag, in the registry's order; none if there is no such repository.

        Args:
            page: requested tags a page; a registry may give fewer.

        Raises:
            EngineError: the list is invalid, does not end, or a page is missing (exit 4).
        """
        limits, began = self.transport.limits, time.monotonic()
        found: list[str] = []
        asked: set[str] = set()
        answer, size = self._get("tags", f"list?n={page}"), 0
        while answer:
            found += self._listed(answer)
            size += len(answer.body)
            path = self._next(answer)
            if not path:
                break
            if path in asked:
                raise EngineError(f"the list of the tags of {self.name} leads back to itself")
            asked.add(path)
            left = {
                f"{limits.pages} pages": limits.pages - len(asked),
                f"{limits.tags} tags": limits.tags - len(found),
                f"{limits.listing} bytes": limits.listing - size,
                f"{limits.listing_seconds:g} s": limits.listing_seconds - time.monotonic() + began,
            }
            if over := [what for what, rest in left.items() if rest <= 0]:
                raise EngineError(
                    f"the list of the tags of {self.name} does not end",
                    why=f"more than {over[0]}",
                    hint="remove tags that are no longer needed, or " + WHO_ANSWERS,
                )
            # A missing page is an error: half of the tags would look like all.
            answer = self.transport.call("GET", path, scope=self._pull, expect=_FOUND)
        return tuple(found)

    def _next(self, answer: Response) -> str:
        """Return the address of the next page; empty on the last one.

        Raises:
            EngineError: it is ambiguous or invalid (exit 4).
        """
        try:
            pages = answer.next_pages
        except ValueError:
            pages = ("", "")
        if len(pages) > 1:
            raise EngineError(
                f"{self.name} does not say where its list of tags goes on",
                why="the header Link can't be read, or has several links to the next page",
                hint=WHO_ANSWERS,
            )
        return self._follow(answer, pages[0]).url if pages else ""

    def _listed(self, answer: Response) -> list[str]:
        try:
            found = read_object(answer.body)["tags"]
        except (ValueError, KeyError):
            found = ""
        # Some registries answer null for a repository without tags.
        tags = [] if found is None else found
        if not isinstance(tags, list) or not all(
            isinstance(tag, str) and _TAG.fullmatch(tag) for tag in tags
        ):
            # Without tags, a moving tag would move to an earlier version.
            raise EngineError(f"{self.name} lists its tags in an unknown form", hint=WHO_ANSWERS)
        return tags
