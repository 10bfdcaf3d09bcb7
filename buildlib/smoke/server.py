"""The image's own command, running as a server, and what can be asked of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from buildlib.config import Config
from buildlib.errors import EngineError
from buildlib.passing import passing_folder
from buildlib.platforms import Platform
from buildlib.run.ask import LOG_LINES, container_log, health_log, published_at
from buildlib.run.call import Answer, call
from buildlib.run.plan import Mount
from buildlib.smoke.lab import Lab
from buildlib.smoke.observe import (
    PROC_SCRIPT,
    TOP_COLUMNS,
    Process,
    of_image,
    parse_proc,
    parse_top,
    program_paths,
    wrong_machine,
    wrong_program,
)
from buildlib.smoke.sockets import Socket

_POLL: Final = 0.05
# The image says every half minute; nobody waits that long for the first look.
_OFTEN: Final = ("--health-interval=500ms", "--health-start-period=1ms")
# A request that makes the program work, such as looking through an image.
_REQUEST_SECONDS: Final = 30.0
_HEAD: Final = 64
# 128 and the number of the signal: SIGKILL, where SIGTERM was not heard; SIGTERM, where the
# program left it to the kernel, which ends it as well.
_KILLED: Final = 137
_ENDED: Final = (0, 143)


class Server:
    """One container; `serving` makes it.

    Args:
        lab: that it runs in.
        name: of the container.
        config: of the project.
        address: where its port is published, `http://…`; empty where it ended at once.
    """

    def __init__(self, lab: Lab, name: str, config: Config, address: str) -> None:
        """Keep what every question needs."""
        self._lab, self._name = lab, name
        self._config, self._wanted = config, config.smoke
        self._address = address

    def _state(self) -> dict[str, Any]:
        answer = self._lab.docker("container", "inspect", self._name)
        found: list[dict[str, Any]] = json.loads(answer.stdout or "[]") or [{}]
        return dict(found[0].get("State") or {})

    def log(self, lines: int = LOG_LINES) -> str:
        """Return the last lines of its log."""
        return container_log(self._lab, self._name, lines)

    def ask(
        self,
        path: str,
        method: str = "GET",
        body: str | None = None,
        *,
        timeout: float = _REQUEST_SECONDS,
    ) -> Answer:
        """Return what it answers; raises OSError where it does not."""
        data = None if body is None else body.encode()
        return call(f"{self._address}{path}", method=method, body=data, timeout=timeout)

    def _until(self, ready: Callable[[float], str]) -> str:
        """Ask until nothing is wrong, or it has ended, or the time is over.

        Args:
            ready: is given the seconds that are left; returns what is wrong.
        """
        deadline = time.monotonic() + self._wanted.start_timeout
        while True:
            reason = ready(max(deadline - time.monotonic(), _POLL))
            if not reason:
                return ""
            ended = not self._state().get("Running")
            if ended or time.monotonic() > deadline:
                limit = f"not healthy within {self._wanted.start_timeout} s"
                what = "it ended at once" if ended else f"{limit}: {reason}"
                return f"{what}\n{self.log()}"
            time.sleep(_POLL)

    def healthy(self) -> str:
        """Wait until the health path answers 200; return why it did not."""

        def ready(left: float) -> str:
            try:
                answer = self.ask(self._wanted.health_path, timeout=left)
            except OSError as error:
                return str(error)
            return "" if answer.ok else f"HTTP {answer.status}"

        return self._until(ready)

    def has_healthcheck(self) -> bool:
        """Return whether the image has a HEALTHCHECK that the engine makes."""
        return bool(self._state().get("Health"))

    def healthcheck(self) -> str:
        """Wait until the image's own HEALTHCHECK says healthy; return why it did not."""

        def ready(_: float) -> str:
            health = self._state().get("Health") or {}
            return "" if health.get("Status") == "healthy" else health_log(health) or "starting"

        return self._until(ready)

    def version(self, wanted: str) -> str:
        """Return why the health path does not tell the version."""
        body = self.ask(self._wanted.health_path).body
        try:
            seen = str(json.loads(body).get("version", ""))
        except (ValueError, AttributeError):
            return "" if wanted in body.decode(errors="replace") else "absent"
        return differs(seen, wanted)

    def processes(self) -> tuple[str, tuple[Process, ...]]:
        """Return what `uname -m` says inside, where it can be asked, and the image's processes."""
        init = self._config.run.init
        answer = self._lab.docker("exec", self._name, "sh", "-c", PROC_SCRIPT)
        machine, seen = parse_proc(answer.stdout)
        if not seen:
            # An image without a shell: the engine's machine knows as well.
            machine, seen = "", parse_top(self._lab.docker("top", self._name, *TOP_COLUMNS).stdout)
        return machine, of_image(seen, init=init)

    def platform(self, platform: Platform) -> str:
        """Return why the process is not of this platform: by its program's header and by uname."""
        machine, seen = self.processes()
        if wrong := wrong_machine(machine, platform.arch):
            return wrong
        for path in (path for process in seen[:1] for path in program_paths(process)):
            head = self._head(path)
            if head.startswith(b"\x7fELF"):
                return wrong_program(path, head, platform.arch)
        return "its program could not be read"

    def _head(self, path: str) -> bytes:
        with passing_folder("smoke") as folder:
            copy = folder / "program"
            # A link is followed inside the container, never on this machine.
            self._lab.docker("cp", "--follow-link", f"{self._name}:{path}", str(copy))
            if not copy.is_file() or copy.is_symlink():
                return b""
            with copy.open("rb") as stream:
                return stream.read(_HEAD)

    def diff(self) -> str:
        """Return what changed in its file system, as `docker diff` prints it.

        Raises:
            OSError: it prints nothing of the kind.
        """
        done = self._lab.docker("diff", self._name)
        if done.code != 0:
            raise OSError(f"docker diff: {done.stderr.strip()}")
        return done.stdout

    def stops(self) -> str:
        """Stop it as docker does; return why it did not end by itself, in time, in order."""
        limit = self._wanted.stop_timeout
        started = time.monotonic()
        self._lab.docker("stop", "--time", str(limit), self._name)
        took = time.monotonic() - started
        code = self._state().get("ExitCode")
        if code == _KILLED:
            return f"it did not end within {limit} s, and was killed"
        return "" if code in _ENDED else f"it ended with code {code} after {took:.1f} s"


