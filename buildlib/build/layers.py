"""The layers of what was built, with their sizes, as its record keeps them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from buildlib.executor import Executor
from buildlib.image.archive import open_archive
from buildlib.records.record import Layer


def archive_layers(path: Path) -> tuple[Layer, ...]:
    """Return the layers of each platform's image in an archive, from the base upwards.

    Raises:
        InputError: it is not an image (exit 2).
    """
    with open_archive(path) as archive:
        return tuple(
            Layer(platform=image.platform, size=layer.size, made_by=layer.created_by)
            for image in archive.images()
            for layer in image.layers
        )


def engine_layers(executor: Executor, image: str, platform: str) -> tuple[Layer, ...]:
    """Return the layers of an image that the engine has, from the base upwards.

    Args:
        executor: starts docker.
        image: name.
        platform: of the image that the engine has of it.
    """
    form = ("--no-trunc", "--human=false", "--format", "{{json .}}")
    answer = executor.run(("docker", "history", *form, image))
    return tuple(reversed([*_layers(answer.stdout, platform)])) if answer.code == 0 else ()


def _layers(text: str, platform: str) -> Iterator[Layer]:
    for line in text.splitlines():
        try:
            found = json.loads(line)
            size, made_by = int(found["Size"]), str(found["CreatedBy"])
        except (ValueError, LookupError, TypeError):
            continue
        # A step without files has no layer.
        if size:
            yield Layer(platform=platform, size=size, made_by=made_by)
