"""What must not be published, told before and after: the wrong archive, and versions that moved."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from buildlib.errors import BuildlibError, GateError
from buildlib.image.archive import Image
from buildlib.image.labels import VERSION_LABEL, stand_ins_of
from buildlib.publish.plan import PublishPlan, Target, stand_in_problem
from buildlib.registry.repository import Repository
from buildlib.registry.transfer import manifests_of

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


def _pinned(
    targets: Iterable[Target], repositories: Repositories
) -> Iterator[tuple[str, str, Repository]]:
    """Yield each tag that must not move, the digest that it has, and its repository."""
    for target in targets:
        repository = repositories[target.name]
        for tag in target.pinned:
            yield f"{target.repository}:{tag}", repository.digest(tag), repository


def conflicts(
    targets: Iterable[Target],
    repositories: Repositories,
    digest: str,
    images: Collection[str] = (),
    *,
    final: bool = True,
) -> list[BuildlibError]:
    """Return the versions that are another image already: no gate need be asked.

    Args:
        targets: the registries, with their tags.
        repositories: by the registry's name.
        digest: of what is published.
        images: digests of the platforms' images, where its index has attestations or gets them.
        final: the digest is the one that is published; else its index is still to get
            attestations, and another one of the same images is no conflict yet.
    """
    found: list[BuildlibError] = []
    for reference, held, repository in _pinned(targets, repositories):
        if held in {"", digest}:
            continue
        same = bool(images) and _images_of(repository, held) == set(images)
        if same and not final:
            continue
        found.append(
            GateError(
                f"{reference} already exists with a different digest and will not be overwritten",
                why=f"{held}, and this is {digest}"
                + (": the same images, with other attestations" if same else ""),
                hint="a version is published once: publish this as another version",
            )
        )
    return found


def _images_of(repository: Repository, digest: str) -> set[str]:
    """Return the digests of the images that an index or a manifest is of."""
    document = repository.manifest(digest)
    return set(manifests_of(document)) or {digest} if document else set()


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
        for reference, held, _ in _pinned(targets, repositories)
        if held != digest
    ]
