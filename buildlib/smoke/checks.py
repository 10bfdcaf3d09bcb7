"""The checks of one platform's image, in the order in which they are made."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Final

from buildlib.config.config import Config
from buildlib.config.expectations import Command, Data
from buildlib.containers.container import command_error
from buildlib.containers.health import smoke_surroundings
from buildlib.containers.plan import Mount, confined_options
from buildlib.containers.port import NoWayError
from buildlib.docker.engine import ENGINE_FAILED, NOT_EXECUTABLE, emulation_problem
from buildlib.errors import TimedOutError
from buildlib.executor import Completed
from buildlib.image.platform import Platform
from buildlib.program import PROGRAM
from buildlib.shell import NOT_FOUND, shell_line
from buildlib.smoke.processes import error_lines, written_elsewhere, wrong_user
from buildlib.smoke.report import DROPS_ROOT, CheckResult, CheckState, PlatformResult
from buildlib.smoke.sandbox import Lab
from buildlib.smoke.server import Server, differs, server_options, serving
from buildlib.smoke.services import beside
from buildlib.smoke.socket_relay import Socket

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


def port_check(port: int) -> str:
    """Return what the check of a further port is called."""
    return f"listens on port {port}"


# An entrypoint of root needs these to become another user.
_DROPPING: Final = ("--cap-add=SETUID", "--cap-add=SETGID")
_TAIL: Final = 5
_INIT_FAILED: Final = "failed: No such file or directory"
_LOG_LINES: Final = 5000
_SUCCESS: Final = range(200, 300)
# A server, or one in front of it, answers with these while it is overloaded.
_OVERLOADED: Final = frozenset({502, 503, 504})
_SECOND_TRY: Final = 1.0


def is_selected(only: Sequence[str], *checks: str, skip: Sequence[str] = ()) -> bool:
    """Return whether one of some checks fits the patterns; none means that all are wanted.

    Args:
        only: patterns of names; empty: all.
        skip: patterns of names that are not wanted in any case.
    """
    kept = [check for check in checks if not any(fnmatchcase(check, one) for one in skip)]
    return any(not only or any(fnmatchcase(check, one) for one in only) for check in kept)


class NotCheckedError(Exception):
    """The check can't be made here; the text says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlatformImage:
    """One platform's image, and what it should be.

    Args:
        image: a reference that the engine has.
        source: what `--image` takes for it: that reference, or the file of the archive.
        digest: of the manifest.
        version: that it must have everywhere.
        label: the version in its label; None where there is nothing to compare it with.
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
        sockets: that a container may find mounted; empty: it needs none.
        only: patterns of names; checks that match none are left away. Empty: all are made.
        on_check: called with the name of each as it begins.
        on_result: called with each as it ends.
    """

    def __init__(
        self,
        subject: PlatformImage,
        config: Config,
        lab: Lab,
        *,
        sockets: Sequence[Socket] = (),
        only: Sequence[str] = (),
        on_check: Callable[[str], None] = lambda _: None,
        on_result: Callable[[CheckResult], None] = lambda _: None,
    ) -> None:
        self._subject, self._config, self._lab = subject, config, lab
        self._smoke = config.smoke
        # As docker-run starts it: what works only with more than that is a finding.
        self._confined = confined_options(config.run)
        self._given = smoke_surroundings(config)
        self._network = ""
        self._sockets, self._only = sockets, tuple(only)
        self._on_check, self._on_result = on_check, on_result
        self._results: list[CheckResult] = []
        self._log: list[str] = []
        self._kept: bytes | None = None

    def run(self) -> PlatformResult:
        """Make every check, also after one that failed.

        Raises:
            EngineError: no container could be started, a service can't be used, or emulation is
                missing (exit 4).
        """
        started = time.monotonic()
        with beside(self._lab, self._given.services, self._smoke.helper_image) as network:
            self._network = network
            self._run_checks()
        return PlatformResult(
            image=self._subject.image,
            platform=str(self._subject.platform),
            digest=self._subject.digest,
            version=self._subject.version,
            seconds=time.monotonic() - started,
            checks=tuple(self._results),
        )

    def _run_checks(self) -> None:
        for command in self._smoke.commands:
            self._check(name_of(command), partial(self._command, command), command=command)
        if self._smoke.version_command:
            command = Command(run=self._smoke.version_command)
            self._check(VERSION, self._version, command=command)
        if self._subject.label is not None:
            label = self._subject.label
            self._check(LABEL_VERSION, lambda: differs(label, self._subject.version))
        if self._smoke.serves:
            self._serve()

    def _named(self, *checks: str) -> bool:
        return is_selected(self._only, *checks, skip=self._smoke.skip)

    def _check(
        self,
        check: str,
        ask: Callable[[], str],
        *,
        command: Command | None = None,
        way: Callable[[], str] = str,
    ) -> bool:
        """Make a check, where it is wanted; return whether nothing is wrong.

        Args:
            ask: returns what is wrong, or nothing.
            command: that is run for it in a container of its own.
            way: returns how it was asked, where that is worth a word.
        """
        if not self._named(check):
            return True
        self._on_check(check)
        started = time.monotonic()
        state = CheckState.PASSED
        try:
            detail = self._asked_twice(ask, command)
            state = CheckState.FAILED if detail else CheckState.PASSED
        except (NotCheckedError, NoWayError) as error:
            detail, state = str(error), CheckState.LEFT_OUT
        except OSError as error:
            detail, state = str(error), CheckState.FAILED
        if state is CheckState.FAILED:
            self._raise_without_emulation(detail, command)
            detail += self._without_exec(detail)
        self._record(
            CheckResult(
                check=check,
                state=state,
                seconds=time.monotonic() - started,
                detail=detail or way(),
                repeat=self._repeat(check, command) if state is CheckState.FAILED else "",
            )
        )
        return state is not CheckState.FAILED

    def _asked_twice(self, ask: Callable[[], str], command: Command | None) -> str:
        """Ask, and once more where there was no answer in time: a machine may be busy."""
        try:
            return ask()
        except (TimedOutError, TimeoutError):
            pass
        limit = self._smoke.command_timeout if command else self._smoke.start_timeout
        try:
            return ask()
        except TimedOutError:
            return f"timed out twice: it did not end within {limit} s{self._lab.remark}"
        except TimeoutError as error:
            return f"timed out twice: {error}{self._lab.remark}"

    def _without_exec(self, detail: str) -> str:
        """Return a hint where a program may have been kept from starting in a tmpfs."""
        run = self._config.run
        plain = [one for one in run.tmpfs if "exec" not in one.partition(":")[2].split(",")]
        if not (run.read_only and plain and "permission denied" in detail.lower()):
            return ""
        path = plain[0].partition(":")[0]
        return f'\nno program can be started in {path}; tmpfs = ["{path}:exec"] in [run] allows it'

    def _record(self, result: CheckResult) -> None:
        self._results.append(result)
        self._on_result(result)

    def _raise_without_emulation(self, output: str, command: Command | None = None) -> None:
        """Raise where what failed is that nothing of a foreign platform can run here."""
        if not self._subject.foreign:
            return
        if _INIT_FAILED in output:
            # docker's init takes what the kernel refuses for a script, and misses its shell.
            confined = [option for option in self._confined if option != "--init"]
            output += self._ask(command or Command(run=()), confined).stderr
        if problem := emulation_problem(output):
            raise problem

    def _repeat(self, check: str, command: Command | None) -> str:
        subject = self._subject
        # An archive is in the engine only as long as smoke runs, and so are services.
        if command and subject.source == subject.image and not self._network:
            options, words = self._options(command)
            return shell_line(("docker", "run", "--rm", *options, subject.image, *words))
        where = ("--platform", str(subject.platform), "--image", subject.source)
        # A pattern: what stands in brackets would be read as one.
        return shell_line((PROGRAM, "docker-smoke", *where, "--check", check.replace("[", "?")))

    def _options(
        self, command: Command, confined: Sequence[str] = ()
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return docker's options for a command, and the words behind the image."""
        given = self._given._replace(network=self._network or self._given.network)
        program, *words = command.entrypoint or ("",)
        return (
            *("--platform", str(self._subject.platform), *(confined or self._confined)),
            *given.options(),
            *(["--entrypoint", program] if program else []),
        ), (*words, *command.run)

    def _ask(self, command: Command, confined: Sequence[str] = ()) -> Completed:
        options, words = self._options(command, confined)
        limit = self._lab.limit(self._smoke.command_timeout)
        hidden, image = dict(self._given.hidden), self._subject.image
        made = self._lab.container(options, image, words, timeout=limit, env=hidden)
        with made as started:
            seen = started[1]
        if seen.code == ENGINE_FAILED and "docker:" in seen.stderr:
            raise command_error(seen.code, seen.stderr.strip())
        return seen

    def _command(self, command: Command) -> str:
        seen = self._ask(command)
        if seen.code != command.code:
            expected = f", and not {command.code}" if command.code else ""
            return f"{_ended(seen)}{expected}: {_tail(seen.stderr or seen.stdout)}"
        for name, pattern, text in (
            ("stdout", command.stdout, seen.stdout),
            ("stderr", command.stderr, seen.stderr),
        ):
            found = pattern.replace("{version}", re.escape(self._subject.version))
            if not re.search(found, text, re.MULTILINE):
                return f"{name} does not match {pattern!r}: {_tail(text)}"
        return ""

    def _version(self) -> str:
        seen = self._ask(Command(run=self._smoke.version_command))
        if seen.code != 0:
            return f"{_ended(seen)}: {_tail(seen.stderr)}"
        return differs(seen.stdout.strip(), self._subject.version)

    def _serve(self) -> None:
        """Try the server: with each socket, with data that it should keep, and unconfined."""
        here = [socket for socket in self._sockets if not socket.left_out]
        containers: list[Socket | None] = [*here] or [None]
        if self._smoke.data and len(containers) == 1:
            # One to write, and another to find what was written.
            containers += containers
        with self._lab.volume() if self._smoke.data else nullcontext("") as volume:
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
        pattern = self._smoke.log_errors
        self._check(LOG, lambda: error_lines("\n".join(self._log), pattern))

    def _about(self, check: str, socket: Socket | None) -> str:
        return f"{check}, {socket.name}" if socket else check

    def _with_socket(self, socket: Socket | None, volume: str, number: int) -> bool:
        """Make the checks of one container; return whether it was healthy."""
        user, engine = self._about(USER, socket), self._about(ENGINE, socket)
        ports = [port_check(port.inside) for port in self._given.ports if port.kind == "tcp"]
        of_first = (HEALTHY, HEALTHCHECK, HEALTH_VERSION, PLATFORM, STOPS, DATA, LOG, *ports)
        if not self._named(user, engine, *(of_first if number == 0 else (DATA, LOG))):
            return True
        subject = self._subject
        options = self._server_options(self._confined, socket, volume)
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
            if number in {0, 1}:
                # The first one writes, the second one should find it.
                self._data(server, writes=number == 0)
            self._log.append(server.log(_LOG_LINES))
            if number == 0:
                self._check(STOPS, server.stops)
        return True

    def _server_options(
        self, confined: Sequence[str], socket: Socket | None, volume: str
    ) -> tuple[str, ...]:
        platform = self._subject.platform
        options = server_options(self._config, platform, confined, socket, volume, self._network)
        if not self._subject.foreign:
            return options
        # The image's own timeout is for machines that run it natively.
        seconds = math.ceil(self._lab.limit(self._smoke.start_timeout))
        return (f"--health-timeout={seconds}s", *options)

    def _has(self, check: str) -> bool:
        return any(result.check == check for result in self._results)

    def _healthy(self, server: Server, check: str) -> bool:
        """Wait until it is healthy; a later one is reported only where it is not."""
        if check == HEALTHY and self._named(HEALTHY):
            return self._check(check, server.healthy, way=lambda: server.way)
        detail = server.healthy()
        if detail:
            self._raise_without_emulation(detail)
            self._record(
                CheckResult(
                    check=check,
                    state=CheckState.FAILED,
                    detail=detail,
                    repeat=self._repeat(HEALTHY, None),
                )
            )
        return not detail

    def _first(self, server: Server) -> None:
        def healthcheck() -> str:
            if not server.has_healthcheck():
                raise NotCheckedError("the image has none")
            return server.healthcheck()

        self._check(HEALTHCHECK, healthcheck)
        if self._smoke.health_version:
            self._check(HEALTH_VERSION, lambda: server.version(self._subject.version))
        for port in self._given.ports:
            if port.kind == "tcp":
                self._check(port_check(port.inside), partial(server.listens, port.inside))
        self._check(PLATFORM, lambda: server.platform(self._subject.platform))

    def _user(self, server: Server, socket: Socket | None) -> str:
        """Compare every process with the configuration, and with the image's own USER."""
        run, account = self._config.run, server.account()
        # Another starts as somebody else, and becomes this one.
        own = account if account and account.user == run.user else None
        group = own.group if own else run.user
        others = own.others if own else frozenset()
        if run.group is not None:
            group = run.group
        if run.groups is not None:
            others = frozenset(run.groups)
        groups = frozenset([group, *others, *([socket.group] if socket else [])])
        problem = wrong_user(server.processes()[1], run.user, groups)
        configured = run.group is not None or run.groups is not None
        source = "by [run]" if configured or not own else "by the image's USER"
        return f"{problem} ({source})" if problem else ""

    def _engine(self, server: Server) -> str:
        answer = server.ask(self._smoke.engine_path)
        if answer.status in _OVERLOADED:
            time.sleep(_SECOND_TRY)
            answer = server.ask(self._smoke.engine_path)
        text = answer.body.decode(errors="replace")
        return "" if answer.ok else f"HTTP {answer.status}: {_tail(text)}"

    def _data(self, server: Server, *, writes: bool) -> None:
        """Let the first container keep something, and see whether the second one finds it."""
        data, kept = self._smoke.data, self._kept
        if not data or not self._named(DATA):
            return

        def lost() -> str:
            same = server.ask(data.read).body == kept
            return "" if same else "a second container with the same data answers otherwise"

        if writes:
            try:
                problem = self._write(server, data)
            except OSError as error:
                problem = str(error)
            if problem:
                self._check(DATA, lambda: problem)
        elif kept is not None:
            self._check(DATA, lost)

    def _write(self, server: Server, data: Data) -> str:
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

    def _drop(self, socket: Socket | None) -> None:
        """Start it as the image itself is started, as root, and see as whom it runs then."""
        run = replace(self._config.run, drops_root=False)
        options = self._server_options((*confined_options(run), *_DROPPING), None, "")
        if socket:
            # Without its group, which the entrypoint joins by itself.
            mount = Mount(kind="bind", source=socket.source, target=run.socket_path)
            options = (*options, "--mount", str(mount))
        with serving(self._lab, self._config, self._subject.image, options) as server:

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
        memory = (one.partition(":")[0] for one in run.tmpfs)
        allowed = (*memory, *self._smoke.writable_paths, *filter(None, [run.data_path]))
        options = self._server_options(confined_options(run), None, "")
        with serving(self._lab, self._config, self._subject.image, options) as server:

            def check() -> str:
                if problem := server.healthy():
                    return problem
                found = written_elsewhere(
                    server.diff(), allowed, init=run.init, mounted=server.mounted()
                )
                return "\n".join(found)

            self._check(DIFF, check)
            self._log.append(server.log(_LOG_LINES))


def name_of(command: Command) -> str:
    """Return what the check of a command is called."""
    return " ".join([*command.entrypoint, *command.run])


def _leave_out(reason: str) -> str:
    raise NotCheckedError(reason)


def _ended(seen: Completed) -> str:
    known = {NOT_EXECUTABLE, NOT_FOUND}
    return command_error(seen.code).what if seen.code in known else f"exit code {seen.code}"


def _tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-_TAIL:])
