"""What an image's configuration says: tables, and properties over any configuration."""

from __future__ import annotations

import pytest
from characters import ANY
from hypothesis import given
from hypothesis import strategies as st

from buildlib.image.runtime_config import (
    Account,
    account_of,
    explicit_group,
    exposed_ports,
    health_command,
    main_command,
    program_candidates,
    stop_signal,
)

FILE = """\
root:x:0:0:root:/root:/bin/sh
# a line of somebody's
app:x:1000:3000::/:/bin/sh
app:x:1001:1:the second of its name:/:/bin/sh
broken
web:x:33:33::/:/bin/false
"""
GROUP = "root:x:0:\nown:x:3000:\nmore:x:2000:web,app\nother:x:2001:apple\nlast:x:44:app\n"
ACCOUNTS = {
    "": Account(0, 0),
    "0": Account(0, 0),
    "root": Account(0, 0),
    "app": Account(1000, 3000, frozenset({2000, 44})),
    # A number is looked up as well, and has the groups of its name.
    "1000": Account(1000, 3000, frozenset({2000, 44})),
    "1000:": Account(1000, 3000, frozenset({2000, 44})),
    # A group that is named leaves the others out.
    "app:0": Account(1000, 0),
    "app:own": Account(1000, 3000),
    "1000:2000": Account(1000, 2000),
    "web": Account(33, 33, frozenset({2000})),
    # What is not in the files is in group root.
    "4711": Account(4711, 0),
    "4711:12": Account(4711, 12),
    "4711:more": Account(4711, 2000),
    "nobody-here": None,
    "app:nothing": None,
}


@pytest.mark.parametrize(("user", "account"), ACCOUNTS.items(), ids=ACCOUNTS)
def test_whom_user_means(user: str, account: Account | None) -> None:
    assert account_of(user, FILE, GROUP) == account


NUMBERS = st.integers(0, 2**31 - 1)


@given(NUMBERS, NUMBERS, st.text(ANY, max_size=80), st.text(ANY, max_size=80))
def test_two_numbers_are_taken_as_they_are(user: int, group: int, passwd: str, groups: str) -> None:
    found = account_of(f"{user}:{group}", passwd, groups)
    assert found
    assert found == Account(user, group)
    assert explicit_group(f"{user}:{group}", user) == group


@given(NUMBERS)
def test_a_number_without_files_is_in_group_root(user: int) -> None:
    assert account_of(str(user), "", "") == Account(user, 0)


def test_a_group_counts_where_the_user_is_the_one_that_is_meant() -> None:
    assert explicit_group("472:0", 472) == 0
    assert [explicit_group(user, 472) for user in ("472", "", "grafana:0", "1:0")] == [472] * 4


COMMANDS = {
    "nothing": ({}, ()),
    "no kind": ({"Healthcheck": {"Test": []}}, ()),
    "none": ({"Healthcheck": {"Test": ["NONE"]}}, ()),
    "words": ({"Healthcheck": {"Test": ["CMD", "/check", "a b"]}}, ("/check", "a b")),
    "a line": ({"Healthcheck": {"Test": ["CMD-SHELL", "a | b"]}}, ("/bin/sh", "-c", "a | b")),
    "a line for a shell of its own": (
        {
            "Shell": ["/bin/bash", "-o", "pipefail", "-c"],
            "Healthcheck": {"Test": ["CMD-SHELL", "x"]},
        },
        ("/bin/bash", "-o", "pipefail", "-c", "x"),
    ),
    "words in spite of a shell": (
        {"Shell": ["/bin/bash", "-c"], "Healthcheck": {"Test": ["CMD", "x"]}},
        ("x",),
    ),
    "a kind that engines do not know": ({"Healthcheck": {"Test": ["TCP", "80"]}}, ()),
    "null": ({"Healthcheck": None, "Shell": None}, ()),
}  # fmt: skip


@pytest.mark.parametrize(("runtime", "words"), COMMANDS.values(), ids=COMMANDS)
def test_what_healthcheck_runs(runtime: dict[str, object], words: tuple[str, ...]) -> None:
    assert health_command(runtime) == words


def test_what_a_container_runs() -> None:
    assert main_command({}) == ()
    assert main_command({"Entrypoint": None, "Cmd": ["a"]}) == ("a",)
    assert main_command({"Entrypoint": ["e", "-x"], "Cmd": ["a"]}) == ("e", "-x", "a")
    # A lone text is one word, never its letters.
    assert main_command({"Entrypoint": "run me"}) == ("run me",)


SIGNALS = {
    "": 15,
    "SIGTERM": 15,
    "term": 15,
    "SIGQUIT": 3,
    "QUIT": 3,
    "3": 3,
    "SIGINT": 2,
    "SIGUSR1": 10,
    "SIGWINCH": 28,
    "SIGRTMIN": 34,
    "SIGRTMIN+3": 37,
    "rtmax-1": 63,
    "SIGNONSENSE": 15,
}


@pytest.mark.parametrize(("name", "number"), SIGNALS.items())
def test_the_signal_that_stops(name: str, number: int) -> None:
    assert stop_signal({"StopSignal": name}) == number


def test_the_ports_of_expose() -> None:
    ports: dict[str, object] = {"8080/tcp": {}, "53/udp": {}, "80": {}, "nonsense": {}}
    assert exposed_ports({"ExposedPorts": ports}) == (80, 8080)
    assert exposed_ports({"ExposedPorts": None}) == ()


def test_where_a_program_is_looked_for() -> None:
    env = {"Env": ["A=b", "PATH=/opt/bin:/usr/bin/:relative:"], "WorkingDir": "/app"}
    assert program_candidates("python3", env) == ("/opt/bin/python3", "/usr/bin/python3")
    assert program_candidates("/app.py", env) == ("/app.py",)
    assert program_candidates("./run", env) == ("/app/./run",)
    assert "/usr/bin/x" in program_candidates("x", {})
    assert program_candidates("", env) == ()
