"""Places on nodes that clients on several machines share: claims in a repository of a registry.

Each place of a node is a claim of its own (`registry.claim`), so that a client that is killed loses
its place by itself. It is renewed while the build runs; if that fails, the build goes on all the
same.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from typing import Final

from buildlib import interrupts
from buildlib.background import Background
from buildlib.config.builders import NodeSettings
from buildlib.config.tables import Registry
from buildlib.errors import BuildlibError, CancelledError, TransientError
from buildlib.executor import Executor, pause
from buildlib.files import write_text
from buildlib.registry.claim import Claim, ClaimedError, ClaimTerms, Intent, Purpose
from buildlib.registry.open import open_registries
from buildlib.registry.repository import Repository
from buildlib.retry import Patience

# A claim is tried only where a place looks free, so what is in its way then is soon gone.
TERMS: Final = ClaimTerms(duration=120.0, poll=1.0, patience=10.0)
# Seconds between two looks at the places, half as many to half as many more.
POLL: Final = 3.0
# Shorter than a claim lasts, so that a user hears in time of one that can't be renewed.
_PATIENCE: Final = Patience(attempts=4, base=1.0, ceiling=10.0, timeout=15.0)
# Builds, and when they began, in seconds since 1970.
Holders = Sequence[tuple[str, float]]
# Seconds that a renewal on its way may take before the place is left to expire.
_LAST: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class Sharing:
    """How the places of a builder's nodes are shared with other machines.

    Args:
        repository: that all clients write.
        warn: says what the user should know.
    """

    repository: Repository
    warn: Callable[[str], None]

    @contextmanager
    def leased(
        self, node: NodeSettings, place: Path, what: str, report: Callable[[Holders], None]
    ) -> Iterator[None]:
        """Hold one of a node's places among all machines for the time of the block.

        Args:
            place: file of the place on this machine, which this process has locked; its name is the
                node's key and a number.
            what: is built, for those that wait.
            report: is called with the builds that hold the places, each time when none is free.

        Raises:
            BuildlibError: the registry does not answer, or takes no claims (exit 4, 5, 6).
        """
        # Where nothing can be deleted, the tags of a machine are used again, by one process at a
        # time.
        kept = place.with_name(f"{place.name}.claim")
        before = _read(kept)
        claims = _claims(self.repository, node, place.stem, what, before)
        try:
            with ExitStack() as held:
                with _explained(self.repository, node):
                    claim = _claimed(claims, before, held, report)
                claim.note = self.warn
                held.enter_context(_renewed(claim, node, self.warn))
                yield
        finally:
            if used := [claim.identifier for claim in claims if claim.leaves_tag]:
                with suppress(BuildlibError):
                    write_text(kept, used[0])

    def holders(self, node: NodeSettings, key: str) -> Holders:
        """Return which builds have a place of a node.

        One whose client was killed is among them for an hour, unless another build waits.

        Raises:
            BuildlibError: the registry does not answer, or does not list its tags (exit 4, 5, 6).
        """
        return _intents(claim.others() for claim in _claims(self.repository, node, key))


def open_sharing(
    repository: str,
    env: Mapping[str, str],
    executor: Executor,
    warn: Callable[[str], None],
) -> Sharing:
    """Return how places are shared in a repository; nothing is requested of it yet.

    Raises:
        BuildlibError: docker's credentials can't be read.
    """
    registry = Registry(name="lease-repository", repository=repository)
    ((_, opened),) = open_registries((registry,), env, executor, _PATIENCE)
    # The build of another platform that fails ends this wait.
    opened.transport.sleep = partial(pause, executor)
    return Sharing(repository=opened, warn=warn)


def _intents(found: Iterable[Sequence[Intent]]) -> Holders:
    return [(one.owner, one.began) for others in found for one in others]


def _claims(
    repository: Repository, node: NodeSettings, key: str, what: str = "", identifier: str = ""
) -> list[Claim]:
    """Return a claim for each place of a node; nothing is requested yet."""
    identifier = identifier or secrets.token_hex(8)
    return [
        Claim(
            repository,
            Intent(what),
            terms=TERMS,
            identifier=identifier,
            purpose=Purpose(
                prefix=f"buildlib-lease-{key}-{number}-",
                whom="builds",
                remedy="name another lease-repository, or leave it out",
            ),
        )
        for number in range(node.max_builds)
    ]


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""
    return text if text.isalnum() else ""


def _claimed(
    claims: Sequence[Claim],
    before: str,
    held: ExitStack,
    report: Callable[[Holders], None],
) -> Claim:
    """Wait for a free place, and return its claim, which is held."""
    transport = claims[0].repository.transport
    while True:
        # All of them, as that also finds what killed clients left.
        found = [claim.others() for claim in claims]
        for claim in claims:
            claim.delete_leftovers()
        for claim in (claim for claim, others in zip(claims, found, strict=True) if not others):
            if claim.identifier == before and not claim.is_unused():
                # A killed task's, or that of a machine with a copy of the state directory.
                claim.identifier = secrets.token_hex(8)
                continue
            claim.intent = claim.intent._replace(began=transport.clock())
            # Where another client was faster, it is looked for again.
            with suppress(ClaimedError):
                return held.enter_context(claim)
        report(_intents(found))
        transport.sleep(POLL * (0.5 + transport.chance()))


@contextmanager
def _explained(repository: Repository, node: NodeSettings) -> Iterator[None]:
    try:
        yield
    except TransientError as error:
        raise TransientError(
            f"no place on node {node.name} can be claimed in {repository.name}",
            why=": ".join(filter(None, (error.what, error.why))),
            hint="try again later; without that registry more than max-builds could build there",
        ) from error


@contextmanager
def _renewed(claim: Claim, node: NodeSettings, warn: Callable[[str], None]) -> Iterator[None]:
    """Renew a claim for the time of the block."""
    ended = Event()
    renewal = Background(partial(copy_context().run, _renew, claim, ended, node, warn))
    try:
        yield
    finally:
        ended.set()
        with interrupts.held():
            if renewal.wait(_LAST):
                # Raises what no registry is to blame for: nobody would hear of it else.
                renewal.get()
            else:
                claim.leave()
                claim.note_left()


def _renew(claim: Claim, ended: Event, node: NodeSettings, warn: Callable[[str], None]) -> None:
    due, lost = claim.terms.duration / 3, False
    seconds = due
    while not any(map(ended.wait, interrupts.turns(seconds))):
        try:
            claim.renew()
        except CancelledError:
            return
        except BuildlibError as error:
            if not lost:
                warn(
                    f"the place on node {node.name} can't be renewed ({error.what}): this build "
                    f"goes on, and others may begin there after {claim.terms.duration:.0f} s"
                )
            seconds, lost = POLL, True
        else:
            seconds, lost = due, False
