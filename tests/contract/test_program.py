"""The program `buildlib`, in a repository without a tasks.py."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable

import pytest
from conftest import Checkout, run_process
from inprocess import run_task

Make = Callable[..., Checkout]


@pytest.fixture
def bare(make_checkout: Make) -> Checkout:
    made = make_checkout("FROM scratch AS final\n")
    (made.root / "tasks.py").unlink()
    return made


def _run(checkout: Checkout, *words: str) -> subprocess.CompletedProcess[str]:
    env = checkout.environment({"COLUMNS": "80"})
    return run_task(words, checkout.root, env, program="buildlib")


def _run_process(checkout: Checkout, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "buildlib", *words]
    return run_process(argv, checkout.root, checkout.environment({"COLUMNS": "80"}))


@pytest.mark.parametrize(("line", "code"), [("config --json", 0), ("docker-biuld", 2)])
def test_a_process_of_its_own_gives_what_these_tests_see(
    bare: Checkout, line: str, code: int
) -> None:
    here, there = _run(bare, *line.split()), _run_process(bare, *line.split())
    assert (here.returncode, here.stdout, here.stderr) == (code, there.stdout, there.stderr)
    assert there.returncode == code


def test_its_tasks_are_those_of_invoke(make_checkout: Make, bare: Checkout) -> None:
    other = make_checkout("FROM scratch AS final\n", folder="other")
    for words in (["version"], ["config", "--json"], ["--help", "tag"]):
        done, invoked = _run(bare, *words), other.invoke(*words, COLUMNS="80")
        assert (done.returncode, done.stderr) == (0, invoked.stderr)
        expected = invoked.stdout.replace(str(other.root), str(bare.root))
        expected = expected.replace(other.image, bare.image)
        assert done.stdout.replace("Usage: buildlib ", "Usage: invoke ") == expected


def test_what_it_advises_can_be_typed(make_checkout: Make, bare: Checkout) -> None:
    other = make_checkout("FROM scratch AS final\n", folder="other")
    for words in (
        ["docker-size", "--image", "gone.tar"],
        ["docker-size", "--image", "gone.tar", "--json"],
        ["--help", "docker-run"],
    ):
        # The program's name is that of its process.
        done, invoked = _run_process(bare, *words), other.invoke(*words, COLUMNS="80")
        assert done.returncode == invoked.returncode
        own, others = (" ".join((one.stdout + one.stderr).split()) for one in (done, invoked))
        assert re.search("buildlib (docker-build|doctor)", own)
        assert re.search("invoke (docker-build|doctor)", others)
        assert not re.search("invoke (docker-|doctor)", own)


def test_the_help_of_a_task_names_the_program_and_its_arguments(bare: Checkout) -> None:
    for name, words in (("tag", "tag NAME"), ("docker-promote", "docker-promote DIGEST TAG")):
        done = _run(bare, name, "--help")
        assert done.stdout.startswith(f"Usage: buildlib {words} [OPTIONS]\n"), done.stdout


def test_its_help_lists_the_tasks_by_their_work(bare: Checkout) -> None:
    listed = _run(bare).stdout
    assert listed.startswith("Build\n  docker-build ")
    assert listed.endswith("\n\nbuildlib TASK --help explains a task and its options.\n")
    assert _run(bare, "--list").stdout == listed
    with_options = _run(bare, "--help").stdout
    assert with_options.startswith("Usage: buildlib [")
    assert with_options.endswith(listed)


def test_what_it_does_not_know_is_refused_with_the_nearest(bare: Checkout) -> None:
    done = _run(bare, "docker-biuld")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: there is no task 'docker-biuld'\n  did you mean docker-build?\n"
    done = _run(bare, "zzz")
    assert (done.returncode, "buildlib --list lists the tasks" in done.stderr) == (2, True)


def test_a_reader_that_has_enough_ends_it_quietly(bare: Checkout) -> None:
    line = f"{sys.executable} -m buildlib --help docker-build | true"
    done = run_process(["sh", "-c", line], bare.root, bare.environment({}))
    assert (done.returncode, done.stderr) == (0, "")


MAIN = """
import signal, sys
from buildlib.__main__ import main

sys.argv = ["buildlib", "version"]
main()
print(signal.getsignal(signal.SIGTERM).__module__, sys.dont_write_bytecode)
"""


@pytest.mark.parametrize("setting", [None, "1"])
def test_a_signal_between_its_tasks_is_ours_as_well_and_byte_code_is_kept(
    bare: Checkout, setting: str | None
) -> None:
    env = bare.environment({"PYTHONDONTWRITEBYTECODE": setting})
    done = run_process([sys.executable, "-c", MAIN], bare.root, env)
    expected = f"buildlib.interrupts {bool(setting)}"
    assert (done.returncode, done.stdout.splitlines()[1:]) == (0, [expected])
