"""The file that holds a configuration: where it is, what it says, and on which line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from buildlib.config.key_types import KeyProblemError
from buildlib.config.toml_lines import lines_of
from buildlib.errors import BuildlibError, InputError, ProblemsError
from buildlib.files import read_regular

OWN_FILE: Final = "buildlib.toml"


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a file; raises InputError (exit 2) if it can't be read."""
    try:
        text = read_regular(path).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} can't be read", why=str(error)) from error
    return parse_toml(text, path.name)


def parse_toml(text: str, name: str) -> dict[str, Any]:
    """Return the tables of a text; raises InputError (exit 2) if it is not valid."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # Not only a TOMLDecodeError: a number may have too many digits.
        deep = isinstance(error, RecursionError)
        why = "it is nested too deeply" if deep else str(error)
        # `image` is text, so that it can't be a table as well.
        single = re.search(r"^[ \t]*\[(?:tool\.buildlib\.)?image\.", text, re.MULTILINE)
        hint = "several images are in [images.NAME], not [image.NAME]" if single else ""
        raise InputError(f"{name} is not valid TOML", why=why, hint=hint) from None


def find_table(start: Path) -> tuple[Path, Path | None, dict[str, Any]]:
    """Return root, file and table: the first configuration going up from `start`.

    Where there is none, the root is `start` itself and the table is empty.
    """
    for folder in (start, *start.parents):
        # One that is there and can't be read is an error, not passed over.
        if (folder / OWN_FILE).exists():
            return folder, folder / OWN_FILE, read_toml(folder / OWN_FILE)
        if (folder / "pyproject.toml").is_file():
            file = folder / "pyproject.toml"
            table = own_table(read_toml(file), file.name)
            if table is not None:
                return folder, file, table
    return start, None, {}


def own_table(tables: dict[str, Any], name: str) -> dict[str, Any] | None:
    """Return the configuration in a file of that name; None: it has none."""
    tools = {"buildlib": tables} if name == OWN_FILE else tables.get("tool")
    table = tools.get("buildlib") if isinstance(tools, dict) else None
    return table if isinstance(table, dict) else None


class Places:
    """Says where in a file what is wrong with it stands.

    Args:
        image: whose table may hold it.
    """

    def __init__(self, file: Path | None, image: str = "") -> None:
        self._file, self._image = file, image

    @cached_property
    def _lines(self) -> Mapping[tuple[str, ...], int]:
        with suppress(OSError, ValueError):
            return lines_of(self._file.read_text(encoding="utf-8-sig")) if self._file else {}
        return {}

    def placed(self, problem: BuildlibError, key: str) -> BuildlibError:
        """Return a problem with the line of the file that it is on."""
        if self._file is None:
            return problem
        path = problem.path if isinstance(problem, KeyProblemError) else (key,)
        table = () if self._file.name == OWN_FILE else ("tool", "buildlib")
        own = (*table, "images", self._image)
        known = ((*own, *path), (*table, *path), (*own, key), (*table, key))
        line = next((self._lines[one] for one in known if self._lines.get(one)), 0)
        place = f"{self._file.name}, line {line}" if line else self._file.name
        problem.why = f"{place}: {problem.why}" if problem.why else place
        return problem

    def all_placed(self, error: BuildlibError, key: str) -> list[BuildlibError]:
        """Return every problem that an error holds, with its line."""
        return [self.placed(one, key) for one in ProblemsError([error]).problems]
