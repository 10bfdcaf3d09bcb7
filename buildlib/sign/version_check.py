"""Whether what is signed is the version that a tag names: a signature is about a digest alone.

The digest covers what an index and the images in it say of themselves, so whoever moves a tag to
another version's image can't change that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from buildlib.config.tag_rules import TagRule, VersionKind
from buildlib.errors import VerificationError
from buildlib.image.labels import OWNER, VERSION_LABEL
from buildlib.image.reference import legal_part
from buildlib.registry.repository import Document, Repository
from buildlib.registry.response import read_object
from buildlib.registry.transfer import manifests_of
from buildlib.version_schemes import Naming, Parsed
from buildlib.versioning.tag_plan import tag_of

_NUMBERS: Final = frozenset({"major", "minor", "patch"})
_SEMVER: Final = Naming()


def versions_of(repository: Repository, document: Document, naming: Naming) -> tuple[str, ...]:
    """Return the versions that an image says it is, each once; none where it does not say.

    Args:
        repository: that it is in.
        document: its index or manifest.
        naming: by which a text is a version.
    """
    said = _text(_read(document.data).get("annotations"))
    if said:
        return (said,)
    found = [
        _read(manifest.data)
        for digest in manifests_of(document)
        if (manifest := repository.manifest(digest))
    ] or [_read(document.data)]
    labels = [label for manifest in found for label in _labels(repository, manifest)]
    return tuple(
        dict.fromkeys(
            version
            for one in labels
            # Without our own beside it, it may be the base's, whose version is written otherwise.
            if (version := _text(one)) and (OWNER in one or naming.names(version))
        )
    )


def _labels(repository: Repository, manifest: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    config = manifest.get("config")
    digest = config.get("digest") if isinstance(config, dict) else None
    if isinstance(digest, str):
        runtime = _read(repository.blob(digest)).get("config")
        labels = runtime.get("Labels") if isinstance(runtime, dict) else None
        yield labels if isinstance(labels, dict) else {}


def _text(found: object) -> str:
    value = found.get(VERSION_LABEL) if isinstance(found, dict) else None
    return value if isinstance(value, str) else ""


def _read(data: bytes) -> Mapping[str, Any]:
    """Return a document; what is none says nothing."""
    with suppress(ValueError):
        return read_object(data)
    return {}


def check_version(
    reference: str, version: str, said: Sequence[str], naming: Naming = _SEMVER
) -> None:
    """Raise VerificationError (exit 8) where an image says that it is another version.

    Args:
        reference: of the image.
        version: that was asked for.
        said: by the image.
        naming: by which a text is a version.
    """
    for other in said:
        if not _same(version, other, naming):
            raise _another(reference, version, other)


def check_tag_name(
    reference: str,
    tag: str,
    said: Sequence[str],
    rules: Sequence[TagRule],
    naming: Naming = _SEMVER,
) -> None:
    """Raise VerificationError (exit 8) where a tag names another version than the image says.

    A tag that no version is written as, such as `latest`, names none.

    Args:
        reference: of the image.
        tag: that was asked for.
        said: by the image.
        rules: by which versions become tags; none: not known here.
        naming: by which a text is a version.
    """
    told = _told(tag, rules, naming)
    for version in said if told else ():
        if not _names(tag, version, rules, naming):
            raise _another(reference, tag, version)


def _another(reference: str, wanted: str, said: str) -> VerificationError:
    return VerificationError(
        f"{reference} is not {wanted}: it says that it is {said}",
        why="the tag was pointed to the image of another version",
        hint="where that is meant, verify it by its digest: repository@sha256:…",
    )


def _same(one: str, other: str, naming: Naming) -> bool:
    parsed = naming.parse(other)
    return one == other or (parsed is not None and parsed.same(naming.parse(one)))


def _told(tag: str, rules: Sequence[TagRule], naming: Naming) -> bool:
    """Return whether a tag names a version, or a line of them."""
    if not rules:
        return naming.names(tag.removeprefix("v"))
    texts = (rule.version_in(tag) for rule in rules)
    if any(text and (naming.names(text) or naming.read(text)) for text in texts):
        return True
    others = [rule for rule in rules if rule.names and not rule.has_version]
    read = [rule.names for rule in others if rule.read(tag) is not None]
    # A branch may be called 1.2 as well, and a commit 1234567.
    return bool(read) and all(names <= _NUMBERS for names in read)


def _names(tag: str, version: str, rules: Sequence[TagRule], naming: Naming) -> bool:
    """Return whether a version is written as a tag, alone or with what is not known here."""
    if not rules:
        text = tag.removeprefix("v")
        known = version.removeprefix("v")
        # A flavour: 1.2.3-alpine.
        return _same(text, known, naming) or text.startswith(f"{legal_part(known)}-")
    parsed = naming.parse(version)
    for rule in rules:
        text = rule.version_in(tag)
        if text and (text == legal_part(version) or _same(text, version, naming)):
            return True
        if parsed and rule.names and _moves_with(rule, parsed) and tag_of(rule, parsed) == tag:
            return True
    return False


def _moves_with(rule: TagRule, version: Parsed) -> bool:
    """Return whether publishing a version may point a tag of this rule to it that names a line."""
    kind = VersionKind.PRERELEASE if version.prerelease else VersionKind.RELEASE
    zero = rule.zero or version.numbers[0] != 0
    return rule.floating and kind in rule.on and zero and not version.build


def version_in_statement(statement: Mapping[str, Any]) -> str:
    """Return the version that a signed statement of our own is about, or nothing."""
    with suppress(LookupError, TypeError, AttributeError):
        found = statement["predicate"]["buildDefinition"]["externalParameters"]["version"]
        return found if isinstance(found, str) else ""
    return ""
