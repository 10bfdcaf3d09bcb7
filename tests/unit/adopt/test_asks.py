"""The lines that `init` can't write by itself, each ready for the end of `buildlib.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from buildlib.adopt.configuration import Package
from buildlib.adopt.places import Repository
from buildlib.adopt.plan import Adoption, AdoptionRequest, plan_adoption
from buildlib.config.load import load_config

# Nothing in it that the policy refuses.
CLEAN = 'FROM x\nUSER 7\nCMD ["app"]\n'


@pytest.fixture(autouse=True)
def _repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Repository(tmp_path, None, {}, None)
    monkeypatch.setattr("buildlib.adopt.places.find_repository", lambda _: found)


def _adopted(
    root: Path, files: dict[str, str], installed: Callable[[str], bool] = lambda _: True
) -> tuple[Adoption, dict[str, Any]]:
    """Return what `init` says, and the configuration after everything was done."""
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    request = AdoptionRequest(here=root, package=Package(), installed=installed)
    found = plan_adoption(root, request)
    (text,) = [one.after for one in found.changes if one.name == "buildlib.toml"]
    asked = [line for one in found.by_hand for line in one.lines]
    text = "\n".join([text, *asked, ""])
    (root / "buildlib.toml").write_text(text, encoding="utf-8")
    return found, tomllib.loads(text)


def test_a_repository_and_a_key_are_asked_for(tmp_path: Path) -> None:
    found, table = _adopted(tmp_path, {"Dockerfile": CLEAN + 'EXPOSE 80\nHEALTHCHECK CMD ["x"]\n'})
    assert [one.why for one in found.by_hand] == [
        "docker-publish needs a repository to push to",
        "docker-publish otherwise needs a key to sign with",
    ]
    assert table["publish"] == {"sign": False}
    assert table["registries"] == {"main": {"repository": f"registry.example/{table['image']}"}}
    assert "\nadd to buildlib.toml, as docker-publish needs a repository to push to:\n  [reg" in (
        found.as_text()
    )
    # Until the user says which, nothing is pushed anywhere.
    (registry,) = load_config(tmp_path, {}).registries
    assert registry.host == "registry.example"


def test_gates_are_those_whose_programs_are_here(tmp_path: Path) -> None:
    found, table = _adopted(tmp_path, {"Dockerfile": CLEAN}, lambda name: name == "trivy")
    assert table["publish"]["gates"] == ["smoke", "policy", "size", "scan"]
    assert found.by_hand[-1].why == "docker-publish otherwise needs a key to sign with, and syft"
    assert table["policy"]["ignore"] == [
        {"rule": "hadolint", "reason": "hadolint is not installed"}
    ]


@pytest.mark.parametrize(
    ("text", "smoke"),
    [
        ('ENTRYPOINT ["/app"]', {"commands": [["--version"]]}),
        ('ENTRYPOINT ["/app"]\nCMD ["--help"]', {"commands": [["--help"]]}),
        # What follows is for the user to change: each is asked for.
        ('ENTRYPOINT ["/app"]\nCMD ["work"]', {"commands": [["--version"]]}),
        ('CMD ["worker", "-v"]', {"commands": [["worker", "--version"]]}),
        ("CMD worker", {"port": 8080}),
        ("", {"port": 8080}),
        ("EXPOSE 90", {"port": 90, "health": "tcp"}),
        ("HEALTHCHECK CMD true", {"health-command": ["/bin/sh", "-c", "true"]}),
    ],
)
def test_smoke_gets_something_to_run_or_ask(
    tmp_path: Path, text: str, smoke: dict[str, object]
) -> None:
    _, table = _adopted(tmp_path, {"Dockerfile": f"FROM x\n{text}\n"})
    assert table["smoke"] == smoke


def test_an_image_of_files_has_nothing_to_start(tmp_path: Path) -> None:
    found, table = _adopted(tmp_path, {"Dockerfile": "FROM scratch\nCOPY a /\n"})
    assert found.of_files
    assert not {"smoke", "policy"} & {*table}


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("", ["non-root"]),
        ("USER node", ["non-root"]),
        ("USER 0:0", ["non-root"]),
        ("USER 7", []),
        ("USER 7\nEXPOSE 80", ["exec-healthcheck"]),
        ("USER 7\nEXPOSE 80\nHEALTHCHECK CMD curl x", ["exec-healthcheck"]),
        ('USER 7\nEXPOSE 80\nHEALTHCHECK CMD ["curl", "x"]', []),
        ("USER 7\nCMD app", ["exec-entrypoint"]),
    ],
)
def test_what_the_policy_refuses_is_said_before(
    tmp_path: Path, text: str, rules: list[str]
) -> None:
    _, table = _adopted(tmp_path, {"Dockerfile": f"FROM x\n{text}\n"})
    assert [one["rule"] for one in table.get("policy", {}).get("ignore", [])] == rules


def test_each_of_several_images_has_its_own_lines(tmp_path: Path) -> None:
    files = {"a b/Dockerfile": "FROM x\n", "web/Dockerfile": f"{CLEAN}EXPOSE 80\n"}
    compose = 'services: {a: {build: "a b", image: h.io/a}, w: {build: web, image: h.io/w}}\n'
    _, table = _adopted(tmp_path, {**files, "compose.yaml": compose})
    first, web = table["images"].values()
    assert first["smoke"] == {"port": 8080}
    assert [one["rule"] for one in first["policy"]["ignore"]] == ["non-root"]
    assert [one["rule"] for one in web["policy"]["ignore"]] == ["exec-healthcheck"]
