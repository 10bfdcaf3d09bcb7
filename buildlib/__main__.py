"""The program `buildlib`, and `python -m buildlib`: the tasks, where a project has no tasks.py."""

from __future__ import annotations

import sys

from invoke.program import Program

from buildlib import interrupts
from buildlib.tasks.collection import collection, task_list
from buildlib.tasks.session import answer
from buildlib.terminal import streams


class _Buildlib(Program):
    """Invoke with our tasks, whatever files there are."""

    def print_version(self) -> None:
        """Print the version of the distribution that holds this package."""
        from buildlib import distribution  # noqa: PLC0415 - slow, and for this alone

        found = distribution.version()
        answer(f"buildlib {found}" if found else "buildlib, not installed")

    def load_collection(self) -> None:
        """Take our tasks instead of those of a tasks.py."""
        # Invoke turns it off: every start would compile what the task loads, where nothing did.
        sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)
        self.collection = collection(complete=True)

    def print_help(self) -> None:
        """Print the options that every task has, and the tasks."""
        super().print_help()
        answer(task_list(self.binary))


def main() -> None:
    """Run the tasks of the command line."""
    interrupts.install(own=True)
    streams.install(own=True)
    _Buildlib(name="buildlib", binary="buildlib").run()


if __name__ == "__main__":
    main()
