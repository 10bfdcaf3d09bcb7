"""The diagnosis: what each group of tasks needs, and what of it is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial
from typing import Any, Final

from buildlib.background import Background
from buildlib.builders.manager import BuilderManager
from buildlib.config.builders import BuilderSettings
from buildlib.config.config import Config
from buildlib.config.diff import NEW_HIGH_FINDING
from buildlib.config.publish import (
    DIFF,
    POLICY,
    REPRODUCIBLE,
    SBOM,
    SCAN,
    SIZE,
    SMOKE,
    check_gate,
)
from buildlib.config.publish import SIGN as SIGN_GATE
from buildlib.doctor import base_images, machine, programs, registries
from buildlib.doctor.check import MISSING, NOTE, OK, UNASKED, Check, asked
from buildlib.errors import BuildlibError, InputError, ToolError, did_you_mean, raise_problems
from buildlib.executor import Executor
from buildlib.findings.report import Report
from buildlib.project import Project
from buildlib.publish.signing import unmade_sboms
from buildlib.terminal.console import Console

BUILD: Final = "build"
RUN: Final = "run"
SIGN: Final = "sign"
PUBLISH: Final = "publish"
BUILDERS: Final = "builders"
REHEARSE: Final = "rehearse"
# In the order of the report, in which each thing is under the first that needs it.
GROUPS: Final = (BUILD, RUN, POLICY, SMOKE, SCAN, SBOM, SIGN, PUBLISH, REHEARSE, BUILDERS)
_GATES: Final[Mapping[str, tuple[str, ...]]] = {
    SMOKE: (RUN, POLICY),
    POLICY: (POLICY,),
    SIZE: (),
    SCAN: (SCAN,),
    SBOM: (SBOM,),
    REPRODUCIBLE: (BUILD,),
    DIFF: (),
}


def check_group(name: str) -> str:
    """Return the name of a group of tasks.

    Raises:
        InputError: there is none (exit 2).
    """
    if name and name not in GROUPS:
        raise InputError(f"--for: unknown {name!r}", hint=did_you_mean(name, GROUPS))
    return name


def check_skips(group: str, gates: Sequence[str]) -> frozenset[str]:
    """Return the gates that a publication would skip.

    Raises:
        InputError: there is no such gate, or the group has none (exit 2).
    """
    if gates and group not in {PUBLISH, REHEARSE}:
        raise InputError("--skip-gate needs --for publish, or --for rehearse")
    return frozenset(check_gate(gate, where="--skip-gate") for gate in gates)


def parts_of(group: str, config: Config, skipped: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """Return the groups whose needs a group has as well, itself among them, in order.

    Args:
        config: says which gates a publication has.
    """
    found = {group}
    if group in {PUBLISH, REHEARSE}:
        gates = [gate for gate in config.publishing().gates if gate not in skipped]
        found |= {BUILD, *(part for gate in gates for part in _GATES[gate])}
        if DIFF in gates and NEW_HIGH_FINDING in config.diff_settings().fail_on:
            found.add(SCAN)
        if group == PUBLISH and config.publishing().sign and SIGN_GATE not in skipped:
            found.add(SIGN)
    elif group == SMOKE:
        found |= {BUILD, *_GATES[SMOKE]}
    elif group == RUN:
        found.add(BUILD)
    return tuple(one for one in GROUPS if one in found)


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosis(Report):
    """What was found.

    Args:
        group: that it was asked for; empty: all, as far as that needs no network.
        parts: by group, the groups whose checks count for it.
        checks: by the group that they are told under.
        build_problems: why nothing can be built.
    """

    group: str
    parts: Mapping[str, tuple[str, ...]]
    checks: Mapping[str, tuple[Check, ...]]
    build_problems: tuple[BuildlibError, ...]

    def state(self, group: str) -> str:
        """Return what all checks of a group come to."""
        states = {one.state for part in self.parts[group] for one in self.checks[part]}
        return next((state for state in (MISSING, UNASKED) if state in states), OK)

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "checks": [
                asdict(one) | {"group": group}
                for group, checks in self.checks.items()
                for one in checks
            ],
            "groups": {group: self.state(group) for group in self.parts},
        }

    def as_text(self) -> str:
        """Return a part for each group, and what can be done."""
        parts, told = [], set[Check]()
        for group, checks in self.checks.items():
            width = max((one.width for one in checks if one not in told), default=0)
            lines = [line for one in checks if one not in told for line in one.as_lines(width)]
            told.update(checks)
            needs = [part for part in self.parts.get(group, ()) if part != group]
            if not checks and needs:
                lines = [f"  needs {' and '.join(needs)}"]
            if lines:
                parts.append("\n".join([group, *lines]))
        return "\n\n".join(filter(None, [*parts, self.summary()]))

    def summary(self) -> str:
        """Return which groups are ready, and which are not."""
        states = {"ready": OK, MISSING: MISSING, UNASKED: UNASKED}
        rows = [
            (name, [group for group in self.parts if self.state(group) == state])
            for name, state in states.items()
        ]
        return "\n".join(f"{name + ':':<10} {', '.join(found)}" for name, found in rows if found)

    def problems(self) -> list[BuildlibError]:
        """Return what is missing of what was asked for."""
        if not self.group:
            return list(self.build_problems)
        missing = [
            one.name
            for part in self.parts[self.group]
            for one in self.checks[part]
            if one.state == MISSING
        ]
        if not missing:
            return []
        return [ToolError(f"missing for {self.group}: {', '.join(missing)}")]


def diagnose_machine(env: Mapping[str, str], executor: Executor) -> Diagnosis:
    """Return what is there of what builds need, where there is no configuration to ask for more."""
    checks = {BUILD: tuple(machine.without_project(env, executor))}
    return Diagnosis(group="", parts={}, checks=checks, build_problems=())


def diagnose(
    project: Project,
    executor: Executor,
    console: Console,
    today: date,
    group: str = "",
    groups: Sequence[str] = GROUPS,
    skipped: frozenset[str] = frozenset(),
) -> Diagnosis:
    """Return what is there of what a group of tasks needs, or of what all need.

    Args:
        project: on its work tree.
        today: in UTC, for what the policy ignores until a day.
        group: for which the network and passwords may be used; empty: `groups`, without them.
        groups: which are asked for where it is not one.
        skipped: gates that a publication leaves out.
    """
    config = project.config
    wanted = parts_of(group, config, skipped) if group else groups
    signs = config.publishing().sign and SIGN_GATE not in skipped
    with_policy = POLICY in config.publishing().gates and POLICY not in skipped
    facts, problems = machine.inspect_machine(project.env, executor)
    ask: dict[str, Callable[[], list[Check]]] = {
        BUILD: lambda: [
            *machine.for_builds(project, executor, facts, problems),
            *base_images.for_sources(project, executor, network=bool(group)),
        ],
        RUN: lambda: machine.for_containers(project, executor, facts),
        POLICY: lambda: programs.linter(project, executor, today),
        SMOKE: list,
        SCAN: lambda: programs.scanner(config, executor, network=bool(group)),
        SBOM: lambda: programs.syft(executor),
        SIGN: lambda: [
            *programs.cosign(executor),
            *programs.key(config, executor, opened=bool(group)),
        ],
        PUBLISH: lambda: [
            *_attestations(config, skipped if signs else None),
            *base_images.for_release(project),
            *(base_images.labels_of_release(project, today) if with_policy else []),
            *registries.for_registries(config, project.env, executor, network=bool(group)),
        ],
        REHEARSE: lambda: [
            *(programs.cosign(executor) if signs else []),
            *_attestations(config, skipped if signs else None),
            *programs.registry_program(executor, project.env),
        ],
        BUILDERS: lambda: _builders(project, executor, console),
    }
    found = {name: Background(ask[name]) for name in wanted}
    return Diagnosis(
        group=group,
        parts={name: parts_of(name, config, skipped) for name in ([group] if group else groups)},
        checks={name: tuple(found[name].get()) for name in wanted},
        build_problems=tuple(problems),
    )


def _attestations(config: Config, skipped: frozenset[str] | None) -> list[Check]:
    """Return a check where nothing makes the attestations; None: none are signed."""
    gates = set(config.publishing().gates) - (skipped or set())
    problems = unmade_sboms(config, gates) if skipped is not None else []
    return [
        Check(name="attestations", state=MISSING, found=one.what, fix=one.hint) for one in problems
    ]


def _builders(project: Project, executor: Executor, console: Console) -> list[Check]:
    config = project.config
    manager = BuilderManager(config.root, project.env, executor, console)
    if not config.builders:
        name = config.builder or "docker's current one"
        return [Check(name="builder", state=NOTE, found=f"{name}; none is configured")]

    def ask(builder: BuilderSettings) -> str:
        status = manager.status(builder)
        raise_problems(status.problems())
        return f"{status.driver}, {status.state}"

    return [asked(f"builder {one.name}", partial(ask, one)) for one in config.builders]
