"""Configuration: defaults < file < environment < command line, each value with its source.

The file is `buildlib.toml`, or the table `[tool.buildlib]` in `pyproject.toml`; the first one
found going up from the starting directory makes that directory the project's root.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from buildlib.errors import InputError
from buildlib.platforms import Platform, parse_platforms
from buildlib.reference import parse_reference
from buildlib.variables import BASE_IMAGES

if TYPE_CHECKING:
    from buildlib.tagrules import TagRule


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where a value came from; `detail` is a path, a variable or an option."""

    kind: str
    detail: str = ""

    def __str__(self) -> str:
        """Return `file (pyproject.toml)`, `default`, …."""
        return f"{self.kind} ({self.detail})" if self.detail else self.kind


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseImage:
    """Another source for a `FROM` reference, handed over with `--build-context`.

    Args:
        source: `docker-image://…` or `oci-layout://…`.
        stand_in: it is not the real image, and an image built on it must not be published.
    """

    source: str
    stand_in: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Smoke:
    """What a container of the image has to do.

    Args:
        commands: each has to end with code 0.
        version_command: has to print the version and nothing else; empty: not asked.
        port: where the image's own command serves HTTP; 0: it serves none.
        health_path: answers 200 when healthy, and holds the version.
        start_timeout: seconds from the start to healthy.
    """

    commands: tuple[tuple[str, ...], ...] = ()
    version_command: tuple[str, ...] = ()
    port: int = 0
    health_path: str = "/"
    start_timeout: int = 30


_NO_SMOKE: Final = Smoke()


@dataclass(frozen=True, kw_only=True, slots=True)
class Registry:
    """A place to publish to.

    Args:
        name: what the configuration calls it.
        repository: with the registry's host, without tag or digest.
        tags: its own tag rules; none: those of the project.
    """

    name: str
    repository: str
    tags: tuple[TagRule, ...] = ()


class _MismatchError(Exception):
    """The value is not of the type that this key takes; the text says which."""


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _MismatchError("text")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(value.split())
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise _MismatchError("a list of texts")
    return tuple(value)


def _pairs(value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, Mapping) or not all(isinstance(v, str) for v in value.values()):
        raise _MismatchError("a table of texts")
    return tuple(sorted(value.items()))


def _image(value: object) -> str:
    reference = parse_reference(_text(value))
    if reference.tag or reference.digest:
        raise _MismatchError("a repository without tag or digest")
    return reference.name


def _platforms(value: object) -> tuple[Platform, ...]:
    return parse_platforms(_texts(value))


def _base_image(value: object) -> BaseImage:
    table = value if isinstance(value, Mapping) else {"source": value}
    source, stand_in = table.get("source"), table.get("stand-in", False)
    if set(table) - {"source", "stand-in"} or not isinstance(stand_in, bool):
        raise _MismatchError('a text, or { source = "…", stand-in = true }')
    if not isinstance(source, str) or not source.startswith(("docker-image://", "oci-layout://")):
        raise _MismatchError("a source that begins with docker-image:// or oci-layout://")
    return BaseImage(source=source, stand_in=stand_in)


def _base_images(value: object) -> tuple[tuple[str, BaseImage], ...]:
    if not isinstance(value, Mapping):
        raise _MismatchError("a table of FROM reference = source")
    return tuple(sorted((name, _base_image(source)) for name, source in value.items()))


def _commands(value: object) -> tuple[tuple[str, ...], ...]:
    if not isinstance(value, list) or not all(isinstance(item, list) for item in value):
        raise _MismatchError("a list of lists of texts")
    return tuple(_texts(item) for item in value)


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _MismatchError("a whole number, not negative")
    return value


_SMOKE_KEYS: Final[Mapping[str, Callable[[object], Any]]] = {
    "commands": _commands,
    "version-command": _texts,
    "port": _number,
    "health-path": _text,
    "start-timeout": _number,
}


