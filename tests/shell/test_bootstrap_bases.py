"""The bootstrap and base images: a registry that answers, one that refuses, and none at all."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from bootstrap import define
from conftest import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
Ask = Callable[..., subprocess.CompletedProcess[str]]

# As docker buildx imagetools says it.
HEAD = 'failed to do request: Head "https://registry.example.org/v2/library/alpine/manifests/3.22"'
STATUS = "unexpected status from HEAD request to https://registry.example.org/v2/library/alpine"
SIGNING_IN = (
    "failed to authorize: failed to fetch anonymous token: unexpected status from GET request"
)
UNREACHABLE = [
    pytest.param(f"{HEAD}: dial tcp: lookup registry.example.org: no such host", id="no name"),
    pytest.param(f"{HEAD}: dial tcp 192.0.2.1:443: connect: connection refused", id="nobody there"),
    pytest.param(f"{HEAD}: dial tcp 192.0.2.1:443: i/o timeout", id="no way"),
    pytest.param(f"{HEAD}: Forbidden", id="a proxy that lets nothing through"),
    pytest.param(f"{HEAD}: Proxy Authentication Required", id="a proxy that wants a password"),
    pytest.param(f"{STATUS}: 403 Forbidden", id="something in between that forbids"),
    pytest.param(f"{STATUS}: 502 Bad Gateway", id="a gateway with nothing behind it"),
    pytest.param(f"{HEAD}: tls: failed to verify certificate: x509: unknown authority", id="TLS"),
    pytest.param("", id="nothing said in time"),
]
REFUSING = [
    pytest.param(f"{STATUS}: 429 Too Many Requests", id="too many requests"),
    pytest.param("toomanyrequests: You have reached your pull rate limit.", id="the pull limit"),
    pytest.param(
        f"{SIGNING_IN} to https://auth.example.org/token: 401 Unauthorized", id="no token"
    ),
    pytest.param("unauthorized: incorrect username or password", id="a wrong password"),
    pytest.param("pull access denied, repository does not exist", id="access denied"),
    pytest.param("denied: requested access to the resource is denied", id="denied"),
    pytest.param(
        'error getting credentials - err: exec: "docker-credential-x": executable file not found',
        id="a credential helper that is broken",
    ),
]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Run code with a docker that says and ends as told, and a cache of its own."""

    def run(
        code: str, said: str = "", ends: int = 1, **env: str
    ) -> subprocess.CompletedProcess[str]:
        log, words = shlex.quote(str(tmp_path / "asked")), shlex.quote(said)
        body = f"echo \"$*\" >>{log}; printf '%s\\n' {words} >&2; return {ends}"
        stub = f"docker() {{ {body}; }}"
        # What bounds it starts a program, and can't start a function.
        bounded = 'bounded() { shift; "$@"; }'
        given = {"BUILDLIB_BASES": "auto", "BUILDLIB_BASE_IMAGES": "", **env}
        return define(f"{stub}; {bounded}; {code}", XDG_CACHE_HOME=str(tmp_path), **given)

    return run


