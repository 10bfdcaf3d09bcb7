"""Invoke tasks that any repository can mount: `namespace = collection(Path(__file__).parent)`."""

from buildlib import interrupts
from buildlib.terminal import streams

# Before anything else is loaded: until then a Ctrl-C prints where in Python it came.
interrupts.install()
streams.install()

from buildlib.tasks.collection import collection  # noqa: E402 - see above

__all__ = ["collection"]
