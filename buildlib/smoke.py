"""Smoke: the image is built for one platform, started, and asked what a user would ask."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final

from buildlib.build import build_image
from buildlib.console import Console, table
from buildlib.errors import EngineError, GateError, InputError
from buildlib.executor import Completed, Executor
from buildlib.labels import NAMESPACE
from buildlib.planning import BuildRequest
from buildlib.platforms import Platform
from buildlib.project import Project
from buildlib.run.ask import container_log, image_version, published_at
from buildlib.run.plan import confined_options

LABEL: Final = f"{NAMESPACE}.smoke"
_POLL: Final = 0.05
_HTTP_TIMEOUT: Final = 2.0
# 128 and the number of the signal: SIGKILL, where SIGTERM was not heard; SIGTERM, where the
# program left it to the kernel, which ends it as well.
_KILLED: Final = "137"
_ENDED: Final = ("0", "143")
# A container under emulation may be slow to start, but a command that hangs is a finding.
_COMMAND_TIMEOUT: Final = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One check and how it went; `detail` says why it failed, or what was seen."""

    check: str
    passed: bool
    seconds: float
    detail: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class SmokeResult:
    """Every check of one platform's image."""

    image: str
    platform: str
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> tuple[Finding, ...]:
        """Return the findings that stop a release."""
        return tuple(finding for finding in self.findings if not finding.passed)

    def as_dict(self) -> dict[str, Any]:
        """Return every field, ready for JSON."""
        return asdict(self) | {"passed": not self.failed}

    def as_text(self) -> str:
        """Return one row a check."""
        rows = [
            ("ok" if f.passed else "failed", f"{f.seconds:.1f} s", f.check, f.detail)
            for f in self.findings
        ]
        return table(rows)


class Smoke:
    """Runs the configured checks against one image on one platform.

    Args:
        project: says what to check, and which version the image must have.
        executor: starts docker.
        image: reference of an image that the engine has.
        platform: what to run it as.
        version: that it must have; empty: the project's.
    """

    def __init__(
        self,
        project: Project,
        executor: Executor,
        image: str,
        platform: Platform,
        *,
        version: str = "",
    ) -> None:
        """Keep what every check needs."""
        self._version_wanted = version or project.version.value
        self._wanted = project.config.smoke
        # As docker-run starts it: what works only with more than that is a finding.
        self._confined = confined_options(project.config.run)
        self._executor = executor
        self._image = image
        self._platform = platform

    def run(self) -> SmokeResult:
        """Run every check, also after one that failed.

        Raises:
            InputError: the configuration has nothing to check (exit 2).
            EngineError: no container could be started (exit 4).
        """
        findings = [self._command(command) for command in self._wanted.commands]
        if self._wanted.version_command:
            findings.append(self._version())
        if self._wanted.port:
            findings += self._server()
        if not findings:
            raise InputError(
                "there is nothing to check", hint="add [tool.buildlib.smoke] with commands or port"
            )
        return SmokeResult(
            image=self._image, platform=str(self._platform), findings=tuple(findings)
        )

    @contextmanager
    def _run(self, *options: str, command: Sequence[str] = ()) -> Iterator[tuple[str, Completed]]:
        """Run a container for the time of the block; it is removed whatever happens.

        `--rm` alone would not do: it ends with the client, and the container may outlive that.
        """
        name = f"buildlib-smoke-{os.urandom(6).hex()}"
        argv = (
            *("docker", "run", "--platform", str(self._platform), "--label", LABEL),
            *("--name", name, *self._confined, *options, self._image, *command),
        )
        try:
            yield name, self._executor.run(argv, timeout=_COMMAND_TIMEOUT)
        finally:
            self._executor.run(("docker", "rm", "--force", "--volumes", name))

    def _ask(self, command: Sequence[str]) -> Completed:
        with self._run(command=command) as (_, result):
            return result

    def _command(self, command: Sequence[str]) -> Finding:
        def check() -> str:
            result = self._ask(command)
            return "" if result.code == 0 else f"exit code {result.code}: {result.stderr.strip()}"

        return _timed(" ".join(command), check)

    def _version(self) -> Finding:
        def check() -> str:
            result = self._ask(self._wanted.version_command)
            return _differs(result.stdout.strip(), self._version_wanted)

        return _timed("version of the program", check)

    def _server(self) -> list[Finding]:
        publish = ("--detach", "--publish", f"127.0.0.1::{self._wanted.port}")
        with self._run(*publish) as (name, started):
            if started.code != 0:
                raise EngineError("the container did not start", why=started.stderr.strip())
            healthy = _timed("healthy", lambda: self._healthy(name))
            if not healthy.passed:
                return [healthy]
            version = _timed("version in health", lambda: self._health_version(name))
            return [healthy, version, _timed("stops on SIGTERM", lambda: self._stops(name))]

    def _stops(self, name: str) -> str:
        """Stop it as docker does; it has to end by itself, and in time."""
        limit = self._wanted.stop_timeout
        started = time.monotonic()
        self._executor.run(("docker", "stop", "--time", str(limit), name))
        took = time.monotonic() - started
        state = ("docker", "inspect", "--format", "{{.State.ExitCode}}", name)
        code = self._executor.run(state).stdout.strip()
        if code == _KILLED:
            return f"it did not end within {limit} s, and was killed"
        return "" if code in _ENDED else f"it ended with code {code} after {took:.1f} s"

    def _address(self, name: str) -> str:
        address = published_at(self._executor, name, self._wanted.port)
        return address and f"{address}{self._wanted.health_path}"

    def _healthy(self, name: str) -> str:
        deadline = time.monotonic() + self._wanted.start_timeout
        reason = "it did not start"
        while time.monotonic() < deadline:
            address = self._address(name)
            if not address:
                return f"{reason}\n{container_log(self._executor, name)}"
            try:
                _get(address)
            except OSError as error:
                reason = str(error)
            else:
                return ""
            time.sleep(_POLL)
        log = container_log(self._executor, name)
        return f"not healthy within {self._wanted.start_timeout} s: {reason}\n{log}"

    def _health_version(self, name: str) -> str:
        body = _get(self._address(name))
        try:
            seen = str(json.loads(body).get("version", ""))
        except (ValueError, AttributeError):
            return "" if self._version_wanted in body.decode(errors="replace") else "absent"
        return _differs(seen, self._version_wanted)


