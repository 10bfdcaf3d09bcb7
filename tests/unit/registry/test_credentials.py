"""Where credentials come from, and what happens where there are none."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from buildlib.config.load import load_config
from buildlib.config.tables import Registry
from buildlib.errors import AuthorisationError, InputError, ToolError
from buildlib.executor import Completed
from buildlib.registry.credentials import find_credentials

from fakes import FakeExecutor

GHCR = Registry(
    name="ghcr",
    repository="ghcr.io/x/y",
    username_env="WHO",
    password_env="WITH",
)
HUB = Registry(name="hub", repository="x/y")
HUB_KEY = "https://index.docker.io/v1/"
ANSWER = json.dumps({"Username": "ann", "Secret": "pass", "ServerURL": ""})


def _auth(user: str, secret: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{secret}".encode()).decode()}


def _store(folder: Path, **content: object) -> dict[str, str]:
    (folder / "config.json").write_text(json.dumps(content), encoding="utf-8")
    return {"DOCKER_CONFIG": str(folder)}


def test_the_environment_comes_first(tmp_path: Path) -> None:
    env = _store(tmp_path, auths={"ghcr.io": _auth("bob", "other")})
    found = find_credentials(GHCR, {**env, "WHO": "ann", "WITH": "pass"}, FakeExecutor())
    assert found
    assert (found.username, found.secret) == ("ann", "pass")
    assert "WHO" in found.source
    assert "pass" not in repr(found)


def test_half_of_it_is_an_error_that_names_the_other_half(tmp_path: Path) -> None:
    with pytest.raises(AuthorisationError, match="missing: WITH"):
        find_credentials(GHCR, {"WHO": "ann", "DOCKER_CONFIG": str(tmp_path)}, FakeExecutor())


def test_variables_that_are_not_set_leave_it_to_dockers_file(tmp_path: Path) -> None:
    env = _store(tmp_path, auths={"ghcr.io": _auth("bob", "a:b")})
    found = find_credentials(GHCR, env, FakeExecutor())
    assert found
    assert (found.username, found.secret) == ("bob", "a:b")


def test_docker_hub_has_a_name_of_its_own(tmp_path: Path) -> None:
    env = _store(tmp_path, auths={HUB_KEY: _auth("bob", "pass")})
    found = find_credentials(HUB, env, FakeExecutor())
    assert found
    assert found.username == "bob"


@pytest.mark.parametrize(
    "key",
    [
        "ghcr.io",
        "https://ghcr.io",
        "http://ghcr.io",
        "https://ghcr.io/",
        "https://ghcr.io/v1/",
        "http://ghcr.io/v2/",
        "ghcr.io/",
        "ghcr.io/team/thing",
    ],
)
@pytest.mark.parametrize("table", ["auths", "credHelpers"])
def test_a_key_of_dockers_file_is_found_by_its_host(tmp_path: Path, key: str, table: str) -> None:
    entries = {"ghcr.io.example": _auth("eve", "x"), key: _auth("ann", "pass")}
    env = _store(tmp_path, **{table: entries if table == "auths" else {key: "own"}})
    executor = FakeExecutor({("docker-credential-own", "get"): Completed(code=0, stdout=ANSWER)})
    found = find_credentials(GHCR, env, executor)
    assert found
    assert (found.username, found.secret) == ("ann", "pass")


def test_the_exact_key_comes_before_the_others(tmp_path: Path) -> None:
    auths = {"https://ghcr.io/v1/": _auth("bob", "old"), "ghcr.io": _auth("ann", "pass")}
    found = find_credentials(GHCR, _store(tmp_path, auths=auths), FakeExecutor())
    assert found
    assert found.username == "ann"


@pytest.mark.parametrize("key", [HUB_KEY, "index.docker.io", "docker.io", "https://docker.io/v2/"])
def test_docker_hub_is_found_by_each_of_its_names(tmp_path: Path, key: str) -> None:
    found = find_credentials(HUB, _store(tmp_path, auths={key: _auth("bob", "p")}), FakeExecutor())
    assert found
    assert found.username == "bob"


@pytest.mark.parametrize(
    ("entry", "known"),
    [
        ({"username": "ann", "password": "pa:ss"}, ("ann", "pa:ss")),
        ({"username": "bob", "password": "x", **_auth("ann", "pa:ss")}, ("ann", "pa:ss")),
        (_auth("ann", "pa:ss\0\0"), ("ann", "pa:ss")),
        ({"username": "ann"}, None),
        ({"username": "ann", "password": ""}, None),
        ({"email": "ann@example.com"}, None),
        ({"auth": "no base64"}, None),
        ("text", None),
    ],
)
def test_an_entry_of_dockers_file_is_read_as_docker_reads_it(
    tmp_path: Path, entry: object, known: tuple[str, str] | None
) -> None:
    env = _store(tmp_path, auths={"ghcr.io": entry})
    found = find_credentials(GHCR, env, FakeExecutor())
    assert (found and (found.username, found.secret)) == known


def test_a_file_of_an_editor_of_windows_is_read(tmp_path: Path) -> None:
    env = _store(tmp_path, auths={"ghcr.io": _auth("ann", "pass")})
    path = tmp_path / "config.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert find_credentials(GHCR, env, FakeExecutor())


def test_the_helper_of_one_registry_comes_before_the_store_of_all(tmp_path: Path) -> None:
    env = _store(tmp_path, credHelpers={"ghcr.io": "own"}, credsStore="all")
    executor = FakeExecutor({("docker-credential-own", "get"): Completed(code=0, stdout=ANSWER)})
    found = find_credentials(GHCR, env, executor)
    assert found
    assert (found.username, found.secret, found.source) == ("ann", "pass", "docker-credential-own")
    assert executor.texts == ["ghcr.io\n"]


def test_the_store_is_asked_by_docker_hubs_own_name(tmp_path: Path) -> None:
    env = _store(tmp_path, credsStore="all")
    executor = FakeExecutor({("docker-credential-all", "get"): Completed(code=0, stdout=ANSWER)})
    assert find_credentials(HUB, env, executor)
    assert executor.texts == [f"{HUB_KEY}\n"]


def test_a_helper_that_has_none_leaves_it_to_the_file(tmp_path: Path) -> None:
    env = _store(tmp_path, credsStore="all", auths={"ghcr.io": {}})
    none = Completed(code=1, stdout="credentials not found in native keychain\n")
    assert find_credentials(GHCR, env, FakeExecutor({("docker-credential-all",): none})) is None


def test_a_helper_that_is_not_installed_is_named(tmp_path: Path) -> None:
    env = _store(tmp_path, credHelpers={"ghcr.io": "gone"})
    with pytest.raises(ToolError, match=r"ghcr\.io is not installed: docker-credential-gone"):
        find_credentials(GHCR, env, FakeExecutor())


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Completed(code=1, stdout="locked"), id="it fails"),
        pytest.param(Completed(code=1), id="it fails without a word"),
        pytest.param(Completed(code=0, stdout="hello"), id="it answers something else"),
        pytest.param(Completed(code=0, stdout='{"Username": "ann"}'), id="it answers half"),
    ],
)
def test_a_helper_that_fails_is_an_error(tmp_path: Path, answer: Completed) -> None:
    env = _store(tmp_path, credsStore="all")
    with pytest.raises(ToolError, match="docker-credential-all"):
        find_credentials(GHCR, env, FakeExecutor({("docker-credential-all",): answer}))


@pytest.mark.parametrize("where", ["helper", "file"])
def test_an_identity_token_is_no_password(tmp_path: Path, where: str) -> None:
    if where == "helper":
        env = _store(tmp_path, credsStore="all")
        answer = Completed(code=0, stdout='{"Username": "<token>", "Secret": "t0k"}')
        executor = FakeExecutor({("docker-credential-all",): answer})
    else:
        env = _store(tmp_path, auths={"ghcr.io": {"identitytoken": "t0k"}})
        executor = FakeExecutor()
    found = find_credentials(GHCR, env, executor)
    assert found
    assert found.identity_token == "t0k"


def test_a_file_that_is_broken_is_an_error_without_its_content(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"auths": "hunter2', encoding="utf-8")
    with pytest.raises(InputError) as caught:
        find_credentials(GHCR, {"DOCKER_CONFIG": str(tmp_path)}, FakeExecutor())
    assert "hunter2" not in str(caught.value)


def test_without_any_there_are_none(tmp_path: Path) -> None:
    assert find_credentials(GHCR, {"HOME": str(tmp_path)}, FakeExecutor()) is None


def _configured(folder: Path, text: str) -> tuple[Registry, ...]:
    (folder / "buildlib.toml").write_text(f'image = "thing"\n{text}', encoding="utf-8")
    return load_config(folder, {}).registries


def test_a_registry_is_configured(tmp_path: Path) -> None:
    text = """
        [registries.ghcr]
        repository = "ghcr.io/X/Y"
        username-env = "WHO"
        password-env = "WITH"
        [registries.hub]
        repository = "x/y"
        required = false
        immutable = ["v*"]
    """
    ghcr, hub = _configured(tmp_path, text)
    assert (ghcr.repository, ghcr.host, ghcr.required) == ("ghcr.io/x/y", "ghcr.io", True)
    assert (hub.host, hub.required, hub.immutable) == ("docker.io", False, ("v*",))


def test_a_name_without_a_password_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="belong together"):
        _configured(tmp_path, '[registries.a]\nrepository = "x/y"\nusername-env = "WHO"\n')


def test_an_unknown_key_of_a_registry_suggests_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"did you mean registries\.a\.required"):
        _configured(tmp_path, '[registries.a]\nrepository = "x/y"\nrequire = true\n')
