"""What more than one asks docker about an image or a container."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from buildlib.config.tables import Run
from buildlib.containers.plan import Mount, local_address
from buildlib.errors import EngineError
from buildlib.executor import Runner
from buildlib.image.labels import VERSION_LABEL
from buildlib.image.runtime_config import explicit_group
from buildlib.program import PROGRAM

LOG_LINES: Final = 50


def described(executor: Runner, container: str) -> dict[str, Any]:
    """Return what docker knows of a container; empty where there is none."""
    done = executor.run(("docker", "container", "inspect", container))
    found: list[dict[str, Any]] = json.loads(done.stdout or "[]") or [{}]
    return found[0]


def state_of(container: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of what `docker container inspect` printed."""
    return dict(container.get("State") or {})


def image_version(executor: Runner, image: str) -> str:
    """Return the version in an image's label, or nothing.

    Raises:
        EngineError: the engine does not have the image (exit 4).
    """
    template = f'{{{{index .Config.Labels "{VERSION_LABEL}"}}}}'
    found = executor.run(("docker", "image", "inspect", "--format", template, image))
    if found.code != 0:
        raise EngineError(
            f"the image {image} is not here",
            why=found.stderr.strip(),
            hint=f"{PROGRAM} docker-build makes it",
        )
    return found.stdout.strip()


def image_runtime(executor: Runner, image: str) -> dict[str, Any]:
    """Return what an image's configuration has of its containers; empty where it is not here."""
    template = "{{json .Config}}"
    found = executor.run(("docker", "image", "inspect", "--format", template, image))
    try:
        runtime = json.loads(found.stdout)
    except ValueError:
        return {}
    return runtime if isinstance(runtime, dict) else {}


def image_group(executor: Runner, run: Run, image: str) -> int:
    """Return the group of the image's user: configured, or named by its USER."""
    if run.group is not None or not run.user:
        return run.group or 0
    user = str(image_runtime(executor, image).get("User") or "")
    return explicit_group(user, run.user)


def container_log(executor: Runner, container: str, lines: int = LOG_LINES) -> str:
    """Return the last lines of both streams of a container."""
    done = executor.run(("docker", "logs", "--tail", str(lines), container))
    return (done.stdout + done.stderr).strip()


def health_log(health: Mapping[str, Any]) -> str:
    """Return how the last health checks ended; `health` is `State.Health` of an inspection."""
    entries = list(health.get("Log") or ())[-3:]
    outputs = [str(entry.get("Output", "")).strip() for entry in entries]
    if not any(outputs) and entries and entries[-1].get("ExitCode"):
        outputs = [f"exit code {entries[-1]['ExitCode']}"]
    return "".join(f"health check: {output}\n" for output in outputs if output)


def published_at(executor: Runner, container: str, port: int) -> str:
    """Return where the engine has published a port of a container, `http://…`, or nothing."""
    answer = executor.run(("docker", "port", container, f"{port}/tcp")).stdout.splitlines()
    host, _, number = answer[0].strip().rpartition(":") if answer else ("", "", "")
    return local_address(host.strip("[]"), number) if number else ""


def helper_argv(
    image: str, mount: Mount, *command: str, options: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Return the line that runs a command of the image on one mount, without network, once."""
    program, *words = command
    return (
        *("docker", "run", "--rm", "--pull", "never", "--network", "none", *options),
        *("--mount", str(mount), "--entrypoint", program, image, *words),
    )
