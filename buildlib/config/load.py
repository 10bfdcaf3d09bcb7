"""Configuration: defaults < file < environment < command line, each value with its source.

The file is `buildlib.toml`, or the table `[tool.buildlib]` in `pyproject.toml`; the first one
found going up from the starting directory makes that directory the project's root.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from buildlib.config import images as image_tables
from buildlib.config import key_types
from buildlib.config import tables as config_tables
from buildlib.config.config import Config, Source
from buildlib.config.file import OWN_FILE, Places, find_table, read_toml
from buildlib.config.key_types import KeyProblemError
from buildlib.config.tables import BaseImage
from buildlib.config.variables import BASE_IMAGES, OTHERS, PREFIX
from buildlib.errors import BuildlibError, InputError, ProblemsError, nearest, raise_problems

_ONE_IMAGE: Final = "the project has one image: its configuration has no tables [images.NAME]"

_KEYS: Final = key_types.keys_of(Config)
_TABLES: Final = {
    *("labels", "build-args", "base-images", "inject", "secrets"),
    *("bases", "build", "builders", "smoke", "run", "policy", "scan", "tags", "registries"),
    *("diff", "publish", "goreleaser", "sign", "verify", "images", "records"),
}

_VARIABLES: Final = {
    PREFIX + key.upper().replace("-", "_"): key for key in _KEYS if key not in _TABLES
}
# How alike a misspelt name has to be: others may have variables of this prefix.
_ALIKE: Final = 0.8


def known_keys() -> tuple[str, ...]:
    """Return every key that the file may hold, in the order of the documentation."""
    return tuple(_KEYS)


def _parsed(key: str, value: object, source: Source) -> object:
    """Return the value; raises all that is wrong with it at once."""
    type_ = _KEYS[key].type
    problems: list[BuildlibError] = []
    try:
        return type_.reader(key)(value)
    except (key_types.MismatchError, BuildlibError, ExceptionGroup) as error:
        for one in key_types.flat(error):
            if isinstance(one, key_types.MismatchError):
                problems.append(_mismatch(key, value, source, one))
            elif isinstance(one, BuildlibError):
                problems.append(one)
    raise ProblemsError(problems) if len(problems) > 1 else problems[0]


def _mismatch(
    key: str, value: object, source: Source, error: key_types.MismatchError
) -> InputError:
    # What is in a table or a list may be a cache's key.
    found = error.value if error.key else value
    shown = type(found).__name__ if isinstance(found, (dict, list)) else repr(found)
    where = error.key or key
    return key_types.KeyProblemError(
        f"{where} from {source} must be {error}, not {shown}",
        path=re.sub(r"\[[0-9]+\]", "", where).split("."),
    )


def _map_from_environment(env: Mapping[str, str]) -> dict[str, BaseImage]:
    if not (path := env.get(BASE_IMAGES)):
        return {}
    table = read_toml(Path(path))
    key_types.check_keys(table, {"base-images": None}, where=f"in {BASE_IMAGES}: ")
    source = Source(kind="environment", detail=BASE_IMAGES)
    return dict(_parsed("base-images", table.get("base-images", {}), source))  # type: ignore[call-overload, no-any-return]


def _variable_problems(env: Mapping[str, str]) -> Iterator[InputError]:
    """Yield what is nearly a variable of ours; what is like none of them is another's."""
    for name, value in env.items():
        if not (value and name.startswith(PREFIX)) or name in _VARIABLES or name in OTHERS:
            continue
        key = name.removeprefix(PREFIX).lower().replace("_", "-")
        if key in _TABLES:
            yield InputError(
                f"{name} can't be set: {key} is a table",
                hint=f"it is for {OWN_FILE}, or for [tool.buildlib.{key}] in pyproject.toml",
            )
            continue
        if table := _table_meant(key):
            yield InputError(
                f"{name} can't be set: {table} is a table",
                hint=f"set its keys in {OWN_FILE}, or in [tool.buildlib.{table}] in pyproject.toml",
            )
            continue
        known = [one.removeprefix(PREFIX) for one in (*_VARIABLES, *sorted(OTHERS))]
        if close := nearest(name.removeprefix(PREFIX), known, _ALIKE):
            yield InputError(f"unknown variable {name}", hint=f"did you mean {PREFIX}{close}?")


