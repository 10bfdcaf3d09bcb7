"""The program that runs the tasks, as messages name it, and how to get those that it starts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

_NAMES: Final = {"inv": "invoke", "invoke": "invoke", "buildlib": "buildlib"}


def program_of(path: str) -> str:
    """Return the name of the program that runs tasks: `invoke` or `buildlib`.

    It is empty for another one, which may import tasks and has words of its own.
    """
    parts = Path(path).parts[-2:]
    name = parts[0] if parts[1:] == ("__main__.py",) else "".join(parts[-1:])
    return _NAMES.get(name, "")


PROGRAM: Final = program_of(sys.argv[0] if sys.argv else "") or "invoke"


def ways_to_get(repository: str, *others: str) -> str:
    """Return how a program of a repository on GitHub can be installed, with other ways first.

    Homebrew, and the packages and programs of the releases, have each that is asked for here.
    """
    name = repository.rpartition("/")[2]
    releases = f"a package or program of github.com/{repository}/releases"
    return ", or ".join((*others, f"brew install {name}", releases))
