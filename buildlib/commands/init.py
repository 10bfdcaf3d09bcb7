"""What `init` does: shows what a repository needs, writes it, and says how to go on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from buildlib import distribution
from buildlib.adopt.configuration import Package
from buildlib.adopt.files import write_all
from buildlib.adopt.migration import migration_table, with_names
from buildlib.adopt.places import find_repository
from buildlib.adopt.plan import Adoption, AdoptionRequest, plan_adoption
from buildlib.commands.session import Edge
from buildlib.commands.templates import NOXFILE, own_workflow
from buildlib.doctor.check import MISSING, UNASKED
from buildlib.doctor.report import BUILD, RUN, Diagnosis, diagnose
from buildlib.errors import InputError
from buildlib.files import counted
from buildlib.findings.report import show
from buildlib.terminal.text import to_json


class InitOptions(NamedTuple):
    """What was asked for; see `AdoptionRequest`.

    Args:
        yes: write without a question.
        program: that runs tasks, for what is printed.
    """

    dockerfile: str = ""
    template: str = ""
    image: str = ""
    noxfile: bool = False
    workflow: bool = False
    yes: bool = False
    program: str = "buildlib"
    as_json: bool = False


def init(run: Edge, options: InitOptions) -> None:
    """Show what the repository needs, and write it where that is wanted.

    Raises:
        InputError: there is nothing to build, or a file can't be written (exit 2).
    """
    request = AdoptionRequest(
        here=Path.cwd(),
        package=Package(distribution.address("Documentation"), distribution.address("Schema")),
        dockerfile=options.dockerfile,
        template=options.template,
        image=options.image,
        noxfile=NOXFILE if options.noxfile else "",
        installed=lambda name: bool(shutil.which(name, path=run.env.get("PATH", os.defpath))),
        workflow=_workflow if options.workflow else None,
    )
    found = plan_adoption(run.start, request, run.executor)
    if not options.as_json:
        # Its lines stay as they are, however narrow the terminal.
        if diff := "\n\n".join(one.diff for one in found.changes):
            run.console.answer(f"{diff}\n")
        run.console.report(found.as_text())
    written = _written(run, found, options)
    ready = written or not found.changes
    diagnosis = _diagnosis(run) if ready and not run.dry else None
    following = _following(found, options.program)
    program = following[0].partition(" ")[0]
    release = [f"{program} {one}" for one in ("docker-rehearse", "doctor --for publish")]
    if options.as_json:
        groups = diagnosis.as_dict()["groups"] if diagnosis else {}
        answer: dict[str, Any] = {
            "written": written,
            "doctor": groups,
            "next": [*following, *release],
        }
        run.console.answer(to_json({**found.as_dict(), **answer}))
        return
    if diagnosis:
        run.console.answer(short_diagnosis(diagnosis, options.program))
    if ready and not run.dry:
        run.console.answer("\n".join(["", "next:", *(f"  {line}" for line in following)]))
        lines = ["", "before a first release:", *(f"  {line}" for line in release)]
        run.console.answer("\n".join(lines))


def _written(run: Edge, found: Adoption, options: InitOptions) -> bool:
    """Write the files, after a question if there is somebody to answer; return whether it did."""
    if not found.changes:
        run.console.note("there is nothing to write")
        return False
    if run.dry:
        return False
    number = counted(len(found.changes), "file")
    asks = not options.yes and not options.as_json
    if not (options.yes or (asks and run.console.confirms(f"Write {number} in {found.root}?"))):
        run.console.note("nothing was written; --yes writes without a question")
        return False
    write_all(found.changes)
    run.console.note(f"wrote {', '.join(one.name for one in found.changes)}")
    return True


def _diagnosis(run: Edge) -> Diagnosis:
    # What the first steps need: other programs take longer to answer than these steps take.
    needed = (BUILD, RUN)
    # Of several images the first: the machine is the same for all.
    project = run.projects(())[0]
    return diagnose(project, run.executor, run.console, run.today(), groups=needed)


def short_diagnosis(found: Diagnosis, program: str) -> str:
    """Return what is missing for the first steps, and what each group of tasks comes to."""
    checks = [one for group in (BUILD, RUN) for one in found.checks[group]]
    lines = [line for one in checks if one.state == MISSING for line in one.as_lines()]
    more = [f"{program} doctor says more"]
    if found.state(BUILD) == UNASKED:
        more.append(f"{program} doctor --for {BUILD} asks the registry for the base images")
    return "\n".join(["", *lines, found.summary(), *more])


def _following(found: Adoption, program: str) -> Sequence[str]:
    beside = any(one.name.startswith("tasks") for one in found.by_hand)
    program = "buildlib" if beside else program
    only = f" --only {found.serving or found.images[0]}" if found.images else ""
    kept = " --persistent" if any(one.path[-1] == "data-dir" for one in found.settings) else ""
    run = [] if found.of_files else [f"docker-run{only}{kept}"]
    return [f"{program} {one}" for one in ("docker-build", *run, "docker-smoke")]


def _workflow(prefixes: Mapping[str, Sequence[str]], directory: str) -> str:
    text = own_workflow(prefixes, directory)
    if not text:
        raise InputError(
            "the workflow names the commit that buildlib was installed from, which is not known",
            hint="install it from its git repository, or leave --workflow out",
        )
    return text


def show_migration(run: Edge, *, as_json: bool) -> None:
    """Print each command line of docker that the repository has, and what does the same."""
    repository = find_repository(run.start)
    table = with_names(migration_table(repository.root, run.executor), repository)
    show(table, run.console, as_json=as_json)
