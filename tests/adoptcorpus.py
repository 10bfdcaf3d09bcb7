"""The corpus of tests/adopt: small repositories, each in one file.

A file begins with lines `NAME: VALUE` that say what it is; then come the files of the repository,
each behind `-- PATH --`. The last of them are what is expected: `expected.toml`, the settings, and
`expected.txt`, the rows of the migration table. `--update-golden` writes these two.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from conftest import ROOT

from buildlib.adopt.migration import MigrationTable
from buildlib.adopt.translation import Translation

FOLDER: Final = ROOT / "tests" / "adopt" / "corpus"
_FILE: Final = re.compile(r"^-- (\S+) --\n", re.MULTILINE)
_EXPECTED: Final = ("expected.toml", "expected.txt")


@dataclass(frozen=True)
class Repository:
    """A repository of the corpus."""

    name: str
    about: Mapping[str, str]
    files: Mapping[str, str]

    def write(self, root: Path) -> Path:
        """Write its files into a directory."""
        for name, text in self.files.items():
            if name not in _EXPECTED:
                path = root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
        return root

    @property
    def expected(self) -> dict[str, Any]:
        """Return the settings that are expected, and those of further images below `others`."""
        return tomllib.loads(self.files["expected.toml"])

    def update(self, table: MigrationTable) -> None:
        """Write what is expected as it is now."""
        found = {**self.files, "expected.toml": to_toml(settings_of(table.translation))}
        found["expected.txt"] = rows_of(table)
        parts = [f"{key}: {value}\n" for key, value in self.about.items()]
        parts += [f"-- {name} --\n{text}" for name, text in found.items()]
        (FOLDER / f"{self.name}.txt").write_text("".join(parts), encoding="utf-8")


def read(path: Path) -> Repository:
    """Return a repository of the corpus."""
    about, *parts = _FILE.split(path.read_text(encoding="utf-8"))
    pairs = (line.partition(": ")[::2] for line in about.splitlines())
    files = dict(zip(parts[::2], parts[1::2], strict=True))
    return Repository(path.stem, dict(pairs), files)


def corpus() -> list[Repository]:
    """Return all of it."""
    return [read(path) for path in sorted(FOLDER.glob("*.txt"))]


def settings_of(translation: Translation) -> dict[str, Any]:
    """Return all settings as one table."""
    others = {"others": translation.others} if translation.others else {}
    return {**translation.settings, **others}


def rows_of(table: MigrationTable) -> str:
    """Return the rows in short."""
    lines = list[str]()
    for row in table.rows:
        when = f" ({row.line.condition})" if row.line.condition else ""
        image = f" [{row.image}]" if row.image else ""
        lines.append(f"{row.line.place}{image}{when}: {row.commands or '-'}")
        lines += [f"  {part}" for part in row.left]
    return "".join(f"{line}\n" for line in lines)


def to_toml(table: Mapping[str, Any]) -> str:
    """Return a table as TOML."""
    return "".join(f"{line}\n" for line in _lines(table, ()))


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    plain = {key: value for key, value in table.items() if not isinstance(value, dict)}
    if path and (plain or not table):
        yield f"[{'.'.join(map(_key, path))}]"
    yield from (f"{_key(key)} = {_value(value)}" for key, value in plain.items())
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _lines(value, (*path, key))


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)


def _value(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_key(key)} = {_value(one)}' for key, one in value.items())} }}"
    return json.dumps(value, ensure_ascii=False)
