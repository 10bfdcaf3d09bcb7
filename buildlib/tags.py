"""Image tags, as pure functions of the version."""

from __future__ import annotations

import re
from collections.abc import Iterable

from buildlib.errors import InputError
from buildlib.reference import Reference, parse_reference, to_tag
from buildlib.version import Version


def local_tags(version: Version) -> tuple[str, ...]:
    """Return the tags of a local build: the version, mapped into the tag grammar, and `latest`."""
    return (to_tag(version.value), "latest")


def references(image: str, tags: Iterable[str], extra: Iterable[str] = ()) -> tuple[str, ...]:
    """Return full references, each once, in the order given.

    Args:
        image: the configured image.
        tags: tags for it.
        extra: what the user asked for beside them: a tag, or a whole reference (it has a `/` or
            a `:` then), or several with commas or line breaks between; empty ones are dropped.

    Raises:
        InputError: one of them is not legal, or none is left.
    """
    base = parse_reference(image)
    found = [str(base.with_tag(tag)) for tag in tags if tag.strip()]
    wanted = [part.strip() for text in extra for part in re.split(r"[,\n]", text)]
    found += [str(_extra(base, text)) for text in wanted if text]
    if not found:
        raise InputError("no tag is left", hint="give one with --tag")
    return tuple(dict.fromkeys(found))


def _extra(base: Reference, text: str) -> Reference:
    if "/" not in text and ":" not in text:
        return base.with_tag(text)
    reference = parse_reference(text)
    if reference.digest:
        raise InputError(f"a digest can't be given to a build: {text!r}", hint="give name:tag")
    return reference if reference.tag else reference.with_tag("latest")
