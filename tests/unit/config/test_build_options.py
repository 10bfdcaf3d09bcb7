"""What each option of buildx takes, on the command line and in the table `build`."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildlib.config.build_options import (
    CHECKS,
    NETWORKS,
    BuildSettings,
    is_directory,
    short_attestation,
)
from buildlib.config.buildx_options import GIVEN, OPTIONS
from buildlib.config.key_types import MismatchError, keys_of
from buildlib.config.load import known_keys, load_config
from buildlib.errors import BuildlibError, InputError

from fakes import write_project

TAKEN = {
    "add-host": ["db:10.0.0.2", "db=10.0.0.2", "v6=2001:db8::1", "v6:[::1]", "h:host-gateway"],
    "allow": ["network.host", "security.insecure", "device", "device=vendor/kind=name"],
    "annotation": [
        "a=b",
        "index:a=b=c",
        "index,manifest[linux/arm64]:a=",
        "manifest-descriptor:a=b",
    ],
    "attest": ["type=sbom", "type=provenance,mode=max", 'type=sbom,"generator=a,b"'],
    "build-context": [
        "a=../b",
        "alpine:3=docker-image://x",
        "a=https://h/x.git#main",
        "r.io/a/b=.",
    ],
    "cgroup-parent": ["/build"],
    "network": list(NETWORKS),
    "no-cache-filter": ["compile"],
    "policy": ["filename=a.rego,strict=true", "reset=true", "disabled=true"],
    "resource": ["memory=2g", "cpuset-cpus=0-3"],
    "shm-size": ["128m", "1.5 GB", "1GiB", "65536"],
    "ssh": ["default", "github=/run/agent", "github=a,b"],
    "ulimit": ["nofile=1024", "nofile=1024:4096", "nofile=-1:-1", "core=0:-1"],
}
REFUSED = {
    "add-host": ["db", "db:", ":10.0.0.2", "db:ten", "a,b:10.0.0.2", 'a"b:10.0.0.2'],
    "allow": ["network", "network.host=1", "buildx.local.delete=1", "device="],
    "annotation": ["a", "=b", "index:=b", "image:a=b", "manifest[x]:a=b", "a b=c"],
    "attest": ["sbom", "mode=max", '"type=sbom'],
    "build-context": ["a", "a=", "=b", "A=b", "a b=c", "a=target:b"],
    "cgroup-parent": [" "],
    "network": ["bridge", ""],
    "no-cache-filter": ["", ",", "a b"],
    "policy": ["a.rego", "file=a", '"'],
    "resource": ["memory", "memory=", "gpu=1"],
    "shm-size": ["", "big", "1x", "-1"],
    "ulimit": ["nofile", "nofiles=1", "nofile=2:1", "nofile=-1:5", "nofile=x"],
}


@pytest.mark.parametrize(("name", "text"), [(n, t) for n, texts in TAKEN.items() for t in texts])
def test_what_buildx_takes_is_taken(name: str, text: str) -> None:
    assert CHECKS[name](text)


@pytest.mark.parametrize(("name", "text"), [(n, t) for n, texts in REFUSED.items() for t in texts])
def test_what_buildx_would_refuse_is_refused(name: str, text: str) -> None:
    with pytest.raises(MismatchError):
        CHECKS[name](text)


def test_each_check_is_tested() -> None:
    assert TAKEN.keys() == CHECKS.keys() == REFUSED.keys() | {"ssh"}


def test_several_addresses_and_stages_become_several_options() -> None:
    assert CHECKS["add-host"]("db=10.0.0.2,10.0.0.3") == ("db=10.0.0.2", "db=10.0.0.3")
    assert CHECKS["no-cache-filter"]("a,b") == ("a", "b")


@pytest.mark.parametrize("text", ["-----BEGIN PRIVATE KEY-----\nhunter2", "a b", "", "x=", "x=a,"])
def test_a_wrong_ssh_value_is_never_repeated(text: str) -> None:
    with pytest.raises(InputError) as caught:
        CHECKS["ssh"](text)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("user", ["me:hunter2", f"ghp_{'hunter2' * 6}"])
def test_a_password_in_a_context_is_refused_and_not_repeated(user: str) -> None:
    with pytest.raises(InputError, match="a password or token") as caught:
        CHECKS["build-context"](f"a=https://{user}@example.org/x.git")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("source", [".", "../a", "/a", "~/a", "a/b", "docs"])
def test_a_directory_is_one(source: str) -> None:
    assert is_directory(source)


@pytest.mark.parametrize(
    "source",
    [
        "docker-image://a",
        "oci-layout://a",
        "https://h/a",
        "ssh://git@h/a",
        "git@h:a",
        "github.com/a/b",
    ],
)
def test_an_address_is_no_directory(source: str) -> None:
    assert not is_directory(source)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", "type=sbom,disabled=false"),
        ("0", "type=sbom,disabled=true"),
        ("generator=x", "type=sbom,generator=x"),
    ],
)
def test_a_short_attestation_is_the_long_one(text: str, expected: str) -> None:
    assert short_attestation("sbom", text) == expected


def _load(root: Path, table: str) -> BuildSettings:
    config = load_config(write_project(root, f'image = "thing"\n[build]\n{table}'), {})
    assert config.build
    return config.build


def test_the_table_holds_what_the_options_take(tmp_path: Path) -> None:
    found = _load(
        tmp_path,
        'ssh = "default"\nadd-hosts = ["db:10.0.0.2,10.0.0.3"]\nnetwork = "none"\n'
        'contexts = { b = "../b", a = "." }\nannotations = { "index:a" = "b" }\n',
    )
    assert found == BuildSettings(
        ssh=("default",),
        add_hosts=("db=10.0.0.2", "db=10.0.0.3"),
        network="none",
        contexts=(("a", "."), ("b", "../b")),
        annotations=(("index:a", "b"),),
    )


def test_everything_wrong_with_the_table_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(BuildlibError) as caught:
        _load(tmp_path, 'network = "bridge"\nulimits = ["x=1"]\nshm-sise = "1g"\nssh = "a b"\n')
    said = str(caught.value)
    for part in (
        "build.network",
        "build.ulimits",
        "unknown configuration key build.shm-sise\n",
        "did you mean build.shm-size?",
        "an ssh agent or key can't be read",
        "buildlib.toml, line 3",
    ):
        assert part in said


def test_no_variable_sets_a_table(tmp_path: Path) -> None:
    write_project(tmp_path)
    with pytest.raises(InputError, match="BUILDLIB_BUILD can't be set: build is a table"):
        load_config(tmp_path, {"BUILDLIB_BUILD": "x"})


def test_each_key_of_the_list_is_one_of_the_configuration() -> None:
    known = {*known_keys(), *(f"build.{key}" for key in keys_of(BuildSettings))}
    listed = {option.key for option in OPTIONS if option.key}
    assert listed <= known
    assert {key for key in known if key.startswith("build.")} <= listed


def test_what_is_left_out_has_a_reason() -> None:
    assert all(option.note for option in OPTIONS if not option.option)
    assert [option.name for option in OPTIONS] == sorted(option.name for option in OPTIONS)
    assert {option.name for option in GIVEN} >= CHECKS.keys()
