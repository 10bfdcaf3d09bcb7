"""The plan of a publication, made before anything is changed: pure data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from buildlib.build.plan import BuildPlan, Output
from buildlib.build.planner import BuildRequest, make_build_plan
from buildlib.config.config import Config
from buildlib.config.publish import BESIDE, INDEX, SIGN, check_gate
from buildlib.config.tables import Registry
from buildlib.dockerfile.parser import Dockerfile
from buildlib.errors import BuildlibError, InputError, raise_problems
from buildlib.git.facts import Changes
from buildlib.program import PROGRAM
from buildlib.project import Project
from buildlib.registry.open import are_local
from buildlib.versioning.preconditions import Mode
from buildlib.versioning.tag_plan import TagPlan, plan_tags

UNSIGNED: Final = "publish.sign = false"
_UNLISTED: Final = "the registry does not list its tags, and a higher release could be among them"


@dataclass(frozen=True, kw_only=True, slots=True)
class Skip:
    """A gate that is skipped, and why."""

    gate: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A registry, and what happens there.

    Args:
        tags: to be given, in this order.
        floating: those of them that may move from one image to another.
        held_back: (tag, reason) of tags that are not moved, although they could be expected.
    """

    registry: Registry
    tags: tuple[str, ...]
    floating: tuple[str, ...] = ()
    held_back: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """Return what the configuration calls it."""
        return self.registry.name

    @property
    def repository(self) -> str:
        """Return the repository with its registry's host."""
        return self.registry.repository

    @property
    def pinned(self) -> tuple[str, ...]:
        """Return the tags that never move."""
        return tuple(tag for tag in self.tags if tag not in self.floating)


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishPlan:
    """One publication.

    Args:
        mode: a release, a snapshot, or a build of a branch.
        uncommitted: one hash of all files that are not committed; empty: there are none.
        build: of the archive, all platforms.
        archive: its absolute path.
        gates: that have to pass; `skipped` are the others.
        signs: the digest is signed and verified before it gets a tag.
        targets: the registries, in their order.
        attestations: where SBOM and provenance go: `beside`, `index` or `both`.
    """

    version: str
    revision: str
    mode: Mode
    uncommitted: str
    build: BuildPlan
    archive: Path
    gates: tuple[str, ...]
    skipped: tuple[Skip, ...]
    signs: bool
    targets: tuple[Target, ...]
    attestations: str = BESIDE

    @property
    def in_index(self) -> bool:
        """Return whether the index gets SBOM and provenance, and with them another digest."""
        return self.attestations != BESIDE

    @property
    def beside(self) -> bool:
        """Return whether SBOM and provenance are signed separately, beside the image."""
        return self.attestations != INDEX

    @property
    def pushed(self) -> Path:
        """Return the path of the archive that is pushed."""
        return attested_path(self.archive) if self.in_index else self.archive

    @property
    def included(self) -> tuple[tuple[str, str], ...]:
        """Return the files of the build that are not in the commit, each with its digest."""
        return self.build.checkout.included if self.build.checkout else ()

    @property
    def rehearsal(self) -> bool:
        """Return whether every registry is on this machine: nothing becomes public."""
        return are_local(target.registry for target in self.targets)

    @property
    def platforms(self) -> tuple[str, ...]:
        """Return `os/arch[/variant]` of each image."""
        return tuple(map(str, self.build.platforms))


def attested_path(archive: Path) -> Path:
    """Return the path of the copy of an archive that has attestations in its index."""
    return archive.with_name(archive.name.removesuffix(".oci.tar") + ".attested.oci.tar")


def parse_skips(gates: Sequence[str], reason: str) -> tuple[Skip, ...]:
    """Return the gates to skip; raises InputError (exit 2) without a reason."""
    if gates and not reason.strip():
        raise InputError("--skip-gate needs a --reason", why="it is kept in the receipt")
    if not reason.isprintable():
        raise InputError("--reason is one line of text", why=repr(reason))
    if reason and not gates:
        raise InputError("--reason needs --skip-gate", hint="give --skip-gate NAME")
    return tuple(
        Skip(gate=check_gate(gate, where="--skip-gate"), reason=reason.strip()) for gate in gates
    )


def left_out(config: Config, skips: Sequence[Skip]) -> tuple[Skip, ...]:
    """Return the gates that are skipped, by an option or by the configuration."""
    by_name = config.publishing().sign or SIGN in {skip.gate for skip in skips}
    return (*skips, *(() if by_name else (Skip(gate=SIGN, reason=UNSIGNED),)))


def target_of(registry: Registry, tags: TagPlan, *, listed: bool = True) -> Target:
    """Return a registry with its tags.

    Args:
        listed: the registry lists its tags; otherwise those that move are not given.

    Raises:
        InputError: a floating tag is configured as immutable, or no tag can be given (exit 2).
    """
    for tag in tags.floating:
        pattern = next((p for p in registry.immutable if fnmatchcase(tag, p)), "")
        if pattern:
            raise InputError(
                f"registries.{registry.name}: {tag} moves, and {pattern!r} forbids that",
                hint="remove the tags that move from immutable",
            )
    target = Target(
        registry=registry, tags=tags.tags, floating=tags.floating, held_back=tags.held_back
    )
    if listed:
        return target
    if not target.pinned:
        raise InputError(
            f"registries.{registry.name}: {', '.join(target.tags)} can't be given",
            why=_UNLISTED,
            hint="allow the account to list the tags of the repository",
        )
    kept = tuple((tag, _UNLISTED) for tag in target.floating)
    return replace(target, tags=target.pinned, floating=(), held_back=(*target.held_back, *kept))


