"""Invoke tasks that any repository can mount: `namespace = collection(Path(__file__).parent)`."""

from buildlib.tasks.collection import collection

__all__ = ["collection"]
