"""The files that `docker-build` and `binary` build: those of the work tree, or of the commit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from buildlib.build.checkout import changes_of, from_commit, is_of_commit
from buildlib.build.plan import Output
from buildlib.build.planner import BuildRequest, chosen_output
from buildlib.commands.session import Edge
from buildlib.project import Project
from buildlib.versioning.preconditions import listing

# What stays on this machine: it is built many times a day, from what is there.
_HERE: Final = (Output.LOAD, Output.LOCAL, Output.CACHE_ONLY)


@contextmanager
def files_of(run: Edge, project: Project, request: BuildRequest) -> Iterator[Project]:
    """Give the project with the files that are built.

    What leaves this machine as a release, or as an archive, is the commit, as `docker-publish`
    has it; what is not a release is the commit only where nothing was changed.
    """
    here, release = chosen_output(request) in _HERE, project.version.origin == "tag"
    if here and not release:
        yield project
        return
    changes = changes_of(project)
    name, paths = project.version.value, listing(changes.paths)
    if here:
        if paths:
            run.console.warn(f"{name} is built from files that its commit may not have: {paths}")
        yield project
    elif is_of_commit(project, changes, release=release):
        if paths:
            run.console.warn(f"{name} is built from its commit, without what differs: {paths}")
        with from_commit(project) as committed:
            yield committed
    else:
        yield project
