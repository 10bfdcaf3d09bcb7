"""What an image's configuration says, read as the engine reads it; pure functions.

`runtime` is the part of an OCI configuration, or of `docker inspect`, that is called `config`.
Sources: moby's daemon/health.go (probes), daemon/oci_linux.go with moby/sys/user (USER), and
moby/sys/signal (STOPSIGNAL).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

# What the engine sets where an image has no PATH.
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SHELL: Final = ("/bin/sh", "-c")
# Of Linux, from number 1 on: those of this machine may be others.
_SIGNALS: Final = (
    *("HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2"),
    *("PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG"),
    *("XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS"),
)
_REALTIME: Final = re.compile(r"RT(MIN|MAX)([+-][0-9]{1,2})?")
# Of Linux: SIGRTMIN as the engine counts, and SIGRTMAX.
_FIRST_REALTIME: Final = {"MIN": 34, "MAX": 64}
_ID: Final = re.compile(r"[0-9]{1,10}", re.ASCII)
Runtime = Mapping[str, Any]


def words_of(value: object) -> tuple[str, ...]:
    """Return a command as words; a lone text is one word, as docker has it."""
    if isinstance(value, str):
        return (value,)
    return tuple(map(str, value)) if isinstance(value, list | tuple) else ()


def main_command(runtime: Runtime) -> tuple[str, ...]:
    """Return what a container runs, ENTRYPOINT and CMD together; nothing where there is neither."""
    return words_of(runtime.get("Entrypoint")) + words_of(runtime.get("Cmd"))


def health_command(runtime: Runtime) -> tuple[str, ...]:
    """Return what HEALTHCHECK runs, or nothing; a line is for the shell of the configuration.

    Engines make no check of a kind that they do not know. They give a container no SHELL of its
    image, so its check runs in /bin/sh: ask with the configuration of the container.
    """
    kind, *words = words_of((runtime.get("Healthcheck") or {}).get("Test")) or ("NONE",)
    if kind == "CMD-SHELL" and words:
        return (*(words_of(runtime.get("Shell")) or _SHELL), *words)
    return tuple(words) if kind == "CMD" else ()


def stop_signal(runtime: Runtime) -> int:
    """Return the number of the signal that stops a container: STOPSIGNAL, or SIGTERM."""
    name = str(runtime.get("StopSignal") or "").upper().removeprefix("SIG")
    if _ID.fullmatch(name):
        return int(name)
    if found := _REALTIME.fullmatch(name):
        return _FIRST_REALTIME[found[1]] + int(found[2] or 0)
    return _SIGNALS.index(name if name in _SIGNALS else "TERM") + 1


def exposed_ports(runtime: Runtime) -> tuple[int, ...]:
    """Return the TCP ports that EXPOSE names."""
    found = (str(port).partition("/") for port in runtime.get("ExposedPorts") or ())
    tcp = {int(number) for number, _, kind in found if number.isdigit() and kind in {"", "tcp"}}
    return tuple(sorted(tcp))


def program_candidates(word: str, runtime: Runtime) -> tuple[str, ...]:
    """Return where the engine looks for a program of this name, in its order."""
    if not word or word.startswith("/"):
        return (word,) if word else ()
    if "/" in word:
        return (f"{str(runtime.get('WorkingDir') or '/').rstrip('/')}/{word}",)
    env = dict(str(text).partition("=")[::2] for text in runtime.get("Env") or ())
    folders = (env.get("PATH") or _PATH).split(":")
    return tuple(f"{folder.rstrip('/')}/{word}" for folder in folders if folder.startswith("/"))


def explicit_group(user: str, uid: int) -> int:
    """Return the group of a user that `USER` names by numbers; else one of the same number."""
    name, _, group = user.partition(":")
    both = _ID.fullmatch(name) and _ID.fullmatch(group)
    return int(group) if both and int(name) == uid else uid


class Account(NamedTuple):
    """Whom the engine starts a container's first process as: numbers alone."""

    user: int
    group: int
    others: frozenset[int] = frozenset()

    @property
    def groups(self) -> frozenset[int]:
        """Return every group that the process is in."""
        return self.others | {self.group}


def account_of(user: str, passwd: str, group: str) -> Account | None:
    """Return whom `USER` means; None: the image has no such user or group.

    Args:
        user: as the configuration has it, `name:group`; either may be a number, or missing.
        passwd: the image's /etc/passwd; empty where it has none.
        group: its /etc/group; the same.
    """
    name, _, chosen = user.partition(":")
    number = int(name) if _ID.fullmatch(name) else None
    requested = 0 if not name else number
    rows = _rows(passwd, 4)
    known = next(
        (
            row
            for row in rows
            if (row[0] == name if requested is None else int(row[2]) == requested)
        ),
        None,
    )
    if known is None and requested is None:
        return None
    uid = int(known[2]) if known else requested or 0
    gid = int(known[3]) if known and _ID.fullmatch(known[3]) else 0
    if not chosen:
        groups = _rows(group, 4)
        more = (int(row[2]) for row in groups if known and known[0] in row[3].split(","))
        return Account(uid, gid, frozenset(more))
    if _ID.fullmatch(chosen):
        return Account(uid, int(chosen))
    named = next((int(row[2]) for row in _rows(group, 3) if row[0] == chosen), None)
    return None if named is None else Account(uid, named)


def _rows(text: str, fields: int) -> Iterator[Sequence[str]]:
    """Yield the lines of such a file that have a number in the third place."""
    for line in text.splitlines():
        row = line.strip().split(":")
        if not line.startswith("#") and len(row) >= fields and _ID.fullmatch(row[2]):
            yield row
