"""From request to plan: what a build is to be, decided without asking or changing anything."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

from buildlib.build.context import DIST, kept_out
from buildlib.build.labels import image_labels
from buildlib.build.options import CONTEXT, build_options
from buildlib.build.parts import caches_of, separate_builds
from buildlib.build.plan import FILES, BuildPlan, Output
from buildlib.config.build_options import pair
from buildlib.config.config import Config
from buildlib.config.file import read_toml
from buildlib.config.images import FROM_HERE
from buildlib.config.key_types import VARIABLE
from buildlib.config.tables import BaseImage
from buildlib.config.variables import BASE_IMAGES
from buildlib.dockerfile.parser import Dockerfile
from buildlib.errors import InputError, did_you_mean
from buildlib.image.labels import index_annotations
from buildlib.image.platform import Platform, engine_platform, parse_platforms
from buildlib.image.reference import canonical, parse_reference, to_tag
from buildlib.project import Project
from buildlib.shell import csv_field, csv_fields
from buildlib.versioning.local_tags import local_tags, mapped_tags, references
from buildlib.versioning.placeholders import fill

_PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
_DEFAULT_PLATFORM: Final = "DOCKER_DEFAULT_PLATFORM"
MIRROR: Final = "docker-image://"
# Options of the command line that the images below one get as well: what their steps may use.
_OF_EVERY: Final = frozenset(
    {"add-host", "allow", "cgroup-parent", "network", "shm-size", "ssh", "ulimit"}
)
# What buildx takes for the policy of a Dockerfile, beside it.
_POLICY: Final = ".rego"
# The options that a plan has a field for.
_WITH_FIELDS: Final = frozenset({"label", "metadata-file"})


@dataclass(frozen=True, kw_only=True)
class BuildRequest:
    """What the user asked for; empty means: as configured, or the default.

    Args:
        platforms: names, or `all` for the configured list.
        tags: beside the version and `latest`: a tag, or a whole reference.
        only_tags: instead of the version and `latest`.
        build_args: `NAME=value`, or `NAME` to take the value from the environment.
        output: a name of `Output`, or buildx's own `type=…`; `push` is short for that name.
        destination: where the outputs oci and local go, instead of `dist/`.
        layout: the output oci is a directory, for the build of another image.
        strict: a build arg that the Dockerfile does not declare is an error.
        provenance: as buildx's `--provenance` takes it; empty: none is made.
        options: further ones of buildx, name and value, with absolute paths.
        attests: the configured attestations are made.
    """

    platforms: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    only_tags: tuple[str, ...] = ()
    build_args: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    target: str = ""
    output: str = ""
    destination: Path | None = None
    layout: bool = False
    push: bool = False
    no_cache: bool = False
    pull: bool = False
    strict: bool = False
    provenance: str = ""
    options: tuple[tuple[str, str], ...] = ()
    attests: bool = False

    def values(self, option: str) -> tuple[str, ...]:
        """Return the values of a further option."""
        return tuple(text for name, text in self.options if name == option)


def parse_build_args(texts: Sequence[str]) -> dict[str, str | None]:
    """Parse `NAME=value` and `NAME`; everything after the first `=` is the value, unchanged.

    Raises:
        InputError: there is no name.
    """
    parsed: dict[str, str | None] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not re.fullmatch(VARIABLE, name):
            raise InputError(f"build arg without a usable name: {text!r}", hint="give NAME=value")
        parsed[name] = value if equals else None
    return parsed


def chosen_output(request: BuildRequest) -> str:
    """Return the output that the request comes to.

    Raises:
        InputError: `--push` contradicts `--output`, or the name is not known.
    """
    name = request.output
    if request.push and name not in {"", Output.PUSH}:
        raise InputError(f"--push contradicts --output {name}", hint="give one of the two")
    if request.push:
        return Output.PUSH
    if re.search(r"\bdest=-(,|$)", name):
        raise InputError("a build can't be written to stdout", hint="give dest=FILE")
    if name.startswith("type="):
        _check_fields(name)
        return name
    if not name or name in set(Output):
        return name or Output.LOAD
    known = (*Output, "buildx's own type=…")
    raise InputError(f"unknown output {name!r}", hint=did_you_mean(name, known))


def _check_fields(output: str) -> None:
    """Raise where buildx's own output options are not a line of CSV."""
    try:
        csv_fields(output)
    except ValueError as error:
        raise InputError(
            f"--output can't be read: {output!r}",
            why="it has to be one line of CSV",
            hint="give type=KIND,KEY=value, and a field with a comma in double quotes",
        ) from error


