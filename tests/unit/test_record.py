"""Records behave as the standard library's frozen dataclasses; each row is tried on both."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, asdict, dataclass, field, fields, replace
from typing import Any

import pytest

from buildlib.record import record


@record(frozen=True, kw_only=True)
class Ours:
    name: str
    count: int = 3
    pairs: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Theirs:
    name: str
    count: int = 3
    pairs: dict[str, int] = field(default_factory=dict)


def _both(made: Callable[[Any], object]) -> list[object]:
    """Return what comes of both kinds; a class's own name does not count."""
    found: list[object] = []
    for kind in (Ours, Theirs):
        try:
            found.append(str(made(kind)).replace(kind.__name__, "Kind"))
        except (TypeError, FrozenInstanceError) as error:
            found.append(type(error))
    return found


def _assign(one: Any) -> None:  # noqa: ANN401 - of either kind
    one.count = 4


def _delete(one: Any) -> None:  # noqa: ANN401 - the same
    del one.count


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(lambda kind: kind(name="a"), id="defaults are filled in"),
        pytest.param(lambda kind: kind(count=1, name="a", pairs={"x": 1}), id="any order"),
        pytest.param(lambda kind: kind(), id="one that is needed is missing"),
        pytest.param(lambda kind: kind(name="a", nmae="b"), id="one that nobody knows"),
        pytest.param(lambda kind: kind("a"), id="one without its name"),
        pytest.param(lambda kind: _assign(kind(name="a")), id="nothing can be assigned"),
        pytest.param(lambda kind: _delete(kind(name="a")), id="nothing can be deleted"),
        pytest.param(lambda kind: replace(kind(name="a"), count=9), id="replace"),
        pytest.param(lambda kind: replace(kind(name="a"), cuont=9), id="replace what is not there"),
        pytest.param(lambda kind: asdict(kind(name="a", pairs={"x": 1})), id="asdict"),
        pytest.param(lambda kind: [one.name for one in fields(kind)], id="fields, in their order"),
        pytest.param(lambda kind: kind(name="a") == kind(name="a"), id="equal by value"),
        pytest.param(lambda kind: kind(name="a") == kind(name="b"), id="not equal by value"),
        pytest.param(lambda kind: kind(name="a") == ("a", 3, {}), id="not equal to another kind"),
        pytest.param(lambda kind: hash(kind(name="a", pairs={})), id="no hash of what has none"),
        pytest.param(lambda kind: hash(kind(name="a", pairs=())), id="the same hash"),
        pytest.param(lambda kind: copy.deepcopy(kind(name="a")) == kind(name="a"), id="copied"),
        pytest.param(
            lambda kind: pickle.loads(pickle.dumps(kind(name="a"))) == kind(name="a"),  # noqa: S301 - made on this line
            id="pickled",
        ),
        pytest.param(lambda kind: kind(name="a").pairs is kind(name="a").pairs, id="not shared"),
    ],
)
def test_a_record_does_as_a_frozen_dataclass(made: Callable[[Any], object]) -> None:
    ours, theirs = _both(made)
    assert ours == theirs


def test_methods_of_its_own_are_kept() -> None:
    @record(frozen=True, kw_only=True)
    class Named:
        name: str

        def __repr__(self) -> str:
            return self.name

    assert repr(Named(name="x")) == "x"


def test_a_record_is_nothing_but_frozen() -> None:
    options: dict[str, Any] = {"frozen": False, "kw_only": True}
    with pytest.raises(TypeError, match="frozen"):
        record(**options)(Ours)
