"""Containers of ours: found by label, started, waited for, and removed. No other is touched."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from buildlib.containers.health_probe import Probe, wait
from buildlib.containers.inspect import container_log, health_log, state_of
from buildlib.containers.leftovers import REMOVE, ended, listed_now, listed_with, remove_made
from buildlib.containers.plan import (
    DETACHED,
    OWNER,
    RUN_ID,
    SERVICES,
    RunPlan,
    run_argv,
    run_label,
)
from buildlib.containers.port import Inside, Reach
from buildlib.containers.services import Services
from buildlib.docker.engine import ENGINE_FAILED, NOT_EXECUTABLE, listed
from buildlib.errors import (
    BuildlibError,
    EngineError,
    GateError,
    InputError,
    collected,
    raise_problems,
)
from buildlib.executor import Executor
from buildlib.image.labels import names_of, value_of
from buildlib.program import PROGRAM
from buildlib.shell import NOT_FOUND

# How long a server may take for one answer.
_CALL: Final = 2.0
_STOP_SECONDS: Final = "10"
# What docker says of one that somebody else removes, or the engine itself for `--rm`.
_GOING: Final = "already in progress"
_LOOKS: Final = 50
_PAUSE: Final = 0.1
_INIT_FAILED: Final = re.compile(r"^\[FATAL tini \(\d+\)\] exec .* failed: ", re.MULTILINE)
# How the engine writes the time of what has not happened.
_NEVER: Final = "0001-"


class NameTakenError(EngineError):
    """There is a container of that name, whosever it is."""


class Containers:
    """The containers of one project.

    Args:
        owner: the project's image, which is the value of their label.
    """

    def __init__(self, executor: Executor, owner: str) -> None:
        self._executor = executor
        self._owner = owner

    def _docker(self, *words: str) -> str:
        return self._executor.run(("docker", *words)).stdout.strip()

    def inspect(self, name: str) -> dict[str, Any] | None:
        """Return what docker knows of a container, or None where there is none.

        Raises:
            EngineError: the engine does not answer (exit 4).
        """
        answer = self._executor.run(("docker", "container", "inspect", name))
        if answer.code == 0:
            return dict(json.loads(answer.stdout)[0])
        if "no such container" in answer.stderr.lower():
            return None
        raise EngineError(
            "the engine does not answer any more",
            why=answer.stderr.strip(),
            hint=f"once it does: {PROGRAM} docker-stop removes what still runs there",
        )

    def ours(self, name: str = "") -> list[dict[str, Any]]:
        """Return our containers, running or not: all, or the one of that name.

        Raises:
            EngineError: the engine does not list them (exit 4).
        """
        words = ("ps", "--all", "--quiet", "--no-trunc")
        identifiers = listed_with(self._executor, OWNER, self._owner, *words)
        if not identifiers:
            return []
        answer = self._executor.run(("docker", "container", "inspect", *identifiers))
        # One that has gone meanwhile is an error to docker, and none to us.
        found: list[dict[str, Any]] = json.loads(answer.stdout or "[]")
        # docker's own filter takes a name for a regular expression.
        named = [container for container in found if not name or name_of(container) == name]
        return sorted(named, key=name_of)

    def is_ours(self, container: dict[str, Any]) -> bool:
        """Return whether it carries our label."""
        return bool(value_of(labels_of(container), OWNER) == self._owner)

    def remove(self, name: str) -> None:
        """Stop it in an orderly way and remove it with its anonymous volumes.

        Raises:
            EngineError: it is still there (exit 4).
        """
        self._executor.run(("docker", "stop", "--time", _STOP_SECONDS, name))
        self._discard(name)

    def _discard(self, name: str) -> None:
        done = self._executor.run(("docker", *REMOVE, name))
        for _ in range(_LOOKS if _GOING in done.stderr else 0):
            if self.inspect(name) is None:
                return
            time.sleep(_PAUSE)
        if done.code != 0 and self.inspect(name):
            raise EngineError(f"the container {name} can't be removed", why=done.stderr.strip())

    def make_room(self, name: str) -> Mapping[str, str] | None:
        """Remove our own older container of that name; return its labels; None: there was none.

        Raises:
            EngineError: a container that is not ours has the name (exit 4).
        """
        there = self.inspect(name)
        # What is called by another name has an ID that begins so.
        if there is None or name_of(there) != name:
            return None
        if not self.is_ours(there):
            raise EngineError(
                f"the container {name} is not ours, so it stays",
                why=f"it runs {there['Config']['Image']}, without the label {OWNER}={self._owner}",
                hint="choose another name with --name",
            )
        self.remove_all(there)
        return labels_of(there)

    def clean_up(self, run_id: str, *, services: bool = False, label: str = RUN_ID) -> None:
        """Remove what a run that failed has left; what stays keeps nothing else.

        Args:
            run_id: its label.
            services: it has some, in a network of theirs.
            label: which holds its ID.

        Raises:
            EngineError, ProblemsError: all of it that stays (exit 4).
        """
        which = ("--filter", f"label={label}={run_id}", "--format")
        removals: dict[tuple[str, ...], Callable[[str], None]] = {
            ("ps", "--all", *which, f'{{{{.ID}}}}={{{{.Label "{OWNER}"}}}}'): self._end
        }
        if services:
            removals["network", "ls", *which, "{{.ID}}"] = self._remove_network
        problems: list[BuildlibError] = []
        for listing, remove in removals.items():
            found: tuple[str, ...] = ()
            with collected(problems):
                found = listed(self._executor, *listing)
            for left in found:
                with collected(problems):
                    remove(left)
        raise_problems(problems)

    def _end(self, found: str) -> None:
        """Remove a container of a run, `ID=OWNER`: services, which have no owner, at once.

        Their data goes with them, so there is nothing that they would have to end in order.
        """
        name, _, owner = found.partition("=")
        (self.remove if owner else self._discard)(name)

    def _remove_network(self, name: str) -> None:
        done = self._executor.run(("docker", "network", "rm", name))
        if done.code != 0 and "not found" not in done.stderr:
            raise EngineError(f"the network {name} can't be removed", why=done.stderr.strip())

    def remove_stale(self, note: Callable[[str], None], *, former: bool = False) -> None:
        """Remove what runs that were killed have left.

        A container that was started with `--detach` stays, with its services.

        Args:
            note: prints a line for each of these runs.
            former: those of earlier versions as well, which had other names for the labels.
        """
        labels = list(zip(names_of(RUN_ID), names_of(DETACHED), strict=True))
        for label, detached in labels if former else labels[:1]:
            self._remove_stale(label, detached, note)

    def _remove_stale(self, label: str, detached_label: str, note: Callable[[str], None]) -> None:
        which, template = ("--filter", f"label={label}", "--format"), f'{{{{.Label "{label}"}}}}'
        kept = f'={{{{.Label "{detached_label}"}}}}'
        containers = listed_now(self._executor, "ps", "--all", *which, template + kept)
        networks = listed_now(self._executor, "network", "ls", *which, template)
        runs = [found.partition("=")[::2] for found in containers]
        detached = {run_id for run_id, value in runs if value}
        names = {*networks, *(run_id for run_id, _ in runs)} - detached
        for run_id in ended(names):
            remove_made(self._executor, label, run_id)
            note(f"removed what {run_id} had left, a run that was killed")

    def remove_all(self, container: dict[str, Any]) -> None:
        """Remove a container of ours, and the services that were started for it.

        Raises:
            EngineError, ProblemsError: something of it stays (exit 4).
        """
        problems: list[BuildlibError] = []
        with collected(problems):
            self.remove(str(container["Id"]))
        labels = labels_of(container)
        for services, label in zip(names_of(SERVICES), names_of(RUN_ID), strict=True):
            if labels.get(services) and labels.get(label):
                with collected(problems):
                    self.clean_up(labels[label], services=True, label=label)
        raise_problems(problems)

    def start_services(self, plan: RunPlan) -> None:
        """Start what a container needs beside it, and wait until all of it can be used.

        Raises:
            EngineError: the engine could not, or a service is not ready in time (exit 4).
        """
        given, label = plan.given, run_label(plan)
        Services(self._executor, given.services, given.network, label, plan.helper).start()

    def start(self, plan: RunPlan) -> str:
        """Start it detached, and return its ID.

        Raises:
            NameTakenError: see `make_room`.
            EngineError: the engine could not (exit 4).
        """
        done = self._executor.run(run_argv(plan), env=dict(plan.given.hidden))
        if done.code == 0:
            return done.stdout.strip()
        raise self._not_started(plan, done.code, done.stderr)

    def _not_started(self, plan: RunPlan, code: int, stderr: str) -> BuildlibError:
        why = stderr.strip().splitlines()[0] if stderr.strip() else f"exit code {code}"
        if "is already in use by container" in stderr:
            return NameTakenError(f"there is a container {plan.name} already", why=why)
        taken = "port is already allocated" in stderr or "address already in use" in stderr
        if taken and plan.published:
            return self._port_taken(plan.published[1])
        if "bind source path does not exist" in stderr:
            return EngineError(
                "what is to be mounted is not on the engine's machine",
                why=why,
                hint="an engine elsewhere mounts volumes alone: --data-dir volume:NAME",
            )
        if "No such image" in stderr or "Unable to find image" in stderr:
            return self._no_image(plan, why)
        if code in {NOT_EXECUTABLE, NOT_FOUND}:
            return command_error(code, why)
        return EngineError("the engine could not start the container", why=why)

    def _no_image(self, plan: RunPlan, why: str) -> EngineError:
        there = self._docker(
            "image", "inspect", "--format", "{{.Os}}/{{.Architecture}}", plan.image
        )
        if not (plan.platform and there):
            return EngineError(f"the image {plan.image} is not here", why=why)
        return EngineError(
            f"the image {plan.image} is not here for {plan.platform}",
            why=f"it is for {there}",
            hint=f"leave --no-build out, or {PROGRAM} docker-build --platform {plan.platform}",
        )

    def _port_taken(self, port: int) -> EngineError:
        holder = self._docker("ps", "--filter", f"publish={port}", "--format", "{{.Names}}")
        name = holder.splitlines()[0] if holder else ""
        found = self.inspect(name) if name else None
        if found and self.is_ours(found):
            stop = f"{PROGRAM} docker-stop --name {name} stops it"
            return EngineError(
                f"port {port} is taken by {name}, a container of this project",
                hint=f"{stop}; or give --port 0",
            )
        why = f"the container {name} has it" if name else "a process of this machine has it"
        return EngineError(f"port {port} is taken", why=why, hint="give another with --port")

    def wait_until_healthy(self, plan: RunPlan, container: str, address: str) -> str:
        """Return as soon as it is, and how it was asked if not at its address.

        Args:
            container: its ID.
            address: of the server; empty: it can't be reached from here, and is asked inside.

        Raises:
            GateError: it is not healthy in time, or has ended (exit 7).
            EngineError: its command can't be started, or the engine is gone (exit 4).
        """
        health = plan.health
        if health is None:
            return ""
        inside = Inside(self._executor, container, plan.helper, run_label(plan))
        reach = Reach(inside, health.port, address)
        probe = Probe(
            health,
            reach,
            lambda words: self._executor.run(("docker", "exec", container, *words)),
            lambda: self.inspect(container) or {},
            lenient=True,
        )
        problem, ended = wait(
            lambda left: probe.problem(min(_CALL, left)),
            lambda: bool(self._state(container).get("Running")),
            plan.timeout,
        )
        if ended:
            raise self._ended(container)
        if problem:
            raise self._unhealthy(plan, container, reach, problem)
        return probe.way or reach.way

    def _state(self, container: str) -> dict[str, Any]:
        return state_of(self.inspect(container) or {})

    def _unhealthy(self, plan: RunPlan, container: str, reach: Reach, problem: str) -> GateError:
        checks = health_log(self._state(container).get("Health") or {})
        log = f"{checks}{container_log(self._executor, container)}".strip()
        where = f" ({reach.way or reach.address})" if reach.way or reach.address else ""
        seen = problem and f"{plan.health}{where}: {problem}"
        return GateError(
            f"{plan.name} was not healthy within {plan.timeout} s",
            why="\n".join(filter(None, [seen, log or "it logged nothing"])),
            hint="port, health-path, health-status and start-timeout in [run] or [smoke] "
            "change what is asked",
        )

    def has_started(self, name: str) -> bool:
        """Return whether the command of a container was ever started."""
        if str(self._state(name).get("StartedAt") or _NEVER).startswith(_NEVER):
            return False
        # docker's init was, and may not have found the command.
        return not _INIT_FAILED.search(container_log(self._executor, name, lines=5))

    def _ended(self, container: str) -> BuildlibError:
        code = self._state(container).get("ExitCode", "unknown")
        log = container_log(self._executor, container)
        if code in {NOT_EXECUTABLE, NOT_FOUND} and not self.has_started(container):
            return command_error(code, log)
        return GateError(f"the container ended at once, with code {code}", why=log)

    def only(self, name: str = "") -> dict[str, Any]:
        """Return our one container, or the one of that name.

        Raises:
            InputError: there is none, or there are several (exit 2).
        """
        found = self.ours(name)
        if len(found) == 1:
            return found[0]
        if not found:
            which = f" is called {name}" if name else ""
            raise InputError(
                f"no container of this project{which}", hint=f"{PROGRAM} docker-run starts one"
            )
        names = ", ".join(name_of(container) for container in found)
        raise InputError("this project has several containers", hint=f"give --name, one of {names}")


def labels_of(container: dict[str, Any]) -> dict[str, str]:
    """Return the labels of what `docker container inspect` printed."""
    return dict(container.get("Config", {}).get("Labels") or {})


def name_of(container: dict[str, Any]) -> str:
    """Return the name of what `docker container inspect` printed."""
    return str(container["Name"]).removeprefix("/")


def command_error(code: int, why: str = "") -> EngineError:
    """Return what a code of `docker run` itself means."""
    what = {
        ENGINE_FAILED: "the engine could not start the container",
        NOT_EXECUTABLE: "the command in the container can't be executed",
        NOT_FOUND: "the command is not in the container",
    }
    return EngineError(what.get(code, f"the container ended with code {code}"), why=why)
