"""Facts about a running container, as pure functions over the output of docker."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Final

from buildlib.image.elf import kernel_names, program_arch
from buildlib.image.runtime_config import Runtime, program_candidates

# Printed by a shell of the image: numbers are those that the container sees.
PROC_SCRIPT: Final = (
    'echo "machine $(uname -m)"; for d in /proc/[0-9]*; do echo "pid ${d#/proc/}"; '
    'echo "exe $(readlink $d/exe)"; cat $d/status; printf "words "; cat $d/cmdline; echo; done'
)
# Printed by the ps of the engine's machine, for an image without a shell.
TOP_COLUMNS: Final = ("-eo", "pid,ppid,uid,gid,supgid,args")
_SPLITS: Final = TOP_COLUMNS[1].count(",")
_MOST_LINES: Final = 5
# Where docker mounts its init: /sbin may be a link to any of these.
_INITS: Final = frozenset(
    f"{folder}/docker-init" for folder in ("/sbin", "/bin", "/usr/sbin", "/usr/bin")
)
_PATTERN: Final = re.compile(r"[*?[]")


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerProcess:
    """A process of a container; `groups` are all that it is in, its first one included."""

    pid: int
    parent: int
    user: int
    groups: frozenset[int]
    words: tuple[str, ...]
    executable: str = ""


def parse_proc(text: str) -> tuple[str, tuple[ContainerProcess, ...]]:
    """Return what `uname -m` said, and the processes that the script saw."""
    machine, *parts = re.split(r"^pid (?=\d+$)", text, flags=re.MULTILINE)
    found = [_process(part) for part in parts]
    name = machine.partition("machine ")[2].strip()
    return name, tuple(process for process in found if process)


def _process(text: str) -> ContainerProcess | None:
    rows = dict(re.findall(r"^(PPid|Uid|Gid|Groups):[ \t]*(.*)$", text, re.MULTILINE))
    pid, _, rest = text.partition("\n")
    if not {"PPid", "Uid", "Gid"} <= set(rows):
        # It ended while it was looked at.
        return None
    words = rest.partition("\nwords ")[2].strip("\n")
    return ContainerProcess(
        pid=int(pid),
        parent=int(rows["PPid"]),
        user=int(rows["Uid"].split()[1]),
        groups=frozenset(map(int, [rows["Gid"].split()[1], *rows.get("Groups", "").split()])),
        words=tuple(word for word in words.split("\0") if word),
        executable=rest.partition("\n")[0].removeprefix("exe ").strip(),
    )


def parse_top(text: str) -> tuple[ContainerProcess, ...]:
    """Return the processes that `docker top` printed, with TOP_COLUMNS."""
    found = []
    for line in text.splitlines()[1:]:
        parts = line.split(None, _SPLITS)
        if len(parts) > _SPLITS and parts[0].isdigit():
            pid, parent, user, group, others, words = parts
            more = [int(number) for number in others.split(",") if number.isdigit()]
            found.append(
                ContainerProcess(
                    pid=int(pid),
                    parent=int(parent),
                    user=int(user),
                    groups=frozenset([int(group), *more]),
                    words=tuple(words.split()),
                )
            )
    return tuple(found)


def of_image(processes: Sequence[ContainerProcess], *, init: bool) -> tuple[ContainerProcess, ...]:
    """Return those that the image's own command started: not what docker put beside them.

    Args:
        processes: all that were seen; the first is the container's own.
        init: docker's init comes first, which is the engine's program.
    """
    if not processes:
        return ()
    first = min(processes, key=lambda process: process.pid)
    kept = {first.pid: first}
    for process in sorted(processes, key=lambda process: process.pid):
        if process.parent in kept:
            kept[process.pid] = process
    return tuple(process for process in kept.values() if not (init and process is first))


def wrong_user(processes: Iterable[ContainerProcess], user: int, groups: frozenset[int]) -> str:
    """Return which process is not exactly this user in exactly these groups, or nothing."""
    seen = list(processes)
    if not seen:
        return "no process was seen"
    for process in seen:
        name = " ".join(process.words[:2]) or str(process.pid)
        if process.user != user:
            return f"{name} runs as {process.user}, and not as {user}"
        if process.groups != groups:
            has, expected = (", ".join(map(str, sorted(s))) for s in (process.groups, groups))
            return f"{name} is in the groups {has}, and not in {expected}"
    return ""


def program_paths(process: ContainerProcess, runtime: Runtime) -> tuple[str, ...]:
    """Return where its program may lie in the image, the best guess first.

    Under emulation the executable is the emulator, which the image does not have, and its first
    word the program.

    Args:
        runtime: what the image's configuration says, for its PATH.
    """
    words = [word for word in process.words[:2] if not word.startswith("-")]
    named = [path for word in words for path in program_candidates(word, runtime)]
    return tuple(dict.fromkeys(path for path in (process.executable, *named) if path))


def wrong_machine(machine: str, arch: str) -> str:
    """Return why a kernel's name is not what an architecture runs on, or nothing."""
    if not machine or machine in kernel_names(arch):
        return ""
    return f"uname says {machine}, and the image is for {arch}"


def wrong_program(path: str, head: bytes, arch: str) -> str:
    """Return why a program is not for an architecture, or nothing."""
    seen = program_arch(head)
    return "" if seen == arch else f"{path} is for {seen or 'no CPU'}, and the image for {arch}"


def error_lines(log: str, pattern: str) -> str:
    """Return the lines of a log that match, the first few of them."""
    if not pattern:
        return ""
    lines = [line.strip() for line in log.splitlines() if re.search(pattern, line)]
    more = len(lines) - _MOST_LINES
    return "\n".join(lines[:_MOST_LINES] + ([f"and {more} more"] if more > 0 else []))


def written_elsewhere(
    diff: str, allowed: Iterable[str], *, init: bool, mounted: Iterable[str] = ()
) -> tuple[str, ...]:
    """Return the paths that a container made, changed or removed where it should not.

    Args:
        diff: what `docker diff` printed: a letter, a blank, a path.
        allowed: directories and everything below them, or patterns of such.
        init: docker's own init was mounted, which shows as well.
        mounted: where the engine mounted something, and made the place for it.
    """
    roots = tuple(root.rstrip("/") or "/" for root in allowed)
    engines = {*(_INITS if init else ()), *mounted}
    changes = [line.partition(" ")[::2] for line in diff.splitlines() if line]
    paths = [path for _, path in changes]
    expected = {path for path in paths if path in engines or _is_below(path, roots)}
    return tuple(
        f"{letter} {path}"
        for letter, path in changes
        if path not in expected
        # A directory changes when something in it does, which has a line of its own.
        and not (letter == "C" and _holds(path, paths))
        # One that is new may only have been made on the way to what is expected.
        and not (letter == "A" and _holds(path, expected))
    )


def _holds(folder: str, paths: Iterable[str]) -> bool:
    return any(path.startswith(f"{folder}/") for path in paths)


def _is_below(path: str, roots: Iterable[str]) -> bool:
    places = [path, *map(str, PurePosixPath(path).parents)]
    return any(
        place == root or (_PATTERN.search(root) and fnmatchcase(place, root))
        for root in roots
        for place in places
    )
