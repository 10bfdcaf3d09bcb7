"""Which release buildx is; apart from what starts processes, as a dry run starts none."""

from __future__ import annotations

import re
from typing import Final

# v0.13.1, 0.13.1+ds1-3, v0.29.0-desktop.1; not v0.0.0+unknown, a commit or (devel).
_RELEASE: Final = re.compile(r"v?(?!0\.0\.0\b)\d+\.\d+")
# Of `docker buildx create`: it came with 0.13, the oldest that does, and docker-builder needs it.
PROBED: Final = "--buildkitd-config"


def says_version(buildx: str) -> bool:
    """Return whether buildx says which release it is."""
    return _RELEASE.match(buildx) is not None
