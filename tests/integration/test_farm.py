"""Builds on several real nodes of which one fails, or which are all busy: buildkitd with TLS."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from buildkit import image_of_buildkit
from conftest import Checkout, docker, start_task
from farms import User, make_user, table, wait_for
from nodes import Authority, Daemon, built_here, daemon, make_authority, times_here
from registries import (
    Fault,
    Proxy,
    QuietServer,
    Server,
    docker_config,
    fault_proxy,
    registry,
    serving,
)

from buildlib.image.archive import open_archive

pytestmark = [
    pytest.mark.builders,
    pytest.mark.timeout(2400),
    pytest.mark.usefixtures("engine"),
]
SOCKET = Path("/var/run/docker.sock")
AMD, ARM, BOTH = '"linux/amd64"', '"linux/arm64"', '"linux/arm64", "linux/amd64"'
WORDS = ("docker-build", "--builder", "farm", "--platform", "all", "--output", "oci")
# Each of its steps asks the test, which so knows how far it is, and holds it as long as it wants.
STEPS = """\
FROM --platform=$BUILDPLATFORM {alpine} AS compile
ARG TARGETARCH
ARG MOMENT
ADD http://127.0.0.1:{port}/$TARGETARCH/$MOMENT/pull /
RUN wget -Y off -q -O /one http://127.0.0.1:{port}/$TARGETARCH/$MOMENT/first
RUN wget -Y off -q -O /two http://127.0.0.1:{port}/$TARGETARCH/$MOMENT/second && \\
    echo $TARGETARCH >/made