def _smoke(value: object) -> Smoke:
    if not isinstance(value, Mapping):
        raise _MismatchError("a table")
    _check_keys(value, _SMOKE_KEYS, where="smoke.")
    return Smoke(**{key.replace("-", "_"): _SMOKE_KEYS[key](item) for key, item in value.items()})


def _prefix(value: object) -> str:
    text = _text(value)
    # What git allows in no ref: git-check-ref-format(1).
    if re.search(r"[\s~^:?*\[\\\x00-\x1f\x7f]|\.\.|@\{|//|^[-/.]", text):
        raise _MismatchError("the beginning of a git tag's name, such as v or cli/v")
    return text


def _tag_rules(value: object, where: str = "tags") -> tuple[TagRule, ...]:
    from buildlib.tagrules import parse_rules  # noqa: PLC0415 - most projects have no rules

    return parse_rules(value, where=where)


def _registry(name: str, value: object) -> Registry:
    where = f"registries.{name}"
    if not isinstance(value, Mapping) or "repository" not in value:
        raise _MismatchError(f'a table of {name} = {{ repository = "…" }}')
    _check_keys(value, {"repository": None, "tags": None}, where=f"{where}.")
    tags = _tag_rules(value["tags"], f"{where}.tags") if "tags" in value else ()
    return Registry(name=name, repository=_image(value["repository"]), tags=tags)


def _registries(value: object) -> tuple[Registry, ...]:
    if not isinstance(value, Mapping):
        raise _MismatchError('a table of NAME = { repository = "…" }')
    return tuple(_registry(name, table) for name, table in value.items())


