"""The only place that starts git, through GitPython; what it prints is for `vcs` to understand."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final, NamedTuple

from buildlib.errors import ToolError

_NOT_INSTALLED: Final = 127
# A translated message could not be told apart.
_ENV: Final = {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}
_SILENT: Final = {"GIT_TERMINAL_PROMPT": "0"}


class Answer(NamedTuple):
    """How git ended and what it printed; code 127: there is no git."""

    code: int
    out: str
    err: str

    @property
    def installed(self) -> bool:
        """Return whether there is a git at all."""
        return self.code != _NOT_INSTALLED


class GitCommand:
    """Asks git, in one directory; one object may be used from several threads.

    Args:
        root: where git is started.
    """

    def __init__(self, root: Path) -> None:
        """Import GitPython, which is slow: no command that needs no git should come here."""
        # It looks for git when it is imported, and raises where there is none, unless told to
        # be quiet; `Answer.installed` tells instead.
        os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
        from git.cmd import Git  # noqa: PLC0415 - see above

        self._git: Any = Git(root)

    def run(self, *arguments: str, questions: bool = False) -> Answer:
        """Run git to its end.

        Args:
            arguments: what comes after `git`.
            questions: it may ask for a password, on the terminal itself.

        Raises:
            ToolError: it refuses the repository because another user owns it (exit 3).
        """
        from git.exc import GitCommandNotFound  # noqa: PLC0415 - as above

        env = _ENV if questions else _ENV | _SILENT
        try:
            code, out, err = self._git.execute(
                ["git", *arguments], with_extended_output=True, with_exceptions=False, env=env
            )
        except GitCommandNotFound:
            return Answer(_NOT_INSTALLED, "", "")
        _check_ownership(err)
        return Answer(code, out, err)

    def ask(self, *arguments: str) -> str:
        """Return what git prints, or nothing where it fails."""
        answer = self.run(*arguments)
        return answer.out if answer.code == 0 else ""


def _check_ownership(stderr: str) -> None:
    if "dubious ownership" not in stderr:
        return
    command = stderr[stderr.find("git config --global") :].partition("\n")[0].strip()
    raise ToolError(
        "git does not trust this repository (dubious ownership)",
        why="its files belong to another user",
        hint=f"if you do trust it: {command}",
    )