FROM scratch
COPY --from=compile /made /
"""
NOT_RENEWED = re.compile(r"the place on node (\w+) can't be renewed")
PASSING = "the build is started again, as this may pass"
# A task that asks the nodes after two seconds of silence, and once.
IMPATIENT = """\
from buildlib.build import attempts
from invoke.main import program
attempts.SILENCE = 2.0
attempts.CHANCES = 1
program.run()
"""
# A task whose place in the registry expires soon.
SHORT = """\
from buildlib.build import registry_lease
from buildlib.registry.claim import ClaimTerms
from buildlib.retry import Patience
from invoke.main import program
registry_lease.TERMS = ClaimTerms(duration=9.0, poll=0.5, patience=5.0)
registry_lease._PATIENCE = Patience(attempts=2, base=0.1)
program.run()
"""


class _Asked(BaseHTTPRequestHandler):
    def _any(self) -> None:
        assert isinstance(self.server, Gate)
        self.server.reached(self.path)
        # No registry: the cache is not written, which the builds do not mind.
        status, body = (404, b"") if self.path.startswith("/v2/") else (200, b"x")
        self.send_response_only(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    do_GET = do_HEAD = do_POST = do_PUT = _any

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Gate(QuietServer):
    """What the steps of a build ask; `reached` is called with the path, and may hold it."""

    def __init__(self) -> None:
        super().__init__(_Asked)
        self.reached: Callable[[str], None] = lambda _: None


@pytest.fixture(name="gate")
def _gate() -> Iterator[Gate]:
    server = Gate()
    with serving(server):
        yield server


@pytest.fixture(scope="module", name="authority")
def _authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority") / "ca")


@pytest.fixture(scope="module")
def machines(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[list[Daemon]]:
    """Run three machines; what a test ended, it has started again."""
    folder = tmp_path_factory.mktemp("farm")
    with ExitStack() as stack:
        yield [stack.enter_context(daemon(folder / name, authority)) for name in "abc"]


Make = Callable[..., User]


@pytest.fixture(name="make")
def _make(make_checkout: Callable[..., Checkout], tmp_path: Path, authority: Authority) -> Make:
    """Return a maker of users with the same memory of builders, and no other temporary files."""
    (tmp_path / "t").mkdir()

    def make(dockerfile: str, builders: str, folder: str = "repo") -> User:
        user = make_user(
            make_checkout, authority, tmp_path / "buildx", dockerfile, builders, folder
        )
        # Files that are not committed have the time of the build.
        user.env |= {"SOURCE_DATE_EPOCH": "1700000000", "TMPDIR": str(tmp_path / "t")}
        return user

    return make


def _start(user: User, *words: str, program: str = "") -> subprocess.Popen[str]:
    argv = user.checkout.command(*WORDS, *words)
    if program:
        argv = [sys.executable, "-c", program, *WORDS, *words]
    env = user.checkout.environment({**user.env, "PYTHONFAULTHANDLER": "1"})
    return start_task(argv, user.checkout.root, env)


def _output(
    process: subprocess.Popen[str], on_line: Callable[[str], object] = lambda _: None
) -> str:
    """Return all that a task prints; each line is handed over as it comes."""
    lines = []
    with process:
        assert process.stdout
        for line in process.stdout:
            lines.append(line)
            on_line(line)
    output = "".join(lines)
    assert "Traceback" not in output
    return output


def _files(user: User) -> list[Path]:
    return sorted((user.checkout.root / "dist").rglob("*"))


def _digest(user: User) -> str:
    (path,) = _files(user)
    with open_archive(path) as archive:
        return archive.top()


def _check_nothing_left(user: User) -> None:
    assert list(Path(str(user.env["TMPDIR"])).iterdir()) == []
    folder = Path(str(user.env["BUILDX_CONFIG"]), "instances")
    assert [path.name for path in folder.iterdir()] == ["farm"]


def _spared(gate: Gate, machines: Sequence[Daemon], make: Make, alpine: str) -> User:
    port = gate.server_address[1]
    cache = f"type=registry,ref=127.0.0.1:{port}/cache/{{platform}}:x,ignore-error=true"
    more = f'retry = 1\ncache-to = ["{cache}"]\n'
    dockerfile = STEPS.format(alpine=alpine, port=port)
    user = make(dockerfile, table(machines, more, [AMD, ARM, BOTH]))
    user.succeed("docker-builder", "create")
    return user


def _begins(line: str) -> bool:
    return line.startswith("linux/arm64 | $")


@pytest.mark.toolchain
def test_a_node_that_is_killed_at_any_moment_is_replaced_by_a_spare(
    machines: list[Daemon], gate: Gate, make: Make, alpine: str
) -> None:
    _, arm, spare = machines
    user = _spared(gate, machines, make, alpine)
    user.succeed(*WORDS, "--build-arg", "MOMENT=none")
    digest = _digest(user)
    assert "linux/arm64" not in built_here(spare)
    # As it is asked to build, as it fetches what it needs, in two steps, as it writes the cache.
    for moment in ("begun", "/arm64/.*/pull", "/arm64/.*/first", "/arm64/.*/second", "/v2/.*arm64"):
        kill = threading.Lock()

        def reached(path: str, moment: str = moment, kill: threading.Lock = kill) -> None:
            if re.match(moment, path) and kill.acquire(blocking=False):
                arm.kill()

        gate.reached = reached
        name = re.sub(r"\W", "", moment)
        process = _start(user, "--build-arg", f"MOMENT={name}")
        output = _output(process, lambda line: reached("begun") if _begins(line) else None)
        assert process.returncode == 0, output
        assert kill.locked(), moment
        said = "node node1 of the builder farm does not answer: linux/arm64 is built on node node2"
        assert output.count(said) == 1, output
        assert _digest(user) == digest
        _check_nothing_left(user)
        arm.start()
    assert "linux/arm64" in built_here(spare)


def test_a_platform_whose_node_and_spare_are_killed_fails_and_leaves_nothing(
    machines: list[Daemon], gate: Gate, make: Make, alpine: str
) -> None:
    amd, arm, spare = machines
    user = _spared(gate, machines, make, alpine)
    alive = [spare, arm]
    gate.reached = lambda path: alive.pop().kill() if "/arm64/" in path and alive else None
    process = _start(user, "--build-arg", "MOMENT=both")
    output = _output(process)
    assert process.returncode == 4, output
    assert "error: node node2 of the builder farm does not answer" in output
    assert _files(user) == []
    _check_nothing_left(user)
    assert amd.containers() == []
    arm.start()
    spare.start()


def test_a_node_that_stalls_is_replaced_by_a_spare(
    machines: list[Daemon], gate: Gate, make: Make, alpine: str
) -> None:
    _, arm, _ = machines
    user = _spared(gate, machines, make, alpine)
    assert arm.process
    stop, held = threading.Lock(), threading.Event()

    def reached(path: str) -> None:
        if "/arm64/" in path and path.endswith("/first") and stop.acquire(blocking=False):
            assert arm.process
            arm.process.send_signal(signal.SIGSTOP)
            held.wait(180)

    gate.reached = reached
    try:
        process = _start(user, "--build-arg", "MOMENT=stall", program=IMPATIENT)
        output = _output(process)
    finally:
        arm.process.send_signal(signal.SIGCONT)
        held.set()
    assert process.returncode == 0, output
    assert "linux/arm64 is built on node node2" in output
    _check_nothing_left(user)


def _clear(proxy: Proxy, line: str) -> None:
    """Let a registry work again once a task waits for it."""
    if PASSING in line:
        proxy.always.clear()


def test_the_container_of_a_spare_stays_as_it_is(make: Make, tmp_path: Path) -> None:
    # An engine by two addresses, of which one leads nowhere later.
    address = tmp_path / "engine"
    address.symlink_to(SOCKET)
    with image_of_buildkit(tmp_path / "image") as image:
        name = image.partition(":")[0]
        option = f'options = {{ image = "{image}" }}, platforms = [{AMD}]'
        nodes = f'{{ name = "{name}-a", endpoint = "unix://{address}", {option} }}, '
        nodes += f'{{ name = "{name}-b", {option} }}'
        text = f'[builders."{name}"]\ndriver = "docker-container"\nretry = 1\nnodes = [{nodes}]\n'
        user = make("FROM scratch\nCOPY tasks.py /\n", text)
        try:
            user.succeed("docker-builder", "create")
            container = docker("inspect", "--format", "{{.Id}}", f"buildx_buildkit_{name}-b")
            address.unlink()
            words = ("docker-build", "--builder", name, "--platform", "linux/amd64")
            done = user.succeed(*words, "--output", "oci")
            assert f"linux/amd64 is built on node {name}-b" in done.stderr
            found = docker("inspect", "--format", "{{.Id}} {{.State.Status}}", container)
            assert found == f"{container} running"
            assert user.buildx("ls").count("buildlib-spare") == 0
            address.symlink_to(SOCKET)
            user.succeed("docker-builder", "remove")
        finally:
            user.buildx("rm", "--force", name)


@pytest.mark.toolchain
def test_a_registry_that_fails_for_a_while_is_waited_for(
    machines: list[Daemon], make: Make, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(registry(tmp_path / "registry", password=False))
        proxy = stack.enter_context(fault_proxy(server.port))
        cache = f'cache-to = ["type=registry,ref={proxy.host}/cache"]\n'
        builder = table(machines[:1], cache, [BOTH])
        base = make("FROM scratch\nCOPY tasks.py /\n", builder, "base")
        base.succeed("docker-builder", "create")
        words = ("--platform", "linux/amd64", "--tag", f"{server.host}/base:1", "--push")
        base.build(*words)
        user = make(f"FROM {proxy.host}/base:1\nCOPY tasks.py /copy\n", builder)
        # The registry of the cache is busy, and that of the base image is down.
        for pattern, status in (("POST .*/cache/", 429), ("(GET|HEAD) .*/base/manifests", 503)):
            proxy.always[pattern] = Fault(status=status)
            process = _start(user, "--no-cache")
            output = _output(process, lambda line: _clear(proxy, line))
            assert process.returncode == 0, output
            assert not proxy.always
            assert output.count(PASSING) == 1


class Client:
    """Somebody whose build runs, and what it prints."""

    def __init__(self, user: User, number: int, program: str = "") -> None:
        self.user = user
        self.process = _start(user, "--build-arg", f"MOMENT={number}", program=program)
        self.lines: list[str] = []
        self._reader = threading.Thread(target=_output, args=(self.process, self.lines.append))
        self._reader.start()

    @property
    def waits(self) -> int:
        """Return for how many nodes it has waited."""
        return sum(bool(re.search(r"\| node node\d: waiting for ", line)) for line in self.lines)

    def kill(self) -> None:
        """End the task and buildx, as a machine ends whose power fails."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.end()

    def end(self) -> int:
        self._reader.join()
        return int(self.process.wait())

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Wait until a condition holds; if it never does, fail with all that is known."""
        try:
            wait_for(lambda: condition() or self.process.poll() is not None, 180)
        except AssertionError:
            # Each of its threads prints where it is, see PYTHONFAULTHANDLER.
            self.process.send_signal(signal.SIGABRT)
            self.process.wait()
        if not condition():
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            code = self.end()
            pytest.fail(f"ended with {code}:\n{''.join(self.lines)}")


class Steps:
    """Counts the builds that run on each node, and holds them until they may go on."""

    def __init__(self) -> None:
        self.most = Counter[str]()
        self.go_on = threading.Event()
        self._busy = Counter[str]()
        self._changing = threading.Lock()

    def reached(self, path: str) -> None:
        arch = path.split("/")[1]
        with self._changing:
            self._busy[arch] += 1
            self.most[arch] = max(self.most[arch], self._busy[arch])
        self.go_on.wait(300)
        with self._changing:
            self._busy[arch] -= 1


def _limited(nodes: Sequence[Daemon], more: str = "") -> str:
    text = table(nodes, more, [AMD, ARM])
    return text.replace("platforms = [", "max-builds = 1, platforms = [")


def _check_turns(nodes: Sequence[Daemon], before: Sequence[set[str]], builds: int) -> None:
    """Check by the daemons' own records that no two builds ran at the same time."""
    for one, known in zip(nodes, before, strict=True):
        times = sorted(times for ref, times in times_here(one).items() if ref not in known)
        assert len(times) == builds
        assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(times))


