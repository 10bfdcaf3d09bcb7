"""Image tags, as pure functions of the version."""

from __future__ import annotations

import re
from collections.abc import Iterable

from buildlib.config.config import Config
from buildlib.errors import InputError
from buildlib.image.reference import Reference, is_registry, legal_part, parse_reference, to_tag
from buildlib.versioning.version import Version


def local_tags(version: Version, config: Config) -> tuple[str, ...]:
    """Return the tags of a local build: the configured ones, or the version and `latest`.

    Those end as the tag rules say: two images of one name would take each other's tags.
    """
    if config.local_tags:
        tags = (tag.replace("{version}", version.value) for tag in config.local_tags)
        return tuple(dict.fromkeys(map(to_tag, tags)))
    return (to_tag(version.value + config.local_ending), config.local_latest)


def references(image: str, tags: Iterable[str], extra: Iterable[str] = ()) -> tuple[str, ...]:
    """Return full references, each once, in the order given.

    Args:
        tags: tags for it.
        extra: what the user asked for beside them: a tag, which is mapped into the grammar, or a
            whole reference (it has a `:` or names a registry), or several with commas or line
            breaks between; empty ones are dropped.

    Raises:
        InputError: one of them is not legal, or none is left.
    """
    base = parse_reference(image)
    found = [str(base.with_tag(tag)) for tag in tags if tag.strip()]
    found += [str(_extra(base, text)) for text in _texts(extra)]
    if not found:
        raise InputError("no tag is left", hint="give one with --tag")
    return tuple(dict.fromkeys(found))


def mapped_tags(extra: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return (as given, as the tag grammar allows it) of each extra tag where the two differ.

    Raises:
        InputError: two of them would come to one tag.
    """
    given: dict[str, str] = {}
    for text in filter(_is_tag, _texts(extra)):
        tag = legal_part(text)
        other = given.setdefault(tag, text)
        if other != text:
            raise InputError(
                f"{other!r} and {text!r} would both be the tag {tag}", hint="give one of them"
            )
    return tuple((text, tag) for tag, text in given.items() if text != tag)


def _texts(extra: Iterable[str]) -> list[str]:
    parts = [part.strip() for text in extra for part in re.split(r"[,\n]", text)]
    return [part for part in parts if part]


def _is_tag(text: str) -> bool:
    first, slash, _ = text.partition("/")
    return ":" not in text and not (slash and is_registry(first))


def _extra(base: Reference, text: str) -> Reference:
    if _is_tag(text):
        # What nothing is left of is refused as it was given.
        return base.with_tag(legal_part(text) or text)
    reference = parse_reference(text)
    if reference.digest:
        raise InputError(f"a digest can't be given to a build: {text!r}", hint="give name:tag")
    return reference if reference.tag else reference.with_tag("latest")
