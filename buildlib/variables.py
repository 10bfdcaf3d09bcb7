"""Environment variables that more than one module reads."""

from __future__ import annotations

from typing import Final

BASE_IMAGES: Final = "BUILDLIB_BASE_IMAGES"
