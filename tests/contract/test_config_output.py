"""What `config` prints can be pasted into a file, and means the same there."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from conftest import Checkout

from buildlib.commands.info import show_config
from buildlib.commands.session import Edge
from buildlib.config.config import Config
from buildlib.config.load import load_config
from buildlib.config.toml_text import toml_value

FULL = r"""
image = "reg.example/team/thing"
platforms = ["linux/amd64", "linux/arm64/v8"]
context = { path = "src", include = ["a b"] }
inject = { VERSION = "APP_VERSION", CREATED = false }
tags = { rules = ["{version}", { template = "latest", on = ["release"] }] }
[labels]
"com.example/odd" = "quotes \" and \\ and ü"
[build-args]
A = "{version}"
[secrets]
token = { env = "TOKEN" }
[base-images]
"alpine:3.22" = "docker-image://mirror.example/alpine:3.22"
[registries.main]
repository = "reg.example/team/thing"
immutable = ["*.*.*"]
[registries."two.words"]
repository = "other.example/thing"
tags = { rules = ["{version}"] }
[smoke]
port = 8080
size-budget = "20 MB"
health-version = { path = "/version" }
commands = [{ run = ["--help"], stdout = "^Usage: \\d" }, ["version"]]
[run]
cpus = 1.5
[run.services.db]
image = "db:1"
env = { A = "b" }
[[policy.ignore]]
rule = "non-root"
reason = "it drops root"
until = 2030-01-31
[builders.farm]
driver = "remote"
nodes = [{ endpoint = "tcp://build-1:1234" }]
"""


def _printed(root: Path, env: dict[str, str], capsys: pytest.CaptureFixture[str]) -> str:
    show_config(Edge(root, env, dry=False, quiet=True), as_json=False)
    return capsys.readouterr().out


def _values(config: Config) -> dict[str, Any]:
    own = {"root", "file", "sources"}
    return {one.name: getattr(config, one.name) for one in fields(config) if one.name not in own}


@pytest.mark.parametrize("name", ["buildlib.toml", "pyproject.toml"])
@pytest.mark.parametrize("text", ['image = "thing"\n', FULL], ids=["little", "all kinds"])
def test_what_is_printed_means_the_same_in_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    if name == "pyproject.toml":
        text = f"[tool.buildlib]\n{text}".replace("\n[", "\n[tool.buildlib.")
        text = text.replace(".[policy", "_").replace("[tool.buildlib_", "[[tool.buildlib.policy")
    (first / name).write_text(text, encoding="utf-8")
    mapped = tmp_path / "map.toml"
    mapped.write_text('[base-images]\n"b:1" = "oci-layout:///b"\n', encoding="utf-8")
    env = {"BUILDLIB_BASE_IMAGES": str(mapped), "BUILDLIB_CACHE_FROM": "type=gha type=inline"}
    printed = _printed(first, env, capsys)
    (second / name).write_text(printed, encoding="utf-8")
    config = load_config(first, env)
    assert _values(load_config(second, {})) == _values(config)
    # A default is there as well, and is a comment.
    assert '# dockerfile = "Dockerfile"\n' in printed
    assert 'image = "' in printed
    assert f"# file ({name})" in printed
    assert "null" not in printed
    assert "None" not in printed


def test_the_comments_are_what_counts_where_nothing_is_configured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = 'image = "thing"\n[smoke]\nport = 80\n[run]\nuser = 1\n[publish]\nsign = false\n'
    (tmp_path / "buildlib.toml").write_text(text, encoding="utf-8")
    printed = _printed(tmp_path, {}, capsys)
    uncommented = "\n".join(
        line.removeprefix("# ") if " = " in line or line.startswith("# [") else line
        for line in printed.splitlines()
    )
    assert "start-timeout = 30" in uncommented
    (tmp_path / "buildlib.toml").write_text(uncommented, encoding="utf-8")
    before = tomllib.loads(text)
    assert tomllib.loads(uncommented)["smoke"]["port"] == before["smoke"]["port"]
    assert load_config(tmp_path, {}).smoke.start_timeout == 30


def test_credentials_are_not_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = 'image = "thing"\nsource = "https://me:hunter2@git.example/x"\n'
    text += 'cache-to = ["type=s3,bucket=b,secret_access_key=hunter2"]\n'
    (tmp_path / "buildlib.toml").write_text(text, encoding="utf-8")
    assert "hunter2" not in _printed(tmp_path, {}, capsys)


@pytest.mark.parametrize("text", ["\x7f", "\x1b[2J", "a\tb\n", '"', "\\", "ü", "\u2028"])
def test_any_text_is_read_back(text: str) -> None:
    assert tomllib.loads(f"x = {toml_value({text: [text, True, 1.5]})}")["x"] == {
        text: [text, True, 1.5]
    }


IMAGES = """
image = "reg.example/team"
platforms = ["linux/amd64"]
[smoke]
port = 80
[images.one]
[images.two]
platforms = ["linux/arm64"]
[images.two.smoke]
health-path = "/two"
"""


def test_each_of_several_images_is_a_file_of_its_own(
    make_checkout: Callable[..., Checkout], tmp_path: Path
) -> None:
    checkout = make_checkout("FROM scratch\n")
    (checkout.root / "buildlib.toml").write_text(IMAGES, encoding="utf-8")
    for name in ("one", "two"):
        done = checkout.invoke("config", "--only", name, BUILDLIB_BASE_IMAGES="")
        assert done.returncode == 0, done.stderr
        folder = tmp_path / name
        folder.mkdir()
        (folder / "buildlib.toml").write_text(done.stdout, encoding="utf-8")
        wanted = _values(load_config(checkout.root, {}, image=name))
        found = _values(load_config(folder, {}))
        assert {key for key in wanted if wanted[key] != found[key]} == {"name", "images"}


@pytest.mark.parametrize("text", ["", '[publish]\ngates = ["smoke"]\n'])
def test_the_gates_of_a_publication_are_shown_whether_configured_or_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    (tmp_path / "buildlib.toml").write_text(f'image = "thing"\n{text}', encoding="utf-8")
    root = tmp_path
    printed = _printed(root, {}, capsys)
    shown = 'gates = ["smoke"]' if text else '# gates = ["smoke", "policy", "size", "scan", "sbom"]'
    assert shown in printed.splitlines()
    assert "# sign = true" in printed
    assert '# severity = "high"' in printed
