"""Which image smoke is about: one that is there, the file of an archive, or one that is built."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from buildlib.errors import EngineError, InputError
from buildlib.executor import Executor
from buildlib.oci import archive_file, open_archive
from buildlib.passing import passing_folder


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """An image to be checked.

    Args:
        reference: by which the engine has it.
        archive: its file, where that was given.
    """

    reference: str
    archive: Path | None = None


@contextmanager
def given(image: str, tag: str, executor: Executor) -> Iterator[Given]:
    """Have a given image in the engine for the time of the block.

    Args:
        image: a reference or a digest that the engine has, or the file of an OCI archive, which
            is loaded, and removed again.
        tag: a reference that nobody else uses, for the archive.
        executor: starts docker.

    Raises:
        InputError: the file is no image, or there is no such archive (exit 2).
        EngineError: the engine does not have it, or can't load it (exit 4).
    """
    path = archive_file(image)
    if path is None:
        yield Given(reference=image)
        return
    try:
        _load(path, tag, executor)
        yield Given(reference=tag, archive=path)
    finally:
        executor.run(("docker", "image", "rm", "--no-prune", tag))


def _load(path: Path, tag: str, executor: Executor) -> None:
    with open_archive(path) as archive:
        known = {archive.top()}
        for one in archive.images():
            known |= {one.digest, one.config_digest}
    with passing_folder("smoke") as folder:
        copy = folder / "image.tar"
        rename(path, copy, tag)
        loaded = executor.run(("docker", "load", "--input", str(copy)))
    found = executor.run(("docker", "image", "inspect", "--format", "{{.Id}}", tag))
    if loaded.code != 0 or found.code != 0:
        raise EngineError(
            f"{path.name} can't be loaded into the engine",
            why=(loaded.stderr or loaded.stdout or found.stderr).strip(),
            hint="several platforms need the containerd image store: invoke doctor",
        )
    if found.stdout.strip() not in known:
        raise EngineError(
            f"the engine has another image than {path.name} holds", why=found.stdout.strip()
        )


def rename(source: Path, target: Path, tag: str) -> None:
    """Copy an archive, and give the image in it another name: its own may be in use.

    A name stands beside the image, in the outermost index, and no digest depends on it.

    Raises:
        InputError: it has no such index (exit 2).
    """
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        for entry in old:
            # docker's older list of names; where it is missing, the index counts.
            if entry.name == "manifest.json":
                continue
            content = old.extractfile(entry) if entry.isreg() else None
            if entry.name == "index.json" and content:
                data = _renamed(content.read(), tag, source.name)
                entry.size, content = len(data), io.BytesIO(data)
            new.addfile(entry, content)


def _renamed(text: bytes, tag: str, name: str) -> bytes:
    try:
        index: dict[str, Any] = json.loads(text)
        # Each name that it was built under has an entry of its own.
        entries = {entry["digest"]: entry for entry in index["manifests"]}
        (entry,) = entries.values()
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{name} holds no image, or several") from error
    index["manifests"] = [entry]
    full = f"docker.io/library/{tag}" if "/" not in tag else tag
    entry["annotations"] = {
        "io.containerd.image.name": full,
        "org.opencontainers.image.ref.name": tag.rpartition(":")[2],
    }
    return json.dumps(index).encode()
