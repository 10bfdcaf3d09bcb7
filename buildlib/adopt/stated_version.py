"""The version that a repository states in a file, where no git tag does."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from buildlib.adopt.facts import RELEASE
from buildlib.adopt.text_files import read_text
from buildlib.adopt.translation import Row

_GIVEN: Final = re.compile(r" --version (\S+)")
_FILES: Final = ("VERSION", "VERSION.txt", "version.txt")
# The tables of a package's file, each of which may state the version.
_PACKAGES: Final = {
    "pyproject.toml": (("project",), ("tool", "poetry")),
    "package.json": ((),),
    "Cargo.toml": (("package",),),
}
# What a tool writes that fills in the version at a release.
_PLACEHOLDER: Final = "0.0.0"


def stated_version(root: Path, rows: Sequence[Row]) -> tuple[str, str]:
    """Return the version of a repository, and where it is stated; empty: nowhere.

    Args:
        root: of the repository.
        rows: of its command lines, which may build with a version of their own.
    """
    for text, place in _stated(root, rows):
        version = text.strip().removeprefix("v")
        if RELEASE.fullmatch(version) and not version.startswith(_PLACEHOLDER):
            return version, place
    return "", ""


def _stated(root: Path, rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    for row in rows:
        yield from ((one, row.line.place) for one in _GIVEN.findall(row.command))
    for name in _FILES:
        yield read_text(root / name, root) or "", name
    for name, tables in _PACKAGES.items():
        text = read_text(root / name, root)
        try:
            found = (json.loads if name.endswith(".json") else tomllib.loads)(text or "{}")
        except ValueError:
            continue
        yield from ((_version(found, table), name) for table in tables)


def _version(table: object, path: Sequence[str]) -> str:
    for key in (*path, "version"):
        table = table.get(key) if isinstance(table, Mapping) else None
    return table if isinstance(table, str) else ""
