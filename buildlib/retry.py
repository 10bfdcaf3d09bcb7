"""Retries: how often, how long to wait between them, and which errors of a network pass."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from buildlib import interrupts
from buildlib.errors import TransientError

# As docker, cosign and the libraries of Go word them, with the statuses and codes of registries.
# None of it is a part of a name: a repository or a host may be called timeout. Codes are in
# capitals: the text of status 451, which does not pass, begins with "Unavailable".
_TRANSIENT: Final = re.compile(
    r"(?<![\w./@:%-])"
    r"(?:no such host|server misbehaving|temporary failure|timed? ?out|deadline exceeded|EOF"
    r"|connection (?:refused|reset)|broken pipe|unreachable|no route to host|request canceled"
    r"|too[ _]?many[ _]?requests|(?-i:INTERNAL_ERROR|UNAVAILABLE)"
    r"|(?:status(?: code)?:?|HTTP) (?:408|425|429|5\d\d)"
    r"|5\d\d (?:Internal Server Error|Bad Gateway|Service Unavailable))"
    r"(?![\w/@-]|[.:]\w)",
    re.IGNORECASE,
)
T = TypeVar("T")


def is_transient(text: str) -> bool:
    """Return whether a program names an error of the network that may pass."""
    return bool(_TRANSIENT.search(text))


class LaterError(TransientError):
    """The request may be repeated; `wait` is the seconds that the registry asks for."""

    wait: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long a request that may work later is repeated.

    Args:
        attempts: of one request, the first one included.
        base: seconds before the second attempt at most; each next wait may be twice as long.
        ceiling: seconds that one wait may take, whatever the registry asks for.
        timeout: seconds without a byte until a connection counts as dead.
    """

    attempts: int = 6
    base: float = 0.5
    ceiling: float = 60.0
    timeout: float = 60.0


@dataclass
class Tally:
    """The retries that were needed."""

    retries: int = 0
    waited: float = 0.0


@dataclass(kw_only=True)
class Retrier:
    """Repeats what may work later.

    Args:
        sleep: of this machine.
        chance: spreads the waits; between 0 and 1.
    """

    patience: Patience = field(default_factory=Patience)
    tally: Tally = field(default_factory=Tally)
    sleep: Callable[[float], None] = interrupts.sleep
    chance: Callable[[], float] = random.random

    def persist(self, once: Callable[[], T]) -> T:
        """Call a function until it raises no LaterError.

        Raises:
            TransientError: the attempts are used up (exit 6).
            BuildlibError: everything else that the function raises.
        """
        for attempt in range(self.patience.attempts - 1):
            try:
                return once()
            except LaterError as problem:
                self.pause(attempt, problem)
        return once()

    def pause(self, attempt: int, problem: LaterError) -> None:
        """Wait after a failed attempt, the first of which is 0, and count it.

        A caller that has to look again before it repeats a request makes its own loop of this.
        """
        self.tally.retries += 1
        # "Full jitter": many clients that failed together do not come back together.
        longest = min(self.patience.ceiling, self.patience.base * 2**attempt)
        seconds = min(self.patience.ceiling, max(problem.wait, longest * self.chance()))
        self.tally.waited += seconds
        self.sleep(seconds)
