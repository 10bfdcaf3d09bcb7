"""What every scanner is here: a program that is given one platform's image, and tells JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from buildlib.errors import GateError, ToolError
from buildlib.executor import NOT_FOUND, Completed, Runner
from buildlib.findings.vulnerability import Vulnerability

# A scanner may have to get its database first, of which there are some hundred MB; in seconds.
TIMEOUT: Final = 900.0
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")


class Suppressed(NamedTuple):
    """What the scanner found and left out, and by what: a VEX file, or its own configuration."""

    finding: Vulnerability
    by: str


class Scanned(NamedTuple):
    """What a scanner says of one platform's image.

    Args:
        findings: vulnerabilities.
        suppressed: what the scanner has left out by itself.
        packages: how many it sees in the image.
        database: the time of its database, RFC 3339; empty where it does not tell.
    """

    findings: tuple[Vulnerability, ...]
    suppressed: tuple[Suppressed, ...]
    packages: int
    database: str


class Scanner(NamedTuple):
    """A scanner.

    Args:
        name: of the program.
        version: asks it for its version; None: it is not here; empty: it does not tell.
        scan: has it look at the archive of one image of that platform, with these VEX files; it
            may write beside the archive.
        install: how to get it.
    """

    name: str
    version: Callable[[Runner], str | None]
    scan: Callable[[Runner, Path, str, Sequence[Path]], Scanned]
    install: str


def ask_version(executor: Runner, argv: Sequence[str], name: str) -> dict[str, Any] | None:
    """Return what a scanner says of itself; None where it is not here.

    Raises:
        ToolError: it does not start (exit 3).
        GateError: it answers nonsense (exit 7).
    """
    done = executor.run(argv, timeout=TIMEOUT)
    if done.code == NOT_FOUND:
        return None
    if done.code != 0:
        raise ToolError(f"{name} does not work: the image can't be scanned", why=last_line(done))
    with sense_of(name):
        return dict(json.loads(done.stdout))


def read_json(path: Path, name: str) -> Mapping[str, Any]:
    """Return what a scanner wrote.

    Raises:
        GateError: it wrote nothing, or nonsense (exit 7).
    """
    with sense_of(name):
        return dict(json.loads(path.read_text(encoding="utf-8")))


@contextmanager
def sense_of(name: str) -> Iterator[None]:
    """Read what a scanner answered: where that has not the shape it should, the gate is closed.

    Raises:
        GateError: it has not (exit 7).
    """
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise GateError(
            f"{name} answers what can't be understood: the image was not scanned",
            why=f"{type(error).__name__}: {error}",
            hint=f"another version of {name} may do",
        ) from error


def last_line(done: Completed) -> str:
    """Return the line that a program ended with, without colours."""
    text = _COLOUR.sub("", done.stderr).strip() or f"it ended with {done.code}"
    return text.splitlines()[-1].strip()