def test_a_registry_that_answers_is_used_and_asked_for_the_dockerfiles_own_base(
    ask: Ask, tmp_path: Path
) -> None:
    done = ask("ask_registry", ends=0)
    assert (done.returncode, done.stdout, done.stderr) == (0, "registry\n", "")
    version = re.search(r"^ARG ALPINE_VERSION=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert version
    asked = (tmp_path / "asked").read_text("utf-8")
    assert asked == f"buildx imagetools inspect alpine:{version[1]}\n"


@pytest.mark.parametrize("said", UNREACHABLE)
def test_a_registry_that_can_not_be_reached_means_stand_ins(ask: Ask, said: str) -> None:
    done = ask("ask_registry", said)
    assert (done.returncode, done.stdout, done.stderr) == (0, "stand-ins\n", "")


@pytest.mark.parametrize("said", REFUSING)
def test_a_registry_that_refuses_is_told_and_nothing_takes_its_place(ask: Ask, said: str) -> None:
    done = ask("ask_registry", f"ERROR: {said}")
    assert (done.returncode, done.stdout) == (0, "registry\n")
    assert f"the image registry refuses: ERROR: {said}\n" in done.stderr
    assert "BUILDLIB_BASES=stand-ins" in done.stderr


def test_the_answer_holds_for_a_day(ask: Ask, tmp_path: Path) -> None:
    remembered = tmp_path / "buildlib" / "bases"
    assert ask("bases_chosen").stdout == ""
    ask("ask_registry", ends=0)
    assert ask("bases_chosen").stdout == "registry\n"
    yesterday = time.time() - 25 * 3600
    os.utime(remembered, (yesterday, yesterday))
    assert ask("bases_chosen").stdout == ""


MADE = "make_stand_ins() { mkdir -p $cache/stand-ins; echo /some/map >$(stand_ins_map); }; "
SHOW = '; echo "${BUILDLIB_BASE_IMAGES:-none}"'


def test_without_a_registry_stand_ins_are_made_and_handed_on(ask: Ask) -> None:
    done = ask(f"{MADE}ensure_bases{SHOW}", "no such host")
    assert (done.returncode, done.stdout) == (0, "/some/map\n")


# Of a build to a layout, it keeps the Dockerfile; the layout is named by the digest in its index.
COPIES = """
docker() {
    local all="$*" line
    case $all in *imagetools*) return ;; esac
    read -r line
    echo "$line" >>"$cache/from"
    line='{"manifests":[{"digest":"sha256:ab12","size":1}],"schemaVersion":2}'
    all=${all##*dest=}
    mkdir -p "${all% -}"
    echo "$line" >"${all% -}/index.json"
}
"""


def test_for_an_engine_without_a_network_the_registrys_images_are_copied_once(
    ask: Ask, tmp_path: Path
) -> None:
    versions = dict(re.findall(r"^ARG (\w+_VERSION)=(\S+)$", DOCKERFILE, re.MULTILINE))
    bases = [f"alpine:{versions['ALPINE_VERSION']}", f"golang:{versions['GO_VERSION']}-alpine"]
    for _ in range(2):
        done = ask(f"{COPIES}ensure_bases{SHOW}", BUILDLIB_BASES="layouts")
        assert done.returncode == 0, done.stderr
        made = Path(done.stdout.strip())
        assert made.is_relative_to(tmp_path)
        assert tomllib.loads(made.read_text("utf-8"))["base-images"] == {
            base: f"oci-layout://{made.parent / base.partition(':')[0]}@sha256:ab12"
            for base in bases
        }
    asked = (tmp_path / "buildlib" / "from").read_text("utf-8").splitlines()
    assert asked == [f"FROM {base}" for base in bases]


def test_base_images_that_can_not_be_copied_leave_nothing(ask: Ask, tmp_path: Path) -> None:
    code = "docker() { case $2 in imagetools) return 0 ;; *) return 1 ;; esac; }; ensure_bases"
    done = ask(code, BUILDLIB_BASES="layouts")
    assert done.returncode == 4
    assert "the base images can't be copied" in done.stderr
    assert list((tmp_path / "buildlib" / "layouts").iterdir()) == []


def test_without_a_registry_there_is_nothing_to_copy(ask: Ask) -> None:
    done = ask(f"{MADE}ensure_bases{SHOW}", "no such host", BUILDLIB_BASES="layouts")
    assert (done.returncode, done.stdout) == (0, "/some/map\n")


def test_a_registry_that_refuses_gets_no_stand_ins(ask: Ask) -> None:
    done = ask(f"{MADE}ensure_bases{SHOW}", "toomanyrequests: slow down")
    assert (done.returncode, done.stdout) == (0, "none\n")


def test_stand_ins_that_were_made_are_not_made_again(ask: Ask) -> None:
    code = "stand_ins_made() { return 0; }; make_stand_ins() { echo again; }; "
    code += "mkdir -p $cache/stand-ins; echo /some/map >$(stand_ins_map); ensure_bases"
    done = ask(code + SHOW, "no such host")
    assert (done.returncode, done.stdout) == (0, "/some/map\n")


@pytest.mark.parametrize("changed", ["Dockerfile", "scripts/standins.py", "requirements/go.txt"])
def test_two_checkouts_that_share_a_cache_have_a_map_each(
    ask: Ask, tmp_path: Path, changed: str
) -> None:
    for folder in (tmp_path / "one", tmp_path / "two"):
        for name in ("Dockerfile", "scripts/standins.py", "requirements/go.txt"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("same", encoding="utf-8")
    (tmp_path / "two" / changed).write_text("other", encoding="utf-8")
    one, two = (f"root={tmp_path / name}; stand_ins_map; " for name in ("one", "two"))
    maps = ask(one + two + one).stdout.split()
    assert len(maps) == 3
    assert len(set(maps)) == 2
    # That of the one is there, and does not serve the other.
    there = f"mkdir -p $cache/stand-ins; touch {tmp_path}/map; echo {tmp_path}/map >{maps[0]}; "
    made = "stand_ins_made && echo made; "
    assert ask(there + one + made + two + made).stdout.split() == [maps[0], "made", maps[1]]


def test_where_no_stand_ins_can_be_made_it_says_what_to_do(ask: Ask) -> None:
    done = ask(f"make_stand_ins() {{ return 1; }}; ensure_bases{SHOW}", "no such host")
    assert (done.returncode, done.stdout) == (3, "")
    assert "name a mirror in BUILDLIB_BASE_IMAGES" in done.stderr


def test_a_map_of_ones_own_needs_no_registry(ask: Ask, tmp_path: Path) -> None:
    done = ask(f"ensure_bases{SHOW}", BUILDLIB_BASE_IMAGES="/my/map")
    assert (done.returncode, done.stdout) == (0, "/my/map\n")
    assert not (tmp_path / "asked").exists()
