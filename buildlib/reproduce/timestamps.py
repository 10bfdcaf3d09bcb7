"""Whether every layer that we made really carries SOURCE_DATE_EPOCH.

BuildKit sets times after the epoch to it and leaves earlier ones (docs/build-repro.md,
`rewrite-timestamp`); where it can't, it warns and goes on, so that somebody has to look.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from buildlib.findings.secrets import hide_assigned
from buildlib.image.archive import Archive, Image
from buildlib.terminal.streams import printable
from buildlib.versioning.version import time_text


@dataclass(frozen=True, kw_only=True, slots=True)
class Late:
    """A time that should be the epoch, or before it.

    Args:
        part: `config`, or `layer 3`, counted from the base, 1.
        item: path of the file in the layer, or of the value in the document.
    """

    platform: str
    part: str
    item: str
    time: str
    made_by: str = ""

    @property
    def row(self) -> tuple[str, ...]:
        """Return it as a row of a table."""
        return (self.item, self.time)


def late(archive: Archive, epoch: int, allowed: Iterable[str] = ()) -> tuple[Late, ...]:
    """Return every time in our configurations and layers that shows when the build was.

    The layers of the base keep the times that its makers gave them.

    Args:
        epoch: seconds.
        allowed: patterns of names that do not name a secret; the values of others are not shown.

    Raises:
        InputError: the archive is not an image, or not whole (exit 2).
    """
    patterns = tuple(allowed)
    return tuple(
        replace(found, made_by=hide_assigned(found.made_by, patterns))
        for image in archive.images()
        for found in (*_config(image, epoch), *_layers(archive, image, epoch))
    )


def _config(image: Image, epoch: int) -> Iterator[Late]:
    expected = time_text(epoch)
    created = str(image.config.get("created", "absent"))
    if created != expected:
        yield Late(platform=image.platform, part="config", item="created", time=created)
    # The steps of the base come first, and have times of their own.
    times = [str(step.get("created", "absent")) for step in image.config.get("history") or ()]
    begin = times.index(expected) if expected in times else len(times)
    for number, time in enumerate(times[begin:], begin):
        if time != expected:
            item = f"history[{number}].created"
            yield Late(platform=image.platform, part="config", item=item, time=time)


def _layers(archive: Archive, image: Image, epoch: int) -> Iterator[Late]:
    for number, layer in enumerate(image.layers, 1):
        for file in archive.files(layer) if image.own(layer) else ():
            if file.modified > epoch:
                yield Late(
                    platform=image.platform,
                    part=f"layer {number}",
                    item=printable(file.path),
                    time=time_text(file.modified),
                    made_by=layer.created_by,
                )
