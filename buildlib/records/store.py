"""Where records are kept: one file a build, and the oldest are removed."""

from __future__ import annotations

import os
import secrets
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from buildlib.config.config import Config
from buildlib.errors import InputError
from buildlib.files import read_regular, write_file
from buildlib.records.record import Record, RecordError, read_record

_TIME: Final = "%Y%m%dT%H%M%S"
_KEY_SIZE: Final = 32
_PRIVATE: Final = 0o700


class RecordStore:
    """The records of a project.

    Args:
        folder: where they are, with the key of fingerprints.
        keep: how many are kept.
        days: how long.
        shared: a directory for what is known for every project; None: the same one.
    """

    def __init__(self, folder: Path, *, keep: int, days: int, shared: Path | None = None) -> None:
        """Change nothing yet."""
        self.folder, self._keep, self._days = folder, keep, days
        self.builders = (shared or folder) / "builders"

    @property
    def hashes(self) -> Path:
        """Return the file with digests of files that were computed before."""
        return self.folder / "hashes"

    def key(self) -> bytes:
        """Return the key of fingerprints, which is made where there is none.

        It is in no record: nobody can try values against a fingerprint without it.

        Raises:
            OSError: it can't be made.
        """
        path = self.folder / "key"
        with suppress(FileNotFoundError):
            if len(found := read_regular(path)) == _KEY_SIZE:
                return found
        self.folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        new = path.with_name(f".key.{secrets.token_hex(4)}")
        try:
            new.touch(mode=0o600)
            new.write_bytes(secrets.token_bytes(_KEY_SIZE))
            # Two builds may make one at the same time: the first counts.
            with suppress(FileExistsError):
                os.link(new, path)
        finally:
            new.unlink(missing_ok=True)
        return read_regular(path)

    def write(self, record: Record) -> None:
        """Keep a record under a name of its own, and remove the oldest ones.

        Raises:
            OSError: it can't be written.
        """
        self.folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
        write_file(self.folder / f"{record.id}-{record.key}.json", record.as_json())
        oldest = (datetime.now(UTC) - timedelta(days=self._days)).strftime(_TIME)
        kept = enumerate(self.paths())
        old = [path for number, path in kept if number >= self._keep or path.name < oldest]
        # What a process that was killed had not written whole has a dot before its name.
        old += [path for path in self.folder.glob(".[0-9]*") if path.name[1:] < oldest]
        for path in old:
            # Another build may be doing the same.
            with suppress(OSError):
                path.unlink()

    def paths(self, key: str = "") -> list[Path]:
        """Return the files of all records, or of those with a key, the newest first."""
        return sorted(self.folder.glob(f"[0-9]*-{key or '*'}.json"), reverse=True)

    def read(self, path: Path) -> Record:
        """Read a record.

        Raises:
            RecordError: it is damaged, of a newer version, or can't be read (exit 2).
        """
        try:
            return read_record(read_regular(path).decode(), path.stem)
        except (OSError, UnicodeDecodeError) as error:
            raise RecordError(f"the record {path.stem} can't be read", why=str(error)) from error

    def usable(self, key: str = "", before: str = "") -> Iterator[Record]:
        """Yield the records that can be read, the newest first.

        Args:
            key: of those that are wanted; empty: any.
            before: identifier of a record that is newer than they; empty: any.
        """
        for path in self.paths(key):
            if not before or path.name < before:
                with suppress(RecordError):
                    yield self.read(path)

    def last(self, like: Record) -> Record | None:
        """Return the record that another one is compared with.

        It is the last of the same image, target, platforms and builder; else the last of the same
        image and target.
        """
        same = next(self.usable(like.key, like.id), None)
        if same:
            return same
        others = (one for one in self.usable(before=like.id) if one.image == like.image)
        return next((one for one in others if one.target == like.target), None)


def new_id(now: float | None = None) -> str:
    """Return an identifier that no other build has; they sort by time."""
    moment = datetime.fromtimestamp(time.time() if now is None else now, UTC)
    return f"{moment:{_TIME}}.{moment.microsecond // 1000:03}Z-{secrets.token_hex(4)}"


def open_store(config: Config, env: Mapping[str, str]) -> RecordStore | None:
    """Return the records of a project; None: none are kept.

    Args:
        config: of the project.
        env: for HOME and XDG_STATE_HOME.

    Raises:
        InputError: the directory for them contains the project (exit 2).
    """
    settings = config.record_settings()
    if not settings.enabled or not settings.keep:
        return None
    if settings.directory:
        place = settings.place(env.get("HOME", ""))
        if not place:
            return None
        folder, shared = config.root / place, None
        if config.root.resolve().is_relative_to(folder.resolve()):
            raise InputError(
                f"records can't be kept in {settings.directory}",
                why="the project is in it",
                hint=f"give another directory in {config.table('records')}",
            )
    elif state := state_directory(env):
        name = f"{config.short_name}-{zlib.crc32(os.fsencode(config.root)):08x}"
        folder, shared = state / "buildlib" / name, state / "buildlib"
    else:
        return None
    return RecordStore(folder, keep=settings.keep, days=settings.max_age, shared=shared)


def state_directory(env: Mapping[str, str]) -> Path | None:
    """Return the user's state directory; None: the user has no home."""
    given = env.get("XDG_STATE_HOME", "")
    # The specification wants a relative path to be ignored.
    if given.startswith("/"):
        return Path(given)
    home = env.get("HOME", "")
    return Path(home) / ".local/state" if home.startswith("/") and Path(home).is_dir() else None
