"""How far a publication has come, registry by registry: who failed, and who is left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from buildlib.console import Console
from buildlib.errors import BuildlibError, CancelledError, raise_problems
from buildlib.publish.plan import Target
from buildlib.publish.receipt import Receipt, keep_receipt


class Course:
    """What each registry came to; all of it is in the receipt, which is on disk after every step.

    Args:
        receipt: of the publication.
        folder: where it is kept.
        console: is told of an optional registry that is left behind.
        reached: is called after each step, with its name.
        kept: the receipt of an earlier attempt, which is not replaced by one that knows less.
    """

    def __init__(
        self,
        receipt: Receipt,
        folder: Path,
        console: Console,
        reached: Callable[[str], None],
        kept: Receipt | None = None,
    ) -> None:
        """Write nothing yet."""
        self.receipt = receipt
        self._folder, self._console, self._reached = folder, console, reached
        self._kept = kept
        self._given_up: list[BuildlibError] = []

    def save(self, step: str) -> None:
        """Keep the receipt, and tell that a step is done."""
        keep_receipt(self._folder, self.receipt, self._kept)
        self._reached(step)

    def failed(self, target: Target, error: BuildlibError) -> list[BuildlibError]:
        """Note that a registry failed; return the problem that it is, if it is required."""
        if isinstance(error, CancelledError):
            raise error
        self.receipt.targets[target.name].error = str(error)
        self._given_up.append(error)
        if target.registry.required:
            return [error]
        self._console.warn(f"{target.name} is left behind: {error}")
        return []

    def left(self, targets: Sequence[Target]) -> tuple[Target, ...]:
        """Return the registries that have not failed; where there is none, raise why not."""
        left = tuple(t for t in targets if not self.receipt.targets[t.name].error)
        if not left:
            raise_problems(self._given_up)
        return left

    def unless(
        self,
        targets: Sequence[Target],
        do: Callable[[Target], object],
        *,
        one_by_one: bool = False,
    ) -> tuple[Target, ...]:
        """Do something in each registry; return those where it worked, if it did where it must.

        Args:
            targets: the registries, in their order.
            do: what to do.
            one_by_one: nothing is done in the next where a required one failed; else the others
                get theirs, and then it ends.
        """
        problems: list[BuildlibError] = []
        for target in targets:
            try:
                do(target)
            except BuildlibError as error:
                problems += self.failed(target, error)
                self.save(f"failed {target.name}")
                if one_by_one:
                    raise_problems(problems)
        raise_problems(problems)
        return self.left(targets)
