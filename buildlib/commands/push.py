"""`docker-push`: an image into registries by its digest, without a tag."""

from __future__ import annotations

from collections.abc import Sequence

from buildlib.build.plan import Output
from buildlib.build.planner import BuildRequest, make_build_plan
from buildlib.commands.session import Edge
from buildlib.config.publish import BESIDE
from buildlib.errors import InputError
from buildlib.files import counted
from buildlib.image.labels import stand_ins_of
from buildlib.image.size import saved
from buildlib.program import PROGRAM
from buildlib.publish.plan import attested_path, stand_in_problem
from buildlib.registry.open import are_local, chosen_registries, open_registries
from buildlib.registry.transfer import push_archive
from buildlib.shell import shell_line
from buildlib.terminal.text import to_json


def push(run: Edge, image: str, names: Sequence[str], *, as_json: bool) -> None:
    """Push by digest, and print the digest."""
    config = run.config()
    registries = chosen_registries(config, names)
    name = image or _archive_of_this_version(run)
    if run.dry:
        words = (PROGRAM, "docker-push", "--image", name, "--registry")
        for registry in registries:
            run.plan(shell_line((*words, registry.name)))
        return
    digests: dict[str, str] = {}
    with run.console.opening(f"reading {name}", saved(run.executor, name)) as archive:
        images = archive.images()
        stand_ins = stand_ins_of(one.labels for one in images)
        if stand_ins and not are_local(registries):
            raise stand_in_problem(stand_ins, "pushed")
        there = {one.platform for one in images}
        if missing := sorted(set(map(str, config.platforms)) - there):
            run.console.warn(f"{name} is not for {', '.join(missing)}, as the configuration has it")
        for opened in open_registries(registries, run.env, run.executor):
            with run.console.running(f"pushing to {opened.repository.name}") as activity:
                done = push_archive(
                    *(archive, opened.repository), progress=run.console.note, activity=activity
                )
            sent = counted(done.sent, "blob")
            run.console.note(f"{opened.repository.name}: {sent} sent, {done.there} there already")
            digests[opened.registry.name] = done.digest
    if as_json:
        run.console.answer(to_json({"digests": digests}))
    else:
        run.console.answer("\n".join(dict.fromkeys(digests.values())))


def _archive_of_this_version(run: Edge) -> str:
    project = run.project()
    request = BuildRequest(output=Output.OCI)
    archive = make_build_plan(project, request, project.dockerfile()).destination
    makes = f"{PROGRAM} docker-build --platform all --output oci"
    if archive and project.config.publishing().attestations != BESIDE:
        makes += f"; {PROGRAM} docker-sbom --image {archive} --index {attested_path(archive)}"
        archive = attested_path(archive)
    if not archive or not archive.is_file():
        raise InputError(
            f"there is no archive of {project.version.value}",
            hint=f"{makes} makes it; or give --image",
        )
    return str(archive)
