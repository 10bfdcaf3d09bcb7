"""The tables `[images.NAME]`: several images of one repository, and what each has of its own.

An image inherits every key of the file. A table that it sets as well is merged key by key: a key
that the image sets replaces the inherited one whole.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final

from buildlib.config.key_types import KeyProblemError, KeyType, MismatchError
from buildlib.errors import BuildlibError, InputError, did_you_mean, raise_problems

# A base image that is another image of the same repository: `image:NAME`.
FROM_HERE: Final = "image:"
# What one image can't have for itself.
SHARED: Final = ("builders", "images")
# An element of a repository's path: distribution's reference grammar.
_NAME: Final = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
Table = Mapping[str, Any]


def parse_images(value: object) -> tuple[str, ...]:
    """Return the names of the images, each after those that it is based on."""
    if not isinstance(value, Mapping) or not all(
        isinstance(one, Mapping) for one in value.values()
    ):
        raise MismatchError("a table of tables, [images.NAME]")
    for name in value:
        if not _NAME.fullmatch(name):
            what = "lower-case letters and digits, with . _ or - between them"
            raise MismatchError(
                f"a table of NAME = table; a name is {what}", f"images.{name}", name
            )
    raise_problems(list(_unknown_bases(value)))
    return _ordered({name: [one for _, one in images_below(value[name])] for name in value})


def images_below(table: Table) -> Iterator[tuple[str, str]]:
    """Yield each base image that is one of this repository: as FROM names it, and its name."""
    bases = table.get("base-images")
    for base, given in bases.items() if isinstance(bases, Mapping) else ():
        source = given.get("source") if isinstance(given, Mapping) else given
        if isinstance(source, str) and source.startswith(FROM_HERE):
            yield base, source.removeprefix(FROM_HERE)


def _unknown_bases(images: Table) -> Iterator[BuildlibError]:
    for name, table in images.items():
        for base, other in images_below(table):
            if other not in images:
                yield KeyProblemError(
                    f'images.{name}.base-images."{base}": there is no image {other!r}',
                    path=("images", name, "base-images", base),
                    hint=did_you_mean(other, images),
                )


def same_references(file: Table) -> Iterator[BuildlibError]:
    """Yield an error for each image that would take the tags of another one.

    Args:
        file: the whole configuration, whose images can be read.
    """
    seen: dict[str, str] = {}
    for name, table in file.get("images", {}).items():
        for key, reference in _references({**file, **own_values(file, name)}):
            other = seen.setdefault(reference, name)
            if other != name:
                path = ("images", name, *key)
                yield KeyProblemError(
                    f"{'.'.join(path)} is that of images.{other}, with the same tags",
                    path=path if key[0] in table else path[:2],
                    hint="give each one of its own, or tags with a suffix",
                )


def _references(image: Table) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield each key of an image that names a repository, and that with the rules for tags."""
    # Rules for tags may tell images apart, by a suffix.
    yield ("image",), str([image["image"], image.get("tags"), image.get("local-tags")])
    registries = image.get("registries")
    for registry, table in registries.items() if isinstance(registries, Mapping) else ():
        if isinstance(table, Mapping) and "repository" in table:
            tags = table.get("tags", image.get("tags"))
            yield ("registries", registry, "repository"), str([table["repository"], tags])


def _ordered(below: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the names in the order of the file, but none before one that it is based on."""
    try:
        TopologicalSorter(below).prepare()
    except CycleError as error:
        # Each is based on the next one.
        circle = " → ".join(reversed(error.args[1]))
        raise InputError(
            f"images are based on each other: {circle}", hint="remove one of these base-images"
        ) from None
    found: dict[str, None] = {}

    def add(name: str) -> None:
        if name in found:
            return
        for other in below[name]:
            add(other)
        found[name] = None

    for name in below:
        add(name)
    return tuple(found)


def chosen_names(known: Sequence[str], only: Iterable[str]) -> tuple[str, ...]:
    """Return the images that are asked for, in the order in which they are built; none: all.

    Raises:
        InputError: there is no such image (exit 2).
    """
    asked = [*only]
    raise_problems(
        [
            InputError(f"there is no image {name!r}", hint=did_you_mean(name, known))
            for name in dict.fromkeys(asked)
            if name not in known
        ]
    )
    return tuple(name for name in known if name in asked) if asked else tuple(known)


def own_values(file: Table, name: str) -> dict[str, Any]:
    """Return the keys that an image has differently from the rest of the file, by inheritance.

    Args:
        file: the whole configuration.
    """
    own: Table = file["images"][name]
    found = {key: _over(file.get(key), value) for key, value in own.items()}
    shared = file.get("image", "")
    found.setdefault("image", below(shared, name) if isinstance(shared, str) else shared)
    if "context" in own and not {"dockerfile"} & {*file, *own}:
        context = own["context"]
        path = context.get("path", ".") if isinstance(context, Mapping) else context
        # As for docker, which looks for it in the context; otherwise paths are the project's.
        found["dockerfile"] = posixpath.join(str(path), "Dockerfile")
    registries = file.get("registries")
    if isinstance(registries, Mapping):
        inherited = {key: _registry_of(table, name) for key, table in registries.items()}
        found["registries"] = _over(inherited, own.get("registries", {}))
    run = found.get("run", file.get("run"))
    if isinstance(run, Mapping) and "data-path" in run and "data-dir" not in run:
        found["run"] = {**run, "data-dir": f"data/{name}"}
    smoke = found.get("smoke", file.get("smoke"))
    record = smoke.get("size-record") if isinstance(smoke, Mapping) else None
    own_record = isinstance(own.get("smoke"), Mapping) and "size-record" in own["smoke"]
    if isinstance(smoke, Mapping) and isinstance(record, str) and record and not own_record:
        stem, ending = posixpath.splitext(record)
        found["smoke"] = {**smoke, "size-record": f"{stem}-{name}{ending}"}
    return found


def below(repository: str, name: str) -> str:
    """Return the repository of an image whose table names none."""
    return f"{repository}/{name}" if repository else name


def _over(inherited: object, own: object) -> object:
    if isinstance(inherited, Mapping) and isinstance(own, Mapping):
        return {**inherited, **own}
    return own


def _registry_of(table: object, name: str) -> object:
    """Return a registry with a repository for one image: no two images share one."""
    repository = table.get("repository") if isinstance(table, Mapping) else None
    if not isinstance(table, Mapping) or not isinstance(repository, str):
        return table
    return {**table, "repository": below(repository, name)}


IMAGES: Final = KeyType(
    parse_images,
    {
        "type": "object",
        "propertyNames": {"pattern": f"^{_NAME.pattern}$"},
        # All keys of the file, of which an editor knows the schema.
        "additionalProperties": {
            "$ref": "#",
            "propertyNames": {"not": {"enum": list(SHARED)}},
        },
    },
)