def chosen_platforms(request: BuildRequest, project: Project) -> tuple[Platform, ...]:
    """Return the platforms that the request comes to; none means the builder's own.

    Where it names none, DOCKER_DEFAULT_PLATFORM counts, as for docker itself.

    Raises:
        InputError: one is not known, or `all` is asked for and none is configured.
    """
    if "all" not in request.platforms:
        # buildx goes by the variable where it is given none; said by name, everybody sees it.
        default = project.env.get(_DEFAULT_PLATFORM, "")
        try:
            return parse_platforms(request.platforms or ((default,) if default else ()))
        except InputError as error:
            error.why = "" if request.platforms else f"{_DEFAULT_PLATFORM} has it"
            raise
    if not project.config.platforms:
        raise InputError("--platform all, but none is configured", hint='add platforms = ["…"]')
    return project.config.platforms


def _injected(project: Project, dockerfile: Dockerfile) -> dict[str, str | None]:
    """Return the build args that every build gets: only those that the Dockerfile declares.

    One by which a FROM chooses its base is not ours to fill.
    """
    facts, choosing = project.facts, dockerfile.choosing()
    declared: dict[str, str | None] = {
        arg: facts[name.lower()]
        for name, arg in project.config.injected().items()
        if arg in dockerfile.args and arg not in choosing
    }
    # By name alone: buildx takes the value from its environment, so that a password in a
    # proxy's address is never in argv.
    proxies = [name for proxy in _PROXIES for name in (proxy, proxy.lower())]
    declared |= {name: None for name in proxies if project.env.get(name)}
    return {**declared, "SOURCE_DATE_EPOCH": str(project.version.created)}


def normal_name(reference: str) -> str:
    """Return a FROM reference in one form, whichever way it was written."""
    name = canonical(reference)
    last = name.rpartition("/")[2]
    return name if ":" in last or "@" in last else f"{name}:latest"


def _destination(project: Project, request: BuildRequest, output: str) -> Path | None:
    if output not in {Output.OCI, Output.LOCAL}:
        return None
    if request.destination:
        return request.destination
    name = project.config.short_name
    suffix = ".oci.tar" if output == Output.OCI else ""
    folder = project.config.root / project.config.folder(DIST)
    return folder / f"{name}-{to_tag(project.version.value)}{suffix}"


def _build_args(
    project: Project, request: BuildRequest, dockerfile: Dockerfile
) -> dict[str, str | None]:
    return {
        **_injected(project, dockerfile),
        **{name: fill(text, project.facts) for name, text in project.config.build_args},
        **parse_build_args(project.build_args),
        **parse_build_args(request.build_args),
    }


def known_args(project: Project, dockerfile: Dockerfile) -> dict[str, str]:
    """Return the values of the build args that a FROM may see, in whichever task reads it."""
    return _known(project, _build_args(project, BuildRequest(), dockerfile))


def _secrets(project: Project, request: BuildRequest) -> tuple[str, ...]:
    """Return the secrets of a build; one of the command line replaces a configured one."""
    given = project.secrets + request.secrets
    named = [csv_field(f"id={name}") for name, _, _ in project.config.secrets]
    configured = [
        f"{named_id},env={text}"
        if kind == "env"
        else f"{named_id},{csv_field(f'src={project.config.root / Path(text).expanduser()}')}"
        for named_id, (_, kind, text) in zip(named, project.config.secrets, strict=True)
    ]
    kept = [
        secret
        for named_id, secret in zip(named, configured, strict=True)
        if not any(named_id in one.split(",") for one in given)
    ]
    return (*kept, *given)


def configured_base(config: Config, base: str) -> BaseImage | None:
    """Return the other source that is configured for a base image.

    One that is pinned is replaced by its name without the digest as well.
    """
    others = {normal_name(name): image for name, image in config.base_images}
    return others.get(normal_name(base)) or others.get(normal_name(base.partition("@")[0]))


