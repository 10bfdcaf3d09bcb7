"""How a configuration is read: values of each type, and tables whose keys are a dataclass's fields.

Each `parse_…` returns the value, and raises MismatchError with what it has to be. Each type also
says what JSON Schema calls it, from which `schema` makes the schema and the reference.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, field, fields
from functools import partial
from typing import Any, Final, Generic, NamedTuple, TypeVar, overload

from buildlib.errors import BuildlibError, InputError, did_you_mean, raise_problems

T = TypeVar("T")
Default = TypeVar("Default")

# What the name of a build arg, or of a variable, may be.
VARIABLE: Final = "[A-Za-z_][A-Za-z0-9_]*"
LAST_PORT: Final = 65535
_UNITS: Final = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}


class MismatchError(Exception):
    """The value is not of the type that this key takes; the text says which.

    Args:
        key: of a table in which it is, whole; empty: it is the value itself.
    """

    def __init__(self, expected: str, key: str = "", value: object = None) -> None:
        super().__init__(expected)
        self.key, self.value = key, value


class KeyProblemError(InputError):
    """Something is wrong with one key; `path` are the tables that it is in, and the key."""

    def __init__(self, what: str, *, path: Sequence[str], hint: str = "") -> None:
        super().__init__(what, hint=hint)
        self.path = tuple(path)


def check_keys(table: Mapping[str, object], known: Mapping[str, object], *, where: str) -> None:
    """Raise InputError for the keys that are not known, all of them."""
    raise_problems(
        [
            KeyProblemError(
                f"unknown configuration key {where}{key}",
                path=(*filter(None, where.split(".")), key),
                hint=did_you_mean(key, known, where=where),
            )
            for key in table
            if key not in known
        ]
    )


def gathered(parsers: Iterable[Callable[[], T]]) -> list[T]:
    """Return what each returns; where some fail, every failure is reported.

    Raises:
        MismatchError, BuildlibError: where one failed, its own error.
        ExceptionGroup: where several did, the errors of all.
    """
    found, errors = [], list[Exception]()
    for parse in parsers:
        try:
            found.append(parse())
        except (MismatchError, BuildlibError, ExceptionGroup) as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ExceptionGroup("a table", errors)
    return found


def flat(error: Exception) -> Iterator[Exception]:
    """Yield the errors that one stands for: its own, or those that were gathered in it."""
    inner: Sequence[Exception] = error.exceptions if isinstance(error, ExceptionGroup) else ()
    for one in inner:
        yield from flat(one)
    if not inner:
        yield error


def parse_text(value: object) -> str:
    if not isinstance(value, str):
        raise MismatchError("text")
    # No path, no argument and no variable can hold it.
    if "\0" in value:
        raise MismatchError("text without a NUL character")
    return value


def parse_texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(parse_text(value).split())
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise MismatchError("a list of texts")
    return tuple(map(parse_text, value))


def parse_list(value: object) -> tuple[str, ...]:
    """Read a list of texts that may hold blanks; a text is a list of one."""
    return parse_texts([value] if isinstance(value, str) else value)


def parse_names(value: object) -> tuple[str, ...]:
    """Read a list of what holds neither blanks nor commas; a text is split at both."""
    return parse_texts(re.sub(r"[\s,]+", " ", value) if isinstance(value, str) else value)


def parse_pairs(value: object, name: str = r"[^\s=]+") -> tuple[tuple[str, str], ...]:
    if not isinstance(value, Mapping) or not all(isinstance(v, str) for v in value.values()):
        raise MismatchError("a table of texts")
    for key in value:
        if not re.fullmatch(name, key):
            raise MismatchError(f"a table of NAME = text; {key!r} is not a name")
    return tuple(sorted((parse_text(key), parse_text(text)) for key, text in value.items()))


def parse_build_args(value: object) -> tuple[tuple[str, str], ...]:
    return parse_pairs(value, VARIABLE)


def parse_pattern(value: object) -> str:
    text = parse_text(value)
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise MismatchError(f"a regular expression ({error})") from error
    return text


def parse_numbers(value: object) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise MismatchError("a list of whole numbers")
    return tuple(parse_number(item) for item in value)


def parse_number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise MismatchError("a whole number, not negative")
    return value


def parse_size(value: object) -> int:
    number = r"[0-9]{1,12}(?:\.[0-9]{1,12})?"
    match = re.fullmatch(rf"({number}) ?(B|kB|MB|GB|KiB|MiB|GiB)", str(value).strip())
    if not match:
        raise MismatchError('a size, such as "20 MB" or "19.5 MiB"')
    return int(float(match[1]) * _UNITS[match[2]])


def parse_port(value: object) -> int:
    """Read a TCP port; 0 stands for none, or for any that is free."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LAST_PORT:
        raise MismatchError(f"a port, from 0 to {LAST_PORT}")
    return value


def parse_flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise MismatchError("true or false")
    return value


Schema = Mapping[str, Any]


class KeyType(NamedTuple, Generic[T]):
    """What a key of a table takes.

    Args:
        parse: returns the value.
        schema: the type in JSON Schema; a function where it is made from a class.
        placed: `parse` takes where the key stands as well, such as `containers.services`.
    """

    parse: Callable[..., T]
    schema: Schema | Callable[[], Schema]
    placed: bool = False

    def reader(self, where: str) -> Callable[[object], T]:
        """Return what parses the value of the key that stands there."""
        return partial(self.parse, where=where) if self.placed else self.parse


