"""What `docker-push`, `docker-promote` and `docker-rollback` do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import NamedTuple

from buildlib.build.plan import Output
from buildlib.build.planner import BuildRequest, make_build_plan
from buildlib.commands.session import Edge
from buildlib.config.config import Config
from buildlib.config.publish import BESIDE
from buildlib.config.tables import Registry
from buildlib.config.tag_rules import moves, pins
from buildlib.console import table, to_json
from buildlib.errors import (
    BuildlibError,
    CancelledError,
    InputError,
    VerificationError,
    raise_problems,
)
from buildlib.files import counted
from buildlib.git.facts import GitFacts
from buildlib.image.archive import Image
from buildlib.image.labels import stand_ins_of
from buildlib.image.reference import check_tag, legal_part, parse_reference, short_digest
from buildlib.image.size import saved
from buildlib.project import Project
from buildlib.publish.dry_run import promote_line
from buildlib.publish.plan import Target, attested_path, chosen_registries
from buildlib.publish.rollback import (
    Rollback,
    earlier_version,
    gives_latest,
    in_order,
    plan_rollback,
    roll_back,
)
from buildlib.publish.signing import make_verifier
from buildlib.publish.tagger import conflicts
from buildlib.registry.address import is_loopback
from buildlib.registry.claim import Claim, ClaimTerms, Intent, all_claimed
from buildlib.registry.credentials import Credentials, find_credentials
from buildlib.registry.repository import Repository
from buildlib.registry.tags import Tagged, check_lapse, put_tag
from buildlib.registry.transfer import push_archive
from buildlib.registry.transport import Patience, Transport
from buildlib.shell import shell_line
from buildlib.sign.version_check import check_tag_name, check_version, versions_of
from buildlib.tempfiles import remove_left


class Opened(NamedTuple):
    """A registry, the way to it, and who we are there."""

    registry: Registry
    repository: Repository
    credentials: Credentials | None


def repository_path(registry: Registry) -> str:
    """Return a repository's name in its registry; Docker Hub's own have one part more."""
    return registry.full_name.partition("/")[2]


def open_registries(
    run: Edge,
    registries: Iterable[Registry],
    patience: Patience | None = None,
    *,
    spare_optional: bool = False,
) -> tuple[Opened, ...]:
    """Return the registries with their credentials; nothing is asked of them yet.

    Args:
        run: where it is.
        registries: to be opened.
        patience: with them; None: as usual.
        spare_optional: one that is not required, and whose credentials can't be had, says so to
            whoever asks anything of it.

    Raises:
        BuildlibError: credentials that are configured can't be had; all that is wrong is told.
    """
    if not run.dry:
        # Passwords of earlier runs that were killed.
        remove_left()
    problems: list[BuildlibError] = []
    found: list[Opened] = []
    for registry in registries:
        credentials, refused = None, None
        try:
            credentials = find_credentials(registry, run.env, run.executor)
        except CancelledError:
            raise
        except BuildlibError as error:
            refused = error
            if registry.required or not spare_optional:
                problems.append(error)
        transport = Transport(
            *(registry.host, credentials),
            env=run.env,
            patience=patience or Patience(),
            refused=refused,
        )
        found.append(
            Opened(registry, Repository(transport, repository_path(registry)), credentials)
        )
    raise_problems(problems)
    return tuple(found)


def _image(run: Edge, image: str) -> str:
    if image:
        return image
    project = run.project()
    request = BuildRequest(output=Output.OCI)
    archive = make_build_plan(project, request, project.dockerfile()).destination
    makes = "invoke docker-build --platform all --output oci"
    if archive and project.config.publishing().attestations != BESIDE:
        makes += f"; invoke docker-sbom --image {archive} --index {attested_path(archive)}"
        archive = attested_path(archive)
    if not archive or not archive.is_file():
        raise InputError(
            f"there is no archive of {project.version.value}",
            hint=f"{makes} makes it; or give --image",
        )
    return str(archive)


def push(run: Edge, image: str, names: Sequence[str], *, as_json: bool) -> None:
    """Push by digest, and print the digest."""
    config = run.config()
    registries = chosen_registries(config, names)
    name = _image(run, image)
    if run.dry:
        words = ("invoke", "docker-push", "--image", name, "--registry")
        for registry in registries:
            run.plan(shell_line((*words, registry.name)))
        return
    digests: dict[str, str] = {}
    with run.console.opening(f"reading {name}", saved(run.executor, name)) as archive:
        if stand_ins := stand_ins_away(archive.images(), registries):
            raise InputError(
                f"an image built on stand-ins can't be pushed: {', '.join(sorted(stand_ins))}"
            )
        there = {image.platform for image in archive.images()}
        if missing := sorted(set(map(str, config.platforms)) - there):
            run.console.warn(f"{name} is not for {', '.join(missing)}, as the configuration has it")
        for opened in open_registries(run, registries):
            with run.console.running(f"pushing to {opened.repository.name}") as activity:
                done = push_archive(
                    *(archive, opened.repository), progress=run.console.note, activity=activity
                )
            run.console.note(
                f"{opened.repository.name}: {counted(done.sent, 'blob')} sent, "
                f"{done.there} there already"
            )
            digests[opened.registry.name] = done.digest
    if as_json:
        run.console.answer(to_json({"digests": digests}))
    else:
        run.console.answer("\n".join(dict.fromkeys(digests.values())))


def stand_ins_away(images: Iterable[Image], registries: Iterable[Registry]) -> set[str]:
    """Return the stand-ins of images; on this machine alone they may be, and there are none."""
    if all(is_loopback(registry.host) for registry in registries):
        return set()
    return stand_ins_of(one.labels for one in images)


def never_moves(
    config: Config, registry: Registry, tag: str, versions: Collection[str] = ()
) -> bool:
    """Return whether a tag stands for one image for ever: as publishing has it, or by its form.

    Args:
        config: has the rules of the project.
        registry: may have its own.
        tag: to be given.
        versions: that git knows; one of them stays, whatever else it looks like.
    """
    rules = config.tag_rules(registry)
    plain = [rule for rule in rules if rule.names == {"version"}]
    return (
        (bool(config.naming.parse(tag)) and not moves(rules, tag))
        or any(legal_part(r.render({"version": v})) == tag for r in plain for v in versions)
        or pins(rules, tag)
        or any(fnmatchcase(tag, pattern) for pattern in registry.immutable)
    )


def _versions(project: Project) -> frozenset[str]:
    git, naming = project.git, project.config.naming
    tags = git.tags if isinstance(git, GitFacts) else ()
    return frozenset(filter(None, map(naming.version_of, tags)))


def promote(
    run: Edge,
    digest: str,
    tag: str,
    names: Sequence[str],
    *,
    unverified: str = "",
    as_json: bool = False,
) -> None:
    """Verify the digest in each registry, and let the tag stand for it there.

    Args:
        run: where it is printed.
        digest: of what is there.
        tag: to be given.
        names: of the registries; none: all.
        unverified: why nothing is verified; empty: it is.
        as_json: print JSON.

    Raises:
        InputError: the digest is not everywhere (exit 2).
        GateError: the tag never moves, and is another image in one of them (exit 7).
        VerificationError: it is not verified; nothing is tagged (exit 8).
        BuildlibError: a registry failed; what is tagged till then is told.
    """
    check_tag(tag)
    project = run.project()
    registries = chosen_registries(project.config, names)
    for registry in registries:
        parse_reference(f"{registry.repository}@{digest}")
    if run.dry:
        for registry in registries:
            line = promote_line(shell_line((digest,)), tag, registry.name, unverified=unverified)
            run.plan(line)
        return
    opened = open_registries(run, registries)
    targets = _targets(project, registries, tag)
    # Everywhere before anywhere: a tag that is given in one registry only misleads.
    _check_everywhere(opened, targets, digest)
    if unverified:
        run.console.warn(f"nothing is verified: {unverified}")
    else:
        verify = make_verifier(project.config, run.executor, run.env, run.console)
        for one in opened:
            verify(one.repository, digest)
            _warn_of_name(run, project.config, one, digest, tag)
    # One for each repository: two registries may be the same, and nobody waits for himself.
    claims = {
        one.repository.name: make_claim(
            run,
            target.registry,
            one.repository,
            Intent(f"a promotion to {tag}", digest, target.pinned),
        )
        for one, target in zip(opened, targets, strict=True)
    }
    with _telling(run, digest, as_json=as_json) as tagged, all_claimed(claims.values()):
        # Once more, as nobody else gives tags from now on.
        _check_everywhere(opened, targets, digest)
        for one, target in zip(opened, targets, strict=True):
            claim = claims[one.repository.name]
            never = bool(target.pinned)
            done = put_tag(claim.repository, digest, tag, immutable=never, claim=claim)
            tagged(done, {"reference": f"{target.repository}:{tag}", "before": done.before})
            check_lapse(claim, claim.repository, tag)


def _warn_of_name(run: Edge, config: Config, one: Opened, digest: str, tag: str) -> None:
    """Warn where a tag would name another version than the image says: it could not be verified.

    An image that says nothing that can be read is not asked again.
    """
    repository, naming = one.repository, config.naming
    try:
        document = repository.manifest(digest)
        said = versions_of(repository, document, naming) if document else ()
        rules = config.tag_rules(one.registry)
        check_tag_name(f"{repository.name}:{tag}", tag, said, rules, naming)
    except CancelledError:
        raise
    except VerificationError as error:
        run.console.warn(f"{error.what}; docker-verify of that tag exits with code 8")
    except BuildlibError as error:
        run.console.note(f"which version {digest} is can't be read: {error.what}")


def make_claim(
    run: Edge,
    registry: Registry,
    repository: Repository,
    intent: Intent,
    *,
    known: tuple[str, ...] = (),
    terms: ClaimTerms | None = None,
) -> Claim:
    """Return a registry's claim, not acquired yet.

    Args:
        run: where it is printed that another publisher is waited for.
        registry: as configured; it may forbid claims.
        repository: to be claimed.
        intent: what for.
        known: identifiers of claims whose publishers have ended.
        terms: how long it lasts; None: as usual.
    """
    return Claim(
        repository,
        intent,
        terms=terms or ClaimTerms(),
        known=known,
        note=run.console.note,
        enabled=registry.claim,
    )


def _targets(project: Project, registries: Iterable[Registry], tag: str) -> list[Target]:
    config, versions = project.config, _versions(project)
    return [
        Target(
            registry=registry,
            tags=(tag,),
            floating=() if never_moves(config, registry, tag, versions) else (tag,),
        )
        for registry in registries
    ]


def _check_everywhere(opened: Sequence[Opened], targets: Sequence[Target], digest: str) -> None:
    """Raise where a registry does not have the digest, or another image under what never moves."""
    names = [one.repository.name for one in opened if not one.repository.digest(digest)]
    absent = [InputError(f"{name} has no {digest}", hint="push it first") for name in names]
    repositories = {one.registry.name: one.repository for one in opened}
    raise_problems([*absent, *conflicts(targets, repositories, digest)])


@contextmanager
def _telling(
    run: Edge, digest: str, *, as_json: bool, goes_on: str = ""
) -> Iterator[Callable[[Tagged, Mapping[str, str]], None]]:
    """Give what is told each tag, and tell all of them afterwards, also where the block breaks off.

    Args:
        run: where it is printed.
        digest: that the tags stand for.
        as_json: print JSON.
        goes_on: the line that does what is left, where the block breaks off; empty: the same one.
    """
    rows: list[Mapping[str, str]] = []

    def tagged(done: Tagged, row: Mapping[str, str]) -> None:
        rows.append(row)
        became = "is tagged" if done.moved else "was tagged already"
        run.console.note(f"{row['reference']} {became}")

    try:
        yield tagged
    except BaseException:
        if rows or as_json:
            _tell(run, digest, rows, as_json=as_json)
        if goes_on:
            run.console.warn(f"interrupted: {goes_on} goes on")
        raise
    _tell(run, digest, rows, as_json=as_json)


def _tell(run: Edge, digest: str, rows: Sequence[Mapping[str, str]], *, as_json: bool) -> None:
    if as_json:
        run.console.answer(to_json({"digest": digest, "tags": rows}))
        return
    run.console.answer(table([_told(row, digest) for row in rows]) if rows else "nothing to do")


def _told(row: Mapping[str, str], digest: str) -> tuple[str, str, str]:
    # Two registries may have another image each under one version.
    now, before = row.get("digest", digest), row["before"]
    was = f"was {short_digest(before)}" if before else "new"
    return row["reference"], short_digest(now), "as before" if before == now else was


def rollback(run: Edge, version: str, names: Sequence[str], *, as_json: bool) -> None:
    """Move the floating tags of every registry to an earlier version.

    Raises:
        InputError: there is no such version everywhere, or none was given, and what is to be taken
            back differs from registry to registry (exit 2).
        VerificationError: it is not verified; nothing has moved (exit 8).
        BuildlibError: a registry failed; what has moved till then is told.
    """
    config = run.config()
    opened = open_registries(run, chosen_registries(config, names))
    # What is no version is for the registries to refuse; only nothing at all stands for the last.
    naming = config.naming
    known = [(one, config.tag_rules(one.registry)) for one in opened]
    wanted = (naming.version_of(version) or version) or earlier_version(
        ((one.repository, rules) for one, rules in known if gives_latest(rules)), naming=naming
    )
    # Everywhere before anywhere.

    def replan() -> list[Rollback]:
        return [
            plan_rollback(
                *(one.repository, wanted, rules),
                immutable=one.registry.immutable,
                naming=naming,
            )
            for one, rules in known
        ]

    plans = replan()
    if run.dry:
        called = {one.repository.name: one.registry.name for one in opened}
        for plan, tag in in_order(plans):
            words = ("invoke", "docker-promote", plan.digest, tag)
            run.plan(shell_line((*words, "--registry", called[plan.repository.name])))
        return
    verify = make_verifier(config, run.executor, run.env, run.console)
    for plan in plans:
        verify(plan.repository, plan.digest)
        if document := plan.repository.manifest(plan.digest):
            said = versions_of(plan.repository, document, naming)
            check_version(f"{plan.repository.name}@{plan.digest}", wanted, said, naming)
    intent = Intent(f"a rollback to {wanted}")
    claims = {
        one.repository.name: make_claim(run, one.registry, one.repository, intent) for one in opened
    }
    only = [word for name in names for word in ("--registry", name)]
    goes_on = shell_line(("invoke", "docker-rollback", "--version", wanted, *only))
    with _telling(run, plans[0].digest, as_json=as_json, goes_on=goes_on) as tagged:
        for plan, done in roll_back(plans, replan, claims):
            reference = f"{plan.repository.name}:{done.tag}"
            tagged(done, {"reference": reference, "digest": done.digest, "before": done.before})
    run.console.note(f"back to {wanted}")
