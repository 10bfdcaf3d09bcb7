"""The Dockerfile and the images that it builds on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import date
from typing import Final

from buildlib.build.plan import BuildPlan
from buildlib.build.planner import MIRROR, BuildRequest, configured_base, make_build_plan
from buildlib.config.config import Config
from buildlib.config.images import FROM_HERE
from buildlib.config.tables import BaseImage, Registry
from buildlib.doctor.check import NOTE, UNASKED, Check, asked, check
from buildlib.doctor.registries import repository_of
from buildlib.errors import BuildlibError, InputError
from buildlib.executor import Executor
from buildlib.image.reference import parse_reference
from buildlib.policy.check import check_labels
from buildlib.program import PROGRAM
from buildlib.project import Project
from buildlib.publish.plan import base_problems
from buildlib.registry.open import are_local

_LAYOUT: Final = "oci-layout://"
_LATEST: Final = "latest"
_ASKING: Final = f"{PROGRAM} doctor --for build asks the registry"


def for_sources(project: Project, executor: Executor, *, network: bool) -> list[Check]:
    """Return whether there is a Dockerfile, and every image that it builds on.

    Args:
        network: registries may be asked.
    """
    path = project.dockerfile_path
    if not path.is_file():
        hint = "write one, or set dockerfile in the configuration"
        return [check("Dockerfile", "", fix=f"there is no {path}\n{hint}")]
    plan = _plan(project)

    def name() -> str:
        if isinstance(plan, BuildlibError):
            raise plan
        return os.path.relpath(plan.dockerfile, project.config.root.resolve())

    found = [asked("Dockerfile", name)]
    if isinstance(plan, BuildlibError):
        return found
    bases = dict(_all_bases(project, plan))
    return [*found, *(_base(one, executor, base, network=network) for base, one in bases.items())]


def _all_bases(project: Project, plan: BuildPlan) -> Iterator[tuple[str, Project]]:
    """Yield the base images of an image, and of those of the repository that it is based on."""
    yield from ((base, project) for base in plan.bases)
    known = dict(project.below)
    for base, below in plan.below:
        image = configured_base(project.config, base)
        if image:
            yield from _all_bases(known[image.source.removeprefix(FROM_HERE)], below)


def labels_of_release(project: Project, today: date) -> list[Check]:
    """Return whether the image will have the labels that a release asks for."""
    if are_local(project.config.registries):
        return []

    def ask() -> str:
        check_labels(project, today)
        return "complete"

    return [asked("labels of a release", ask)]


def for_release(project: Project) -> list[Check]:
    """Return whether the images that it builds on may be in a release."""
    plan = _plan(project)
    if isinstance(plan, BuildlibError) or not plan.bases:
        return []
    name, registries = "base images of a release", project.config.registries
    problems = base_problems(plan, registries)
    fix = "\n".join(filter(None, (text for one in problems for text in (one.what, one.hint))))
    return [check(name, ", ".join(plan.bases), fix=fix)]


def _plan(project: Project) -> BuildPlan | BuildlibError:
    try:
        return make_build_plan(project, BuildRequest(), project.dockerfile())
    except BuildlibError as error:
        return error


def _base(project: Project, executor: Executor, base: str, *, network: bool) -> Check:
    name, config = f"base image {base}", project.config
    image = configured_base(config, base)
    if image and image.source.startswith(_LAYOUT):
        return _layout(name, config, image)
    wanted = image.source.removeprefix(MIRROR) if image else base
    said = f"from {wanted}, as base-images says" if image else "as the Dockerfile names it"
    if not network:
        return Check(name=name, state=UNASKED, found=said, fix=_ASKING)
    return asked(name, lambda: _find(project, executor, wanted))


def _layout(name: str, config: Config, image: BaseImage) -> Check:
    path, _, _ = image.source.removeprefix(_LAYOUT).partition("@")
    before, colon, _ = path.rpartition(":")
    # A tag may follow the path.
    places = [path, *([before] if colon else [])]
    if not any((config.root / place).is_dir() for place in places):
        return check(name, "", fix=f"base-images names {image.source}, which is not there")
    if image.stand_in:
        fix = "an image built on a placeholder must not be published"
        return Check(name=name, state=NOTE, found=f"placeholder, {image.source}", fix=fix)
    return check(name, image.source)


def _find(project: Project, executor: Executor, wanted: str) -> str:
    """Return where an image is.

    Raises:
        BuildlibError: neither the engine nor the registry has it.
    """
    if not project.config.buildx_builder():
        here = executor.run(("docker", "image", "inspect", "--format", "{{.Id}}", wanted))
        if here.code == 0:
            return f"{wanted} is in the engine"
    reference = parse_reference(wanted)
    registry = Registry(name=wanted, repository=reference.name)
    repository = repository_of(registry, project.env, executor)
    if repository.manifest(reference.digest or reference.tag or _LATEST) is None:
        raise InputError(f"{registry.host} has no {wanted}")
    return f"{registry.host} has {wanted}"