def _replaced(config: Config, bases: Iterable[str]) -> dict[str, BaseImage]:
    """Return the other sources of base images, by the name that the Dockerfile uses."""
    found = {}
    for base in bases:
        _, at, digest = base.partition("@")
        image = configured_base(config, base)
        if image and at and image.source.startswith(MIRROR) and "@" not in image.source:
            # A mirror holds the very same image, or it is not a mirror.
            image = image._replace(source=f"{image.source}@{digest}")
        if image:
            found[base] = image
    return found


class Below(NamedTuple):
    """An image of the repository that another one is based on, and how its layout is built."""

    base: str
    project: Project
    request: BuildRequest


def below(
    project: Project, request: BuildRequest, bases: Iterable[str], layouts: Path
) -> tuple[Below, ...]:
    """Return the images of the repository that are among the bases of a build.

    They are built as an archive is, so that its bytes are those that are published.

    Args:
        layouts: the directory for them.
    """
    found, known = [], dict(project.below)
    for base in bases:
        image = configured_base(project.config, base)
        if not (image and image.source.startswith(FROM_HERE)):
            continue
        name = image.source.removeprefix(FROM_HERE)
        platforms = request.platforms
        if "all" in platforms and not known[name].config.platforms:
            platforms = tuple(map(str, project.config.platforms))
        wanted = BuildRequest(
            platforms=platforms,
            build_args=request.build_args,
            secrets=request.secrets,
            output=Output.OCI,
            destination=layouts / name,
            layout=True,
            no_cache=request.no_cache,
            pull=request.pull,
            options=tuple(one for one in request.options if one[0] in _OF_EVERY),
        )
        found.append(Below(base, known[name], wanted))
    return tuple(found)


def unused_bases(project: Project, plan: BuildPlan) -> tuple[str, ...]:
    """Return a sentence for each configured base image that the Dockerfile does not name.

    A map from the environment is for many projects.
    """
    config = project.config
    path = project.env.get(BASE_IMAGES)
    table = read_toml(Path(path)).get("base-images", {}) if path else {}
    mapped = {normal_name(name) for name in table}
    used = {normal_name(base.partition("@")[0]) for base in plan.bases}
    own = [base for base, _ in plan.below]
    used |= {normal_name(base) for base in (*plan.bases, *own)}
    named = ", ".join((*plan.bases, *own)) or "none"
    return tuple(
        f"base-images has {name}, which this build does not use; it uses {named}"
        for name, _ in config.base_images
        if normal_name(name) not in used | mapped
    )


def make_build_plan(
    project: Project,
    request: BuildRequest,
    dockerfile: Dockerfile,
    *,
    metadata_file: Path | None = None,
    handover: Path | None = None,
    layouts: Path | None = None,
    parts: Path | None = None,
) -> BuildPlan:
    """Return the plan; nothing is changed.

    Args:
        metadata_file: for buildx.
        handover: a directory that may be made for the Dockerfile, where the builder needs it.
        layouts: a directory that may be made for images of the repository below this one; None:
            it is in `dist`.
        parts: a directory that may be made for archives of single platforms.

    Raises:
        InputError: the request is not usable (exit 2).
    """
    config = project.config
    output = chosen_output(request)
    target = request.target or config.target
    build_args = _build_args(project, request, dockerfile)
    platforms = chosen_platforms(request, project)
    cache_from, cache_to = caches_of(config, platforms)
    plan = BuildPlan(
        context=project.context,
        dockerfile=project.dockerfile_path,
        image=config.image,
        version=project.version.value,
        target=target,
        platforms=platforms,
        build_args=tuple(sorted(build_args.items())),
        secrets=_secrets(project, request),
        cache_from=cache_from,
        cache_to=cache_to,
        builder=config.buildx_builder(),
        separate=separate_builds(config, platforms, output),
        parts=parts if output == Output.LOAD else None,
        output=output,
        destination=_destination(project, request, output),
        layout=request.layout,
        no_cache=request.no_cache,
        pull=request.pull,
        progress=config.progress,
        metadata_file=metadata_file,
        provenance=request.provenance,
        checkout=project.checkout,
    )
    known = _known(project, build_args)
    plan, contexts = _with_options(plan, project, request)
    dockerfile = without_replaced(dockerfile, target, contexts)
    plan = _standing(plan, config, dockerfile, known, contexts)
    plan = _over_images(plan, project, request, handover, layouts)
    plan = _reading(plan, project, handover)
    base = _runtime_base(plan, dockerfile, known)
    written = dockerfile.labels(target, known)
    return _named(plan, project, request, _source_of(base, contexts), written)


