"""What gates were asked about, as one hash: an outcome counts for that, and for nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

from buildlib.build.argv import buildx_argv
from buildlib.build.plan import BuildPlan
from buildlib.config.config import Config
from buildlib.console import redact


def fingerprint(config: Config, digest: str, *, today: date, release: bool) -> str:
    """Return the hash.

    Args:
        config: of the gates; the files that it names count by their content.
        digest: of the image.
        today: in UTC. What is known of an image, and what is ignored, changes from day to day.
        release: the rules of a release count.
    """
    asked = (
        digest,
        today,
        release,
        config.smoke,
        config.run,
        config.image_policy(),
        config.scan_settings(),
        tuple(_contents(config)),
    )
    return hashlib.sha256(repr(asked).encode()).hexdigest()


def built_by(plan: BuildPlan, root: Path) -> str:
    """Return the hash of how an archive is built, wherever the project lies.

    The commit alone does not tell: what replaces a base image may come from the environment.

    Args:
        plan: of the build.
        root: of the project.
    """
    argv = buildx_argv(replace(plan, metadata_file=None))
    if made := plan.checkout:
        # Its files are those of the commit and these, wherever it lies.
        argv = tuple(word.replace(str(made.place(root)), ".") for word in argv)
        argv = tuple(word.replace(str(made.root), "commit") for word in argv)
        argv += tuple(word for pair in (("files", "commit"), *made.included) for word in pair)
    line = "\0".join(redact(word).replace(str(root), ".") for word in argv)
    return hashlib.sha256(line.encode(errors="surrogateescape")).hexdigest()


def _contents(config: Config) -> Iterator[tuple[str, str]]:
    """Yield the files that gates read beside the image, each with its hash; absent ones have none.

    They may be ignored by git, or lie elsewhere: then the commit does not tell what is in them.
    """
    names = (*config.scan_settings().vex, config.smoke.size_record)
    for name in filter(None, names):
        path = Path(config.root, name)
        content = path.read_bytes() if path.is_file() else b""
        yield name, hashlib.sha256(content).hexdigest() if content else ""
