"""An option that takes a value never counts as left out where its value is empty or missing."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
from conftest import Checkout
from invoke.exceptions import Exit
from invoke.parser.argument import Argument
from invoke.parser.context import to_flag

from buildlib.tasks import collection
from buildlib.tasks.options import check_values, fresh

pytestmark = pytest.mark.unmeasured

Make = Callable[..., Checkout]
TASKS = {task.name.replace("_", "-"): task for task in collection().tasks.values()}


def _flags(name: str, wanted: Callable[[Argument], bool]) -> list[str]:
    """Return the options of a task that are wanted."""
    arguments = fresh(TASKS[name]).get_arguments()
    return [to_flag(str(one.name)) for one in arguments if wanted(one)]


def _all_flags(wanted: Callable[[Argument], bool]) -> dict[str, list[str]]:
    """Return such options of each task that has any."""
    return {name: flags for name in TASKS if (flags := _flags(name, wanted))}


@cache
def _positional(name: str) -> list[str]:
    return ["x" for _ in _flags(name, lambda one: bool(one.positional))]


OPTIONS = _all_flags(lambda one: bool(one.takes_value))
# These have a value of their own without one.
BARE = _all_flags(lambda one: bool(one.optional))
WITHOUT = {"nothing at all", "another option", "the end of our words"}
FORMS: dict[str, Callable[[str], list[str]]] = {
    "an empty word": lambda flag: [flag, ""],
    "blanks": lambda flag: [flag, " \t"],
    "nothing after =": lambda flag: [f"{flag}="],
    "nothing at all": lambda flag: [flag],
    "another option": lambda flag: [flag, flag],
    "another option's value": lambda flag: [flag, "x", flag, ""],
    "the end of our words": lambda flag: [flag, "--", "x"],
}


# "$ONE,$TWO", and neither is set.
LISTS = _all_flags(lambda one: one.kind is list)


def _load(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr("sys.argv", ["invoke", *words])
    collection()


def test_there_are_options_to_try() -> None:
    assert sum(map(len, OPTIONS.values())) > 60
    assert "--registry" in OPTIONS["docker-publish"]
    assert "--tag" in OPTIONS["docker-build"]


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_without_its_value_ends_with_2_and_its_name(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for flag in OPTIONS[name]:
        forms = FORMS.keys() - (WITHOUT if flag in BARE.get(name, ()) else set())
        for form in map(FORMS.__getitem__, sorted(forms)):
            for before in ([name], ["--echo", "docker." + name], ["config", name]):
                with pytest.raises(Exit, match=f"error: {flag} needs a value") as caught:
                    _load(monkeypatch, *before, *_positional(name), *form(flag))
                assert caught.value.code == 2


@pytest.mark.parametrize("name", BARE)
def test_an_option_may_have_a_value_of_its_own(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for flag in BARE[name]:
        for words in ([flag], [flag, "--dry-run"], [flag, "x"]):
            _load(monkeypatch, name, *words)


@pytest.mark.parametrize("value", [",", " , ,", "\n", "\t,\r\n"])
@pytest.mark.parametrize("name", LISTS)
def test_a_list_of_nothing_is_empty(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for flag in LISTS[name]:
        for words in ([flag, value], [f"{flag}={value}"], [flag, "x", flag, value]):
            with pytest.raises(Exit, match=f"{flag} needs a value"):
                _load(monkeypatch, name, *_positional(name), *words)
        _load(monkeypatch, name, *_positional(name), flag, "x,")


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_with_its_value_is_taken(name: str) -> None:
    for flag in OPTIONS[name]:
        twice = [flag, "x", flag, "y"]
        for words in ([flag, "x"], [f"{flag}=x"], twice, [flag, "x="], [flag, "--a="]):
            check_values(["invoke", name, *_positional(name), *words], TASKS)


@pytest.mark.parametrize("name", TASKS)
def test_an_empty_argument_ends_with_2(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Exit, match=f"an argument of {name} is empty") as caught:
        _load(monkeypatch, name, "")
    assert caught.value.code == 2


def test_what_is_not_ours_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    for words in (["theirs", "--registry", ""], ["--list", ""], ["docker-run", "--", "--name", ""]):
        _load(monkeypatch, *words)


@pytest.mark.parametrize(
    "words",
    [
        ["docker-publish", "--dry-run", "--registry"],
        ["docker-publish", "--registry", "", "--dry-run"],
        ["docker-build", "--platform", "--dry-run"],
        ["docker-build", "--dry-run", "--build-arg="],
        ["docker-build", "--dry-run", "--target", ""],
        ["docker-smoke", "--jobs", ""],
        ["docker-build", "--dry-run", "--tag", ","],
    ],
)
def test_a_user_sees_it_before_anything_starts(make_checkout: Make, words: list[str]) -> None:
    done = make_checkout().invoke(*words)
    assert (done.returncode, done.stdout) == (2, "")
    (flag,) = {word.rstrip("=") for word in words if word.startswith("--")} - {"--dry-run"}
    assert f"error: {flag} needs a value" in done.stderr
