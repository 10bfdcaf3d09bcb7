"""`[goreleaser]`: where GoReleaser's configuration is, and how its build differs from ours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from buildlib.config.key_types import PAIRS, TEXT, setting, table_type


@dataclass(frozen=True, kw_only=True)
class GoReleaser:
    """What has to be known."""

    file: str = setting(
        TEXT, "GoReleaser's configuration file, relative to the project", default=".goreleaser.yaml"
    )
    build_args: tuple[tuple[str, str], ...] = setting(
        PAIRS,
        "build args by which the Dockerfile takes programs that are built already",
        default=(),
    )


GORELEASER: Final = table_type(GoReleaser)
