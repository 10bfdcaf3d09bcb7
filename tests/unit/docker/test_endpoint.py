"""Which engine, which socket: a matrix of engines as facts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from buildlib.docker.endpoint import (
    Candidate,
    EngineKind,
    Group,
    Pinged,
    candidates,
    choose,
    kind_of,
    socket_mount,
)
from buildlib.docker.engine import EngineFacts
from buildlib.errors import EngineError

from fakes import GOOD

USUAL = "/var/run/docker.sock"
HOME = "/home/me"


@dataclass(frozen=True, kw_only=True)
class Engine:
    """An engine as it shows itself, and what has to come out."""

    address: str
    facts: EngineFacts
    kind: EngineKind
    mount: str
    group: Group
    docker_host: str = ""
    source: str = "the usual place"
    named: bool = False
    podman: bool = False
    system: str = "linux"


def _facts(system: str, name: str = "box", *security: str) -> EngineFacts:
    return replace(GOOD, operating_system=system, host=name, security=security)


DEBIAN = "Debian GNU/Linux 12 (bookworm)"
ROOTLESS = "unix:///run/user/1000/docker.sock"
ENGINES = {
    "Linux": Engine(
        address=f"unix://{USUAL}",
        facts=_facts(DEBIAN),
        kind=EngineKind.LINUX,
        mount=USUAL,
        group=Group.HOST,
    ),
    "Linux with a socket elsewhere": Engine(
        address="unix:///srv/docker.sock",
        source="--socket",
        named=True,
        facts=_facts(DEBIAN),
        kind=EngineKind.LINUX,
        mount="/srv/docker.sock",
        group=Group.HOST,
        docker_host="unix:///srv/docker.sock",
    ),
    "Linux with user namespaces": Engine(
        address=f"unix://{USUAL}",
        facts=_facts(DEBIAN, "box", "name=seccomp,profile=builtin", "name=userns"),
        kind=EngineKind.LINUX,
        mount=USUAL,
        group=Group.CONTAINER,
    ),
    "rootless": Engine(
        address=ROOTLESS,
        source="rootless Docker",
        facts=_facts(DEBIAN, "box", "name=rootless"),
        kind=EngineKind.ROOTLESS,
        mount="/run/user/1000/docker.sock",
        group=Group.CONTAINER,
        docker_host=ROOTLESS,
    ),
    "Docker Desktop on macOS": Engine(
        address=f"unix://{HOME}/.docker/run/docker.sock",
        source="context desktop-linux",
        named=True,
        facts=_facts("Docker Desktop", "docker-desktop"),
        kind=EngineKind.DOCKER_DESKTOP,
        mount=USUAL,
        group=Group.CONTAINER,
        system="darwin",
    ),
    "Docker Desktop on Linux": Engine(
        address=f"unix://{HOME}/.docker/desktop/docker.sock",
        source="Docker Desktop",
        facts=_facts("Docker Desktop", "docker-desktop"),
        kind=EngineKind.DOCKER_DESKTOP,
        mount=USUAL,
        group=Group.CONTAINER,
        docker_host=f"unix://{HOME}/.docker/desktop/docker.sock",
    ),
    "Colima": Engine(
        address=f"unix://{HOME}/.colima/default/docker.sock",
        source="Colima",
        facts=_facts("Ubuntu 24.04.1 LTS", "colima"),
        kind=EngineKind.COLIMA,
        mount=USUAL,
        group=Group.CONTAINER,
        docker_host=f"unix://{HOME}/.colima/default/docker.sock",
        system="darwin",
    ),
    "Colima by DOCKER_HOST of another profile": Engine(
        address="unix:///tmp/c.sock",
        source="DOCKER_HOST",
        named=True,
        facts=_facts("Ubuntu 24.04.1 LTS", "colima-work"),
        kind=EngineKind.COLIMA,
        mount=USUAL,
        group=Group.CONTAINER,
        system="darwin",
    ),
    "OrbStack": Engine(
        address=f"unix://{HOME}/.orbstack/run/docker.sock",
        source="OrbStack",
        facts=_facts("OrbStack", "orbstack"),
        kind=EngineKind.ORBSTACK,
        mount=USUAL,
        group=Group.CONTAINER,
        docker_host=f"unix://{HOME}/.orbstack/run/docker.sock",
        system="darwin",
    ),
    "Rancher Desktop": Engine(
        address=f"unix://{HOME}/.rd/docker.sock",
        source="context rancher-desktop",
        named=True,
        facts=_facts("Alpine Linux v3.20", "lima-rancher-desktop"),
        kind=EngineKind.RANCHER_DESKTOP,
        mount=USUAL,
        group=Group.CONTAINER,
        system="darwin",
    ),
    "Podman, rootless on Linux": Engine(
        address="unix:///run/user/1000/podman/podman.sock",
        source="Podman",
        podman=True,
        facts=_facts("fedora", "box", "name=rootless"),
        kind=EngineKind.PODMAN,
        mount="/run/user/1000/podman/podman.sock",
        group=Group.CONTAINER,
        docker_host="unix:///run/user/1000/podman/podman.sock",
    ),
    "Podman, as root on Linux": Engine(
        address="unix:///run/podman/podman.sock",
        source="Podman",
        facts=_facts("fedora"),
        kind=EngineKind.PODMAN,
        mount="/run/podman/podman.sock",
        group=Group.CONTAINER,
        docker_host="unix:///run/podman/podman.sock",
    ),
    "Podman behind docker's usual path": Engine(
        address=f"unix://{USUAL}",
        podman=True,
        facts=_facts("fedora"),
        kind=EngineKind.PODMAN,
        mount=USUAL,
        group=Group.CONTAINER,
    ),
    "Podman machine on macOS": Engine(
        address=f"unix://{USUAL}",
        podman=True,
        facts=_facts("fedora", "localhost", "name=rootless"),
        kind=EngineKind.PODMAN,
        mount="/run/user/501/podman/podman.sock",
        group=Group.CONTAINER,
        system="darwin",
    ),
    "Podman machine as root on macOS": Engine(
        address=f"unix://{USUAL}",
        podman=True,
        facts=_facts("fedora", "localhost"),
        kind=EngineKind.PODMAN,
        mount="/run/podman/podman.sock",
        group=Group.CONTAINER,
        system="darwin",
    ),
    "remote by TCP": Engine(
        address="tcp://10.0.0.1:2376",
        source="DOCKER_HOST",
        named=True,
        facts=_facts(DEBIAN),
        kind=EngineKind.REMOTE,
        mount="",
        group=Group.NONE,
    ),
    "remote by SSH": Engine(
        address="ssh://me@box",
        source="context box",
        named=True,
        facts=_facts(DEBIAN),
        kind=EngineKind.REMOTE,
        mount="",
        group=Group.NONE,
    ),
}


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
def test_engines(engine: Engine) -> None:
    candidate = Candidate(source=engine.source, address=engine.address, named=engine.named)
    answer = Pinged(candidate=candidate, podman=engine.podman)
    kind = kind_of(answer, engine.facts)
    mount = socket_mount(kind, answer, engine.facts, system=engine.system)
    assert (kind, mount.source, mount.group) == (engine.kind, engine.mount, engine.group)
    assert candidate.docker_host == engine.docker_host
    # A container that can't have the socket is told why.
    assert bool(mount.note) == (not mount.source)


def _addresses(found: tuple[Candidate, ...]) -> list[str]:
    return [candidate.address for candidate in found]


def test_places_are_asked_in_order() -> None:
    env = {
        "DOCKER_SOCKET": "/b.sock",
        "DOCKER_HOST": "tcp://c:1",
        "HOME": HOME,
        "XDG_RUNTIME_DIR": "/run/user/1000",
    }
    found = candidates(env, option="/a.sock", context="d", context_host="unix:///d.sock")
    assert [candidate.source for candidate in found] == [
        "--socket",
        "DOCKER_SOCKET",
        "DOCKER_HOST",
        "context d",
        "the usual place",
        "rootless Docker",
        "Docker Desktop",
        "Docker Desktop",
        "Colima",
        "OrbStack",
        "Rancher Desktop",
        "Podman",
        "Podman",
    ]
    assert _addresses(found)[:5] == [
        "unix:///a.sock",
        "unix:///b.sock",
        "tcp://c:1",
        "unix:///d.sock",
        f"unix://{USUAL}",
    ]


def test_a_place_that_is_named_twice_is_asked_once_under_its_first_name() -> None:
    found = candidates({"DOCKER_HOST": f"unix://{USUAL}"}, option=USUAL)
    assert _addresses(found).count(f"unix://{USUAL}") == 1
    assert (found[0].source, found[0].named) == ("--socket", True)


def test_without_home_and_runtime_directory_only_what_is_known_is_asked() -> None:
    assert _addresses(candidates({})) == [f"unix://{USUAL}", "unix:///run/podman/podman.sock"]


def _pinged(address: str, problem: str = "", *, named: bool = False) -> Pinged:
    return Pinged(candidate=Candidate(source="x", address=address, named=named), problem=problem)


def test_the_first_that_answers_is_taken_and_nobody_after_it_is_asked() -> None:
    asked = []

    def answers() -> Iterator[Pinged]:
        for address, problem in (("unix:///a", "not there"), ("unix:///b", ""), ("unix:///c", "")):
            asked.append(address)
            yield _pinged(address, problem)

    assert choose(answers()).candidate.address == "unix:///b"
    assert asked == ["unix:///a", "unix:///b"]


def test_a_named_place_that_does_not_answer_is_not_passed_over() -> None:
    answers = [_pinged("unix:///a", "nothing listens there", named=True), _pinged("unix:///b")]
    with pytest.raises(EngineError) as caught:
        choose(answers)
    assert "unix:///a (x): nothing listens there" in str(caught.value)
    assert "unix:///b" not in str(caught.value)


def test_where_nobody_answers_every_place_is_listed() -> None:
    with pytest.raises(EngineError) as caught:
        choose([_pinged("unix:///a", "not there"), _pinged("unix:///b", "a directory")])
    assert "unix:///a (x): not there" in str(caught.value)
    assert "unix:///b (x): a directory" in str(caught.value)
    assert "--socket" in caught.value.hint


def test_without_permission_the_group_is_the_way_and_never_chmod() -> None:
    with pytest.raises(EngineError) as caught:
        choose([_pinged("unix:///a", "no permission")])
    assert "join the group" in caught.value.hint
    assert "chmod" not in str(caught.value)
