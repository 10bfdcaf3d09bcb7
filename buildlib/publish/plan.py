"""What publishing comes to, decided before anything is changed: pure data, and its steps."""

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
from buildlib.errors import BuildlibError, InputError, did_you_mean, raise_problems
from buildlib.git.facts import Changes
from buildlib.project import Project
from buildlib.registry.address import is_loopback
from buildlib.versioning.preconditions import Mode
from buildlib.versioning.tag_plan import TagPlan, plan_tags

# What stands for the digest in lines that are printed before there is one.
DIGEST: Final = "$DIGEST"
_UNSIGNED: Final = "publish.sign = false"
_UNLISTED: Final = "the registry does not list its tags, and a higher release could be among them"


@dataclass(frozen=True, kw_only=True, slots=True)
class Skip:
    """A gate that somebody left out, and why."""

    gate: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A registry, and what happens there.

    Args:
        registry: as configured.
        tags: to be given, in this order.
        floating: those of them that may move from one image to another.
        held_back: (tag, reason) of those that a reader may have expected.
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
        """Return the tags that stand for one image for ever."""
        return tuple(tag for tag in self.tags if tag not in self.floating)


def _stay_here(registries: Iterable[Registry]) -> bool:
    return all(is_loopback(registry.host) for registry in registries)


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishPlan:
    """One publication.

    Args:
        version, revision: of what is published.
        mode: a release, or what was asked for by name.
        uncommitted: one hash of all that is not; empty: everything is.
        build: of the archive, all platforms.
        archive: the one artefact, absolute.
        gates: that have to be passed; `skipped` are those that are left out by name.
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
        """Return whether SBOM and provenance are signed on their own, beside the image."""
        return self.attestations != INDEX

    @property
    def pushed(self) -> Path:
        """Return the archive that is pushed."""
        return attested_path(self.archive) if self.in_index else self.archive

    @property
    def included(self) -> tuple[tuple[str, str], ...]:
        """Return the files that are built and not in the commit, each with its digest."""
        return self.build.checkout.included if self.build.checkout else ()

    @property
    def rehearsal(self) -> bool:
        """Return whether every registry is on this machine: nothing becomes public."""
        return _stay_here(target.registry for target in self.targets)

    @property
    def platforms(self) -> tuple[str, ...]:
        """Return `os/arch[/variant]` of each image."""
        return tuple(map(str, self.build.platforms))


def attested_path(archive: Path) -> Path:
    """Return where the copy of an archive is that has attestations in its index."""
    return archive.with_name(archive.name.removesuffix(".oci.tar") + ".attested.oci.tar")


def chosen_registries(config: Config, names: Iterable[str]) -> tuple[Registry, ...]:
    """Return the registries of these names, or all of them, in the order of the configuration.

    Raises:
        InputError: there is none, or none of that name (exit 2).
    """
    known = config.registries
    if not known:
        raise InputError(
            "no registry is configured",
            hint=f'add {config.table("registries.NAME")} with repository = "registry.example/name"',
        )
    wanted = list(names)
    for name in wanted:
        if name not in {registry.name for registry in known}:
            raise InputError(
                f"no registry is called {name!r}", hint=did_you_mean(name, [r.name for r in known])
            )
    return tuple(registry for registry in known if not wanted or registry.name in wanted)


def parse_skips(gates: Sequence[str], reason: str) -> tuple[Skip, ...]:
    """Return the gates that are left out; raises InputError (exit 2) without a reason."""
    if gates and not reason.strip():
        raise InputError("--skip-gate needs a --reason", why="it is kept in the receipt")
    if not reason.isprintable():
        raise InputError("--reason is one line of text", why=repr(reason))
    if reason and not gates:
        raise InputError("--reason, but no gate is left out", hint="give --skip-gate NAME")
    return tuple(
        Skip(gate=check_gate(gate, where="--skip-gate"), reason=reason.strip()) for gate in gates
    )


def left_out(config: Config, skips: Sequence[Skip]) -> tuple[Skip, ...]:
    """Return the gates that are left out, by name or by configuration."""
    by_name = config.publishing().sign or SIGN in {skip.gate for skip in skips}
    return (*skips, *(() if by_name else (Skip(gate=SIGN, reason=_UNSIGNED),)))


def target_of(registry: Registry, tags: TagPlan) -> Target:
    """Return a registry with what a tag plan gives it.

    Raises:
        InputError: a tag that has to move must not (exit 2).
    """
    for tag in tags.floating:
        pattern = next((p for p in registry.immutable if fnmatchcase(tag, p)), "")
        if pattern:
            raise InputError(
                f"registries.{registry.name}: {tag} moves, and {pattern!r} forbids that",
                hint="keep the tags that move out of immutable",
            )
    return Target(
        registry=registry,
        tags=tags.tags,
        floating=tags.floating,
        held_back=tags.held_back,
    )


def plan_target(
    project: Project, changes: Changes, registry: Registry, mode: Mode, held: Sequence[str]
) -> Target:
    """Return what happens in one registry, by the tags that it holds; see `make_publish_plan`."""
    plan = _tag_plans(project, changes, [registry], mode, {registry.name: held})[registry.name]
    raise_problems(plan.refusals)
    return target_of(registry, plan)


def required_first(targets: Iterable[Target]) -> tuple[Target, ...]:
    """Return the registries in the order in which versions are given there.

    An optional one that fails holds up nobody, so none of them can decide who was first.
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
    """Return the plan; nothing is asked or changed.

    Args:
        project: what is published.
        dockerfile: as read.
        changes: what `git status` lists.
        registries: to publish to.
        mode: a release, or what was asked for by name.
        in_registry: the tags that each registry holds already, by its name; None: it does not
            list them.
        skips: gates that are left out.
        uncommitted: one hash of what `changes` are.

    Raises:
        InputError, ToolError, ProblemsError: it must not be published (exit 2, 3).
    """
    plans = _tag_plans(project, changes, registries, mode, in_registry)
    config = project.config
    build = release_build(project, dockerfile)
    # The same for every registry, mostly; each is told once.
    refused = {str(r): r for plan in plans.values() for r in plan.refusals}
    forbidden = _problems(build, registries), unpinned_bases(build, registries)
    raise_problems([*refused.values(), *(problem for found in forbidden for problem in found)])
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
            _planned(registry, plans[registry.name], in_registry.get(registry.name, ()))
            for registry in registries
        ),
        attestations=config.publishing().attestations,
    )


