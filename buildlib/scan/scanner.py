"""The interface of every scanner: a program that gets one platform's image, and writes JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from buildlib.errors import GateError, ToolError
from buildlib.executor import Completed, Runner
from buildlib.findings.vulnerability import Vulnerability
from buildlib.shell import NOT_FOUND

# A scanner may have to get its database first, of which there are some hundred MB; in seconds.
TIMEOUT: Final = 900.0
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")


class Suppressed(NamedTuple):
    """What the scanner found and left out, and by what: a VEX file, or its own configuration."""

    finding: Vulnerability
    by: str


class Scanned(NamedTuple):
    """The result of a scanner for one platform's image.

    Args:
        suppressed: what the scanner has left out by itself.
        packages: how many it sees in the image.
        database: the time of its database, RFC 3339; empty where it does not say.
    """

    findings: tuple[Vulnerability, ...]
    suppressed: tuple[Suppressed, ...]
    packages: int
    database: str


class Scanner(NamedTuple):
    """A scanner.

    Args:
        version: returns its version; None: it is not here; empty: it does not say.
        scan: scans the archive of one image of that platform, with these VEX files; it may write
            beside the archive.
        get_ready: gets its database, if it has none that it would use.
    """

    name: str
    version: Callable[[Runner], str | None]
    scan: Callable[[Runner, Path, str, Sequence[Path]], Scanned]
    get_ready: Callable[[Runner], None]
    install: str


def ask_version(executor: Runner, argv: Sequence[str], name: str) -> dict[str, Any] | None:
    """Return what a scanner prints about its version; None where it is not here.

    Raises:
        ToolError: it does not start (exit 3).
        GateError: its answer can't be understood (exit 7).
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
        GateError: it wrote nothing, or what can't be understood (exit 7).
    """
    with sense_of(name):
        return dict(json.loads(path.read_text(encoding="utf-8")))


@contextmanager
def sense_of(name: str) -> Iterator[None]:
    """Read what a scanner wrote: where that has an unknown form, the gate has not passed.

    Raises:
        GateError: it has (exit 7).
    """
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise GateError(
            f"the answer of {name} can't be understood: the image was not scanned",
            why=f"{type(error).__name__}: {error}",
            hint=f"try another version of {name}",
        ) from error


def last_line(done: Completed) -> str:
    """Return the last line that a program wrote, without colours."""
    text = _COLOUR.sub("", done.stderr).strip() or f"it exited with code {done.code}"
    return text.splitlines()[-1].strip()
