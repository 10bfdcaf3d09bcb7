"""`docker-promote`: a tag onto a digest that is already in the registries."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase

from buildlib.commands.session import Edge
from buildlib.config.config import Config
from buildlib.config.tables import Registry
from buildlib.config.tag_rules import moves, pins
from buildlib.errors import (
    FailureError,
    InputError,
    VerificationError,
    raise_problems,
)
from buildlib.git.facts import GitFacts
from buildlib.image.reference import check_tag, legal_part, parse_reference
from buildlib.program import PROGRAM
from buildlib.project import Project
from buildlib.publish.dry_run import promote_line
from buildlib.publish.plan import Target
from buildlib.publish.report import reported_tags
from buildlib.publish.signing import make_verifier
from buildlib.publish.tagger import conflicts
from buildlib.registry.claim import Claim, Intent, all_claimed
from buildlib.registry.open import Opened, asking, chosen_registries, open_registries
from buildlib.registry.tags import check_lapse, put_tag
from buildlib.shell import shell_line
from buildlib.sign.version_check import check_tag_name, versions_of


def never_moves(
    config: Config, registry: Registry, tag: str, versions: Collection[str] = ()
) -> bool:
    """Return whether a tag always points to one image, as in a publication or by its form.

    Args:
        config: has the rules of the project.
        versions: known to git; the tag of one of them never moves, whatever else it looks like.
    """
    rules = config.tag_rules(registry)
    plain = [rule for rule in rules if rule.names == {"version"}]
    return (
        (bool(config.naming.parse(tag)) and not moves(rules, tag))
        or any(legal_part(r.render({"version": v})) == tag for r in plain for v in versions)
        or pins(rules, tag)
        or any(fnmatchcase(tag, pattern) for pattern in registry.immutable)
    )


def promote(
    run: Edge,
    digest: str,
    tag: str,
    names: Sequence[str],
    *,
    unverified: str = "",
    as_json: bool = False,
) -> None:
    """Verify the digest in each registry, and point the tag at it there.

    Args:
        digest: of an image in all registries.
        names: of the registries; none: all.
        unverified: why nothing is verified; empty: it is.
        as_json: print JSON.

    Raises:
        InputError: a registry does not have the digest (exit 2).
        GateError: the tag never moves, and has another digest in a registry (exit 7).
        VerificationError: it is not verified; nothing is tagged (exit 8).
        BuildlibError: a registry failed; the tags given until then are printed.
    """
    check_tag(tag)
    _check_digest(digest)
    project = run.project()
    config, registries = project.config, chosen_registries(project.config, names)
    for registry in registries:
        parse_reference(f"{registry.repository}@{digest}")
    if run.dry:
        for registry in registries:
            line = promote_line(shell_line((digest,)), tag, registry.name, unverified=unverified)
            run.plan(line)
        return
    opened = open_registries(registries, run.env, run.executor)
    targets = _targets(project, registries, tag)
    # All registries are checked before the first is changed: a tag in one of them only misleads.
    with run.console.running(asking(opened)):
        _check_everywhere(opened, targets, digest)
    if unverified:
        run.console.warn(f"nothing is verified: {unverified}")
    else:
        verify = make_verifier(config, run.executor, run.env, run.console)
        for one in opened:
            verify(one.repository, digest)
            _warn_of_name(run, config, one, digest, tag)
    # One for each repository, as two registries may be the same and would wait for each other.
    claims = {
        one.repository.name: Claim(
            one.repository,
            Intent(f"a promotion to {tag}", digest, target.pinned),
            note=run.console.note,
            enabled=one.registry.claim,
        )
        for one, target in zip(opened, targets, strict=True)
    }
    with (
        reported_tags(run.console, digest, as_json=as_json) as tagged,
        all_claimed(claims.values()),
    ):
        # Again, as no other publisher gives tags from now on.
        _check_everywhere(opened, targets, digest)
        for one, target in zip(opened, targets, strict=True):
            claim, never = claims[one.repository.name], bool(target.pinned)
            done = put_tag(claim.repository, digest, tag, immutable=never, claim=claim)
            tagged({"reference": f"{target.repository}:{tag}", "before": done.before})
            check_lapse(claim, claim.repository, tag)


def _check_digest(digest: str) -> None:
    if not digest.startswith("sha256:"):
        raise InputError(
            f"{digest!r} is not a digest",
            why="a tag may move, and two registries may have different images for it",
            hint="give sha256:…, which docker-publish prints and the receipt has; "
            f"{PROGRAM} docker-rollback --version VERSION points latest and its like at a release",
        )


def _targets(project: Project, registries: Iterable[Registry], tag: str) -> list[Target]:
    config = project.config
    known = project.git.tags if isinstance(project.git, GitFacts) else ()
    versions = frozenset(filter(None, map(config.naming.version_of, known)))
    return [
        Target(
            registry=registry,
            tags=(tag,),
            floating=() if never_moves(config, registry, tag, versions) else (tag,),
        )
        for registry in registries
    ]


def _warn_of_name(run: Edge, config: Config, one: Opened, digest: str, tag: str) -> None:
    """Warn if a tag names another version than the image: docker-verify would reject that tag."""
    repository, naming = one.repository, config.naming
    try:
        document = repository.manifest(digest)
        said = versions_of(repository, document, naming) if document else ()
        rules = config.tag_rules(one.registry)
        check_tag_name(f"{repository.name}:{tag}", tag, said, rules, naming)
    except VerificationError as error:
        run.console.warn(f"{error.what}; docker-verify of that tag exits with code 8")
    except FailureError as error:
        run.console.note(f"which version {digest} is can't be read: {error.what}")


def _check_everywhere(opened: Sequence[Opened], targets: Sequence[Target], digest: str) -> None:
    """Raise if a registry lacks the digest, or has another one under a tag that never moves."""
    names = [one.repository.name for one in opened if not one.repository.digest(digest)]
    absent = [InputError(f"{name} has no {digest}", hint="push it first") for name in names]
    repositories = {one.registry.name: one.repository for one in opened}
    raise_problems([*absent, *conflicts(targets, repositories, digest)])