def _planned(registry: Registry, tags: TagPlan, held: Sequence[str] | None) -> Target:
    target = target_of(registry, tags)
    if held is not None:
        return target
    if not target.pinned:
        raise InputError(
            f"registries.{registry.name}: {', '.join(target.tags)} can't be given",
            why=_UNLISTED,
            hint="let the account list the tags of the repository",
        )
    kept = tuple((tag, _UNLISTED) for tag in target.floating)
    return replace(target, tags=target.pinned, floating=(), held_back=(*target.held_back, *kept))


def release_request(config: Config) -> BuildRequest:
    """Return the request for the archive that a publication builds.

    Without the builder's cache: BuildKit compares what files hold, not their times, and a layer of
    an earlier build has those of then. The same commit would be one image here and another there.
    """
    return BuildRequest(
        platforms=("all",) if config.platforms else (),
        output=Output.OCI,
        no_cache=not config.publishing().cache,
    )


def release_build(project: Project, dockerfile: Dockerfile) -> BuildPlan:
    """Return the plan of the build that a publication makes."""
    return make_build_plan(project, release_request(project.config), dockerfile)


def _tag_plans(
    project: Project,
    changes: Changes,
    registries: Sequence[Registry],
    mode: Mode,
    in_registry: Mapping[str, Sequence[str] | None],
) -> dict[str, TagPlan]:
    config = project.config
    return {
        registry.name: plan_tags(
            project.version,
            project.git,
            changes,
            rules=config.tag_rules(registry),
            naming=config.naming,
            mode=mode,
            in_registry=in_registry.get(registry.name) or (),
        )
        for registry in registries
    }


def _problems(build: BuildPlan, registries: Sequence[Registry]) -> Iterator[BuildlibError]:
    if build.stand_ins and not _stay_here(registries):
        yield stand_in_problem(build.stand_ins)
    repositories = [registry.full_name for registry in registries]
    for repository in sorted({name for name in repositories if repositories.count(name) > 1}):
        yield InputError(f"two registries have the one repository {repository}")


def stand_in_problem(names: Iterable[str]) -> InputError:
    """Return why an image that stands on these is not for others."""
    return InputError(
        f"an image built on stand-ins can't be published: {', '.join(sorted(names))}",
        hint="build it where the real base images can be had, or give a mirror of them",
    )


def unpinned_bases(build: BuildPlan, registries: Iterable[Registry]) -> list[BuildlibError]:
    """Return why what the Dockerfile stands on forbids a publication, whatever gates it has.

    The policy says the same of the image, but only after the build, and it can be left out.
    """
    loose = [base for base in build.bases if "@sha256:" not in base]
    if _stay_here(registries) or not loose:
        return []
    return [
        InputError(
            f"what is published stands on bases that are not pinned: {', '.join(loose)}",
            why="a tag may be another image tomorrow, and the same sources another release",
            hint="invoke docker-bases --update names them by their digests; commit that",
        )
    ]