def _with_options(
    plan: BuildPlan, project: Project, request: BuildRequest
) -> tuple[BuildPlan, dict[str, str]]:
    """Return the plan with its further options, and the build contexts by their normal names."""
    options = build_options(
        project,
        tuple(one for one in request.options if one[0] not in _WITH_FIELDS),
        # An image in the engine has none, unless somebody asks for them.
        attests=request.attests and plan.kind not in {Output.LOAD, "docker"},
        several=len(plan.platforms) > 1,
        cached=not plan.no_cache,
    )
    if plan.kind in FILES:
        options = tuple(one for one in options if one[0] not in {"annotation", "attest"})
    given = dict(pair(text) for name, text in options if name == CONTEXT)
    kept = request.values("metadata-file")
    plan = replace(
        plan,
        metadata_file=Path(kept[-1]) if kept else plan.metadata_file,
        keeps_metadata=bool(kept),
        options=tuple(one for one in options if one[0] != CONTEXT),
        build_contexts=tuple(sorted(given.items())),
    )
    return plan, {normal_name(name): source for name, source in given.items()}


def without_replaced(
    dockerfile: Dockerfile, target: str, contexts: Mapping[str, str]
) -> Dockerfile:
    """Return the Dockerfile without the names of stages that build contexts stand for.

    BuildKit takes a context before a stage of the same name.
    """
    stages = dockerfile.stages
    if not contexts or not any(one.name for one in stages):
        return dockerfile
    named = [
        one.name
        and one.name.lower() != target.lower()
        and normal_name(one.name.lower()) in contexts
        for one in stages
    ]
    return replace(
        dockerfile,
        stages=tuple(
            replace(stage, name="") if gone else stage
            for stage, gone in zip(stages, named, strict=True)
        ),
    )


def _source_of(base: str, contexts: Mapping[str, str]) -> str:
    """Return the image that a base is: of a build context it is the context's, if it is one."""
    source = contexts.get(normal_name(base), f"{MIRROR}{base}") if base else ""
    return source.removeprefix(MIRROR) if _is_image(source) else ""


def _known(project: Project, build_args: Mapping[str, str | None]) -> dict[str, str]:
    """Return the values of the build args that a FROM may see.

    One that is handed over by name has the environment's; it goes no further than into the name
    of a base.
    """
    given = {
        name: project.env.get(name) if value is None else value
        for name, value in build_args.items()
    }
    return {name: value for name, value in given.items() if value is not None}


def _standing(
    plan: BuildPlan,
    config: Config,
    dockerfile: Dockerfile,
    known: Mapping[str, str],
    contexts: Mapping[str, str],
) -> BuildPlan:
    """Return the plan with its base images, and what it takes from the build context.

    Where no platform is named, the builder's own is taken for that of an engine on this machine.
    """
    here = engine_platform()
    views = dockerfile.views(known, plan.platforms or (here,), here)
    bases = dict.fromkeys(base for view in views for base in dockerfile.bases(plan.target, view))
    needed = (stage for view in views for stage in dockerfile.needed(plan.target, view))
    own = [base for base in bases if normal_name(base) not in contexts]
    # An image that a context stands for may have another source, too.
    images = [source.removeprefix(MIRROR) for source in contexts.values() if _is_image(source)]
    used = tuple(filter(None, (_source_of(base, contexts) for base in bases)))
    replaced = _replaced(config, (*own, *images))
    given = {
        name: replaced[source.removeprefix(MIRROR)].source
        if _is_image(source) and source.removeprefix(MIRROR) in replaced
        else source
        for name, source in plan.build_contexts
    }
    others = {name: replaced[name].source for name in own if name in replaced}
    return replace(
        plan,
        bases=used,
        sources=tuple(dict.fromkeys(source for stage in needed for source in stage.sources)),
        filled=dockerfile.filled(plan.target, known, plan.platforms, here),
        build_contexts=tuple(sorted({**others, **given}.items())),
        stand_ins=tuple(
            sorted(name for name, image in replaced.items() if image.stand_in and name in used)
        ),
    )


