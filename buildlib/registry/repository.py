"""One repository in a registry: what is there, and what is put there. OCI distribution-spec 1.1."""

from __future__ import annotations

import hashlib
import io
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import urlencode

from urllib3.exceptions import LocationValueError
from urllib3.util import Url

from buildlib.errors import (
    BuildlibError,
    CancelledError,
    EngineError,
    GateError,
    InputError,
)
from buildlib.registry.address import add_query, follow
from buildlib.registry.limits import Limits
from buildlib.registry.request import Content
from buildlib.registry.response import WHO_ANSWERS, Answer, clean, on_one_line, read_object
from buildlib.registry.transport import Transport

INDEX: Final = "application/vnd.oci.image.index.v1+json"
MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
_DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
INDEX_TYPES: Final = frozenset({INDEX, _DOCKER_LIST})
_KNOWN_TYPES: Final = INDEX_TYPES | {MANIFEST, _DOCKER_MANIFEST}
_ACCEPT: Final = f"{INDEX}, {MANIFEST}, {_DOCKER_LIST}, {_DOCKER_MANIFEST}"
# As docker has them: what is not what it should be is seen by its digest or its form.
_FOUND: Final = frozenset({200, 201, 202, 203, 206})
_MAYBE: Final = _FOUND | {404}
_MADE: Final = frozenset({200, 201, 204})
_STARTED: Final = frozenset({200, 201, 202, 204})
# Seconds for a request whose answer does not matter.
_COURTESY: Final = 5.0
_DELETED: Final = frozenset({200, 202})
_PAGE: Final = 1000
# OCI image-spec, descriptor.md; distribution-spec, "Pulling manifests". Neither leads elsewhere in
# a path, or does anything to a terminal.
_DIGEST: Final = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")
_TAG: Final = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
# RFC 6838, 4.2.
MEDIA_TYPE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*")
_PARTS: Final = Limits().parts