@pytest.mark.parametrize("machines_of_clients", ["one", "nine"])
def test_clients_of_busy_nodes_take_turns(
    machines: list[Daemon],
    gate: Gate,
    make: Make,
    alpine: str,
    tmp_path: Path,
    machines_of_clients: str,
) -> None:
    nodes = machines[:2]
    before = [set(times_here(one)) for one in nodes]
    dockerfile = STEPS.format(alpine=alpine, port=gate.server_address[1])
    steps = Steps()
    gate.reached = steps.reached
    with ExitStack() as stack:
        server = stack.enter_context(registry(tmp_path / "registry"))
        apart = machines_of_clients == "nine"
        text = _limited(nodes, _leases(server.host) if apart else "")
        users = [make(dockerfile, text, f"repo{number}") for number in range(9)]
        for number, user in enumerate(users if apart else ()):
            _own_machine(user, tmp_path / f"machine{number}", server.host)
        users[0].succeed("docker-builder", "create")
        clients = [Client(user, number) for number, user in enumerate(users)]
        try:
            # One is built on each node, and everybody else waits for it.
            wait_for(lambda: sum(client.waits for client in clients) == 16, 240)
            killed = next(client for client in clients if client.waits == 2)
            killed.process.kill()
            killed.end()
            steps.go_on.set()
            clients.remove(killed)
            assert [client.end() for client in clients] == [0] * 8
        finally:
            steps.go_on.set()
            for client in clients:
                client.process.kill()
        assert server.tags("team/leases") == {}
    assert steps.most == {"amd64": 1, "arm64": 1}
    _check_turns(nodes, before, 8)
    said = [line for client in clients for line in client.lines if "is free after" in line]
    assert len(said) == 14
    assert all(_digest(client.user) for client in clients)


