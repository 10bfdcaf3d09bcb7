"""Asks a container's port: where it is published, or through the engine where that is elsewhere.

An engine's socket may be here while its network is not: in a CI job's container with a mounted
socket, behind `tcp://` or `ssh://`. Then a command in the container opens the connection, or one in
a container beside it that shares its network; docker carries the bytes.
"""

from __future__ import annotations

import errno
import socket
import time
from http.client import HTTPException, HTTPResponse
from io import BytesIO
from typing import Final, Protocol

from buildlib.containers.inspect import described
from buildlib.containers.leftovers import REMOVE
from buildlib.docker.engine import OWN_CODES
from buildlib.docker.http import LONGEST, ServerAnswer, call
from buildlib.errors import TimedOutError
from buildlib.executor import Completed, Runner
from buildlib.tempfiles import new_name
from buildlib.terminal.text import last_line

# $1 and $2 are address and port. What comes on standard input is sent, and the connection stays
# open both ways until the other side ends it: half of it closed, some servers give up.
_CONNECT: Final = r"""
if command -v bash >/dev/null 2>&1; then
  exec bash -c 'exec 3<>"/dev/tcp/$0/$1" || exit 1; cat >&3; head -c "$2" <&3' "$1" "$2" "$3"
elif command -v nc >/dev/null 2>&1; then
  { cat; while sleep 1 && echo; do :; done; } 2>/dev/null | nc "$1" "$2" | head -c "$3"
elif command -v python3 >/dev/null 2>&1; then
  exec python3 -c 'import shutil, socket, sys
there = socket.create_connection((sys.argv[1], int(sys.argv[2])))
there.sendall(sys.stdin.buffer.read())
shutil.copyfileobj(there.makefile("rb"), sys.stdout.buffer)' "$1" "$2"
elif command -v perl >/dev/null 2>&1; then
  exec perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(PeerAddr => "$ARGV[0]:$ARGV[1]")
    or die "$@\n"; { local $/; print $s scalar <STDIN>; } $s->flush; print while <$s>' "$1" "$2"
else
  exit 96
fi
"""
_NO_CLIENT: Final = 96
_LISTENING: Final = "cat /proc/net/tcp /proc/net/tcp6 2>/dev/null"
_STATE_LISTEN: Final = "0A"
# As the kernel writes 127.0.0.1 and ::1.
_LOOPBACK: Final = frozenset({"0100007F", "00000000000000000000000001000000"})
# Asking through the engine takes a process each time.
_PAUSE: Final = 1.0
# A docker process, beside what it carries.
_SLACK: Final = 5.0
_ELSEWHERE: Final = frozenset(
    {errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL}
)


class NoWayError(OSError):
    """Nothing in the container can open a connection, and no helper was named."""


class Feeder(Runner, Protocol):
    """Starts processes that are given something to read."""

    def feed(self, argv: tuple[str, ...], text: str, *, timeout: float | None = None) -> Completed:
        """Run to the end with `text` on its standard input, and capture both streams."""


class Inside:
    """Asks a container through the engine.

    Args:
        container: name or ID.
        helper: an image with a shell and a client, for a container that has none; empty: none.
        labels: options for the helper's container.
    """

    def __init__(
        self, executor: Feeder, container: str, helper: str = "", labels: tuple[str, ...] = ()
    ) -> None:
        self._executor, self.container = executor, container
        self._helper, self._labels = helper, labels
        self._in_helper = False
        self._address = ""

    @property
    def way(self) -> str:
        """Return how it is asked, for a message."""
        if self._in_helper:
            return f"from a container of {self._helper} in its network"
        return "inside the container, with docker exec"

    def call(
        self, port: int, path: str, method: str, body: str | None, *, timeout: float
    ) -> ServerAnswer:
        """Return what the server answers, whatever its status.

        Raises:
            NoWayError: nothing there can ask.
            OSError: there is no answer, or it is not HTTP.
        """
        text = "" if body is None else body
        lines = [f"{method} {path} HTTP/1.1", f"Host: localhost:{port}", "Connection: close"]
        if body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(text.encode())}"]
        request = "\r\n".join([*lines, "", text])
        script = (_CONNECT, "sh", self._its_address(), str(port), str(LONGEST + 4096))
        done = self._shell(script, request, timeout)
        if not done.stdout:
            # Of nc, a shell or docker itself.
            raise OSError(last_line(done.stderr) or "no answer")
        return _answer(done.stdout, method)

    def listens(self, port: int, *, timeout: float) -> str:
        """Return why nothing listens on a port, or nothing; raises as `call`."""
        rows = [row.split() for row in self._shell((_LISTENING,), "", timeout).stdout.splitlines()]
        found = [
            local.partition(":")[0]
            for _, local, _, state, *_ in (row for row in rows if row[4:])
            if state == _STATE_LISTEN and local.endswith(f":{port:04X}")
        ]
        if not found:
            return f"nothing listens on port {port}"
        return f"it listens on port {port} for itself alone" if set(found) <= _LOOPBACK else ""

    def _its_address(self) -> str:
        """Return the container's own address: what listens for itself alone serves no one."""
        if not self._address:
            found = described(self._executor, self.container)
            networks = (found.get("NetworkSettings") or {}).get("Networks") or {}
            addresses = [str(one.get("IPAddress") or "") for one in networks.values()]
            self._address = next(filter(None, addresses), "127.0.0.1")
        return self._address

    def _shell(self, script: tuple[str, ...], text: str, timeout: float) -> Completed:
        done = None
        if not self._in_helper:
            argv = ("docker", "exec", "--interactive", self.container, "sh", "-c", *script)
            done = self._feed(argv, text, timeout)
            if done.code != _NO_CLIENT and done.code not in OWN_CODES:
                return done
        if not self._helper:
            raise NoWayError(
                "the image has neither bash, nc, python3 nor perl to ask with; "
                "helper-image in [smoke] names one that has"
            )
        self._in_helper = True
        name = new_name("helper")
        argv = (
            *("docker", "run", "--rm", "--interactive", "--name", name, *self._labels),
            *("--network", f"container:{self.container}", "--entrypoint", "sh"),
            *(self._helper, "-c", *script),
        )
        try:
            done = self._feed(argv, text, timeout)
        except BaseException:
            # Its client has ended, and it may go on.
            self._executor.run(("docker", *REMOVE, name))
            raise
        if done.code in OWN_CODES or done.code == _NO_CLIENT:
            raise NoWayError(f"{self._helper} can't ask: {last_line(done.stderr) or 'no client'}")
        return done

    def _feed(self, argv: tuple[str, ...], text: str, timeout: float) -> Completed:
        try:
            return self._executor.feed(argv, text, timeout=timeout + _SLACK)
        except TimedOutError as error:
            raise TimeoutError(f"its answer does not end within {timeout:.3g} s") from error