def differs(seen: str, wanted: str) -> str:
    """Return why a version is not the one that was built."""
    return "" if seen == wanted else f"it says {seen!r}, and {wanted!r} was built"


def server_options(
    config: Config, platform: Platform, confined: Sequence[str], socket: Socket | None, volume: str
) -> tuple[str, ...]:
    """Return the options of docker run for the image's own command.

    Args:
        config: of the project.
        platform: to run it as.
        confined: what it is denied, see `confined_options`.
        socket: of the engine, to be mounted; None: it gets none.
        volume: that keeps its data; empty: one that goes with the container.
    """
    run = config.run
    mounts, more = [], []
    if volume and run.data_path:
        mounts.append(Mount(kind="volume", source=volume, target=run.data_path))
    if socket:
        mounts.append(Mount(kind="bind", source=socket.source, target=run.socket_path))
        more = ["--group-add", str(socket.group)]
        more += ["--env", run.root_group_env] if socket.group == 0 and run.root_group_env else []
    return (
        *("--platform", str(platform), *confined),
        *(word for mount in mounts for word in ("--mount", str(mount))),
        *more,
    )


@contextmanager
def serving(lab: Lab, config: Config, image: str, options: Sequence[str]) -> Iterator[Server]:
    """Run the image's own command for the time of the block.

    Raises:
        EngineError: the container could not be started (exit 4).
    """
    publish = ("--detach", "--publish", f"127.0.0.1::{config.smoke.port}", *_OFTEN)
    timeout = config.smoke.start_timeout
    with lab.container((*publish, *options), image, timeout=timeout) as (name, started):
        if started.code != 0:
            raise EngineError("the container did not start", why=started.stderr.strip())
        yield Server(lab, name, config, published_at(lab, name, config.smoke.port))
