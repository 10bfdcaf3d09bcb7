"""The files of the build context that steps take: mode, size and digest, as BuildKit counts them.

BuildKit compares what a COPY takes by path, mode, size and content, and not by times and owners.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

from buildlib.dockerfile.ignore import DockerIgnore, walk_context
from buildlib.dockerfile.parser import context_path
from buildlib.errors import InputError
from buildlib.files import read_regular, write_file
from buildlib.records.record import File

# More files than that are compared as one.
LISTED: Final = 5000
_MAGIC: Final = re.compile(r"[*?\[\\]")
# Within that time a file may change without another time stamp, in nanoseconds.
_RACY: Final = 2_000_000_000
_STAMP: Final = 5
_SMALL: Final = 1 << 18


class Taken(NamedTuple):
    """The files that steps take: those that are listed, and one digest of all others."""

    files: Mapping[str, File]
    unlisted: int = 0
    rest: str = ""


def matcher(sources: Iterable[str]) -> Callable[[str], bool]:
    """Return what says whether a path is among the sources of a step, or below one of them.

    Args:
        sources: relative to the context, with the wildcards of a COPY.
    """
    plain, patterns = set[str](), list[DockerIgnore]()
    for source in map(context_path, sources):
        if _MAGIC.search(source):
            with suppress(InputError):
                patterns.append(DockerIgnore([f"./{source}"]))
        else:
            plain.add(source)

    below = tuple(f"{one}/" for one in plain)

    def matches(path: str) -> bool:
        if "." in plain or path in plain or path.startswith(below):
            return True
        return any(one.excludes(path, directory=False) for one in patterns)

    return matches


def _starts(sources: Iterable[str]) -> list[str]:
    """Return the files and directories to look at; empty text is the whole context."""
    found = set()
    for source in map(context_path, sources):
        parts = [] if source == "." else source.split("/")
        magic = next((n for n, part in enumerate(parts) if _MAGIC.search(part)), len(parts))
        found.add("/".join(parts[:magic]))
    return sorted(one for one in found if not (found & {"", *_above(one)}) or one == "")


def _above(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _paths(context: Path, sources: Iterable[str], ignore: DockerIgnore) -> Iterator[str]:
    for start in _starts(sources):
        folder = (context / start).is_dir()
        if start and (context / start).exists() and not ignore.excludes(start, directory=folder):
            yield start
        if folder:
            yield from walk_context(context, start, ignore)


class Hashes:
    """Digests of files that were computed before, as git's index has them.

    A file that has the same inode, size and times is not read again.

    Args:
        path: where they are kept; None: nowhere.
        computed: how many were not known.
    """

    def __init__(self, path: Path | None) -> None:
        """Read nothing yet."""
        self._path = path
        self._new: dict[str, list[int | str]] = {}
        self._changed = False
        self.computed = 0

    @cached_property
    def _old(self) -> dict[str, list[int | str]]:
        """Read them; what is damaged counts for nothing."""
        with suppress(OSError, ValueError, RecursionError):
            found = json.loads(read_regular(self._path)) if self._path else {}
            return found if isinstance(found, dict) else {}
        return {}

    def digest(self, name: str, about: os.stat_result) -> str:
        """Return the SHA-256 of a file."""
        stamp = [about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns]
        old = self._old.get(name)
        if isinstance(old, list) and len(old) == _STAMP and old[:-1] == stamp:
            self._new[name] = old
            return str(old[-1])
        digest = _hash(name, about.st_size)
        self.computed += 1
        if time.time_ns() - max(about.st_mtime_ns, about.st_ctime_ns) > _RACY:
            self._new[name] = [*stamp, digest]
            self._changed = True
        return digest

    def save(self, *, ended: bool = True) -> None:
        """Keep those of the files that were asked for.

        Args:
            ended: all were asked for; else those that are known from before are kept as well.

        Raises:
            OSError: they can't be written.
        """
        if self._path and self._changed:
            # A copy, as another thread may still add some.
            new = dict(self._new)
            write_file(self._path, json.dumps(new if ended else self._old | new))


def read_files(
    context: Path, sources: Iterable[str], ignore: DockerIgnore, hashes: Hashes
) -> Taken:
    """Return what steps take from a build context.

    Args:
        context: the directory.
        sources: of all steps.
        ignore: what stays out of the context.
        hashes: those that are known.

    Raises:
        InputError: a directory can't be read.
    """
    known = tuple(sources)
    matches, files, rest, unlisted = matcher(known), dict[str, File](), hashlib.sha256(), 0
    for path in sorted(set(_paths(context, known, ignore))):
        if not matches(path):
            continue
        # A file that goes meanwhile is not taken either.
        with suppress(OSError):
            found = _file(f"{context}/{path}", hashes, named=path in known)
            if len(files) < LISTED:
                files[path] = found
            else:
                unlisted += 1
                rest.update(f"{path}\0{found.mode}\0{found.digest}\n".encode(errors="replace"))
    return Taken(files, unlisted, rest.hexdigest() if unlisted else "")


def _file(name: str, hashes: Hashes, *, named: bool) -> File:
    """Return a file; a link that is named itself is followed, as COPY does."""
    about = os.lstat(name)
    if stat.S_ISLNK(about.st_mode):
        if not named:
            link = os.fsencode(Path(name).readlink())
            return File(mode="120777", size=len(link), digest=hashlib.sha256(link).hexdigest())
        about = Path(name).stat()
    if not stat.S_ISREG(about.st_mode):
        # The permissions of a directory do not count for BuildKit.
        return File(mode=f"{stat.S_IFMT(about.st_mode):06o}", size=0, digest="")
    mode, size = f"{about.st_mode:06o}", about.st_size
    return File(mode=mode, size=size, digest=hashes.digest(name, about))


def _hash(name: str, size: int) -> str:
    """Return the SHA-256 of a file; the way for large ones takes longer for small ones."""
    if size <= _SMALL:
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return hashlib.sha256(os.read(descriptor, _SMALL)).hexdigest()
        finally:
            os.close(descriptor)
    with Path(name).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
