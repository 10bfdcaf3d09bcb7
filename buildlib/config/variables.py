"""Environment variables that more than one module reads."""

from __future__ import annotations

from typing import Final

PREFIX: Final = "BUILDLIB_"
BASE_IMAGES: Final = f"{PREFIX}BASE_IMAGES"
# Those of this prefix that are not keys of the configuration; scripts read some of them.
OTHERS: Final = frozenset(
    {
        BASE_IMAGES,
        *(f"{PREFIX}BASES", f"{PREFIX}DAEMON_JSON", f"{PREFIX}DEBUG", f"{PREFIX}HELD_BACK"),
        *(f"{PREFIX}OS_RELEASE", f"{PREFIX}PYTHON", f"{PREFIX}TOOLCHAIN", f"{PREFIX}VENV"),
    }
)
