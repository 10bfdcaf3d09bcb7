"""The last step of a release: tags, registry after registry, for what is there and verified.

Two publishers of one version may be at work on two machines, and registries know no "only if it
is still so". The first required registry is their lock: everybody gives the version there first,
waits, and looks who has it. Who has not gives it nowhere else, and the other one can finish.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from buildlib.console import Console
from buildlib.errors import raise_problems
from buildlib.publish.checks import conflicts, moved_meanwhile
from buildlib.publish.course import Course
from buildlib.publish.plan import PublishPlan, Target, required_first
from buildlib.registry.client import Repository
from buildlib.registry.push import put_tag


class Tagging:
    """Gives the tags of a publication.

    Args:
        course: of the publication.
        repositories: by the registry's name.
        console: is told each tag.
        replan: returns the plan as the registries are now, by the tags that each holds.
        settle: waits longer than another publisher takes from looking at a tag to giving it.
    """

    def __init__(
        self,
        course: Course,
        repositories: Mapping[str, Repository],
        console: Console,
        *,
        replan: Callable[[Mapping[str, Sequence[str]]], PublishPlan],
        settle: Callable[[], object],
    ) -> None:
        """Ask nothing yet."""
        self._course, self._repositories, self._console = course, repositories, console
        self._replan, self._settle = replan, settle
        self._locked = False

    @property
    def _digest(self) -> str:
        return self._course.receipt.digest

    def give(self, targets: Sequence[Target]) -> None:
        """Give the versions everywhere, and only then move what moves.

        Args:
            targets: the registries that hold the digest.

        Raises:
            GateError: a version is another image, or became one meanwhile (exit 7).
            BuildlibError: a required registry does not do it.
        """
        unless = self._course.unless
        targets = unless(targets, self.conflicts)
        # Only what every one of them would do in the same order can be a lock.
        targets = unless(required_first(targets), self._pin, one_by_one=True)
        held: dict[str, tuple[str, ...]] = {}
        targets = unless(targets, lambda target: held.update(self._held(target)))
        # Where a version is somebody else's by now, nothing that moves may go on to ours.
        targets = unless(targets, self._moved)
        left = {target.name for target in targets}
        # As the registries are now: a higher release may have come meanwhile.
        again = [target for target in self._replan(held).targets if target.name in left]
        for target in again:
            record = self._course.receipt.targets[target.name]
            record.wanted, record.held_back = list(target.tags), dict(target.held_back)
        unless(again, lambda target: self._give(target, target.floating))
        unless(self._course.left(targets), self._moved)

    def conflicts(self, target: Target) -> None:
        """Raise GateError (exit 7) where a version is another image already."""
        raise_problems(conflicts([target], self._repositories, self._digest))

    def _moved(self, target: Target) -> None:
        raise_problems(moved_meanwhile([target], self._repositories, self._digest))

    def _held(self, target: Target) -> dict[str, tuple[str, ...]]:
        return {target.name: self._repositories[target.name].tags()}

    def _pin(self, target: Target) -> None:
        is_new = self._give(target, target.pinned)
        if is_new and not self._locked:
            self._settle()
            self._moved(target)
        self._locked = True

    def _give(self, target: Target, tags: Sequence[str]) -> bool:
        """Give tags; return whether one of them was not there."""
        record, is_new = self._course.receipt.targets[target.name], False
        for tag in tags:
            done = put_tag(
                self._repositories[target.name],
                self._digest,
                tag,
                immutable=tag not in target.floating,
            )
            is_new |= not done.before
            known = record.tags.get(tag, {})
            # Given by the run that broke off: what it was before that is what one goes back to.
            again = not done.moved and known.get("digest") == done.digest
            before = known["before"] if again else done.before
            record.tags[tag] = {"digest": done.digest, "before": before}
            became = "is tagged" if done.moved else "was tagged already"
            self._console.note(f"{target.repository}:{tag} {became}")
            self._course.save(f"tag {target.name} {tag}")
        return is_new
