"""All tasks as one flat Invoke collection."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from invoke.collection import Collection

from buildlib.errors import InputError
from buildlib.tasks import build, check, project, release, run
from buildlib.tasks.options import check_values
from buildlib.tasks.session import refusal

TASKS: Final = (
    build.docker_build,
    build.binary,
    build.docker_builder,
    run.docker_run,
    run.docker_stop,
    run.docker_logs,
    run.docker_shell,
    run.docker_status,
    run.docker_clean,
    check.docker_smoke,
    check.docker_size,
    check.docker_policy,
    check.docker_scan,
    check.docker_sbom,
    check.docker_reproduce,
    check.docker_bases,
    release.docker_publish,
    release.docker_rehearse,
    release.docker_login,
    release.docker_push,
    release.docker_promote,
    release.docker_rollback,
    release.goreleaser_config,
    release.docker_sign,
    release.docker_verify,
    project.version,
    project.tag,
    project.config,
    project.doctor,
    project.clean,
)


def collection(root: Path | None = None) -> Collection:
    """Return the tasks, to be mounted as `namespace` or added to a repository's own.

    Args:
        root: where the project's configuration is looked for, upwards; default: the directory
            that Invoke was started in.

    Raises:
        Exit: the command line has an option of ours without its value (code 2).
    """
    # Here, as Invoke reads the options only after the tasks are known.
    try:
        check_values(sys.argv, TASKS)
    except InputError as error:
        raise refusal(error, sys.argv) from None
    namespace = Collection(*TASKS)
    if root:
        namespace.configure({"buildlib": {"root": str(root)}})
    return namespace
