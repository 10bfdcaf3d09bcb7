"""What must not be published, told before and after: the wrong archive, and versions that moved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from buildlib.errors import BuildlibError, GateError
from buildlib.labels import VERSION_LABEL, stand_ins_of
from buildlib.oci import Image
from buildlib.publish.plan import PublishPlan, Target, stand_in_problem
from buildlib.registry.client import Repository

Repositories = Mapping[str, Repository]


def archive_problems(images: Sequence[Image], plan: PublishPlan) -> list[BuildlibError]:
    """Return why an archive is not what was planned, or is nothing that may be published."""
    found = {image.platform for image in images}
    missing = sorted(set(plan.platforms) - found)
    problems: list[BuildlibError] = []
    if missing:
        problems.append(GateError(f"the archive is not for {', '.join(missing)}"))
    for image in images:
        label = image.labels.get(VERSION_LABEL, "")
        if label != plan.version:
            problems.append(
                GateError(
                    f"the image for {image.platform} says that it is {label or 'no version'}",
                    why=f"and {plan.version} is to be published",
                )
            )
    stand_ins = stand_ins_of(image.labels for image in images)
    if stand_ins and not plan.rehearsal:
        problems.append(stand_in_problem(stand_ins))
    return problems


def _pinned(targets: Iterable[Target], repositories: Repositories) -> Iterator[tuple[str, str]]:
    """Yield each tag that must not move, with its repository, and the digest that it has."""
    for target in targets:
        repository = repositories[target.name]
        for tag in target.pinned:
            yield f"{target.repository}:{tag}", repository.digest(tag)


def conflicts(
    targets: Iterable[Target], repositories: Repositories, digest: str
) -> list[BuildlibError]:
    """Return the versions that are another image already: no gate need be asked."""
    return [
        GateError(
            f"{reference} already exists with a different digest and will not be overwritten",
            why=f"{held}, and this is {digest}",
            hint="a version is published once: publish this as another version",
        )
        for reference, held in _pinned(targets, repositories)
        if held not in {"", digest}
    ]


def moved_meanwhile(
    targets: Iterable[Target], repositories: Repositories, digest: str
) -> list[BuildlibError]:
    """Return the versions that became another image while this one was published."""
    return [
        GateError(
            f"{reference} was moved by somebody else",
            why=f"it is {held or 'gone'}, and {digest} was published",
            hint="find out who else publishes; then publish again with --resume",
        )
        for reference, held in _pinned(targets, repositories)
        if held != digest
    ]