def _leases(host: str) -> str:
    return f'lease-repository = "{host}/team/leases"\n'


def _own_machine(user: User, folder: Path, host: str) -> None:
    """Give a user a state directory and docker's credentials of their own."""
    config = docker_config(folder / "docker", host)
    user.env |= {"XDG_STATE_HOME": str(folder / "state"), "DOCKER_CONFIG": str(config)}


class Farm:
    """Two nodes with a limit among all machines, and users who each have a machine."""

    def __init__(self, make: Make, dockerfile: str, nodes: Sequence[Daemon], host: str) -> None:
        self._make, self._dockerfile = make, dockerfile
        self._text, self._host = _limited(nodes, _leases(host)), host
        self.users = list[User]()

    def user(self, folder: Path) -> User:
        name = f"repo{len(self.users)}"
        user = self._make(self._dockerfile, self._text, name)
        _own_machine(user, folder / f"machine-{name}", self._host)
        if not self.users:
            user.succeed("docker-builder", "create")
        self.users.append(user)
        return user


@pytest.fixture(name="server")
def _server(tmp_path: Path) -> Iterator[Server]:
    with registry(tmp_path / "registry") as server:
        yield server


def test_a_client_that_is_killed_while_it_builds_loses_its_places(
    machines: list[Daemon], gate: Gate, make: Make, alpine: str, tmp_path: Path, server: Server
) -> None:
    farm = Farm(
        *(make, STEPS.format(alpine=alpine, port=gate.server_address[1])),
        *(machines[:2], server.host),
    )
    steps = Steps()
    gate.reached = steps.reached
    first = Client(farm.user(tmp_path), 1, SHORT)
    first.wait_for(lambda: len(steps.most) == 2)
    second = Client(farm.user(tmp_path), 2, SHORT)
    try:
        second.wait_for(lambda: second.waits == 2)
        said = r"waiting for \S+ \S+ linux/(amd|arm)64 \(\d+ s\); waited 0 s so far"
        assert sum(bool(re.search(said, line)) for line in second.lines) == 2
        done = farm.users[0].succeed("docker-builder", "status")
        assert len(re.findall(r"  node\d: place of \S+ \S+ linux/a\w+64, \d+ s", done.stdout)) == 2
        first.kill()
        steps.go_on.set()
        assert second.end() == 0, second.lines
    finally:
        steps.go_on.set()
        second.process.kill()
    assert sum("is free after" in line for line in second.lines) == 2
    assert server.tags("team/leases") == {}


