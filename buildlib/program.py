"""The program that runs the tasks, as people have to type it in what a message advises."""

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
