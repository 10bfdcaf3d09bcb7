"""Parts of packages that are slow to import whole."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from threading import Lock
from typing import TypeVar

T = TypeVar("T")


def once(load: Callable[[], T]) -> Callable[[], T]:
    """Let only the first caller load something, and all others wait for it.

    Two threads that import the modules of a package in another order wait for each other, and
    what is a hollow package for the one is no package for the other.
    """
    lock = Lock()
    found: list[T] = []

    def loaded() -> T:
        if not found:
            with lock:
                if not found:
                    found.append(load())
        return found[0]

    return loaded


def import_parts(packages: Sequence[str], load: Callable[[], T]) -> T:
    """Import modules of packages, and leave out what the packages themselves would import.

    The packages are empty ones meanwhile, and are forgotten afterwards: who imports them gets the
    whole. Where somebody has imported the first of them before, that is what is taken, and where
    the parts need the whole, it is imported.

    Args:
        packages: names, the outer one first.
        load: imports the modules, and returns what is wanted of them.

    Raises:
        ImportError: as `load` does with the whole packages.
    """
    first = packages[0]
    if first not in sys.modules and importlib.util.find_spec(first):
        try:
            for name in packages:
                _hollow(name)
            return load()
        except (ImportError, AttributeError):
            pass  # of another make than those that are known: its parts need the whole
        finally:
            # A list at once: other threads import meanwhile.
            for name in list(sys.modules):
                if name.partition(".")[0] == first:
                    del sys.modules[name]
    return load()


def _hollow(name: str) -> None:
    """Put an empty package in the place of one, in which its modules are found all the same."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ImportError(f"no package {name}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    outer, _, last = name.rpartition(".")
    if outer:
        setattr(sys.modules[outer], last, module)