class Reach:
    """One container's port, by whichever way there is.

    Args:
        inside: asks through the engine.
        address: where it is published, `http://…`; empty: nowhere that can be reached from here.
    """

    def __init__(self, inside: Inside, port: int, address: str) -> None:
        """Keep what every question needs; the first answer decides the way."""
        self.inside, self.port, self.address = inside, port, address
        self._direct: bool | None = None if address else False
        self._asked = float("-inf")
        self._no_way: NoWayError | None = None

    @property
    def way(self) -> str:
        """Return how it was asked, where that was not the published address; or nothing."""
        return self.inside.way if self._direct is False else ""

    def ask(
        self, path: str, method: str = "GET", body: str | None = None, *, timeout: float
    ) -> ServerAnswer:
        """Return what the server answers.

        Raises:
            NoWayError, OSError: as `Inside.call`; why the published address does not answer.
        """
        if self._direct is False:
            return self.inside.call(self.port, path, method, body, timeout=timeout)
        data = None if body is None else body.encode()
        try:
            answer = call(f"{self.address}{path}", method=method, body=data, timeout=timeout)
        except OSError as error:
            if self._direct:
                raise
            if not self._is_due(error):
                if self._no_way:
                    raise self._no_way from error
                raise
            return self._through_engine(error, path, method, body, timeout)
        self._direct = True
        return answer

    def connects(self, *, timeout: float) -> str:
        """Return why a connection to the port can't be used, or nothing; raises as `ask`."""
        if self._direct is False:
            return self.inside.listens(self.port, timeout=timeout)
        try:
            problem = stays_open(self.address, timeout=timeout)
        except OSError as error:
            if self._direct or not self._is_due(error):
                raise
            problem = self.inside.listens(self.port, timeout=timeout)
            self._direct = None if problem else False
            return problem
        self._direct = True if not problem else self._direct
        return problem

    def _is_due(self, error: OSError) -> bool:
        """Return whether the engine may be elsewhere, and was not asked just now."""
        gone = time.monotonic() - self._asked
        if error.errno not in _ELSEWHERE or gone < _PAUSE:
            return False
        self._asked = time.monotonic()
        return True

    def _through_engine(
        self, refused: OSError, path: str, method: str, body: str | None, timeout: float
    ) -> ServerAnswer:
        try:
            answer = self.inside.call(self.port, path, method, body, timeout=timeout)
        except NoWayError as error:
            self._no_way = NoWayError(f"{self.address}: {refused}; {error}")
            raise self._no_way from error
        except OSError:
            # It may only not have begun to serve.
            raise refused from None
        # Without docker's proxy nothing listens here before the server does.
        self._direct = not _refuses(self.address)
        return answer


def _refuses(address: str) -> bool:
    try:
        call(address, timeout=_PAUSE)
    except OSError as error:
        return error.errno in _ELSEWHERE
    return False


def stays_open(address: str, *, timeout: float) -> str:
    """Return why a connection is closed at once, as docker's proxy does for no server; or nothing.

    Raises:
        OSError: it can't be opened.
    """
    host, _, port = address.removeprefix("http://").rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), timeout=timeout) as connection:
        connection.settimeout(min(_PAUSE / 2, timeout))
        try:
            return "" if connection.recv(1) else "the connection is closed at once"
        except TimeoutError:
            return ""
        except ConnectionError as error:
            return str(error)


class _Bytes:
    """As much of a socket as an answer of `http.client` wants of one."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> BytesIO:
        return BytesIO(self._data)


def _answer(text: str, method: str) -> ServerAnswer:
    response = HTTPResponse(_Bytes(text.encode()), method=method)  # type: ignore[arg-type]
    try:
        response.begin()
        # What is not text has become longer on its way, so that its length means nothing.
        response.length = None
        body = response.read()
    except HTTPException as error:
        raise OSError(f"not HTTP: {error!r}") from error
    if len(body) > LONGEST:
        raise OSError(f"its answer is longer than {LONGEST // 1_000_000} MB")
    return ServerAnswer(response.status, body)
