"""Every key of the configuration with values of every type: an error that says so, or none."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import pytest

from buildlib.config import load as config_module
from buildlib.config.load import known_keys, load_images
from buildlib.errors import InputError, ProblemsError, raise_problems

SEED = 16
# Each key once, and each kind of table.
WHOLE = tomllib.loads("""
image = "thing"
context = "."
dockerfile = "Dockerfile"
target = "last"
binary-target = "binary"
platforms = ["linux/amd64"]
tag-prefix = "v"
version-scheme = "semver"
local-tags = ["{version}", "dev"]
release-branches = ["main"]
title = "t"
description = "d"
licenses = "MIT"
source = "https://example.org"
labels = { name = "value" }
build-args = { NAME = "value" }
builder = "one"
cache-from = ["type=local,src=x"]
cache-to = ["type=local,dest=x"]
progress = "auto"
clean = ["coverage"]
[images.one]
title = "o"
base-images = { "two" = "image:two" }
[images.two]
context = "two"
run = { data-path = "/data" }
registries.one.repository = "one.example/two"
[base-images]
"alpine:3" = { source = "docker-image://x", stand-in = true }
"golang:1" = "oci-layout://x"
[tags]
suffix = "-a"
rules = [
    "{version}",
    { template = "{major}", on = ["release"], highest = "major", zero = true },
    { template = "{minor}", branches = ["main"], suffix = "" },
]
[registries.one]
repository = "one.example/thing"
username-env = "USERNAME"
password-env = "PASSWORD"
required = true
immutable = ["1.*"]
tags = { rules = ["{version}"], suffix = "-b" }
[build]
add-hosts = ["db:10.0.0.2"]
allow = ["network.host"]
annotations = { "index:name" = "value" }
attest = ["type=sbom"]
cgroup-parent = "/build"
contexts = { one = "../one" }
network = "none"
no-cache-filter = ["compile"]
policy = ["filename=a.rego"]
resources = ["memory=2g"]
shm-size = "64m"
ssh = ["default"]
ulimits = ["nofile=1024"]
[builders.one]
driver = "docker-container"
cache-from = ["type=local,src=x"]
cache-to = ["type=local,dest=x"]
gc = { enabled = true, keep-storage = "1 GB", keep-duration = "1h" }
nodes = [{ name = "one0", endpoint = "context", platforms = ["linux/amd64"] }]
[builders.two]
driver = "remote"
nodes = [{ endpoint = "tcp://x:1", cacert = "ca", cert = "c", key = "k", servername = "s" }]
[builders.three]
driver = "kubernetes"
nodes = [{ config = "buildkitd.toml", options = { namespace = "n" }, flags = ["--debug"] }]
[records]
keep = 5
max-age = 7
directory = "records"
[inject]
VERSION = "APP_VERSION"
REVISION = false
[secrets]
a = { env = "A" }
b = { file = "b" }
[smoke]
commands = [
    ["a", "b"],
    { run = ["a"], entrypoint = ["e"], code = 1, stdout = "x", stderr = "y" },
]
version-command = ["version"]
port = 80
health = "http"
health-path = "/"
health-status = [204, "2xx", "200-399"]
health-command = ["a"]
health-version = { path = "/x", field = "a.b" }
start-timeout = 1
stop-timeout = 1
stop-codes = [1]
skip = ["healthy"]
helper-image = "x"
env = { A = "b", C = 1 }
env-file = ["x.env"]
mounts = ["./x:/y:ro", "type=volume,source=x,target=/y"]
add-host = ["x:1.2.3.4"]
ports = [81, "82:83/udp"]
command-timeout = 1
engine-path = "/e"
socket-groups = [1]
data = { write = "POST /x", body = "b", read = "/x" }
writable-paths = ["/x"]
log-errors = "x"
policy = true
size-budget = "1 MB"
size-record = "sizes.json"
size-growth = 1
[smoke.services.db]
image = "x"
env = { A = "b" }
command = ["a"]
ready-command = ["r"]
ready-port = 1
start-timeout = 1
[run]
port = 80
health = "tcp"
health-path = "/"
health-status = "2xx"
health-command = ["a"]
start-timeout = 1
data-path = "/data"
data-dir = "data"
user = 1
group = 1
groups = [1]
cpus = 1.5
env = { A = "b" }
env-file = "x.env"
mounts = ["/x:/y"]
network = "x"
add-host = "x=::1"
ports = ["82:83"]
socket-path = "/s"
root-group-env = "A=1"
drops-root = true
read-only = true
drop-capabilities = true
no-new-privileges = true
init = true
memory = "1m"
pids = 1
tmpfs = ["/tmp"]
[bases]
end-of-life = "table.toml"
table-max-age = 1
[policy]
labels = ["x"]
max-layers = 1
layer-budget = "1 MB"
allow-names = ["X_*"]
base = "error"
ignore = [{ rule = "non-root", reason = "r", until = 2027-01-01, path = "*" }]
[diff]
fail-on = ["user-changed"]
size = "10%"

