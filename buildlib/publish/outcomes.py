"""How far a publication has come, registry by registry: which failed, and which are left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from buildlib.errors import BuildlibError, CancelledError, raise_problems
from buildlib.publish.plan import Target
from buildlib.publish.receipt import Receipt, keep_receipt
from buildlib.terminal.console import Console


class Outcomes:
    """Records the outcome of each step in the receipt, which is written after every step.

    Args:
        console: warns if an optional registry fails.
        reached: called after each step, with its name.
        kept: the receipt of an earlier attempt, which is not replaced by one with less in it.
    """

    def __init__(
        self,
        receipt: Receipt,
        folder: Path,
        console: Console,
        reached: Callable[[str], None],
        kept: Receipt | None = None,
    ) -> None:
        self.receipt = receipt
        self._folder, self._console, self._reached = folder, console, reached
        self._kept = kept
        self._given_up: list[BuildlibError] = []

    def save(self, step: str) -> None:
        """Write the receipt after a step."""
        keep_receipt(self._folder, self.receipt, self._kept)
        self._reached(step)

    def failed(self, target: Target, error: BuildlibError) -> list[BuildlibError]:
        """Record that a registry failed; return the error if the registry is required."""
        if isinstance(error, CancelledError):
            raise error
        self.receipt.targets[target.name].error = str(error)
        self._given_up.append(error)
        if target.registry.required:
            return [error]
        self._console.warn(f"{target.name} failed, and is not required: {error}")
        return []

    def left(self, targets: Sequence[Target]) -> tuple[Target, ...]:
        """Return the registries that have not failed; if all have, raise their errors."""
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
        """Do something in each registry; return those where it worked.

        Args:
            targets: the registries, in their order.
            one_by_one: stop at the first required registry that fails; otherwise the others are
                done first.

        Raises:
            BuildlibError: it failed in a required registry, or in all.
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