def _key(parse: Callable[[object], Any], default: object) -> Any:  # noqa: ANN401 - as field()
    return field(default=default, metadata={"parse": parse})


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that a repository says about its image; frozen, and knows its sources."""

    root: Path
    image: str = _key(_image, "")
    context: str = _key(_text, ".")
    dockerfile: str = _key(_text, "Dockerfile")
    target: str = _key(_text, "")
    binary_target: str = _key(_text, "")
    platforms: tuple[Platform, ...] = _key(_platforms, ())
    tag_prefix: str = _key(_prefix, "v")
    tags: tuple[TagRule, ...] = _key(_tag_rules, ())
    release_branches: tuple[str, ...] = _key(_texts, ())
    registries: tuple[Registry, ...] = _key(_registries, ())
    title: str = _key(_text, "")
    description: str = _key(_text, "")
    licenses: str = _key(_text, "")
    source: str = _key(_text, "")
    labels: tuple[tuple[str, str], ...] = _key(_pairs, ())
    build_args: tuple[tuple[str, str], ...] = _key(_pairs, ())
    builder: str = _key(_text, "")
    cache_from: tuple[str, ...] = _key(_texts, ())
    cache_to: tuple[str, ...] = _key(_texts, ())
    progress: str = _key(_text, "auto")
    base_images: tuple[tuple[str, BaseImage], ...] = _key(_base_images, ())
    smoke: Smoke = _key(_smoke, _NO_SMOKE)  # noqa: RUF009 - as field(), with a frozen default
    sources: Mapping[str, Source] = field(default_factory=dict)

    def source_of(self, key: str) -> Source:
        """Return where the value of a key (with dashes, as in the file) came from."""
        return self.sources.get(key, Source(kind="default"))

    def tag_rules(self, registry: Registry | None = None) -> tuple[TagRule, ...]:
        """Return the tag rules that count, for one registry or for all that have none."""
        from buildlib.tagrules import DEFAULT_RULES  # noqa: PLC0415 - only publishing asks

        return (registry.tags if registry else ()) or self.tags or DEFAULT_RULES


_KEYS: Final = {f.name.replace("_", "-"): f for f in fields(Config) if "parse" in f.metadata}
_TABLES: Final = {"labels", "build-args", "base-images", "smoke", "tags", "registries"}


def known_keys() -> tuple[str, ...]:
    """Return every key that the file may hold, in the order of the documentation."""
    return tuple(_KEYS)


def _check_keys(table: Mapping[str, object], known: Mapping[str, object], *, where: str) -> None:
    for key in table:
        if key not in known:
            close = get_close_matches(key, known, n=1)
            raise InputError(
                f"unknown configuration key {where}{key}",
                hint=f"did you mean {where}{close[0]}?" if close else f"known: {', '.join(known)}",
            )


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path.name} is not valid TOML", why=str(error)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} can't be read", why=str(error)) from error


def find_table(start: Path) -> tuple[Path, Path | None, dict[str, Any]]:
    """Return root, file and table: the first configuration going up from `start`.

    Where there is none, the root is `start` itself and the table is empty.
    """
    for folder in (start, *start.parents):
        if (folder / "buildlib.toml").is_file():
            return folder, folder / "buildlib.toml", _read_toml(folder / "buildlib.toml")
        if (folder / "pyproject.toml").is_file():
            table = _read_toml(folder / "pyproject.toml").get("tool", {}).get("buildlib")
            if isinstance(table, dict):
                return folder, folder / "pyproject.toml", table
    return start, None, {}


def _parsed(key: str, value: object, source: Source) -> object:
    try:
        return _KEYS[key].metadata["parse"](value)
    except _MismatchError as error:
        raise InputError(f"{key} from {source} must be {error}, not {value!r}") from error


def _map_from_environment(env: Mapping[str, str]) -> dict[str, BaseImage]:
    path = env.get(BASE_IMAGES)
    if not path:
        return {}
    table = _read_toml(Path(path))
    _check_keys(table, {"base-images": None}, where=f"in {BASE_IMAGES}: ")
    source = Source(kind="environment", detail=BASE_IMAGES)
    return dict(_parsed("base-images", table.get("base-images", {}), source))  # type: ignore[call-overload, no-any-return]


_Layer = tuple[Source, str, object]


def _from_file(file: Path | None, table: Mapping[str, object]) -> Iterator[_Layer]:
    source = Source(kind="file", detail=file.name if file else "")
    yield from ((source, key, value) for key, value in table.items())


def _from_environment(env: Mapping[str, str]) -> Iterator[_Layer]:
    for key in _KEYS.keys() - _TABLES:
        variable = "BUILDLIB_" + key.upper().replace("-", "_")
        if value := env.get(variable):
            yield Source(kind="environment", detail=variable), key, value


def _from_command_line(overrides: Mapping[str, object]) -> Iterator[_Layer]:
    for key, value in overrides.items():
        if value:
            yield Source(kind="command line", detail=f"--{key}"), key, value


def load_config(
    start: Path, env: Mapping[str, str], overrides: Mapping[str, object] | None = None
) -> Config:
    """Load the configuration of the project that `start` lies in.

    Args:
        start: the directory to look from, upwards.
        env: the environment; `BUILDLIB_IMAGE` overrides `image`, and so on for every key that
            is not a table. `BUILDLIB_BASE_IMAGES` is the path of a TOML file whose table
            `[base-images]` is laid over the configured one.
        overrides: what the command line says, by key; None and empty values do not count.

    Raises:
        InputError: unknown key, wrong type, bad TOML, or no image named anywhere.
    """
    root, file, table = find_table(start.resolve())
    _check_keys(table, _KEYS, where="")
    layers = (_from_file(file, table), _from_environment(env), _from_command_line(overrides or {}))
    values: dict[str, Any] = {}
    sources: dict[str, Source] = {}
    for source, key, value in chain(*layers):
        values[key.replace("-", "_")] = _parsed(key, value, source)
        sources[key] = source
    if mapped := _map_from_environment(env):
        merged = {**dict(values.get("base_images", ())), **mapped}
        values["base_images"] = tuple(sorted(merged.items()))
        sources["base-images"] = Source(kind="environment", detail=BASE_IMAGES)
    if not values.get("image"):
        raise InputError(
            "no image is named",
            why=f"neither buildlib.toml nor [tool.buildlib] in pyproject.toml from {start} upwards",
            hint='add: image = "name"',
        )
    return Config(root=root, sources=sources, **values)
