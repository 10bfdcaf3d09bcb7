"""A docker command line that was found in a repository."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class DockerLine:
    """One command of docker, or what a file says that amounts to one.

    Args:
        file: that it was found in, relative to the repository.
        line: its number there, from 1.
        argv: the words, beginning with `docker`, with its variables replaced; what has no value
            without running something stands as it was written, such as `$(shell date)`. Empty:
            nothing could be read.
        folder: that it is run in, relative to the repository.
        where: the target, service or image that it belongs to.
        condition: when it is run; empty: always.
        left: what of it is not in `argv`, each with the reason why it is not carried over.
        needs: the services of the same file that it needs.
        done: the same of what needs not be.
    """

    file: str
    line: int
    argv: tuple[str, ...]
    folder: str = "."
    where: str = ""
    condition: str = ""
    left: tuple[tuple[str, str], ...] = ()
    done: tuple[tuple[str, str], ...] = ()
    needs: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Return where it stands: `Makefile:12`."""
        return f"{self.file}:{self.line}"
