"""References to images: `registry/repository:tag@digest`, by distribution's grammar.

Source: github.com/distribution/reference, `regexp.go` and `normalize.go`.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final, NamedTuple

from buildlib.errors import InputError

HUB: Final = "docker.io"
LATEST: Final = "latest"
_LEGACY_HUB: Final = "index.docker.io"
_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH: Final = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_REGISTRY: Final = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?"
)
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_MAX_TAG: Final = 128
_MAX_NAME: Final = 255


class Reference(NamedTuple):
    """A reference, taken apart; `registry` is empty where none was named."""

    repository: str
    registry: str = ""
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """Return `registry/repository`, or the repository alone."""
        return f"{self.registry}/{self.repository}" if self.registry else self.repository

    def __str__(self) -> str:
        """Return the form that docker takes."""
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tag}" + (f"@{self.digest}" if self.digest else "")

    def with_tag(self, tag: str) -> Reference:
        """Return the same repository with another tag."""
        return Reference(registry=self.registry, repository=self.repository, tag=check_tag(tag))


def is_registry(component: str) -> bool:
    """Tell a registry's host from a first path component, as docker does."""
    return "." in component or ":" in component or component == "localhost"


def canonical(name: str) -> str:
    """Return a name with registry and path, whichever way docker lets it be written.

    `x`, `library/x` and `index.docker.io/x` are all `docker.io/library/x`; a tag and a digest stay.
    """
    registry, slash, path = name.partition("/")
    if not slash or not is_registry(registry):
        registry, path = HUB, name
    registry = HUB if registry == _LEGACY_HUB else registry
    short = registry == HUB and "/" not in path
    return f"{registry}/library/{path}" if short else f"{registry}/{path}"


def short_digest(digest: str) -> str:
    """Return a digest as a table has it: enough to tell images apart."""
    return digest[: len("sha256:") + 12]


def parse_reference(text: str) -> Reference:
    """Parse a reference; an upper-case repository is lower-cased, tags keep their case.

    Raises:
        InputError: a part of it does not fit the grammar.
    """
    rest, _, digest = text.strip().partition("@")
    first, slash, after = rest.partition("/")
    registry, path = (first, after) if slash and is_registry(first) else ("", rest)
    repository, colon, tag = path.partition(":")
    repository = repository.lower()
    if not _PATH.fullmatch(repository) or len(f"{registry}/{repository}") > _MAX_NAME:
        raise InputError(
            f"not a reference to an image: {text!r}",
            why=f"{repository!r} is not a repository name (a-z, 0-9, . _ - inside, at most 255)",
        )
    if registry and not _REGISTRY.fullmatch(registry):
        raise InputError(
            f"not a reference to an image: {text!r}", why=f"{registry!r} is not a registry's host"
        )
    if colon:
        check_tag(tag)
    if digest and not _DIGEST.fullmatch(digest):
        raise InputError(
            f"not a reference to an image: {text!r}", why="a digest is sha256:<64 hex>"
        )
    return Reference(registry=registry, repository=repository, tag=tag, digest=digest)


def check_tag(tag: str) -> str:
    """Return the tag if it is legal.

    Raises:
        InputError: it is not.
    """
    if not _TAG.fullmatch(tag):
        raise InputError(
            f"not a tag: {tag!r}",
            why="a tag is at most 128 of letters, digits, _ . - and starts with none of . and -",
        )
    return tag


def legal_part(text: str) -> str:
    """Map any text into the tag grammar; nothing where nothing of it is legal."""
    tag = re.sub(r"[^A-Za-z0-9_.-]", "-", text.strip()).lstrip(".-")
    if len(tag) > _MAX_TAG:
        # The hash keeps two long versions with the same beginning apart.
        suffix = "-" + hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:12]
        tag = tag[: _MAX_TAG - len(suffix)] + suffix
    return tag


def to_tag(version: str) -> str:
    """Map any version into the tag grammar; what is legal stays as it is.

    Raises:
        InputError: nothing is left of it.
    """
    tag = legal_part(version)
    if not tag:
        raise InputError(f"no tag can be made of the version {version!r}")
    return tag
