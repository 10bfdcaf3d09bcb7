"""Checks that a tag names the version of its image, as a signature only covers a digest.

The digest covers the annotations of an index and the labels of its images, which can't be changed
by pointing a tag at another version's image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from buildlib.config.tag_rules import TagRule, VersionKind
from buildlib.errors import VerificationError
from buildlib.image.labels import OWNER, VERSION_LABEL, value_of
from buildlib.image.reference import legal_part
from buildlib.registry.repository import Document, Repository
from buildlib.registry.response import object_or_nothing
from buildlib.registry.transfer import manifests_of
from buildlib.version_schemes import Naming, Parsed
from buildlib.versioning.tag_plan import tag_of

_NUMBERS: Final = frozenset({"major", "minor", "patch"})
_SEMVER: Final = Naming()


def versions_of(repository: Repository, document: Document, naming: Naming) -> tuple[str, ...]:
    """Return the versions in the annotations or labels of an image, each once.

    Args:
        document: its index or manifest.
    """
    said = _text(object_or_nothing(document.data).get("annotations"))
    if said:
        return (said,)
    found = [
        object_or_nothing(manifest.data)
        for digest in manifests_of(document)
        if (manifest := repository.manifest(digest))
    ] or [object_or_nothing(document.data)]
    labels = [label for manifest in found for label in _labels(repository, manifest)]
    return tuple(
        dict.fromkeys(
            version
            for one in labels
            # Without our own label beside it, it may be the version of the base image.
            if (version := _text(one)) and (value_of(one, OWNER) or naming.names(version))
        )
    )


def _labels(repository: Repository, manifest: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    config = manifest.get("config")
    digest = config.get("digest") if isinstance(config, dict) else None
    if isinstance(digest, str):
        runtime = object_or_nothing(repository.blob(digest)).get("config")
        labels = runtime.get("Labels") if isinstance(runtime, dict) else None
        yield labels if isinstance(labels, dict) else {}


def _text(found: object) -> str:
    value = found.get(VERSION_LABEL) if isinstance(found, dict) else None
    return value if isinstance(value, str) else ""


def check_version(
    reference: str, version: str, said: Sequence[str], naming: Naming = _SEMVER
) -> None:
    """Raise VerificationError (exit 8) if an image has another version."""
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
    """Raise VerificationError (exit 8) if a tag names another version than the image's.

    Tags without a version, such as `latest`, are accepted.

    Args:
        rules: for the tags of versions; none: unknown.
    """
    for version in said if _names_version(tag, rules, naming) else ():
        if not _may_point_to(tag, version, rules, naming):
            raise _another(reference, tag, version)


def _another(reference: str, wanted: str, said: str) -> VerificationError:
    return VerificationError(
        f"{reference} is not {wanted}: it says that it is {said}",
        why="the tag was pointed to the image of another version",
        hint="if that is intended, verify it by its digest: repository@sha256:…",
    )


def _same(one: str, other: str, naming: Naming) -> bool:
    parsed = naming.parse(other)
    return one == other or (parsed is not None and parsed.same(naming.parse(one)))


def _names_version(tag: str, rules: Sequence[TagRule], naming: Naming) -> bool:
    """Return whether a tag names a version, or a line of versions such as 1.2."""
    if not rules:
        return naming.names(tag.removeprefix("v"))
    texts = (rule.version_in(tag) for rule in rules)
    if any(text and (naming.names(text) or naming.read(text)) for text in texts):
        return True
    others = [rule for rule in rules if rule.names and not rule.has_version]
    read = [rule.names for rule in others if rule.read(tag) is not None]
    # A branch may be called 1.2, and a commit 1234567.
    return bool(read) and all(names <= _NUMBERS for names in read)


def _may_point_to(tag: str, version: str, rules: Sequence[TagRule], naming: Naming) -> bool:
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
    kind = VersionKind.PRERELEASE if version.prerelease else VersionKind.RELEASE
    zero = rule.zero or version.numbers[0] != 0
    return rule.floating and kind in rule.on and zero and not version.build


def version_in_statement(statement: Mapping[str, Any]) -> str:
    """Return the version in our own attestation, or nothing."""
    with suppress(LookupError, TypeError, AttributeError):
        found = statement["predicate"]["buildDefinition"]["externalParameters"]["version"]
        return found if isinstance(found, str) else ""
    return ""