@dataclass(frozen=True, slots=True)
class Document:
    """An index or a manifest, to the byte."""

    data: bytes
    media_type: str

    @property
    def digest(self) -> str:
        """Return what the bytes themselves come to, whatever anybody says."""
        return "sha256:" + hashlib.sha256(self.data).hexdigest()

    def manifests(self) -> tuple[Mapping[str, Any], ...]:
        """Return the descriptors of what an index points to; OCI image-spec, descriptor.md.

        Raises:
            GateError: it is no index (exit 7).
        """
        return self._descriptors(lambda found: found.get("manifests") or ())

    def blobs(self) -> tuple[Mapping[str, Any], ...]:
        """Return the descriptors of a manifest's configuration and layers.

        Raises:
            GateError: it is no manifest (exit 7).
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
    """Return the media type that a document gives itself, or that its form says; or nothing."""
    try:
        found = read_object(data)
    except ValueError:
        return ""
    # An OCI document need not name its own type.
    kinds = {"manifests": INDEX, "config": MANIFEST}
    own = found.get("mediaType") or next((kinds[key] for key in kinds if key in found), "")
    return own if isinstance(own, str) and MEDIA_TYPE.fullmatch(own) else ""


def is_digest(text: object) -> bool:
    """Return whether something is a digest, which can be a part of an address."""
    return isinstance(text, str) and bool(_DIGEST.fullmatch(text))


def _is_descriptor(found: Mapping[str, Any]) -> bool:
    size, platform = found.get("size", 0), found.get("platform") or {}
    return (
        is_digest(found["digest"])
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
        transport: to its registry.
        path: its name there.
    """

    def __init__(self, transport: Transport, path: str) -> None:
        """Ask nothing yet."""
        self.transport, self._path = transport, path
        self._pull = f"repository:{path}:pull"
        self._push = f"repository:{path}:pull,push"

    @property
    def name(self) -> str:
        """Return the repository with its registry's host."""
        return f"{self.transport.host}/{self._path}"

    def _at(self, kind: str, what: str = "") -> str:
        return f"/v2/{self._path}/{kind}/{what}"

    def asked(self, reference: str) -> str:
        """Return the request for a manifest, as a message has it."""
        return f"GET {self._at('manifests', reference)}"

    def manifest(self, reference: str) -> Document | None:
        """Return what a tag or a digest stands for, or None where it is not there.

        Raises:
            GateError: the bytes are not those of the digest that was asked for (exit 7).
        """
        # Nothing is ever overwritten by a digest: whoever says 404, it is not had there.
        answer = self._get("manifests", reference, _ACCEPT, sure=not is_digest(reference))
        if answer is None:
            return None
        said = answer.headers.get("content-type", "").partition(";")[0].strip()
        # Some registries, and what stands before them, call everything the same.
        known = said if said in _KNOWN_TYPES else own_type(answer.body) or said
        found = Document(answer.body, known)
        if reference.startswith("sha256:") and found.digest != reference:
            raise GateError(f"{self.name}@{reference} is something else", why=found.digest)
        return found

    def digest(self, tag: str) -> str:
        """Return the digest that a tag stands for, or nothing where it is not there."""
        found = self.manifest(tag)
        return found.digest if found else ""

    def _get(
        self, kind: str, what: str, accept: str = "application/json", *, sure: bool = True
    ) -> Answer | None:
        """Return what is there, or None where the registry says that it is not.

        Args:
            kind: `manifests` or `tags`.
            what: is asked for.
            accept: media types that may come.
            sure: it has to be the registry itself that says so.

        Raises:
            EngineError: there is a 404 that is not known to be the registry's own (exit 4).
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
                f"{self.transport.host} answers GET {self._at(kind, what)} with 404 in no form "
                "that registries use",
                why="it does not say whether it has it; taken for new, a tag would be overwritten",
                hint=WHO_ANSWERS,
            )
        return None

    def blob(self, digest: str) -> bytes:
        """Return a blob that is a document, such as a configuration.

        Raises:
            GateError: it is not there, or its bytes are not those of the digest (exit 7).
        """
        answer = self.transport.call(
            "GET", self._at("blobs", digest), scope=self._pull, expect=_MAYBE
        )
        if answer.status not in _FOUND or Document(answer.body, "").digest != digest:
            raise self._no_blob(digest, answer)
        return answer.body

    def _no_blob(self, digest: str, answer: Answer) -> GateError:
        asked = f"GET {self._at('blobs', digest)}"
        found = answer.status in _FOUND
        return GateError(
            f"{self.name} has no whole blob {digest}",
            why=f"{asked}: " + ("other bytes" if found else str(answer.status)),
            hint="push the image again" if found else WHO_ANSWERS,
        )

    def save_blob(self, digest: str, size: int, path: Path) -> None:
        """Write a blob of any size into a file; no more than a part of it is in memory.

        Raises:
            GateError: it is not there, or its bytes are not those of the digest (exit 7).
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
                    # Nothing is wrong with the registry.
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
        """Send a blob; one that breaks off is begun again as a whole.

        Args:
            digest: of the content.
            size: bytes.
            content: opens it, anew for each attempt.
            sent: is told how many bytes are sent.

        Raises:
            InputError: the content can't be read (exit 2).
            BuildlibError: as `Transport.ask`.
        """
        self.transport.persist(
            lambda: self._put_blob_once(digest, size, lambda: Content(content, size, sent))
        )

    def _put_blob_once(self, digest: str, size: int, opened: Callable[[], Content]) -> None:
        address = self._begin_upload()
        length = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        self.transport.ask(
            "PUT",
            add_query(address, urlencode({"digest": digest})).url,
            scope=self._push,
            expect=_MADE,
            headers=length,
            body=opened,
        )

    def _begin_upload(self) -> Url:
        begun = self.transport.ask(
            "POST", self._at("blobs", "uploads/"), scope=self._push, expect=_STARTED
        )
        address = begun.headers.get("location", "")
        if not address:
            raise EngineError(f"{self.name} does not say where to send a blob")
        return self._onward(begun, address)

    def _onward(self, answer: Answer, address: str) -> Url:
        try:
            return follow(answer.url, address)
        except LocationValueError:
            raise EngineError(
                f"{self.name} names an invalid address",
                why="it is malformed, has a user in it, or leads out of the encryption",
            ) from None

    def check_writable(self) -> None:
        """Begin an upload, and call it off: nothing changes, and nobody may do that who can't push.

        Raises:
            AuthorisationError, TransientError, EngineError: it can't be written to (exit 5, 6, 4).
        """
        address = self.transport.persist(self._begin_upload)
        # Registries forget an upload by themselves, and not every account may call one off.
        try:
            self.transport.ask(
                *("DELETE", address.url),
                scope=self._push,
                expect=frozenset(),
                seconds=_COURTESY,
            )
        except CancelledError:
            raise
        except BuildlibError:
            pass

    def put_bytes(self, digest: str, data: bytes) -> None:
        """Send a blob that is in memory; errors are those of `put_blob`."""
        self.put_blob(digest, len(data), lambda: io.BytesIO(data))

    def put_manifest(self, reference: str, document: Document) -> None:
        """Put a manifest under its own digest, or under a tag that nobody else writes.

        The request is repeated as it is; see `registry.tags` for a tag that others may write.
        """
        self.transport.persist(lambda: self.put_manifest_once(reference, document))

    def put_manifest_once(self, reference: str, document: Document) -> None:
        """Put a manifest with one request; raises LaterError where it may be made again."""
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

        Many registries delete nothing, or not with credentials that may push: that is no error.
        """
        try:
            self.transport.ask(
                "DELETE",
                self._at("manifests", digest),
                scope=f"repository:{self._path}:pull,push,delete",
                expect=_DELETED,
            )
        except CancelledError:
            raise
        except BuildlibError:
            return False
        return True

    def check(self, reference: str, document: Document) -> None:
        """Read a manifest back.

        Raises:
            GateError: the registry holds something else (exit 7).
        """
        held = self.digest(reference)
        if held != document.digest:
            raise self.other_digest(reference, held, document.digest)

    def other_digest(self, reference: str, held: str, pushed: str) -> GateError:
        """Return the error where something else is read than was put."""
        if not held:
            return GateError(
                f"{self.name} gives nothing under {reference}, which was pushed",
                why=f"{self.asked(reference)}: 404, and {pushed} was put there",
                hint="the registry keeps no manifests of this kind, or not yet; what can't be read "
                "back can't be published",
            )
        return GateError(
            f"{self.name} holds another image under {reference} than was pushed",
            why=f"{held}, and {pushed} was pushed",
            hint="somebody else publishes here at the same time, or the registry is broken",
        )

    def tags(self, *, page: int = _PAGE) -> tuple[str, ...]:
        """Return every tag, in the registry's order; none where there is no such repository.

        `page` is how many are asked for at a time; a registry may give fewer.

        Raises:
            EngineError: it is no list, has no end, or a part of it is missing (exit 4).
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
            # A page that another one leads to is there: half of the tags would look like all.
            answer = self.transport.call("GET", path, scope=self._pull, expect=_FOUND)
        return tuple(found)

    def _next(self, answer: Answer) -> str:
        """Return the address of the page after this one; nothing where it is the last one.

        Raises:
            EngineError: the registry does not say so clearly (exit 4).
        """
        try:
            onward = answer.onward
        except ValueError:
            onward = ("", "")
        if len(onward) > 1:
            raise EngineError(
                f"{self.name} does not say where its list of tags goes on",
                why="the header Link can't be read, or has several links to the next page",
                hint=WHO_ANSWERS,
            )
        return self._onward(answer, onward[0]).url if onward else ""

    def _listed(self, answer: Answer) -> list[str]:
        try:
            found = read_object(answer.body)["tags"]
        except (ValueError, KeyError):
            found = ""
        # Nothing is what some say of a repository without tags.
        tags = [] if found is None else found
        if not isinstance(tags, list) or not all(
            isinstance(tag, str) and _TAG.fullmatch(tag) for tag in tags
        ):
            # Taken for none, a tag that moves would move to an earlier version.
            raise EngineError(f"{self.name} lists its tags in no known form", hint=WHO_ANSWERS)
        return tags
