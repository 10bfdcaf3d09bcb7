"""What is printed before any task begins: the list, help, and what is wrong with the words."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import nullcontext

import pytest
from conftest import Checkout
from invoke.exceptions import Exit

from buildlib.tasks import collection
from buildlib.tasks.collection import GROUPS, TASKS

pytestmark = pytest.mark.unmeasured

Make = Callable[..., Checkout]
NAMES = [*TASKS]


def test_the_list_is_grouped_by_work_with_a_line_for_each_task(make_checkout: Make) -> None:
    checkout = make_checkout()
    listed = checkout.invoke("--list", COLUMNS="80")
    lines = listed.stdout.splitlines()
    assert [line for line in lines if line and line[0] != " "][:-1] == list(GROUPS)
    assert [line.split()[0] for line in lines if line.startswith("  ")] == NAMES
    assert max(map(len, lines)) <= 80
    assert "…" not in listed.stdout
    for words in ([], ["-l"], ["--dry"]):
        assert checkout.invoke(*words, COLUMNS="80").stdout == listed.stdout
    narrow = checkout.invoke(COLUMNS="40").stdout.splitlines()
    assert 36 < max(map(len, narrow[:-1])) <= 40
    # Cut between words.
    known = {word for line in lines for word in line.split()} | {"…"}
    assert {word for line in narrow for word in line.split()} <= known


def test_the_list_for_programs_is_invoke_s_own(make_checkout: Make) -> None:
    done = make_checkout().invoke("--list", "--list-format=json")
    assert done.stdout.startswith('{"name"')
    assert "docker-build\n" in make_checkout(folder="b").invoke("--complete", "--", "").stdout


@pytest.mark.parametrize("name", NAMES)
def test_help_behind_a_task_is_that_of_the_task(make_checkout: Make, name: str) -> None:
    checkout = make_checkout()
    before, behind = checkout.invoke("--help", name), checkout.invoke(name, "--help")
    assert (behind.returncode, behind.stderr) == (0, "")
    assert re.match(rf"Usage: invoke {name}(?: [A-Z]+)*(?: \[OPTIONS\])?\n\n\w", behind.stdout)
    assert behind.stdout == before.stdout
    options = before.stdout.partition("Options:\n")[2].rstrip().splitlines()
    assert max(map(len, before.stdout.splitlines())) <= 80
    narrow = checkout.invoke(name, "--help", COLUMNS="60").stdout
    assert max(map(len, narrow.splitlines())) <= 60
    bare = [line for line in options if re.fullmatch(r"  -\S+(?: STRING| INT)?(?:, -\S+)?", line)]
    assert bare == []


WRONG = {
    "docker-biuld": "there is no task 'docker-biuld'\n  did you mean docker-build?",
    "--help docker-biuld": "there is no task 'docker-biuld'\n  did you mean docker-build?",
    "zzz": "there is no task 'zzz'\n  invoke --list lists the tasks",
    "version zzz": "there is no task 'zzz'\n  invoke --list lists the tasks",
    "docker-run --prot 80": "docker-run has no option --prot\n  did you mean --port?",
    "docker-run --prot=80": "docker-run has no option --prot\n  did you mean --port?",
    "config --jsn version": "config has no option --jsn\n  did you mean --json?",
    "docker-promote x": "docker-promote needs TAG\n  invoke --help docker-promote",
    "docker-size --top x": "--top needs a number, not 'x'\n",
    "docker-build --jobs=x": "--jobs needs a number, not 'x'\n",
    "--vrsion": "there is no option --vrsion\n  did you mean --version?",
    "docker-build -only app": "docker-build has no option -only\n  did you mean --only?",
    "tag minro": "'minro' is not a version by version-scheme = \"semver\"\n  did you mean minor?",
}


@pytest.mark.parametrize(("words", "said"), WRONG.items(), ids=WRONG)
def test_what_is_not_known_is_refused_with_the_nearest(
    make_checkout: Make, words: str, said: str
) -> None:
    done = make_checkout().invoke(*words.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {said}")


OWN = """\
from invoke import task
from buildlib.tasks import collection

namespace = collection()

@task
def docker_builds(context, name=""):
    print("ours", name)

namespace.add_task(docker_builds)

@task
def clean(context, everything=False):
    "Remove what only this repository has."
    print("cleaned", everything)

namespace.add_task(clean)
"""


def test_a_repository_s_own_tasks_are_not_refused(make_checkout: Make) -> None:
    checkout = make_checkout()
    (checkout.root / "tasks.py").write_text(OWN, encoding="utf-8")
    assert checkout.invoke("docker-builds", "--name", "x").stdout == "ours x\n"
    assert re.search("^  docker-builds", checkout.invoke("--list").stdout, re.MULTILINE)
    # Which other tasks there are, and what options they have, is for Invoke to know.
    for words in (["docker-biuld"], ["docker-build", "--platfrom"]):
        done = checkout.invoke(*words)
        assert (done.returncode, "No idea what" in done.stderr) == (1, True)


def test_a_task_of_a_repository_s_own_may_have_a_name_of_ours(make_checkout: Make) -> None:
    checkout = make_checkout()
    (checkout.root / "tasks.py").write_text(OWN, encoding="utf-8")
    assert checkout.invoke("clean", "--everything").stdout == "cleaned True\n"
    assert "what only this repository has" in checkout.invoke("--help", "clean").stdout


@pytest.mark.parametrize(
    ("program", "read"),
    [
        ("/venv/bin/invoke", True),
        ("inv", True),
        ("/lib/invoke/__main__.py", True),
        ("/venv/bin/buildlib", True),
        ("/lib/buildlib/__main__.py", True),
        ("/venv/bin/pytest", False),
        ("/lib/pytest/__main__.py", False),
        ("/buildlib/x.py", False),
        ("", False),
    ],
)
def test_the_words_of_another_program_are_not_read(
    monkeypatch: pytest.MonkeyPatch, program: str, *, read: bool
) -> None:
    monkeypatch.setattr("sys.argv", [program, "tests", "--flag"])
    with pytest.raises(Exit) if read else nullcontext():
        collection(complete=True)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("version", {"version"}),
        ("docker-build --tag tag docker-run", {"docker-build", "docker-run", "tag"}),
        ("--list docker version", set()),
        ("--list-format json --list", set()),
    ],
)
def test_invoke_gets_the_tasks_that_are_named_where_none_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, words: str, names: set[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["invoke", *words.split()])
    assert set(collection(complete=True).task_names) == (names or set(NAMES))
    # A repository's own tasks may run those before or after them.
    assert set(collection().task_names) == set(NAMES)
