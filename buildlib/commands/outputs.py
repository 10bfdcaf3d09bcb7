"""What GitHub Actions hands on to later steps of a workflow: lines of the file $GITHUB_OUTPUT."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from buildlib.files import write_text

_FILE: Final = "GITHUB_OUTPUT"


def write_outputs(
    env: Mapping[str, str], *, version: str, digest: str, tags: Sequence[str], image: str = ""
) -> None:
    """Write the outputs `version`, `digest` and `tags`, where there is a file for them.

    Args:
        env: for GITHUB_OUTPUT.
        image: whose outputs have its name before theirs, as in `api-digest`; empty: the only one.
        digest: of the image; empty: the output has none.
        tags: full references, one a line.

    Raises:
        InputError: the file can't be written (exit 2).
    """
    if not (path := env.get(_FILE)):
        return
    # Nothing that is written can end the value before its end.
    end = f"end-{secrets.token_hex(8)}"
    values = {"version": version, "digest": digest, "tags": "\n".join(tags)}
    before = f"{image}-" if image else ""
    lines = (f"{before}{name}<<{end}\n{value}\n{end}\n" for name, value in values.items())
    write_text(Path(path), "".join(lines), append=True)
