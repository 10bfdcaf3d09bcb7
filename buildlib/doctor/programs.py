"""The programs that gates, signatures and test releases start, and the key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from typing import Final

from buildlib.config.config import Config
from buildlib.doctor.check import OK, UNASKED, Check, asked, check, unasked
from buildlib.errors import ToolError
from buildlib.executor import Executor
from buildlib.image.sbom import find_syft
from buildlib.policy.check import find_linter
from buildlib.policy.dockerfile_checks import find_hadolint
from buildlib.program import PROGRAM
from buildlib.project import Project
from buildlib.publish.signing import check_signer, tracked_key
from buildlib.registry.local import find_program
from buildlib.scan.check import find_scanner
from buildlib.sign.signer import find_cosign

_TIMEOUT: Final = 60.0
_DATABASE: Final = f"{PROGRAM} doctor --for scan looks at its database"
_OLDEST_COSIGN: Final = "2"


def _version(executor: Executor, *argv: str) -> str:
    """Return the version that a program prints: a field of JSON, or the last word."""
    try:
        said = executor.run(argv, timeout=_TIMEOUT).stdout.strip()
    except ToolError:
        return ""
    try:
        return str(json.loads(said)["version"])
    except (ValueError, LookupError, TypeError):
        return (said.split() or [""])[-1]


def linter(project: Project, executor: Executor, today: date) -> list[Check]:
    """Return whether hadolint is here, where the policy needs it."""

    def ask() -> str:
        find_linter(project, executor, today)
        try:
            find_hadolint(executor)
        except ToolError:
            return "not needed: the rule hadolint is ignored"
        return _version(executor, "hadolint", "--version") or "unknown version"

    return [asked("hadolint", ask)]


def scanner(config: Config, executor: Executor, *, network: bool) -> list[Check]:
    """Return which scanner the gate `scan` would start.

    Args:
        config: names it.
        executor: starts it.
        network: it may get its database, if it has none.
    """

    def ask() -> str:
        found = find_scanner(config.scan_settings(), executor, config.root, database=network)
        return f"{found}, with a database" if network else f"{found}; {_DATABASE}"

    return [asked("scanner", ask)]


def syft(executor: Executor) -> list[Check]:
    """Return whether syft is here, for SBOMs."""

    def ask() -> str:
        find_syft(executor)
        return _version(executor, "syft", "version", "--output", "json") or "unknown version"

    return [asked("syft", ask)]


def cosign(executor: Executor) -> list[Check]:
    """Return whether cosign is here."""
    return [asked("cosign", lambda: find_cosign(executor).version, minimum=_OLDEST_COSIGN)]


def key(config: Config, executor: Executor, *, opened: bool) -> list[Check]:
    """Return whether the key signs what is verified.

    Args:
        opened: it may be opened, with the password in COSIGN_PASSWORD.
    """
    named = config.signing().key or ("keyless" if config.signing().keyless else "")
    if not opened and named:
        tracked = tracked_key(config)
        if tracked:
            return [check("signing key", named, fix=str(tracked))]
        return [unasked("signing key", named, "sign")]
    # A key elsewhere is opened by whoever keeps it, and only to sign.
    elsewhere = config.signing().keyless or ("://" in named and not named.startswith("env://"))

    def ask() -> str:
        check_signer(config, config.publishing().gates, executor)
        return f"{named}, opened with COSIGN_PASSWORD"

    found = asked("signing key", ask)
    if elsewhere and found.state == OK:
        fix = "it is asked for the first signature"
        return [Check(name=found.name, state=UNASKED, found=named, fix=fix)]
    return [found]


def registry_program(executor: Executor, env: Mapping[str, str]) -> list[Check]:
    """Return whether there is a registry to start, for a test release."""

    def ask() -> str:
        found = find_program(executor, env)
        return f"{found.version} ({found.path})"

    return [asked("registry program", ask)]
