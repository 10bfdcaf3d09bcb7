"""The image's own command, running as a server, and what can be asked of it."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from buildlib.config.config import Config
from buildlib.config.containers import publishes
from buildlib.config.expectations import HealthVersion
from buildlib.containers.health import smoke_health, smoke_surroundings
from buildlib.containers.health_probe import Probe, wait
from buildlib.containers.inspect import (
    LOG_LINES,
    container_log,
    described,
    health_log,
    published_at,
    state_of,
)
from buildlib.containers.plan import Mount, local_address
from buildlib.containers.port import Inside, NoWayError, Reach
from buildlib.docker.http import ServerAnswer
from buildlib.errors import EngineError, TimedOutError
from buildlib.executor import Completed
from buildlib.image.platform import Platform
from buildlib.image.runtime_config import (
    Account,
    account_of,
    main_command,
    program_candidates,
    stop_signal,
)
from buildlib.shell import repeated
from buildlib.smoke.processes import (
    PROC_SCRIPT,
    TOP_COLUMNS,
    ContainerProcess,
    of_image,
    parse_proc,
    parse_top,
    program_paths,
    wrong_machine,
    wrong_program,
)
from buildlib.smoke.sandbox import Lab
from buildlib.smoke.socket_relay import Socket
from buildlib.tempfiles import passing_folder

_POLL: Final = 0.05
# The image may say every half minute, which is too long for the first look.
_OFTEN: Final = ("--health-interval=500ms", "--health-start-period=1ms")
# A request that makes the program work, such as looking through an image.
_REQUEST_SECONDS: Final = 60.0
_START_SECONDS: Final = 60.0
_HEAD: Final = 64
_LONGEST_FILE: Final = 4_000_000
_USER_FILES: Final = ("/etc/passwd", "/etc/group")
_SHOWN: Final = 200
# A program that a signal ended has 128 and its number.
_SIGNALLED: Final = 128
_KILL: Final = 9
_TERM: Final = 15


class Server:
    """One container; `serving` makes it.

    Args:
        address: where its port is published, `http://…`; empty where it can't be reached there.
    """

    def __init__(self, lab: Lab, name: str, config: Config, address: str) -> None:
        self._lab, self._name = lab, name
        self._config, self._smoke = config, config.smoke
        self._health = smoke_health(config)
        inside = Inside(lab, name, self._smoke.helper_image, lab.labels)
        self._reach = Reach(inside, self._health.port, address)
        self._probe = Probe(self._health, self._reach, self._execute, self._inspect)

    def _inspect(self) -> dict[str, Any]:
        return described(self._lab, self._name)

    def _execute(self, words: Sequence[str]) -> Completed:
        limit = self._lab.limit(_REQUEST_SECONDS)
        return self._lab.docker("exec", self._name, *words, timeout=limit)

    def _state(self) -> dict[str, Any]:
        return state_of(self._inspect())

    def _runtime(self) -> dict[str, Any]:
        return dict(self._inspect().get("Config") or {})

    @property
    def way(self) -> str:
        """Return how it was asked, where that was not the published address; or nothing."""
        return self._probe.way or self._reach.way

    def log(self, lines: int = LOG_LINES) -> str:
        """Return the last lines of its log."""
        return container_log(self._lab, self._name, lines)

    def ask(self, path: str, method: str = "GET", body: str | None = None) -> ServerAnswer:
        """Return what it answers; raises OSError where it does not."""
        limit = self._lab.limit(_REQUEST_SECONDS)
        return self._reach.ask(path, method, body, timeout=limit)

    def _until(self, asked: str, ask: Callable[[float], str]) -> str:
        """Ask until nothing is wrong, or it has ended, or the time is over.

        Args:
            asked: what is asked, for the message.
            ask: as for `wait`.
        """
        seconds = self._smoke.start_timeout
        problem, ended = wait(
            ask, lambda: bool(self._state().get("Running")), self._lab.limit(seconds)
        )
        if not problem:
            return ""
        limit = f"not healthy within {seconds} s: {asked}{problem.strip()}{self._lab.remark}"
        what = "it exited at once" if ended else limit
        return f"{what}\n{self.log() or 'it logged nothing'}"

    def healthy(self) -> str:
        """Wait until it is, as the configuration has it; return why it did not get so."""
        return self._until(f"{self._health}: ", self._problem)

    def _problem(self, left: float) -> str:
        try:
            return self._probe.problem(left)
        except TimedOutError as error:
            return str(error)

    def has_healthcheck(self) -> bool:
        """Return whether the image has a HEALTHCHECK that the engine makes."""
        return bool(self._state().get("Health"))

    def healthcheck(self) -> str:
        """Wait until the image's own HEALTHCHECK says healthy; return why it did not."""

        def ready(_: float) -> str:
            health = self._state().get("Health") or {}
            return "" if health.get("Status") == "healthy" else health_log(health) or "starting"

        return self._until("", ready)

    def version(self, expected: str) -> str:
        """Return why the server does not say the version where it should."""
        place = self._smoke.health_version or HealthVersion()
        path = place.path or self._health.path
        return wrong_version(self.ask(path), place, path, expected)

    def listens(self, port: int) -> str:
        """Return why nothing listens on a further port, or nothing."""
        return self._reach.inside.listens(port, timeout=self._lab.limit(_REQUEST_SECONDS))

    def account(self) -> Account | None:
        """Return whom the image's USER means, as the engine reads it."""
        user = str(self._runtime().get("User") or "")
        files = (self._file(path).decode(errors="replace") for path in _USER_FILES)
        return account_of(user, *files)

    def processes(self) -> tuple[str, tuple[ContainerProcess, ...]]:
        """Return what `uname -m` says inside, where it can be asked, and the image's processes."""
        init = self._config.run.init
        answer = self._lab.docker("exec", self._name, "sh", "-c", PROC_SCRIPT)
        machine, seen = parse_proc(answer.stdout)
        if not seen:
            # An image without a shell: the engine's machine knows as well.
            machine, seen = "", parse_top(self._lab.docker("top", self._name, *TOP_COLUMNS).stdout)
        return machine, of_image(seen, init=init)

    def platform(self, platform: Platform) -> str:
        """Return why the process is not of this platform: by its program's header and by uname.

        Raises:
            NoWayError: its program is not found, or is not one of the image's.
        """
        machine, seen = self.processes()
        if wrong := wrong_machine(machine, platform.arch):
            return wrong
        runtime = self._runtime()
        found = [path for process in seen[:1] for path in program_paths(process, runtime)]
        for word in main_command(runtime)[:1]:
            found += program_candidates(word, runtime)
        for path in dict.fromkeys(found):
            head = self._file(path, _HEAD)
            if head.startswith(b"\x7fELF"):
                return wrong_program(path, head, platform.arch)
        raise NoWayError(
            f"its program could not be read: {', '.join(found[:3]) or 'none was seen'}"
        )

    def _file(self, path: str, longest: int = _LONGEST_FILE) -> bytes:
        """Return the beginning of a file of the container; empty where it has none."""
        with passing_folder("smoke") as folder:
            copy = folder / "file"
            # A link is followed inside the container, never on this machine.
            self._lab.docker("cp", "--follow-link", f"{self._name}:{path}", str(copy))
            if not copy.is_file() or copy.is_symlink():
                return b""
            with copy.open("rb") as stream:
                return stream.read(longest)

    def diff(self) -> str:
        """Return what changed in its file system, as `docker diff` prints it.

        Raises:
            OSError: it prints nothing of the kind.
        """
        done = self._lab.docker("diff", self._name)
        if done.code != 0:
            raise OSError(f"docker diff: {done.stderr.strip()}")
        return done.stdout

    def mounted(self) -> tuple[str, ...]:
        """Return where something is mounted: by configuration, or by the image's own VOLUME."""
        mounts = self._inspect().get("Mounts") or ()
        return tuple(str(mount.get("Destination", "")).rstrip("/") for mount in mounts)

    def stops(self) -> str:
        """Stop it as docker does; return why it did not end by itself, in time, in order."""
        limit = math.ceil(self._lab.limit(self._smoke.stop_timeout))
        number = stop_signal(self._runtime())
        started = time.monotonic()
        self._lab.docker("stop", "--time", str(limit), self._name)
        took = time.monotonic() - started
        code = self._state().get("ExitCode")
        # As one that left the signal to the kernel ends, which is in order as well.
        if code in {0, _SIGNALLED + number, *self._smoke.stop_codes}:
            return ""
        if code == _SIGNALLED + _KILL:
            within = f"within {self._smoke.stop_timeout} s"
            return f"it did not end {within}, and was killed{self._lab.remark}"
        named = "" if number == _TERM else f" of the signal {number}"
        return f"it ended with code {code} after {took:.1f} s{named}"


