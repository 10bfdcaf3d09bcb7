"""The image that smoke checks: one that is there, the file of an archive, or one that is built."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from buildlib.errors import EngineError
from buildlib.executor import Executor
from buildlib.image.archive import archive_file, open_archive
from buildlib.image.reference import canonical
from buildlib.program import PROGRAM
from buildlib.tempfiles import passing_folder


@dataclass(frozen=True, kw_only=True, slots=True)
class SmokeImage:
    """An image to be checked.

    Args:
        reference: by which the engine has it.
        archive: its file, where that was given.
    """

    reference: str
    archive: Path | None = None


@contextmanager
def given(image: str, tag: str, executor: Executor) -> Iterator[SmokeImage]:
    """Have a given image in the engine for the time of the block.

    Args:
        image: a reference or a digest that the engine has, or the file of an OCI archive, which
            is loaded, and removed again.
        tag: a reference that nothing else uses, for the archive.

    Raises:
        InputError: the file is not an image, or there is no such archive (exit 2).
        EngineError: the engine does not have it, or can't load it (exit 4).
    """
    path = archive_file(image)
    if path is None:
        yield SmokeImage(reference=image)
        return
    try:
        _load(path, tag, executor)
        yield SmokeImage(reference=tag, archive=path)
    finally:
        executor.run(("docker", "image", "rm", "--no-prune", tag))


def _load(path: Path, tag: str, executor: Executor) -> None:
    with open_archive(path) as archive, passing_folder("smoke") as folder:
        known = {archive.top()}
        for one in archive.images():
            known |= {one.digest, one.config_digest}
        copy = folder / "image.tar"
        archive.write_renamed(copy, name_of(tag))
        loaded = executor.run(("docker", "load", "--input", str(copy)))
    found = executor.run(("docker", "image", "inspect", "--format", "{{.Id}}", tag))
    if loaded.code != 0 or found.code != 0:
        raise EngineError(
            f"{path.name} can't be loaded into the engine",
            why=(loaded.stderr or loaded.stdout or found.stderr).strip(),
            hint=f"several platforms need the containerd image store: {PROGRAM} doctor",
        )
    if found.stdout.strip() not in known:
        raise EngineError(
            f"the engine has another image than {path.name} holds", why=found.stdout.strip()
        )


def name_of(tag: str) -> dict[str, str]:
    """Return the annotations by which an engine gives a tag to what it loads."""
    return {
        "io.containerd.image.name": canonical(tag),
        "org.opencontainers.image.ref.name": tag.rpartition(":")[2],
    }