class Key(NamedTuple):
    """A key of a table: its type, and what it is for in one line."""

    type: KeyType[Any]
    text: str


@overload
def setting(type_: KeyType[T], text: str) -> T: ...
@overload
def setting(type_: KeyType[T], text: str, default: Default) -> T | Default: ...
def setting(type_: KeyType[T], text: str, default: object = MISSING) -> object:
    """Return a field of a dataclass that is a key of a table; without a default it is needed.

    Args:
        text: what it is for, in one line.
        default: its value where it is left out.
    """
    return field(default=default, metadata={"key": Key(type_, text)})


def keys_of(table: type) -> dict[str, Key]:
    """Return the keys of a table, as they are written in the file."""
    keyed = [one for one in fields(table) if "key" in one.metadata]
    return {one.name.replace("_", "-"): one.metadata["key"] for one in keyed}


def parse_keys(table: type, value: object, where: str) -> dict[str, Any]:
    """Return the fields of a dataclass that a table of the configuration sets.

    Args:
        table: a dataclass whose fields are made by `setting`.
        where: the table's name, such as `smoke`.

    Raises:
        MismatchError, InputError, ExceptionGroup: something is wrong with it, or several things.
    """
    known = {name: one.type.reader(f"{where}.{name}") for name, one in keys_of(table).items()}
    return parse_fields(value, known, f"{where}.")


def parse_table(table: type[T], value: object, where: str) -> T:
    """Return the object that a table of the configuration describes; as `parse_keys`."""
    return table(**parse_keys(table, value, where))


def table_type(table: type[T]) -> KeyType[T]:
    """Return the type of a key that is a table itself."""
    return KeyType(partial(parse_table, table), partial(schema_of, table), placed=True)


def schema_of(table: type) -> Schema:
    """Return the JSON Schema of a table."""
    keyed = [one for one in fields(table) if "key" in one.metadata]
    properties = {one.name.replace("_", "-"): _property(one) for one in keyed}
    needed = [one.name.replace("_", "-") for one in keyed if one.default is MISSING]
    found = {"type": "object", "additionalProperties": False, "properties": properties}
    return {**found, "required": needed} if needed else found


def _property(one: Field[Any]) -> Schema:
    """Return the schema of a key; its default is in it where there is one to show."""
    known: Key = one.metadata["key"]
    found = {"description": known.text, **written(known.type)}
    match one.default:
        case bool(default):
            return {**found, "default": default}
        case int(default) if default:
            return found if known.type is SIZE else {**found, "default": default}
        case str(default) if default:
            return {**found, "default": str(default)}
        case (str(), *_) as default:
            return {**found, "default": [*default]}
    return found


def written(type_: KeyType[Any]) -> Schema:
    """Return a type as JSON Schema has it."""
    return type_.schema() if callable(type_.schema) else type_.schema


_TEXT: Final = {"type": "string"}


def _listed(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def _or_list(item: Schema) -> Schema:
    return {"anyOf": [item, _listed(item)]}


TEXT: Final = KeyType(parse_text, _TEXT)
TEXTS: Final = KeyType(parse_texts, _or_list(_TEXT))
LIST: Final = KeyType(parse_list, _or_list(_TEXT))
NAMES: Final = KeyType(parse_names, _or_list(_TEXT))
PAIRS: Final = KeyType(parse_pairs, {"type": "object", "additionalProperties": _TEXT})
BUILD_ARGS: Final = KeyType(
    parse_build_args,
    {
        "type": "object",
        "additionalProperties": False,
        "patternProperties": {f"^{VARIABLE}$": _TEXT},
    },
)
PATTERN: Final = KeyType(parse_pattern, {"type": "string", "format": "regex"})
NUMBER: Final = KeyType(parse_number, {"type": "integer", "minimum": 0})
NUMBERS: Final = KeyType(parse_numbers, _listed({"type": "integer", "minimum": 0}))
SIZE: Final = KeyType(
    parse_size,
    {"type": "string", "pattern": r"^\s*[0-9.]+ ?(B|kB|MB|GB|KiB|MiB|GiB)\s*$"},
)
PORT: Final = KeyType(parse_port, {"type": "integer", "minimum": 0, "maximum": LAST_PORT})
FLAG: Final = KeyType(parse_flag, {"type": "boolean"})


def choice(parse: Callable[..., T], names: Iterable[str]) -> KeyType[T]:
    """Return the type of a key that takes one of some names."""
    return KeyType(parse, {"enum": [str(name) for name in names]})


def parse_fields(
    value: object, known: Mapping[str, Callable[[object], Any]], where: str
) -> dict[str, Any]:
    """Return the keyword arguments that a table holds.

    Args:
        known: how each of its keys is read.
        where: comes before a key that is not known, such as `smoke.`.
    """
    if not isinstance(value, Mapping):
        raise MismatchError("a table")

    def check() -> tuple[str, Any]:
        check_keys(value, known, where=where)
        return "", None

    def field(key: str) -> tuple[str, Any]:
        return key.replace("-", "_"), _field(known[key], where + key, value[key])

    fields: list[Callable[[], tuple[str, Any]]] = [
        check,
        *(partial(field, key) for key in value if key in known),
    ]
    return dict(pair for pair in gathered(fields) if pair[0])


def _field(parse: Callable[[object], T], key: str, value: object) -> T:
    try:
        return parse(value)
    except MismatchError as error:
        raise error if error.key else MismatchError(str(error), key, value) from error
