"""`[goreleaser]`: where GoReleaser's configuration is, and how its build differs from ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from buildlib.values import parse_fields, parse_pairs, parse_text


class GoReleaser(NamedTuple):
    """What has to be known.

    Args:
        file: its configuration, relative to the project.
        build_args: by which the Dockerfile takes programs that are built already.
    """

    file: str = ".goreleaser.yaml"
    build_args: tuple[tuple[str, str], ...] = ()


NO_GORELEASER: Final = GoReleaser()
_KEYS: Final[Mapping[str, Callable[[object], Any]]] = {
    "file": parse_text,
    "build-args": parse_pairs,
}


def parse_goreleaser(value: object) -> GoReleaser:
    """Return what the table `goreleaser` holds.

    Raises:
        MismatchError, InputError: it is no such table.
    """
    return GoReleaser(**parse_fields(value, _KEYS, "goreleaser."))