[scan]
scanner = "grype"
severity = "high"
only-fixed = true
vex = ["x"]
ignore = [{ id = "CVE-1", reason = "r", until = 2027-01-01, package = "*" }]
[publish]
gates = ["smoke"]
provenance = true
sign = true
[goreleaser]
file = ".goreleaser.yaml"
build-args = { PROGRAM = "prebuilt" }
[sign]
key = "cosign.key"
keyless = false
transparency-log = true
[verify]
key = ""
identity = "i"
identity-pattern = "x"
issuer = "i"
attestations = ["x"]
transparency-log = true
""")
VALUES: tuple[object, ...] = (
    *(0, -1, 7, 2**70, 1.5, float("nan"), float("inf"), True, False),
    *("", "x", " ", "a b", "a\nb", "\0", "x\0", "\x1b", "\u2028", "-", "/", "..", "::", "x://"),
    *("@", "{x}", "{", "[", "(" * 2000, "a{4294967296}", "9" * 400, "9" * 400 + " GB", "x" * 5000),
    *([], [""], ["x"], ["\0"], [1], [True], [[]], [["x"]], [{}], [{"x": 1}], [1.5], ["x", 1]),
    *({}, {"": ""}, {"x": 1}, {"x": ""}, {"x": []}, {"x": {}}, {"x": {"x": "x"}}, {"x\n": "\0"}),
    *(date(2026, 1, 1), datetime(2026, 1, 1), time(1, 2)),  # noqa: DTZ001 - as TOML has it
)  # fmt: skip
# Of the values in a place, each run tries every fifth, and `nox -s faults` the others every week.
PARTS = 5
Place = tuple[str | int, ...]


def _places(value: object, at: Place = ()) -> Iterator[Place]:
    """Yield the way to every value below the top."""
    items: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    for key, item in items:
        yield (*at, key)
        yield from _places(item, (*at, key))


def _with(node: Any, place: Place, value: object) -> Any:
    """Return a copy with another value in a place; what is beside the way to it is shared."""
    if not place:
        return value
    changed = node.copy()
    changed[place[0]] = _with(node[place[0]], place[1:], value)
    return changed


def _loads(table: dict[str, Any], monkeypatch: pytest.MonkeyPatch, told: object) -> None:
    found = (Path("/repo"), Path("/repo/buildlib.toml"), table)
    monkeypatch.setattr(config_module, "find_table", lambda _start: found)
    try:
        with suppress(InputError):
            try:
                load_images(Path("/repo"), {})
            except ProblemsError as error:
                raise_problems(error.problems[:1])
    except Exception as error:  # noqa: BLE001 - any other is what is looked for
        pytest.fail(f"{str(told)[:500]}: {error!r}")


def test_the_whole_configuration_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(WHOLE) == set(known_keys())
    for key, value in WHOLE.items():
        table = {"image": "thing", key: value}
        monkeypatch.setattr(config_module, "find_table", lambda _s, t=table: (Path("/r"), None, t))
        load_images(Path("/r"), {})


@pytest.mark.unmeasured
@pytest.mark.parametrize(
    "part", [0, *(pytest.param(one, marks=pytest.mark.faults) for one in range(1, PARTS))]
)
@pytest.mark.parametrize("key", WHOLE)
def test_a_value_of_another_type_is_an_error_that_says_so(
    key: str, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = {"image": "thing", key: WHOLE[key]}
    places = [place for place in _places(table) if place[0] == key]
    for number, place in enumerate(places):
        for value in VALUES[(number + part) % PARTS :: PARTS]:
            _loads(_with(table, place, value), monkeypatch, (place, value))


@pytest.mark.unmeasured
def test_several_at_once_are_too(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(SEED)
    for number in range(500):
        key = chance.choice([*WHOLE])
        table: dict[str, Any] = {"image": "thing", key: WHOLE[key]}
        for _ in range(3):
            table = _with(table, chance.choice([*_places(table)]), chance.choice(VALUES))
        _loads(table, monkeypatch, (SEED, number, table))