def differs(seen: str, expected: str) -> str:
    """Return why a version is not the one that was built."""
    return "" if seen == expected else f"it says {seen!r}, and {expected!r} was built"


def wrong_version(answer: ServerAnswer, place: HealthVersion, path: str, expected: str) -> str:
    """Return why an answer does not say the version where it should."""
    text = answer.body.decode(errors="replace")
    if not place.field:
        return "" if _says(text, expected) else f"{path} does not say {expected}: {text[:_SHOWN]!r}"
    try:
        found = json.loads(text)
        for name in place.field.split("."):
            found = found[int(name)] if isinstance(found, list) else found[name]
    except (ValueError, TypeError, KeyError, IndexError):
        if place.text_too and _says(text, expected):
            return ""
        return f"absent: {path} has no {place.field}"
    return differs(str(found), expected)


def _says(text: str, version: str) -> bool:
    """Return whether a version is in a text, and not as a part of another."""
    return bool(re.search(rf"(?<![\w.+-])v?{re.escape(version)}(?![\w+-]|\.\w)", text))


def server_options(
    config: Config,
    platform: Platform,
    confined: Sequence[str],
    socket: Socket | None,
    volume: str,
    network: str = "",
) -> tuple[str, ...]:
    """Return the options of docker run for the image's own command.

    Args:
        confined: what it is denied, see `confined_options`.
        socket: of the engine, to be mounted; None: it gets none.
        volume: that keeps its data; empty: one that goes with the container.
        network: of the services beside it; empty: that of the configuration.
    """
    run, given = config.run, smoke_surroundings(config)
    given = given._replace(network=network or given.network)
    mounts, more = [], []
    if volume and run.data_path:
        mounts.append(Mount(kind="volume", source=volume, target=run.data_path))
    if socket:
        mounts.append(Mount(kind="bind", source=socket.source, target=run.socket_path))
        more = ["--group-add", str(socket.group)]
        more += ["--env", run.root_group_env] if socket.group == 0 and run.root_group_env else []
    return (
        *("--platform", str(platform), *confined),
        *given.options(),
        *repeated("--mount", mounts),
        *more,
    )


@contextmanager
def serving(lab: Lab, config: Config, image: str, options: Sequence[str]) -> Iterator[Server]:
    """Run the image's own command for the time of the block.

    Raises:
        EngineError: the container could not be started (exit 4).
    """
    port, smoke = config.smoke.port, config.smoke
    network = next(
        (options[n + 1] for n, word in enumerate(options[:-1]) if word == "--network"), ""
    )
    shown = port and publishes(network)
    publish = ("--publish", f"127.0.0.1::{port}") if shown else ()
    timeout = max(_START_SECONDS, lab.limit(smoke.start_timeout))
    argv = ("--detach", *publish, *_OFTEN, *options)
    hidden = dict(smoke_surroundings(config).hidden)
    with lab.container(argv, image, timeout=timeout, env=hidden) as (name, started):
        if started.code != 0:
            raise EngineError("the container did not start", why=started.stderr.strip())
        address = published_at(lab, name, port) if shown and not lab.elsewhere else ""
        if port and network == "host" and not lab.elsewhere:
            address = local_address("127.0.0.1", port)
        yield Server(lab, name, config, address)
