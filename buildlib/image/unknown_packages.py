"""An image in which a tool sees no package: files alone, or programs of which nothing is known."""

from __future__ import annotations

from buildlib.errors import GateError
from buildlib.image.archive import Archive, Image
from buildlib.image.elf import is_program
from buildlib.terminal.streams import printable


def check_known(archive: Archive, image: Image, tool: str, *, allowed: bool) -> None:
    """Raise GateError (exit 7) where an image without a package that a tool sees holds a program.

    An image of files alone has none to see. A scan and an SBOM go by the same rule.

    Args:
        tool: that sees no package in it.
        allowed: programs of which nothing is known are accepted.
    """
    program = "" if allowed else _program(archive, image)
    if program:
        raise GateError(
            f"{tool} sees no package in the image for {image.platform}: nothing is known",
            why=f"it holds a program, {program}",
            hint="keep in it what names its packages: the files of the package manager, Go's build "
            "information; where that can't be, allow-unknown = true in the table scan",
        )


def _program(archive: Archive, image: Image) -> str:
    found = ""
    # To the end of each layer: only then it is known to be what its digest says.
    for layer in image.layers:
        for file in archive.files(layer):
            if not found and file.kind == "file" and is_program(file.head):
                found = f"/{printable(file.path)}"
    return found