def plan_target(
    project: Project, changes: Changes, registry: Registry, mode: Mode, held: Sequence[str]
) -> Target:
    """Return one registry with its tags, by the tags that it holds; see `make_publish_plan`."""
    tags = _tag_plan(project, changes, registry, mode, held)
    raise_problems(tags.refusals)
    return target_of(registry, tags)


def _tag_plan(
    project: Project, changes: Changes, registry: Registry, mode: Mode, held: Sequence[str]
) -> TagPlan:
    config = project.config
    return plan_tags(
        *(project.version, project.git, changes),
        rules=config.tag_rules(registry),
        naming=config.naming,
        mode=mode,
        in_registry=held,
    )


def required_first(targets: Iterable[Target]) -> tuple[Target, ...]:
    """Return the registries in the order in which they get versions.

    The required ones decide which publisher was first, as an optional one may fail.
    """
    return tuple(sorted(targets, key=lambda target: not target.registry.required))


def make_publish_plan(
    project: Project,
    dockerfile: Dockerfile,
    changes: Changes,
    registries: Sequence[Registry],
    *,
    mode: Mode,
    in_registry: Mapping[str, Sequence[str] | None],
    skips: Sequence[Skip] = (),
    uncommitted: str = "",
) -> PublishPlan:
    """Return the plan, without asking a registry or changing anything.

    Args:
        mode: a release, a snapshot, or a build of a branch.
        in_registry: the tags that each registry holds already, by its name; None: it does not
            list them.
        uncommitted: one hash of the changes.

    Raises:
        InputError, ToolError, ProblemsError: a precondition is not met (exit 2, 3).
    """
    held = [in_registry.get(registry.name, ()) for registry in registries]
    plans = [
        _tag_plan(project, changes, registry, mode, tags or ())
        for registry, tags in zip(registries, held, strict=True)
    ]
    config = project.config
    build = release_build(project, dockerfile)
    # Mostly the same for every registry: each is reported once.
    problems = {str(r): r for plan in plans for r in plan.refusals}
    raise_problems([*problems.values(), *_problems(build, registries)])
    skips = left_out(config, skips)
    skipped = {skip.gate for skip in skips}
    return PublishPlan(
        version=project.version.value,
        revision=project.version.revision,
        mode=mode,
        uncommitted=uncommitted,
        build=build,
        archive=build.destination or Path(),
        gates=tuple(gate for gate in config.publishing().gates if gate not in skipped),
        skipped=tuple(skips),
        signs=SIGN not in skipped,
        targets=tuple(
            target_of(registry, plan, listed=tags is not None)
            for registry, plan, tags in zip(registries, plans, held, strict=True)
        ),
        attestations=config.publishing().attestations,
    )


def release_request(config: Config) -> BuildRequest:
    """Return the request for the archive that a publication builds.

    By default without the builder's cache: BuildKit compares the content of files, and not their
    times. With a cached layer, the same commit would become different images on two machines.
    """
    return BuildRequest(
        platforms=("all",) if config.platforms else (),
        output=Output.OCI,
        no_cache=not config.publishing().cache,
    )


def release_build(project: Project, dockerfile: Dockerfile) -> BuildPlan:
    """Return the plan of the build for a publication."""
    return make_build_plan(project, release_request(project.config), dockerfile)


def _problems(build: BuildPlan, registries: Sequence[Registry]) -> Iterator[BuildlibError]:
    yield from base_problems(build, registries)
    repositories = [registry.full_name for registry in registries]
    for repository in sorted({name for name in repositories if repositories.count(name) > 1}):
        yield InputError(f"two registries have the same repository {repository}")


def base_problems(build: BuildPlan, registries: Sequence[Registry]) -> list[BuildlibError]:
    """Return why the base images of a build may not be in a release for these registries."""
    own = build.stand_ins and not are_local(registries)
    return [
        *([stand_in_problem(build.stand_ins)] if own else []),
        *unpinned_bases(build, registries),
    ]


def stand_in_problem(names: Iterable[str], published: str = "published") -> InputError:
    """Return the error for an image that is built on these stand-ins and would leave the machine.

    Args:
        published: what can't be done with the image.
    """
    return InputError(
        f"an image built on placeholders can't be {published}: {', '.join(sorted(names))}",
        hint="build it where the real base images are available, or configure a mirror of them",
    )


def unpinned_bases(build: BuildPlan, registries: Iterable[Registry]) -> list[BuildlibError]:
    """Return why the Dockerfile's base images can't be published, whatever gates are configured.

    The policy checks the same, but only after the build, and can be skipped.
    """
    loose = [base for base in build.all_bases if "@sha256:" not in base]
    if are_local(registries) or not loose:
        return []
    return [
        InputError(
            f"base images are not pinned: {', '.join(loose)}",
            why="a tag may be another image tomorrow, and the same sources another release",
            hint=f"{PROGRAM} docker-bases --update pins them; commit that",
        )
    ]