def _table_meant(key: str) -> str:
    """Return the table that a variable is nearly a key of; empty: none."""
    for table in sorted(_TABLES):
        if not key.startswith(f"{table}-"):
            continue
        rest = key.removeprefix(f"{table}-")
        schema = key_types.written(_KEYS[table].type)
        inner = schema.get("additionalProperties")
        named = [*inner.get("properties", ())] if isinstance(inner, Mapping) else []
        # Of a table with names of the user's, the key is behind one of these.
        _, _, behind = rest.partition("-")
        if table == "images":
            named = [*_KEYS]
            if behind and _table_meant(behind):
                return table
        if nearest(rest, [*schema.get("properties", ())], _ALIKE) or nearest(behind, named, _ALIKE):
            return table
    return ""


def check_table(table: Mapping[str, object]) -> dict[str, BuildlibError]:
    """Return why keys of a table can't be read, by key: for one that is about to be written."""
    source = Source(kind="file", detail=OWN_FILE)
    found: dict[str, BuildlibError] = {}
    for key, value in table.items():
        try:
            key_types.check_keys({key: value}, _KEYS, where="")
            _parsed(key, value, source)
        except BuildlibError as error:
            found[key] = error
    for problem in () if "images" in found else image_tables.same_references(table):
        found["images"] = problem
    return found


_Layer = tuple[Source, str, object]
# What the command line says of every build.
_OF_ALL: Final = frozenset({"builder", "progress"})


