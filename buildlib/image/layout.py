"""An OCI image layout on the disk: the same as an archive, before it is packed.

Source: OCI image-spec, image-layout.md.
"""

from __future__ import annotations

import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Final

from buildlib.errors import InputError
from buildlib.image.archive import Archive, open_archive
from buildlib.image.blobs import INDEX
from buildlib.image.limits import MOST_BLOBS
from buildlib.tempfiles import check_room, passing_folder

_MARK: Final = "oci-layout"


def is_layout(path: Path) -> bool:
    """Return whether a directory is an OCI image layout."""
    return (path / _MARK).is_file() and (path / INDEX).is_file()


@contextmanager
def open_layout(path: Path) -> Iterator[Archive]:
    """Open a layout as an archive, for the time of the block; links in it are refused.

    Raises:
        InputError: it can't be read, has too many files, or does not fit on this disk (exit 2).
    """
    with passing_folder("layout") as folder:
        packed = folder / path.resolve().name
        try:
            files = _files(path)
            check_room(folder, sum(size for _, size in files))
            # The same file under two digests would become a link otherwise.
            with tarfile.open(packed, "w", dereference=True) as tar:
                for name, _ in files:
                    tar.add(path / name, arcname=str(name), recursive=False)
        except OSError as error:
            raise InputError(f"{path} can't be read as an image", why=str(error)) from error
        with open_archive(packed) as archive:
            yield archive


def _files(root: Path) -> list[tuple[Path, int]]:
    """Return the documents and the blobs of a layout, with their sizes."""
    blobs = (one for folder in (root / "blobs").iterdir() for one in folder.iterdir())
    found = []
    for number, path in enumerate((root / _MARK, root / INDEX, *islice(blobs, MOST_BLOBS + 1))):
        about, name = path.lstat(), path.relative_to(root)
        if not stat.S_ISREG(about.st_mode):
            raise InputError(f"{root} is not a valid image: {name} is not a file")
        if number > MOST_BLOBS:
            raise InputError(f"{root} holds more than {MOST_BLOBS} files")
        found.append((name, about.st_size))
    return found
