"""What the tasks around a container print, where the engine is a table of answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from buildlib.commands import run as run_commands
from buildlib.config.load import load_config
from buildlib.errors import EngineError, InputError, ToolError
from buildlib.executor import Completed
from buildlib.terminal.console import Console

from fakes import FakeExecutor, a_console, showing, write_project

EVIL = "::error::x\x1b[2J"


def _container(name: str, host: str) -> dict[str, object]:
    ports = {"80/tcp": [{"HostIp": host, "HostPort": "8080"}]}
    labels = {"buildlib.run": "thing"}
    return {
        "Id": name,
        "Name": f"/{name}",
        "Config": {"Labels": labels, "Image": "thing"},
        "State": {"Status": "running"},
        "NetworkSettings": {"Ports": ports},
    }


def _edge(
    monkeypatch: pytest.MonkeyPatch,
    console: Console,
    *,
    host: str = "127.0.0.1",
    owner: str = "thing",
) -> object:
    monkeypatch.setattr(run_commands, "connect", lambda _: None)
    found = json.dumps([_container("thing", host)])
    executor = FakeExecutor(
        {
            ("docker", "ps"): Completed(code=0, stdout="thing\n"),
            ("docker", "container"): Completed(code=0, stdout=found),
            ("docker", "logs"): Completed(code=0),
        }
    )
    executor.lines = ["first", EVIL]
    return SimpleNamespace(
        executor=executor, console=console, config=lambda: SimpleNamespace(owner=owner), dry=False
    )


def test_the_log_of_a_container_is_no_command_to_github(monkeypatch: pytest.MonkeyPatch) -> None:
    console, out, err = a_console(GITHUB_ACTIONS="true")
    run = _edge(monkeypatch, console)
    assert run_commands.logs(run, "", follow=True) == 0  # type: ignore[arg-type]
    assert (out.getvalue(), err.getvalue()) == ("first\n: :error::x\n", "")


def test_containers_are_those_of_the_image_and_the_suffix_of_its_tags(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    console, out, _ = a_console()
    run = _edge(monkeypatch, console, owner="thing:latest-slim")
    run_commands.status(run, as_json=False)  # type: ignore[arg-type]
    assert "thing" in out.getvalue()
    asked = [argv[-1] for argv in run.executor.asked if argv[1] == "ps"]  # type: ignore[attr-defined]
    assert asked[0] == "label=buildlib.run=thing:latest-slim"


def test_a_container_that_takes_its_time_to_stop_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    console, _, _ = a_console()
    shown = showing(monkeypatch)
    run: Any = _edge(monkeypatch, console)
    with pytest.raises(ToolError):
        run_commands.stop(run, "")
    assert shown == ["stopping thing"]


def test_elsewhere_docker_prints_the_log_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    console, out, _ = a_console()
    run = _edge(monkeypatch, console)
    assert run_commands.logs(run, "thing", follow=False) == 0  # type: ignore[arg-type]
    assert out.getvalue() == ""


@pytest.mark.parametrize(
    ("host", "address"),
    [("0.0.0.0", "http://0.0.0.0:8080"), ("::", "http://[::]:8080"), ("::1", "http://[::1]:8080")],
)
def test_an_address_is_one_in_the_status_too(
    monkeypatch: pytest.MonkeyPatch, host: str, address: str
) -> None:
    console, out, _ = a_console()
    run = _edge(monkeypatch, console, host=host)
    run_commands.status(run, as_json=True)  # type: ignore[arg-type]
    (row,) = json.loads(out.getvalue())["containers"]
    assert row["address"] == address


@pytest.mark.parametrize(
    ("code", "there", "clear"), [(0, 0, False), (127, 0, False), (127, 1, True), (126, 126, True)]
)
def test_a_program_that_the_container_does_not_have_is_named(
    monkeypatch: pytest.MonkeyPatch, code: int, there: int, *, clear: bool
) -> None:
    console, _, _ = a_console()
    run: Any = _edge(monkeypatch, console)
    executor: FakeExecutor = run.executor
    executor.answers["docker", "exec"] = Completed(code=there)
    asked: list[Sequence[str]] = []

    def attach(argv: Sequence[str], **_: object) -> int:
        asked.append(argv)
        return code

    monkeypatch.setattr(executor, "attach", attach)
    if clear:
        with pytest.raises(EngineError, match="the container can't run 'nosuch'"):
            run_commands.shell(run, "", "nosuch -la 'a b'")
    else:
        assert run_commands.shell(run, "", "nosuch -la 'a b'") == code
    assert asked == [("docker", "exec", "--interactive", "thing", "nosuch", "-la", "a b")]


@pytest.mark.parametrize("command", ["", "'sh"])
def test_a_command_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    run: Any = _edge(monkeypatch, a_console()[0])
    with pytest.raises(InputError, match="--command can't be read"):
        run_commands.shell(run, "", command)


def test_cleaning_goes_on_where_one_image_of_several_keeps_no_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    console, out, err = a_console()
    monkeypatch.setattr(run_commands, "connect", lambda _: None)
    text = 'image = "thing"\n[images.base]\n[images.app]\n'
    write_project(tmp_path, text)
    config = load_config(tmp_path, {}, image="base")
    run = SimpleNamespace(
        executor=FakeExecutor(
            {
                ("docker", "image", "ls"): Completed(code=0, stdout="thing:1\n"),
                ("docker",): Completed(code=0),
            }
        ),
        console=console,
        config=lambda: config,
        env={},
        dry=True,
    )
    run_commands.clean(run, images=True, data=True, data_dir="", yes=True)  # type: ignore[arg-type]
    assert (out.getvalue(), err.getvalue()) == ("image thing:1\n", "base keeps no data\n")