def _get(address: str) -> bytes:
    """Return the body of a 200 answer; anything else is an OSError."""
    from urllib.request import urlopen  # noqa: PLC0415 - slow to import, and only smoke asks

    with urlopen(address, timeout=_HTTP_TIMEOUT) as answer:  # noqa: S310 - http, see _address
        return bytes(answer.read())


def _differs(seen: str, wanted: str) -> str:
    return "" if seen == wanted else f"it says {seen!r}, and {wanted!r} was built"


def _timed(name: str, check: Callable[[], str]) -> Finding:
    started = time.monotonic()
    problem = check()
    return Finding(
        check=name, passed=not problem, seconds=time.monotonic() - started, detail=problem
    )


def raise_failures(result: SmokeResult) -> None:
    """Raise a GateError (exit 7) that names every check that failed; nothing where none did."""
    if result.failed:
        names = "; ".join(f"{f.check}: {f.detail}" for f in result.failed)
        raise GateError(f"smoke failed on {result.platform}", why=names)


def smoke_image(
    project: Project, image: str, platform: Platform, executor: Executor
) -> SmokeResult:
    """Check an image that is there; nothing is built or removed.

    The version that it must have is the one that its label tells.

    Raises:
        EngineError: the engine does not have it (exit 4).
        BuildlibError: as `Smoke.run`.
    """
    version = image_version(executor, image)
    return Smoke(project, executor, image, platform, version=version).run()


def smoke_platform(
    project: Project, platform: Platform, executor: Executor, console: Console
) -> SmokeResult:
    """Build the image for one platform under a tag of its own, check it, and remove the tag.

    Raises:
        BuildlibError: as `build_image` and `Smoke.run`.
    """
    request = BuildRequest(
        platforms=(str(platform),), only_tags=(f"smoke-{os.urandom(4).hex()}-{platform.slug}",)
    )
    image = build_image(project, request, executor, console).references[0]
    try:
        return Smoke(project, executor, image, platform).run()
    finally:
        # The tag alone: layers that other images share stay.
        executor.run(("docker", "image", "rm", "--no-prune", image))
