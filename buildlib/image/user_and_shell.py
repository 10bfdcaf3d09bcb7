"""How an engine reads a user and a command of an image's configuration, as pure functions.

Sources: moby/sys user (`GetExecUser`), docker's daemon/health.go; the manuals of sh, bash, busybox
and GNU env.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Final

_SHELLS: Final = frozenset(
    ("sh", "bash", "rbash", "ash", "dash", "zsh", "ksh", "mksh", "yash", "fish", "csh", "tcsh")
)
# They start the program that is among the words behind them.
_WRAPPERS: Final = frozenset(
    (
        *("busybox", "toybox", "env", "nice", "nohup", "setsid", "stdbuf", "time", "timeout"),
        *("tini", "docker-init", "dumb-init", "catatonit", "su-exec", "gosu", "setpriv", "chroot"),
    )
)
_WINDOWS: Final = {
    "cmd": ("/c", "/k"),
    "powershell": ("-c", "-command"),
    "pwsh": ("-c", "-command"),
}
# These options of shells have an argument, which is not a script.
_WITH_ARGUMENT: Final = frozenset(("--rcfile", "--init-file"))
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,40}", re.ASCII)
_LARGEST_NUMBER: Final = (1 << 63) - 1
# The last user that an engine accepts.
LAST_USER: Final = (1 << 31) - 1


def user_number(user: str) -> int | None:
    """Return the number that `USER` begins with, as engines read it; None: it is a name.

    `00` and `+0` are numbers, ` 0` is a name; without one it is root.
    """
    name = user.partition(":")[0]
    if not name:
        return 0
    number = int(name) if _NUMBER.fullmatch(name) else _LARGEST_NUMBER + 1
    return number if abs(number) <= _LARGEST_NUMBER else None


def starts_shell(words: Sequence[str]) -> bool:
    """Return whether a command is a line for a shell, as in `sh -ec LINE`.

    Another program may start the shell, as in `env A=b sh -c LINE` or `busybox sh -c LINE`.
    """
    rest = list(words)
    while rest:
        name = PurePosixPath(rest[0]).name
        if name in _SHELLS:
            return _has_line(rest[1:])
        windows = PurePosixPath(rest[0].replace("\\", "/").lower()).name.removesuffix(".exe")
        if windows in _WINDOWS:
            return any(word.lower() in _WINDOWS[windows] for word in rest[1:])
        if name not in _WRAPPERS:
            return False
        rest = _split(rest[1:]) if name == "env" else rest[1:]
        # Its own options and arguments come first.
        while rest and PurePosixPath(rest[0]).name not in _SHELLS | _WRAPPERS:
            rest = rest[1:]
    return False


def _split(words: list[str]) -> list[str]:
    """Return the words that env sees: after -S, one holds several."""
    for number, word in enumerate(words):
        option, equals, text = word.partition("=")
        if equals and option == "--split-string":
            rest = words[number + 1 :]
        elif word in {"-S", "--split-string"}:
            text, rest = " ".join(words[number + 1 : number + 2]), words[number + 2 :]
        elif found := re.fullmatch(r"-[i0v]*S(.+)", word, re.DOTALL):
            text, rest = found[1], words[number + 1 :]
        elif word.startswith("-") or equals:
            continue
        else:
            break
        try:
            return [*shlex.split(text), *rest]
        except ValueError:
            return [*text.split(), *rest]
    return words


def _has_line(options: list[str]) -> bool:
    """Return whether the words behind a shell hold -c, before the name of a script."""
    rest = iter(options)
    for word in rest:
        if word.startswith("--command") or word in {"--", "-"} or word[:1] not in {"-", "+"}:
            return word.startswith("--command")
        if word.startswith("--"):
            if word in _WITH_ARGUMENT:
                next(rest, "")
        elif word.startswith("-") and "c" in word:
            return True
        else:
            for _ in range(word.count("o") + word.count("O")):
                next(rest, "")
    return False
