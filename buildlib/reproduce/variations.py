"""What differs between the two builds, and must not be seen in the image.

Source: reproducible-builds.org, "Variations in the build environment".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_YEAR: Final = 365 * 24 * 3600
_DAY: Final = 24 * 3600


@dataclass(frozen=True, kw_only=True, slots=True)
class Variation:
    """The surroundings of one build.

    Args:
        name: a word for reports and file names.
        folder: of the copy of the build context, below a temporary directory.
        umask: that a checkout would have been made under.
        modified: seconds since the epoch; the first file's time, and each next one is a second
            later.
        backwards: the files are written in reversed order.
        timezone: TZ of the client.
        hostname: of the containers in which the build's commands run.
    """

    name: str
    folder: str
    umask: int
    modified: int
    backwards: bool
    timezone: str
    hostname: str

    @property
    def environment(self) -> Mapping[str, str]:
        """Return what the client's environment has instead of its own."""
        # One object a line, from which the steps and their times are read.
        return {"TZ": self.timezone, "BUILDKIT_PROGRESS": "rawjson"}


def variations(*, epoch: int, now: int) -> tuple[Variation, Variation]:
    """Return the two: one with files from long before the commit, one with files to come.

    Args:
        epoch: of the commit, seconds.
        now: the clock, seconds.
    """
    return (
        Variation(
            name="first",
            folder="first",
            umask=0o022,
            modified=max(0, epoch - _YEAR),
            backwards=False,
            timezone="Etc/GMT+12",
            hostname="first",
        ),
        Variation(
            name="second",
            folder="another place/further down/second",
            umask=0o077,
            modified=max(epoch, now) + _DAY,
            backwards=True,
            timezone="Pacific/Kiritimati",
            hostname="second-builder",
        ),
    )
