"""Every error that a user can meet, each with the exit code that scripts can rely on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any, ClassVar, Final


def did_you_mean(word: object, known: Iterable[str], *, where: str = "") -> str:
    """Return a hint for a word that is not known: the nearest one, or all of them.

    Args:
        known: what it could have been.
        where: comes before the nearest one, such as the table that it stands in.
    """
    names = [str(name) for name in known]
    if close := nearest(str(word), names):
        return f"did you mean {where}{close}?"
    return f"known: {', '.join(names)}" if names else ""


def nearest(word: str, known: Sequence[str], alike: float = 0.6) -> str:
    """Return the known word that is most like another, from 0 to 1; or nothing."""
    return next(iter(get_close_matches(word, known, n=1, cutoff=alike)), "")


class BuildlibError(Exception):
    """What went wrong, why, and the next step.

    Args:
        what: one sentence without a full stop at the end.
        why: the cause, if it is known and not said yet.
        hint: what the user can do next.
    """

    exit_code: ClassVar[int] = 1
    kind: ClassVar[str] = "unknown"

    def __init__(self, what: str, *, why: str = "", hint: str = "") -> None:
        """Keep the three parts apart, so that a report can show them apart."""
        super().__init__(what)
        self.what = what
        self.why = why
        self.hint = hint

    def __str__(self) -> str:
        """Return all parts as sentences on one line each, those after the first one indented."""
        parts = (self.what, self.why, self.hint)
        first, *others = "\n".join(part for part in parts if part).split("\n")
        return "\n".join([first, *(one if one[:2] == "  " else f"  {one}" for one in others)])

    @property
    def problems(self) -> tuple[BuildlibError, ...]:
        """Return what it is about: itself, or the problems that it holds."""
        return (self,)

    def as_dict(self) -> dict[str, Any]:
        """Return every part, ready for JSON."""
        return {
            "kind": self.kind,
            "exit_code": self.exit_code,
            "what": self.what,
            "why": self.why,
            "hint": self.hint,
        }


class FailureError(BuildlibError):
    """Everything but an interrupt: what a task may catch, and go on."""


class InputError(FailureError):
    """Bad input or configuration."""

    exit_code = 2
    kind = "input"


class ToolError(FailureError):
    """A tool is missing, too old, or refuses to work here."""

    exit_code = 3
    kind = "tool"


class EngineError(FailureError):
    """The engine or the builder failed, or can't do what is asked."""

    exit_code = 4
    kind = "engine"


class NodeError(EngineError):
    """A node of a builder can't build; another may."""


class TimedOutError(EngineError):
    """A process did not end in time, and was ended."""


class AuthorisationError(FailureError):
    """A registry refused the credentials."""

    exit_code = 5
    kind = "authorisation"


class TransientError(FailureError):
    """Something that may work later did not, and the retries are used up."""

    exit_code = 6
    kind = "transient"


class GateError(FailureError):
    """A gate failed: smoke, scan, policy, size or reproducibility."""

    exit_code = 7
    kind = "gate"


class VerificationError(FailureError):
    """A signature or a verification failed."""

    exit_code = 8
    kind = "verification"


class CancelledError(BuildlibError):
    """The user, or the system, asked us to stop."""

    exit_code = 130
    kind = "interrupted"


NOT_BEGUN: Final = CancelledError("not begun", why="the task ended before")


class ProblemsError(FailureError):
    """Several problems, reported at once; exits with the lowest of their codes.

    The lowest is the one nearest to the user: what was typed comes before what is installed,
    and that before what the engine says.
    """

    def __init__(self, problems: Sequence[BuildlibError]) -> None:
        """Order the problems by exit code, keeping the order of equals; none holds several."""
        flat = [one for problem in problems for one in problem.problems]
        self._problems = tuple(sorted(flat, key=lambda problem: problem.exit_code))
        super().__init__(f"{len(flat)} problems")

    @property
    def problems(self) -> tuple[BuildlibError, ...]:
        """Return those that it holds."""
        return self._problems

    def __str__(self) -> str:
        """Return one problem after another."""
        return "\n".join(str(problem) for problem in self.problems)

    def as_dict(self) -> dict[str, Any]:
        """Return the problem whose code is exited with, and all of them."""
        every = [problem.as_dict() for problem in self.problems]
        return every[0] | {"problems": every}


def in_image(error: BuildlibError, name: str) -> None:
    """Let an error, and all that it holds, say which of several images it is about."""
    for one in error.problems:
        one.what = f"{name}: {one.what}"


@contextmanager
def collected(problems: list[BuildlibError]) -> Iterator[None]:
    """Append the error of a block to a list instead of raising it; an interrupt is raised."""
    try:
        yield
    except FailureError as error:
        problems.append(error)


def raise_problems(problems: Sequence[BuildlibError]) -> None:
    """Raise nothing, the one problem, or all of them together."""
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise ProblemsError(problems)


def exit_code_of(error: BuildlibError) -> int:
    """Return the code to exit with: that of the error, or the lowest of those it holds."""
    return error.problems[0].exit_code