@pytest.mark.parametrize("how", ["interrupted", "failed"])
def test_a_build_that_does_not_succeed_leaves_no_place(
    machines: list[Daemon],
    gate: Gate,
    make: Make,
    alpine: str,
    tmp_path: Path,
    server: Server,
    how: str,
) -> None:
    dockerfile = STEPS.format(alpine=alpine, port=gate.server_address[1])
    if how == "failed":
        dockerfile = dockerfile.replace("FROM scratch", "RUN false\nFROM scratch")
        dockerfile = dockerfile.replace("COPY --from=compile /made /", "COPY --from=compile / /")
    user = Farm(make, dockerfile, machines[:2], server.host).user(tmp_path)
    steps = Steps()
    gate.reached = steps.reached
    client = Client(user, 3)
    try:
        client.wait_for(lambda: len(steps.most) == 2)
        assert len(server.tags("team/leases")) == 2
        if how == "interrupted":
            os.killpg(client.process.pid, signal.SIGINT)
    finally:
        steps.go_on.set()
    assert client.end() == (130 if how == "interrupted" else 4), client.lines
    assert server.tags("team/leases") == {}


def test_a_registry_that_deletes_nothing_gets_one_tag_for_each_place_of_a_machine(
    machines: list[Daemon], make: Make, tmp_path: Path, server: Server
) -> None:
    with fault_proxy(server.port) as proxy:
        proxy.always["DELETE"] = Fault(status=405)
        dockerfile = "FROM scratch\nARG MOMENT\nCOPY tasks.py /\n"
        farm = Farm(make, dockerfile, machines[:2], proxy.host)
        for _ in range(2):
            user = farm.user(tmp_path)
            for number in range(3):
                client = Client(user, number)
                assert client.end() == 0, client.lines
                assert not any("waiting for" in line for line in client.lines)
            assert len(server.tags("team/leases")) == 2 * len(farm.users)


def test_a_build_goes_on_without_the_registry_and_none_begins(
    machines: list[Daemon], gate: Gate, make: Make, alpine: str, tmp_path: Path, server: Server
) -> None:
    with fault_proxy(server.port) as proxy:
        farm = Farm(
            *(make, STEPS.format(alpine=alpine, port=gate.server_address[1])),
            *(machines[:2], proxy.host),
        )
        steps = Steps()
        gate.reached = steps.reached
        client = Client(farm.user(tmp_path), 4, SHORT)
        try:
            client.wait_for(lambda: len(steps.most) == 2)
            proxy.always["."] = Fault(reset=True)
            client.wait_for(
                lambda: (
                    {found[1] for line in client.lines if (found := NOT_RENEWED.search(line))}
                    == {"node0", "node1"}
                )
            )
            other = Client(farm.user(tmp_path), 5, SHORT)
            assert other.end() == 6, other.lines
            assert any("can be claimed in" in line for line in other.lines)
        finally:
            steps.go_on.set()
        assert client.end() == 0, client.lines
        assert _digest(client.user)
        assert sum("could not be released; it expires" in line for line in client.lines) == 2
