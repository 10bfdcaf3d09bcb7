"""Frozen dataclasses that are quick to make, for what nearly every task loads.

The standard library writes and compiles six functions for each class. For two dozen classes that
takes as long as importing plumbum, at every start. Here all classes share the same functions,
and the standard library does the rest: `fields`, `replace` and `asdict` work as with its own.
What makes many objects, rather than many classes, is better off with its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, FrozenInstanceError, dataclass, fields
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, TypeVar

T = TypeVar("T")

__all__ = ["record"]


class _Recipe(NamedTuple):
    """What an object is filled with where it is not told otherwise."""

    needed: frozenset[str]
    values: Mapping[str, object]
    factories: Mapping[str, Callable[[], object]]

    @property
    def known(self) -> set[str]:
        return {*self.needed, *self.values, *self.factories}


_RECIPES: Final[dict[type, _Recipe]] = {}


def _recipe(cls: Any) -> _Recipe:  # noqa: ANN401 - any dataclass
    values = {one.name: one.default for one in fields(cls) if one.default is not MISSING}
    made = {
        one.name: one.default_factory for one in fields(cls) if one.default_factory is not MISSING
    }
    needed = {one.name for one in fields(cls)} - values.keys() - made.keys()
    return _Recipe(frozenset(needed), values, made)


def _init(self: object, **given: object) -> None:
    recipe = _RECIPES[type(self)]
    wrong = (recipe.needed - given.keys()) | (given.keys() - recipe.known)
    if wrong:
        names = ", ".join(sorted(wrong))
        raise TypeError(f"{type(self).__name__}: missing or unknown: {names}")
    made = {name: make() for name, make in recipe.factories.items() if name not in given}
    vars(self).update({**recipe.values, **made, **given})


def _values(self: Any) -> tuple[object, ...]:  # noqa: ANN401 - any dataclass
    return tuple(getattr(self, one.name) for one in fields(self))


def _repr(self: Any) -> str:  # noqa: ANN401 - any dataclass
    inside = ", ".join(f"{one.name}={getattr(self, one.name)!r}" for one in fields(self))
    return f"{type(self).__qualname__}({inside})"


def _eq(self: object, other: object) -> bool:
    return _values(self) == _values(other) if type(other) is type(self) else NotImplemented


def _hash(self: object) -> int:
    return hash(_values(self))


def _setattr(_self: object, name: str, _value: object) -> NoReturn:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _delattr(_self: object, name: str) -> NoReturn:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


_SHARED: Final = {
    "__init__": _init,
    "__repr__": _repr,
    "__eq__": _eq,
    "__hash__": _hash,
    "__setattr__": _setattr,
    "__delattr__": _delattr,
}

if TYPE_CHECKING:
    # To a type checker it is a dataclass like any other.
    from dataclasses import dataclass as record
else:

    def record(*, frozen: bool, kw_only: bool) -> Callable[[type[T]], type[T]]:
        """Make the class a frozen dataclass whose fields are given by name.

        Args:
            frozen: True; said for whoever reads the class, and for type checkers.
            kw_only: the same.
        """
        if not (frozen and kw_only):
            raise TypeError("a record is frozen, and its fields are given by name")

        def make(cls: type[T]) -> type[T]:
            for name in _SHARED.keys() - vars(cls).keys():
                setattr(cls, name, _SHARED[name])
            made = dataclass(init=False, repr=False, eq=False, kw_only=True)(cls)
            _RECIPES[made] = _recipe(made)
            return made

        return make
