"""Why a build failed; BuildKit has no codes, so its messages are matched."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Final

from buildlib.build.plan import BuildPlan
from buildlib.build.planner import normal_name
from buildlib.build.progress import BuildProgress, PlainProgress, without_command
from buildlib.config.variables import BASE_IMAGES
from buildlib.docker.engine import emulation_problem
from buildlib.errors import AuthorisationError, BuildlibError, EngineError, InputError, NodeError

_TAIL: Final = 40
# What BuildKit and the engine pass on of a registry's answer.
_REFUSED: Final = re.compile(
    r"401 unauthorized|403 forbidden|authorization failed|access denied"
    r"|unauthorized: |\bdenied: ",
    re.IGNORECASE,
)
# As BuildKit refuses an entitlement: that of the daemon, and that of the build.
_NOT_ALLOWED: Final = re.compile(
    r"(?:granting entitlement )?((?:network|security)\.\w+|device) is not allowed"
)
# What buildx itself sends: the context.
_UNREADABLE: Final = re.compile(r"error from sender: (?:[a-z]+ )?(.+): permission denied")
# As every tool puts the system's own words behind what it was about to do.
_LITTLE: Final = 1 << 20
_FULL: Final = re.compile(r": no space left on device\b", re.IGNORECASE)


def failure(plan: BuildPlan, code: int, progress: BuildProgress | PlainProgress) -> BuildlibError:
    """Return the error for a failed build; BuildKit has no codes, so its messages are matched."""
    step = progress.failed
    message = step.error if step else "\n".join(list(progress.messages)[-3:])
    # What a command prints of itself is not a message of BuildKit.
    said = without_command(message)
    messages = map(without_command, progress.messages)
    everything = "\n".join([said, *messages, *(step.log if step else ())])
    if problem := _problem_here(plan, message):
        return problem
    if _FULL.search(everything):
        return NodeError(
            "the engine's disk is full",
            why=message,
            hint="docker system df shows what takes the space; nothing was removed",
        )
    if problem := emulation_problem(everything) or _entitlement_problem(said, message):
        return problem
    if _REFUSED.search(said):
        return AuthorisationError(
            "the registry refused", why=message, hint="docker login, then again"
        )
    if step and "load metadata for" in step.name:
        return _base_problem(plan, step.name.partition("load metadata for ")[2], message)
    log = [*step.log, step.partial][-_TAIL:] if step else []
    where = f" in step {step.name}" if step else f" with exit code {code}"
    return EngineError(f"the build failed{where}", why="\n".join([message, *filter(None, log)]))


def _problem_here(plan: BuildPlan, message: str) -> BuildlibError | None:
    """Return the error where it is about files of this machine, and not the engine's."""
    if unread := _UNREADABLE.search(message):
        return InputError(
            f"the build context holds what can't be read: {unread[1]}",
            why=message,
            hint="let this user read it, or keep it out by a line in .dockerignore",
        )
    if folder := _full_here(plan, message):
        return EngineError(
            f"the disk of {folder} is full",
            why=message,
            hint="make room there; nothing was removed",
        )
    return None


def _full_here(plan: BuildPlan, message: str) -> Path | None:
    """Return the directory of the output where its disk is full, and not the engine's."""
    folder = plan.destination.parent if plan.destination else None
    if folder is None:
        return None
    if _FULL.search(message) and str(folder) in message:
        return folder
    # How the builder reports that its output was not received.
    if "error from receiver" not in message:
        return None
    try:
        return folder if shutil.disk_usage(folder).free < _LITTLE else None
    except OSError:
        return None


def _entitlement_problem(said: str, message: str) -> EngineError | None:
    """Return the error where BuildKit says that a build may not do what it wants."""
    refused = _NOT_ALLOWED.search(said)
    if not refused:
        return None
    name = refused[1]
    return EngineError(
        f"the build may not use {name}",
        why=message,
        hint=f"allow it here with --allow {name}, and in the builder: docker buildx create "
        f"--buildkitd-flags '--allow-insecure-entitlement {name}'",
    )


def _base_problem(plan: BuildPlan, base: str, message: str) -> EngineError:
    placeholders = {normal_name(name) for name in plan.stand_ins}
    if normal_name(base) in placeholders and "no match for platform" in message:
        return EngineError(
            f"the placeholder for a base image is not for this platform: {base}",
            why=message,
            hint="choose another with --platform, or build where the real base image is available",
        )
    if "no match for platform" not in message:
        return EngineError(
            f"a base image can't be pulled: {base}",
            why=message,
            hint="see whether the registry can be reached, or give another source for it in "
            f"base-images, here or in a file that {BASE_IMAGES} names",
        )
    return EngineError(
        f"a base image does not exist for the platform: {base}",
        why=message,
        hint="choose among its platforms with --platform, or another base: "
        f"docker buildx imagetools inspect {base} lists those that a registry has",
    )
