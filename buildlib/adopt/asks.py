"""What a configuration needs that `init` can't find: the lines for the user to add, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from buildlib.adopt.configuration import AdoptedImage, registry_lines
from buildlib.adopt.settings import Setting, is_served, nested, program_of
from buildlib.config.file import OWN_FILE
from buildlib.config.publish import SBOM, SCAN, Publish
from buildlib.config.toml_text import toml_key, toml_value
from buildlib.findings.policy_rules import HADOLINT
from buildlib.image.user_and_shell import starts_shell, user_number

_GATES: Final[Mapping[str, tuple[str, ...]]] = {SCAN: ("grype", "trivy"), SBOM: ("syft",)}


class ByHand(NamedTuple):
    """Lines that a file needs and that the user adds, and why."""

    name: str
    why: str
    lines: tuple[str, ...]


def asked(
    images: Sequence[AdoptedImage],
    settings: Sequence[Setting],
    installed: Callable[[str], bool],
) -> tuple[ByHand, ...]:
    """Return the lines to add to the end of the configuration.

    Args:
        images: of the repository.
        settings: that are written.
        installed: whether there is a program of this name.
    """
    table = nested(settings)
    smoke: list[str] = []
    broken: list[str] = []
    for one in images:
        own = table["images"][one.name] if one.name else table
        prefix = f"images.{toml_key(one.name)}." if one.name else ""
        smoke += _smoke_lines(own, one, prefix)
        rules = [*_broken_rules(own, one)]
        if not installed(HADOLINT):
            rules.append((HADOLINT, "hadolint is not installed"))
        broken += [line for rule in rules for line in _ignored(prefix, *rule)]
    why = "nothing says what docker-smoke can run or ask"
    found = [ByHand(OWN_FILE, why, tuple(smoke))] if smoke else []
    if broken:
        why = "the policy refuses the image as it is; or change the Dockerfile"
        found.append(ByHand(OWN_FILE, why, tuple(broken)))
    if lines := registry_lines(table):
        found.append(ByHand(OWN_FILE, "docker-publish needs a repository to push to", lines))
    gates = [gate for gate, names in _GATES.items() if not any(map(installed, names))]
    needed = ["a key to sign with", *(" or ".join(_GATES[gate]) for gate in gates)]
    left = [gate for gate in Publish().gates if gate not in gates]
    chosen = (f"gates = {toml_value(left)}",) if gates else ()
    why = f"docker-publish otherwise needs {', and '.join(needed)}"
    found.append(ByHand(OWN_FILE, why, ("[publish]", "sign = false", *chosen)))
    return tuple(found)


def _smoke_lines(table: Mapping[str, Any], image: AdoptedImage, prefix: str) -> tuple[str, ...]:
    """Return the lines with what smoke runs or asks; nothing where that is known.

    Args:
        table: of the image.
        image: whose Dockerfile says what it starts.
        prefix: of the names of its tables.
    """
    facts = image.facts
    if "smoke" in table or is_served(table) or facts.is_of_files:
        return ()
    program = program_of(facts)
    commands = f"commands = {toml_value([[*program, '--version']])}"
    return (f"[{prefix}smoke]", commands if program or facts.entrypoint else "port = 8080")


def _broken_rules(table: Mapping[str, Any], image: AdoptedImage) -> Iterator[tuple[str, str]]:
    """Yield the rules of the policy that a Dockerfile breaks by itself, each with the reason."""
    facts = image.facts
    words = facts.main_command
    user = facts.user.value.partition(":")[0] if facts.user else ""
    if not facts.is_of_files and not facts.user:
        yield "non-root", "the Dockerfile sets no USER"
    elif facts.user and not user_number(user):
        yield "non-root", f"USER is {user}"
    serves = bool(table.get("smoke", {}).get("port"))
    if facts.health and starts_shell(facts.health.value.words):
        yield "exec-healthcheck", "HEALTHCHECK runs in a shell"
    elif serves and not facts.health:
        yield "exec-healthcheck", "the Dockerfile has no HEALTHCHECK"
    if words and starts_shell(words):
        yield "exec-entrypoint", "the image starts a shell"


def _ignored(prefix: str, rule: str, reason: str) -> tuple[str, ...]:
    return (
        f"[[{prefix}policy.ignore]]",
        f"rule = {toml_value(rule)}",
        f"reason = {toml_value(reason)}",
    )
