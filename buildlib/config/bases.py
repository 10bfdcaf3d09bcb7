"""`[bases]`: what is known of the base images beside what their registries say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from buildlib.config.key_types import NUMBER, TEXT, setting, table_type


@dataclass(frozen=True, kw_only=True)
class Bases:
    """How base images are checked."""

    end_of_life: str = setting(
        TEXT,
        "TOML file with the last day of each release line, relative to the project",
        default="",
    )
    table_max_age: int = setting(
        NUMBER, "days after which that file is reported as old", default=180
    )


BASES: Final = table_type(Bases)
