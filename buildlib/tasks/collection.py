"""All tasks as one flat Invoke collection."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from invoke.collection import Collection

from buildlib.tasks import (
    bases,
    builder,
    clean,
    docker,
    goreleaser,
    image,
    info,
    publish,
    reproduce,
    run,
    signing,
    smoke,
    version,
)

_TASKS: Final = (
    docker.docker_build,
    docker.binary,
    builder.docker_builder,
    run.docker_run,
    run.docker_stop,
    run.docker_logs,
    run.docker_shell,
    run.docker_status,
    run.docker_clean,
    smoke.docker_smoke,
    image.docker_size,
    image.docker_policy,
    image.docker_scan,
    image.docker_sbom,
    reproduce.docker_reproduce,
    bases.docker_bases,
    publish.docker_publish,
    publish.docker_login,
    publish.docker_push,
    publish.docker_promote,
    publish.docker_rollback,
    goreleaser.goreleaser_config,
    signing.docker_sign,
    signing.docker_verify,
    version.version,
    version.tag,
    info.config,
    info.doctor,
    clean.clean,
)


def collection(root: Path | None = None) -> Collection:
    """Return the tasks, to be mounted as `namespace` or added to a repository's own.

    Args:
        root: where the project's configuration is looked for, upwards; default: the directory
            that Invoke was started in.
    """
    namespace = Collection(*_TASKS)
    if root:
        namespace.configure({"buildlib": {"root": str(root)}})
    return namespace
