"""The only place that starts git, through GitPython; `git.facts` understands what it prints."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

from buildlib import interrupts
from buildlib.background import Background
from buildlib.errors import ToolError
from buildlib.shell import NOT_FOUND

_FATAL: Final = "fatal: "
# A translated message could not be recognised, and no clone has what `git replace` shows here.
_ENV: Final = {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_REPLACE_OBJECTS": "1"}
_SILENT: Final = {"GIT_TERMINAL_PROMPT": "0"}
_NOTHING: Final[Mapping[str, str]] = {}

# One length of an abbreviated commit for every user, as versions and tags are made of it.
_ABBREVIATION: Final = ("core.abbrev", "auto")
_COUNT: Final = "GIT_CONFIG_COUNT"

DESCRIBE: Final = ("describe", "--tags", "--always", "--dirty")


def _environment() -> dict[str, str]:
    """Return the variables of every git, beside those that the user has."""
    count = os.environ.get(_COUNT) or "0"
    if not count.isdecimal():
        # git itself refuses that, in its own words.
        return dict(_ENV)
    key, value = _ABBREVIATION
    number = int(count)
    config = {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return _ENV | config | {_COUNT: str(number + 1)}


class GitResult(NamedTuple):
    """How git ended and what it printed; code 127: there is no git.

    Args:
        code, out, err: what `subprocess` calls returncode, stdout and stderr.
        asked: what came after `git`.
    """

    code: int
    out: str
    err: str
    root: Path
    asked: tuple[str, ...]

    @property
    def installed(self) -> bool:
        """Return whether there is a git at all."""
        return self.code != NOT_FOUND

    @property
    def complaint(self) -> str:
        """Return why git failed, in its own words, without its warnings and its advice."""
        lines = self.err.strip().splitlines()
        # There are several where a git that git itself started failed, as in a submodule.
        fatal = [line for line in lines if line.startswith(_FATAL)] or lines[-1:]
        return "; ".join(line.removeprefix(_FATAL).removeprefix("error: ") for line in fatal)

    def checked(self) -> GitResult:
        """Return the answer itself.

        Raises:
            ToolError: git failed, and its output can't be used (exit 3).
        """
        if self.code == 0:
            return self
        why = self.complaint if self.installed else "it is not installed"
        again = shlex.join(("git", "-C", str(self.root), *self.asked))
        raise ToolError(
            f"git {self.asked[0]} failed",
            why=why or f"it ended with code {self.code}",
            hint=f"once that is fixed, this works: {again}",
        )


class Ahead(NamedTuple):
    """The two answers that git takes longest for, on their way; `root` is where it was asked."""

    root: Path
    description: Background[GitResult]
    tags: Background[GitResult]


def ask_ahead(root: Path) -> Ahead:
    """Ask for what takes long in a large repository, while other modules are imported."""
    return Ahead(
        root=root,
        # --long ends in -<distance>-g<revision> whatever the tag looks like, so that a tag called
        # x-dirty, or x-1-gabc, is not taken for something else.
        description=Background(lambda: GitCommand(root).run(*DESCRIBE, "--long")),
        tags=Background(lambda: GitCommand(root).run("show-ref", "--tags", "--dereference")),
    )


def _finished(
    process: subprocess.Popen[bytes], root: Path, arguments: tuple[str, ...]
) -> GitResult:
    """Wait for git, one of CHILDREN, and read what it printed; interrupted, it is ended."""
    out = err = b""
    try:
        for turn in interrupts.turns():
            with suppress(subprocess.TimeoutExpired):
                out, err = process.communicate(timeout=turn)
                break
    except BaseException:
        interrupts.end(process)
        raise
    finally:
        interrupts.CHILDREN.discard(process)
    printed, said = (text.decode("utf-8", "surrogateescape") for text in (out, err))
    _check_ownership(said)
    return GitResult(process.returncode, printed.removesuffix("\n"), said, root, arguments)


@cache
def _gitpython() -> ModuleType:
    """Import GitPython, which is slow: not every task asks git."""
    # It looks for git when it is imported, and raises where there is none, unless told to be quiet;
    # `Answer.installed` reports that instead.
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    import git  # noqa: PLC0415 - see above

    return git


class GitCommand:
    """Asks git, in one directory; one object may be used from several threads."""

    def __init__(self, root: Path) -> None:
        """Import GitPython, which is slow: no command that needs no git should come here."""
        self._root = root
        self._git: Any = _gitpython().Git(root)

    def run(
        self, *arguments: str, questions: bool = False, env: Mapping[str, str] = _NOTHING
    ) -> GitResult:
        """Run git to its end.

        Args:
            arguments: what comes after `git`.
            questions: it may ask for a password, on the terminal itself.
            env: variables that it gets besides.

        Raises:
            ToolError: it refuses the repository because another user owns it (exit 3).
        """
        silent = {} if questions else _SILENT
        try:
            with interrupts.starting():
                # It ends the process once it is not referred to any more.
                started = self._git.execute(
                    ["git", *arguments],
                    as_process=True,
                    env={**_environment(), **silent, **env},
                )
                interrupts.CHILDREN.add(started.proc)
        except _gitpython().GitCommandNotFound:
            return GitResult(NOT_FOUND, "", "", self._root, arguments)
        return _finished(started.proc, self._root, arguments)

    def ask(self, *arguments: str) -> str:
        """Return what git prints, or nothing where it fails: for what may be absent."""
        answer = self.run(*arguments)
        return answer.out if answer.code == 0 else ""

    def must(self, *arguments: str, env: Mapping[str, str] = _NOTHING) -> str:
        """Return what git prints: where nothing would be an answer too.

        Raises:
            ToolError: it fails (exit 3).
        """
        return self.run(*arguments, env=env).checked().out


def _check_ownership(stderr: str) -> None:
    if "dubious ownership" not in stderr:
        return
    command = stderr[stderr.find("git config --global") :].partition("\n")[0].strip()
    raise ToolError(
        "git does not trust this repository (dubious ownership)",
        why="its files belong to another user",
        hint=f"if you do trust it: {command}",
    )
