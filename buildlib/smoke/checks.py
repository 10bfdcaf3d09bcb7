"""The checks of one platform's image, in the order in which they are made."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Final

from buildlib.command import shell_line
from buildlib.config import Config
from buildlib.engine import emulation_problem
from buildlib.errors import TimedOutError
from buildlib.executor import Completed
from buildlib.expectations import Command
from buildlib.platforms import Platform
from buildlib.run.container import ENGINE_FAILED, NOT_EXECUTABLE, NOT_FOUND, command_error
from buildlib.run.plan import Mount, confined_options
from buildlib.smoke.lab import Lab
from buildlib.smoke.observe import error_lines, written_elsewhere, wrong_user
from buildlib.smoke.result import DROPS_ROOT, Finding, SmokeResult, State
from buildlib.smoke.server import Server, differs, server_options, serving
from buildlib.smoke.sockets import Socket

VERSION: Final = "version of the program"
LABEL_VERSION: Final = "version in the label"
HEALTHY: Final = "healthy"
HEALTHCHECK: Final = "healthy by HEALTHCHECK"
HEALTH_VERSION: Final = "version in health"
PLATFORM: Final = "platform of the process"
USER: Final = "user and groups"
ENGINE: Final = "reaches the engine"
DATA: Final = "data outlives the container"
DIFF: Final = "writes nowhere else"
LOG: Final = "no error in the log"
STOPS: Final = "stops on SIGTERM"

# What an entrypoint of root needs to become another user.
_DROPPING: Final = ("--cap-add=SETUID", "--cap-add=SETGID")
_TAIL: Final = 5
_INIT_FAILED: Final = "failed: No such file or directory"
_LOG_LINES: Final = 5000
_SUCCESS: Final = range(200, 300)


def is_wanted(only: Sequence[str], *checks: str) -> bool:
    """Return whether one of some checks fits the patterns; none means that all are wanted."""
    return not only or any(fnmatchcase(check, pattern) for check in checks for pattern in only)


class LeftOutError(Exception):
    """The check can't be made here; the text says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """One platform's image, and what it should be.

    Args:
        image: a reference that the engine has.
        source: what `--image` takes for it: that reference, or the file of the archive.
        platform: what to run it as.
        digest: of the manifest.
        version: that it must have everywhere.
        label: the version that its label tells; None where there is nothing to compare it with.
        foreign: the engine's machine runs it only under emulation.
    """

    image: str
    source: str
    platform: Platform
    digest: str
    version: str
    label: str | None
    foreign: bool


class PlatformSmoke:
    """Makes the configured checks against one subject.

    Args:
        subject: what is checked.
        config: of the project.
        lab: starts the containers.
        sockets: that a container may find mounted; empty: it needs none.
        only: patterns of names; checks that match none are left away. Empty: all are made.
        on_finding: is told of each as it ends.
    """

    def __init__(
        self,
        subject: Subject,
        config: Config,
        lab: Lab,
        *,
        sockets: Sequence[Socket] = (),
        only: Sequence[str] = (),
        on_finding: Callable[[Finding], None] = lambda _: None,
    ) -> None:
        """Keep what every check needs."""
        self._subject, self._config, self._lab = subject, config, lab
        self._wanted = config.smoke
        # As docker-run starts it: what works only with more than that is a finding.
        self._confined = confined_options(config.run)
        self._sockets, self._only, self._on_finding = sockets, tuple(only), on_finding
        self._findings: list[Finding] = []
        self._log: list[str] = []
        self._kept: bytes | None = None

    def run(self) -> SmokeResult:
        """Make every check, also after one that failed.

        Raises:
            EngineError: no container could be started, or emulation is missing (exit 4).
        """
        started = time.monotonic()
        for command in self._wanted.commands:
            self._check(" ".join(command.run), partial(self._command, command), command.run)
        if self._wanted.version_command:
            self._check(VERSION, self._version, self._wanted.version_command)
        if self._subject.label is not None:
            label = self._subject.label
            self._check(LABEL_VERSION, lambda: differs(label, self._subject.version))
        if self._wanted.port:
            self._serve()
        return SmokeResult(
            image=self._subject.image,
            platform=str(self._subject.platform),
            digest=self._subject.digest,
            version=self._subject.version,
            seconds=time.monotonic() - started,
            findings=tuple(self._findings),
        )

    def _named(self, *checks: str) -> bool:
        return is_wanted(self._only, *checks)

    def _check(self, check: str, ask: Callable[[], str], command: Sequence[str] = ()) -> bool:
        """Make a check, where it is wanted; return whether nothing is wrong."""
        if not self._named(check):
            return True
        started = time.monotonic()
        state = State.PASSED
        try:
            detail = ask()
            state = State.FAILED if detail else State.PASSED
        except OSError as error:
            detail, state = str(error), State.FAILED
        except LeftOutError as error:
            detail, state = str(error), State.LEFT_OUT
        except TimedOutError:
            limit = self._wanted.command_timeout if command else self._wanted.start_timeout
            detail, state = f"it did not end within {limit} s", State.FAILED
        if state is State.FAILED:
            self._raise_without_emulation(detail, command)
        self._record(
            Finding(
                check=check,
                state=state,
                seconds=time.monotonic() - started,
                detail=detail,
                repeat=self._repeat(check, command) if state is State.FAILED else "",
            )
        )
        return state is not State.FAILED

    def _record(self, finding: Finding) -> None:
        self._findings.append(finding)
        self._on_finding(finding)

    def _raise_without_emulation(self, output: str, command: Sequence[str] = ()) -> None:
        """Raise where what failed is that nothing of a foreign platform can run here."""
        if not self._subject.foreign:
            return
        if _INIT_FAILED in output:
            # docker's init takes what the kernel refuses for a script, and misses its shell.
            confined = [option for option in self._confined if option != "--init"]
            output += self._ask(command, confined).stderr
        if problem := emulation_problem(output):
            raise problem

    def _repeat(self, check: str, command: Sequence[str]) -> str:
        """Return the line that makes this check alone, by hand."""
        subject = self._subject
        # An archive is in the engine only as long as smoke runs.
        if command and subject.source == subject.image:
            options = ("--platform", str(subject.platform), *self._confined)
            return shell_line(("docker", "run", "--rm", *options, subject.image, *command))
        where = ("--platform", str(subject.platform), "--image", subject.source)
        # A pattern: what stands in brackets would be read as one.
        return shell_line(("invoke", "docker-smoke", *where, "--only", check.replace("[", "?")))

    def _ask(self, command: Sequence[str], confined: Sequence[str] = ()) -> Completed:
        options = ("--platform", str(self._subject.platform), *(confined or self._confined))
        limit = self._wanted.command_timeout
        with self._lab.container(options, self._subject.image, command, timeout=limit) as started:
            seen = started[1]
        if seen.code == ENGINE_FAILED and "docker:" in seen.stderr:
            raise command_error(seen.code, seen.stderr.strip())
        return seen

    def _command(self, command: Command) -> str:
        seen = self._ask(command.run)
        if seen.code != command.code:
            wanted = f", and not {command.code}" if command.code else ""
            return f"{_ended(seen)}{wanted}: {_tail(seen.stderr or seen.stdout)}"
        for name, pattern, text in (
            ("stdout", command.stdout, seen.stdout),
            ("stderr", command.stderr, seen.stderr),
        ):
            found = pattern.replace("{version}", re.escape(self._subject.version))
            if not re.search(found, text, re.MULTILINE):
                return f"{name} does not match {pattern!r}: {_tail(text)}"
        return ""

    def _version(self) -> str:
        seen = self._ask(self._wanted.version_command)
        if seen.code != 0:
            return f"{_ended(seen)}: {_tail(seen.stderr)}"
        return differs(seen.stdout.strip(), self._subject.version)

    def _serve(self) -> None:
        """Try the server: with each socket, with data that it should keep, and unconfined."""
        here = [socket for socket in self._sockets if not socket.left_out]
        containers: list[Socket | None] = [*here] or [None]
        if self._wanted.data and len(containers) == 1:
            # One to write, and another to find what was written.
            containers += containers
        with self._lab.volume() if self._wanted.data else nullcontext("") as volume:
            for number, socket in enumerate(containers):
                if not self._with_socket(socket, volume, number):
                    return
        for socket in self._sockets:
            for check in (USER, ENGINE) if socket.left_out else ():
                self._check(self._about(check, socket), partial(_leave_out, socket.left_out))
        if self._config.run.drops_root and self._named(DROPS_ROOT):
            self._drop(here[0] if here else None)
        if self._named(DIFF):
            self._open_root()
        self._check(LOG, self._errors)

    def _about(self, check: str, socket: Socket | None) -> str:
        return f"{check}, {socket.name}" if socket else check

    def _with_socket(self, socket: Socket | None, volume: str, number: int) -> bool:
        """Make the checks of one container; return whether it was healthy."""
        user, engine = self._about(USER, socket), self._about(ENGINE, socket)
        of_first = (HEALTHY, HEALTHCHECK, HEALTH_VERSION, PLATFORM, STOPS, DATA, LOG)
        if not self._named(user, engine, *(of_first if number == 0 else (DATA, LOG))):
            return True
        subject = self._subject
        options = server_options(self._config, subject.platform, self._confined, socket, volume)
        with serving(self._lab, self._config, subject.image, options) as server:
            if not self._healthy(server, self._about(HEALTHY, socket) if number else HEALTHY):
                return False
            if number == 0:
                self._first(server)
            # The second socket may be the first one again, where there is only one.
            if self._config.run.user and not self._has(user):
                self._check(user, lambda: self._user(server, socket))
            if socket and not self._has(engine):
                self._check(engine, lambda: self._engine(server))
            if number < 2:  # noqa: PLR2004 - one that writes, one that finds it
                self._data(server, writes=number == 0)
            self._log.append(server.log(_LOG_LINES))
            if number == 0:
                self._check(STOPS, server.stops)
        return True

    def _has(self, check: str) -> bool:
        return any(finding.check == check for finding in self._findings)

    def _healthy(self, server: Server, check: str) -> bool:
        """Wait until it is; that a later one is so is told only where it is not."""
        if check == HEALTHY and self._named(HEALTHY):
            return self._check(check, server.healthy)
        detail = server.healthy()
        if detail:
            self._raise_without_emulation(detail)
            self._record(
                Finding(
                    check=check,
                    state=State.FAILED,
                    detail=detail,
                    repeat=self._repeat(HEALTHY, ()),
                )
            )
        return not detail

    def _first(self, server: Server) -> None:
        def healthcheck() -> str:
            if not server.has_healthcheck():
                raise LeftOutError("the image has none")
            return server.healthcheck()

        self._check(HEALTHCHECK, healthcheck)
        self._check(HEALTH_VERSION, lambda: server.version(self._subject.version))
        self._check(PLATFORM, lambda: server.platform(self._subject.platform))

    def _user(self, server: Server, socket: Socket | None) -> str:
        user = self._config.run.user
        groups = frozenset([user, *([socket.group] if socket else [])])
        return wrong_user(server.processes()[1], user, groups)

    def _engine(self, server: Server) -> str:
        answer = server.ask(self._wanted.engine_path)
        text = answer.body.decode(errors="replace")
        return "" if answer.ok else f"HTTP {answer.status}: {_tail(text)}"

    def _data(self, server: Server, *, writes: bool) -> None:
        """Let the first container keep something, and see whether the second one finds it."""
        if not self._wanted.data or not self._named(DATA):
            return
        if writes:
            try:
                problem = self._write(server)
            except OSError as error:
                problem = str(error)
            if problem:
                self._check(DATA, lambda: problem)
        elif self._kept is not None:
            self._check(DATA, lambda: self._lost(server))

    def _write(self, server: Server) -> str:
        data = self._wanted.data
        if data is None:
            return ""
        method, _, path = data.write.partition(" ")
        before = server.ask(data.read).body
        body = data.body.replace("{image}", self._subject.image)
        answer = server.ask(path, method, body)
        if answer.status not in _SUCCESS:
            text = answer.body.decode(errors="replace")
            return f"{data.write} answers HTTP {answer.status}: {_tail(text)}"
        after = server.ask(data.read).body
        if after == before:
            return f"{data.write} changed nothing that {data.read} shows"
        self._kept = after
        return ""

    def _lost(self, server: Server) -> str:
        data = self._wanted.data
        same = data is None or server.ask(data.read).body == self._kept
        return "" if same else "a second container with the same data answers otherwise"

    def _drop(self, socket: Socket | None) -> None:
        """Start it as the image itself is started, as root, and see as whom it runs then."""
        config, run = self._config, replace(self._config.run, drops_root=False)
        plain = replace(config, run=run)
        confined = (*confined_options(run), *_DROPPING)
        options = server_options(plain, self._subject.platform, confined, None, "")
        if socket:
            # Without its group, which the entrypoint joins by itself.
            mount = Mount(kind="bind", source=socket.source, target=run.socket_path)
            options = (*options, "--mount", str(mount))
        with serving(self._lab, plain, self._subject.image, options) as server:

            def check() -> str:
                problem = server.healthy()
                if not problem and server.has_healthcheck():
                    problem = server.healthcheck()
                return problem or self._user(server, socket)

            self._check(DROPS_ROOT, check)
            self._log.append(server.log(_LOG_LINES))

    def _open_root(self) -> None:
        """See where it writes once nothing keeps it from doing so."""
        run = replace(self._config.run, read_only=False)
        allowed = (*run.tmpfs, *self._wanted.writable_paths, *filter(None, [run.data_path]))
        options = server_options(
            self._config, self._subject.platform, confined_options(run), None, ""
        )
        with serving(self._lab, self._config, self._subject.image, options) as server:

            def check() -> str:
                if problem := server.healthy():
                    return problem
                found = written_elsewhere(server.diff(), allowed, init=run.init)
                return "\n".join(found)

            self._check(DIFF, check)
            self._log.append(server.log(_LOG_LINES))

    def _errors(self) -> str:
        return error_lines("\n".join(self._log), self._wanted.log_errors)


def _leave_out(reason: str) -> str:
    raise LeftOutError(reason)


def _ended(seen: Completed) -> str:
    known = {NOT_EXECUTABLE, NOT_FOUND}
    return command_error(seen.code).what if seen.code in known else f"exit code {seen.code}"


def _tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-_TAIL:])