def _over_images(
    plan: BuildPlan,
    project: Project,
    request: BuildRequest,
    handover: Path | None,
    layouts: Path | None,
) -> BuildPlan:
    """Return the plan with the builds of the images of the repository that it is based on."""
    folder = layouts or project.config.root / project.config.folder(DIST) / "bases"
    found = below(project, request, plan.bases, folder)
    if not found:
        return plan
    plans = tuple(
        (
            one.base,
            make_build_plan(
                one.project,
                one.request,
                one.project.dockerfile(),
                handover=handover and handover.with_name(f"{handover.name}_{number}"),
                layouts=folder / f"{number}.bases",
            ),
        )
        for number, one in enumerate(found)
    )
    others = dict(plan.build_contexts) | {
        one.base: f"oci-layout://{one.request.destination}" for one in found
    }
    return replace(
        plan,
        bases=tuple(base for base in plan.bases if base not in dict(plans)),
        build_contexts=tuple(sorted(others.items())),
        below=plans,
        layouts=folder,
        stand_ins=tuple(sorted({*plan.stand_ins, *(n for _, one in plans for n in one.stand_ins)})),
    )


def _is_image(source: str) -> bool:
    return source.startswith(MIRROR)


def _reading(plan: BuildPlan, project: Project, handover: Path | None) -> BuildPlan:
    """Return the plan with what stays out of the context, and whether the builder gets them."""
    ignore = project.ignore_file
    lines = () if plan.checkout else kept_out(project, plan.sources, ignore)
    alone = not lines and project.finds_ignore_file
    policy = plan.dockerfile.with_name(f"{plan.dockerfile.name}{_POLICY}")
    return replace(
        plan,
        ignore=ignore,
        kept_out=lines,
        handover=None if alone else handover,
        source_policy=policy if policy.is_file() else None,
    )


def _runtime_base(plan: BuildPlan, dockerfile: Dockerfile, known: Mapping[str, str]) -> str:
    """Return the base image of the target, if it is the same on every builder; else nothing."""
    views = dockerfile.views(known, plan.platforms)
    base, *others = {dockerfile.runtime_base(plan.target, view) for view in views}
    return "" if others else base


def _named(
    plan: BuildPlan, project: Project, request: BuildRequest, base: str, written: frozenset[str]
) -> BuildPlan:
    """Return the plan with tags and labels; files and caches have neither."""
    tags = request.only_tags or local_tags(project.version, project.config)
    names, mapped = references(plan.image, tags, request.tags), mapped_tags(request.tags)
    if plan.output in {Output.LOCAL, Output.CACHE_ONLY}:
        return plan
    if plan.layout:
        names, mapped = (), ()
    if plan.pushes:
        # A name without a registry is for this machine; where none has one, preflight says so.
        names = tuple(name for name in names if parse_reference(name).registry) or names
    if own := dict(plan.below).get(base):
        base = f"{own.image}:{to_tag(own.version)}"
    base_name, _, digest = base.partition("@")
    labels = image_labels(
        project.config,
        project.version,
        remote=project.remote,
        base_name=canonical(base_name) if base_name else "",
        # What a stand-in is, its label says; it is not what was pinned.
        base_digest="" if base in plan.stand_ins else digest,
        stand_ins=plan.stand_ins,
        branch=project.facts["branch"],
        written=written,
    )
    labels |= dict(map(pair, request.values("label")))
    several = plan.output == Output.OCI and len(plan.platforms) > 1
    return replace(
        plan,
        references=names,
        mapped=mapped,
        labels=tuple(sorted(labels.items())),
        # An archive of several platforms is published as an index.
        annotations=tuple(index_annotations(labels).items()) if several else (),
    )