class ConfigFile:
    """One file, from which the configuration of each image is made.

    Args:
        start, env, overrides: as `load_config` has them.
    """

    def __init__(
        self,
        start: Path,
        env: Mapping[str, str],
        overrides: Mapping[str, object] | None = None,
    ) -> None:
        self._start, self._env, self._overrides = start, env, overrides or {}
        self.root, self._file, self._table = find_table(start.resolve())

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Return the images of `[images]`, each after those that it is based on."""
        if "images" not in self._table:
            return ()
        source = Source(kind="file", detail=self._file.name if self._file else "")
        places = Places(self._file)
        problems: list[BuildlibError] = []
        try:
            names: Any = _parsed("images", self._table["images"], source)
        except BuildlibError as error:
            raise_problems(places.all_placed(error, "images"))
            raise
        for name in names:
            known = {key: None for key in _KEYS if key not in image_tables.SHARED}
            try:
                key_types.check_keys(self._table["images"][name], known, where=f"images.{name}.")
            except BuildlibError as error:
                problems += places.all_placed(error, "images")
        same = image_tables.same_references(self._table)
        problems += [places.placed(one, "images") for one in same]
        raise_problems(problems)
        return tuple(names)

    def some(self, only: Iterable[str]) -> tuple[str, ...]:
        """Return the images that are asked for, or all of `[images]`, in the order of `names`.

        Raises:
            InputError: there is no such image (exit 2).
        """
        asked = tuple(only)
        if asked and not self.names:
            raise InputError(f"there is no image {asked[0]!r}", why=_ONE_IMAGE)
        return image_tables.chosen_names(self.names, asked)

    def chosen(self, image: str) -> str:
        """Return the image that is meant; empty where the project has no `[images]`.

        Raises:
            InputError: there is no such image, or one of several has to be named (exit 2).
        """
        if not image and self.names:
            raise InputError(
                f"this project has several images: {', '.join(self.names)}",
                hint="choose one: --only NAME",
            )
        return self.some([image])[0] if image else ""

    def config(self, image: str, *, chosen: bool = True) -> Config:
        """Return the configuration of one image.

        Args:
            image: the name of its table; empty: there are none.
            chosen: the command line is about it; else another image is based on it.
        """
        places, env = Places(self._file, image), self._env
        problems = [*self._unknown(places), *_variable_problems(env)]
        found: dict[str, Any] = {}
        sources: dict[str, Source] = {}
        known: set[str] = set()
        for source, key, value in self._layers(image, chosen=chosen):
            own = source.kind == "file"
            if own:
                known.add(key)
            try:
                # The order in which they are built has been made once, for all of them.
                parsed = self.names if key == "images" else _parsed(key, value, source)
            except BuildlibError as error:
                wrong = ProblemsError([error]).problems
                for one in wrong:
                    if own:
                        places.placed(one, key)
                    elif not one.why and str(source) not in one.what:
                        one.why = f"{key} from {source}"
                problems += wrong
                continue
            # One key that sets more than one field.
            found |= parsed if isinstance(parsed, dict) else {key.replace("-", "_"): parsed}
            sources[key] = source
        if {"smoke", "run"} & known <= found.keys():
            tables = (
                found.get("smoke", config_tables.NO_SMOKE),
                found.get("run", config_tables.NO_RUN),
            )
            problems += [places.placed(one, "") for one in config_tables.health_problems(*tables)]
        raise_problems(problems)
        if mapped := _map_from_environment(env):
            merged = {**dict(found.get("base_images", ())), **mapped}
            found["base_images"] = tuple(sorted(merged.items()))
            sources["base-images"] = Source(kind="environment", detail=BASE_IMAGES)
        if not found.get("image"):
            raise InputError(
                "no image is named",
                why="neither buildlib.toml nor [tool.buildlib] in pyproject.toml from "
                f"{self._start} upwards",
                hint='buildlib init writes one; or add: image = "name"',
            )
        file = self._file.name if self._file else ""
        return Config(root=self.root, file=file, name=image, sources=sources, **found)

    def _unknown(self, places: Places) -> list[BuildlibError]:
        problems: list[BuildlibError] = [
            KeyProblemError(
                f'base-images."{base}" can\'t be {image_tables.FROM_HERE}{name} here',
                path=("base-images", base),
                hint="set it in the table of each image that is based on it: "
                "[images.NAME.base-images]",
            )
            for base, name in image_tables.images_below(self._table)
        ]
        try:
            key_types.check_keys(self._table, _KEYS, where="")
        except BuildlibError as error:
            problems += ProblemsError([error]).problems
        return [places.placed(one, "") for one in problems]

    def _layers(self, image: str, *, chosen: bool) -> Iterator[_Layer]:
        """Yield each value that is given, the strongest last."""
        file = self._file.name if self._file else ""
        source = Source(kind="file", detail=file)
        own = image_tables.own_values(self._table, image) if image else {}
        for key, value in self._table.items():
            if key in _KEYS and key not in own:
                yield source, key, value
        source = Source(kind="file", detail=f"{file}, images.{image}")
        yield from ((source, key, value) for key, value in own.items())
        for variable, key in _VARIABLES.items():
            if text := self._env.get(variable):
                # It stands for the key of the file, of which each image has a part of its own.
                value = image_tables.below(text, image) if image and key == "image" else text
                yield Source(kind="environment", detail=variable), key, value
        for key, given in self._overrides.items():
            if given and (chosen or key in _OF_ALL):
                yield Source(kind="command line", detail=f"--{key}"), key, given


def load_config(
    start: Path,
    env: Mapping[str, str],
    overrides: Mapping[str, object] | None = None,
    *,
    image: str = "",
) -> Config:
    """Load the configuration of the project that `start` lies in, or of one of its images.

    Args:
        start: the directory to look from, upwards.
        env: the environment; `BUILDLIB_IMAGE` overrides `image`, and so on for every key that
            is not a table. `BUILDLIB_BASE_IMAGES` is the path of a TOML file whose table
            `[base-images]` is laid over the configured one.
        overrides: what the command line says, by key; None and empty values do not count.
        image: the name of its table, `[images.NAME]`; empty: the project has no such tables.

    Raises:
        InputError: unknown key, wrong type, bad TOML, no image named anywhere, or not one of
            several.
    """
    file = ConfigFile(start, env, overrides)
    return file.config(file.chosen(image))


def load_images(
    start: Path,
    env: Mapping[str, str],
    overrides: Mapping[str, object] | None = None,
    *,
    only: Iterable[str] = (),
) -> tuple[Config, ...]:
    """Load the configuration of each image of a project, in the order in which they are built.

    Args:
        start: as for `load_config`, and so is the rest.
        only: names of `[images.NAME]`; none: all. A project without these tables has one image.

    Raises:
        InputError: as `load_config`; images are based on each other.
    """
    file = ConfigFile(start, env, overrides)
    return tuple(file.config(name) for name in file.some(only) or ("",))
