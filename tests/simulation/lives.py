"""Publishers that run the real code, and everything that each of them does when it is answered.

A publisher is a coroutine (a greenlet): each of its requests hands over to the scheduler. What it
does next follows from what it was answered so far, and when. So that is found out once, kept, and
looked up whenever it comes to the same again.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Final, NamedTuple, Unpack

from greenlet import GreenletExit, getcurrent, greenlet
from simulation.registries import Reply, Request

from buildlib.errors import BuildlibError, CancelledError, EngineError, exit_code_of
from buildlib.registry.repository import Repository
from buildlib.registry.request import Options
from buildlib.registry.response import Response
from buildlib.registry.transport import Transport
from buildlib.retry import LaterError, Patience

PATIENCE: Final = Patience(attempts=3, base=1.0, ceiling=60.0)
KILLED: Final = -9
INTERRUPTED: Final = 130


class SimTransport(Transport):
    """The way to a simulated registry; everything above a request is the real one."""

    def __init__(self, run: Run, number: int, host: str) -> None:
        super().__init__(
            host, patience=PATIENCE, sleep=run.sleep, clock=lambda: run.now, chance=lambda: 1.0
        )
        self._run, self._number = run, number

    def __post_init__(self) -> None:
        """Open nothing: every request is answered here."""

    def ask(self, method: str, path: str, **options: Unpack[Options]) -> Response:
        make = options.get("body")
        body = make() if make else b""
        assert isinstance(body, bytes)
        reply = self._run.request(Request(self._number, method, path, body))
        if reply is None:
            error = LaterError(f"{self.host} did not answer")
            error.wait = self._run.asked_wait
            raise error
        if reply.status not in options["expect"]:
            raise EngineError(f"{self.host} refuses {method}", why=str(reply.status))
        return reply.answer()


class Told(NamedTuple):
    """What a publisher is told, and when.

    Args:
        now: seconds.
        reply: None: it wakes, or gets no answer.
        wait: seconds that the registry asks for.
        interrupted: somebody pressed Ctrl-C.
    """

    now: float
    reply: Reply | None
    wait: float = 0.0
    interrupted: bool = False


class Run:
    """A publisher that runs.

    Args:
        life: that it follows.
    """

    def __init__(self, life: Life) -> None:
        self.now, self.asked_wait = life.began, 0.0
        self.wants: Request | None = None
        self.due = 0.0
        self.code: int | None = None
        self.error = ""
        # The receipt, as it is on disk.
        self.disk = life.disk
        # It does what it did before: what it saves is known.
        self.repeats = False
        self._hosts = life.hosts
        self._body = life.make(self)
        self._let = greenlet(self._run, getcurrent())
        self._let.switch()

    def _run(self) -> None:
        try:
            self._body()
            self.code = 0
        except BuildlibError as error:
            self.error, self.code = repr(error), exit_code_of(error)

    # -- what the publisher's own code calls

    def repository(self, host: str) -> Repository:
        return Repository(SimTransport(self, self._hosts.index(host), host), "thing")

    def request(self, request: Request) -> Reply | None:
        """Let the scheduler decide when it happens.

        Returns:
            None where it failed, and may be tried again.

        Raises:
            CancelledError: the publisher is interrupted meanwhile.
        """
        self.wants, self.due = request, self.now
        told = self._hand_over()
        if told.interrupted:
            raise CancelledError("interrupted")
        return told.reply

    def save(self, write: Callable[[], str]) -> None:
        """Keep a receipt, which survives it."""
        if self.code is None and not self.repeats:
            self.disk = write()

    def sleep(self, seconds: float) -> None:
        self.wants, self.due = None, self.now + seconds
        self._hand_over()

    def _hand_over(self) -> Told:
        if self.code is not None:
            # Killed: nothing that it does while its frames are left reaches anybody.
            raise GreenletExit
        assert self._let.parent
        told = self._let.parent.switch()
        assert isinstance(told, Told)
        return told

    # -- what the scheduler calls

    def go_on(self, told: Told) -> None:
        self.now, self.asked_wait = told.now, told.wait
        self._let.switch(told)

    def end(self) -> None:
        if self.code is None:
            self.code = KILLED
            self._let.throw(GreenletExit)


class Moment:
    """Where a publisher is, after what it was told; it never changes.

    `wants` is its request, or None where it sleeps until `due`; `code` its exit code, or None.
    """

    __slots__ = ("after", "before", "code", "disk", "due", "error", "heard", "life", "wants")

    def __init__(
        self, life: Life, run: Run, before: Moment | None = None, heard: Told | None = None
    ) -> None:
        self.life, self.before, self.heard = life, before, heard
        self.wants, self.due, self.disk = run.wants, run.due, run.disk
        self.code, self.error = run.code, run.error
        self.after: dict[Told, Moment] = {}

    def past(self) -> list[Told]:
        """Return everything that it was told."""
        found: list[Told] = []
        moment: Moment | None = self
        while moment and moment.heard:
            found.append(moment.heard)
            moment = moment.before
        return found[::-1]

    def told(self, told: Told) -> Moment:
        """Return where it comes to when it is told this."""
        found = self.after.get(told)
        if found is None:
            found = self.after[told] = self.life.follow(self, told)
        return found

    def killed(self) -> Moment:
        """Return what is left of it: after an end, nothing but the receipt matters."""
        return self.life.end(KILLED, self)


class Life:
    """Everything that one publisher may do, as far as it has come up.

    Args:
        name: of the publisher.
        make: returns what it does.
        hosts: of the registries.
        began: when.
        disk: the receipt that it finds.
        ends: every end that any publisher came to.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[Run], Callable[[], object]],
        hosts: list[str],
        *,
        began: float,
        disk: str,
        ends: dict[tuple[str, int, str], Moment],
    ) -> None:
        self.name, self.make, self.hosts = name, make, hosts
        self.began, self.disk, self._ends = began, disk, ends
        self._live: tuple[Moment, Run] | None = None
        self.first = self._reached(Moment(self, run := Run(self)), run)

    def _reached(self, moment: Moment, run: Run) -> Moment:
        if moment.code is not None:
            return self.end(moment.code, moment)
        self._live = moment, run
        return moment

    def end(self, code: int, last: Moment) -> Moment:
        key = self.name, code, last.disk
        if key not in self._ends:
            end = self._ends[key] = copy.copy(last)
            end.code, end.wants, end.due, end.before, end.after = code, None, 0.0, None, {}
        return self._ends[key]

    def follow(self, moment: Moment, told: Told) -> Moment:
        """Run the real code on from a moment: that which is there, or from its beginning again."""
        if self._live and self._live[0] is moment:
            run = self._live[1]
        else:
            self.close()
            run = Run(self)
            run.repeats = True
            for before in moment.past():
                run.go_on(before)
            run.repeats, run.disk = False, moment.disk
        self._live = None
        run.go_on(told)
        return self._reached(Moment(self, run, moment, told), run)

    def close(self) -> None:
        """End what runs."""
        if self._live:
            self._live[1].end()
            self._live = None
