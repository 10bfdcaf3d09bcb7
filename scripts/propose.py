#!/usr/bin/env python3
"""Open a pull request for what a task changed, or an issue for what a scan found.

Usage: propose.py pull-request --branch NAME --title TEXT --body TEXT [--base main] [--run FILE]
       propose.py issue --sarif FILE [--label scan]

`pull-request` commits the changes in tracked files on top of HEAD, and pushes that commit as the
branch of that name. The branch belongs to this script: other commits on it are replaced. The
checkout does not change. Without changes nothing happens, and the next run updates the same branch
and pull request. `--run` starts a workflow on the branch, because GitHub starts none for a push
with the token of a workflow.

`issue` reads the file of `invoke docker-scan --sarif FILE`, and opens one issue for all findings
that fail the gate and that no open issue with the label contains. Setting a label needs triage
rights, so others can't hide a finding.

It calls GitHub's `gh`, with GH_TOKEN or the account that is signed in. `--dry-run` prints the
commands, and neither reads nor changes anything outside of this machine. Exits with code 2 if the
input is wrong, with code 3 if gh or git is missing, and with code 4 if one of them fails. Needs
only the standard library.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

# The committer if git has none configured: GitHub's name for the work of workflows.
_NAME: Final = "github-actions[bot]"
_EMAIL: Final = "41898282+github-actions[bot]@users.noreply.github.com"
# git asks gh for the token, for one command: it is not stored, and not in a command line.
_BY_GH: Final = ("-c", "credential.helper=", "-c", "credential.helper=!gh auth git-credential")
_MARK: Final = "<!-- scan-finding: {} -->"
_MARKED: Final = re.compile(r"^<!-- scan-finding: (\S+) -->\s*$", re.MULTILINE)
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")
# GitHub accepts 65,536 characters, and every finding also needs its hidden line.
_MOST_ROWS: Final = 100
_LONGEST: Final = 300
_ALL: Final = "1000"


class ProposeError(Exception):
    """Why nothing can be proposed; `code` is the exit code."""

    def __init__(self, message: str, code: int) -> None:
        """Keep the code beside the message."""
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Hands:
    """Runs commands; a dry run prints those that reach outside of this machine."""

    dry: bool

    def here(self, *argv: str, env: Mapping[str, str] | None = None) -> str:
        """Run a command that stays on this machine, and return what it prints."""
        try:
            done = subprocess.run(
                argv, env={**os.environ, **(env or {})}, capture_output=True, text=True, check=False
            )
        except FileNotFoundError:
            raise ProposeError(f"{argv[0]} not found: install it", 3) from None
        if done.returncode != 0:
            raise ProposeError(f"{shlex.join(argv[:3])} … failed: {done.stderr.strip()}", 4)
        return done.stdout.strip()

    def outside(self, *argv: str, body: str = "") -> str:
        """Run a command that calls GitHub, with `body` on its standard input."""
        print(f"$ {shlex.join(argv)}", file=sys.stdout if self.dry else sys.stderr)
        if self.dry:
            print("".join(f"| {line}\n" for line in body.splitlines()), end="")
            return ""
        try:
            done = subprocess.run(argv, input=body, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise ProposeError(f"{argv[0]} not found: install it (cli.github.com)", 3) from None
        if done.returncode != 0:
            raise ProposeError(f"{shlex.join(argv[:3])} … failed: {done.stderr.strip()}", 4)
        return done.stdout.strip()

    def listed(self, *argv: str) -> list[dict[str, Any]]:
        """Run a `gh … list --json` and return what it lists; nothing in a dry run."""
        return list(json.loads(self.outside(*argv) or "[]"))


# --- pull request ----------------------------------------------------------------------------


def _who(hands: Hands) -> dict[str, str]:
    """Return the variables of the committer, if git has none configured."""
    known = hands.here("git", "config", "--default", "", "--get", "user.email")
    if known or os.environ.get("GIT_AUTHOR_EMAIL"):
        return {}
    names = ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME")
    addresses = ("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL")
    return dict.fromkeys(names, _NAME) | dict.fromkeys(addresses, _EMAIL)


def commit_changes(hands: Hands, message: str) -> str:
    """Commit the changes in tracked files on top of HEAD; return its ID, or nothing.

    The same changes on the same commit give the same ID, because the time is that of HEAD.
    """
    head = hands.here("git", "rev-parse", "HEAD")
    with tempfile.TemporaryDirectory(prefix="propose-") as folder:
        # A separate index: the checkout's own does not change.
        index = {"GIT_INDEX_FILE": str(Path(folder, "index"))}
        hands.here("git", "read-tree", head, env=index)
        hands.here("git", "add", "--update", ":/", env=index)
        tree = hands.here("git", "write-tree", env=index)
    if tree == hands.here("git", "rev-parse", f"{head}^{{tree}}"):
        return ""
    time = hands.here("git", "show", "--no-patch", "--format=%cI", head)
    env = {**_who(hands), "GIT_AUTHOR_DATE": time, "GIT_COMMITTER_DATE": time}
    return hands.here("git", "commit-tree", "-p", head, "-m", message, tree, env=env)


def _push(hands: Hands, commit: str, branch: str) -> bool:
    """Point the branch at the commit; return whether it has changed."""
    reference = f"refs/heads/{branch}"
    found = hands.outside("git", *_BY_GH, "ls-remote", "origin", reference).split()
    before = found[0] if found else ""
    if before == commit:
        return False
    # Replaces only the commit that was read before.
    lease = f"--force-with-lease={reference}:{before}"
    hands.outside("git", *_BY_GH, "push", "--quiet", lease, "origin", f"{commit}:{reference}")
    return True


def _pull_request(hands: Hands, branch: str, base: str) -> str:
    """Return the number of the open pull request of our branch (not a fork's), or nothing."""
    words = ("--head", branch, "--base", base, "--state", "open", "--limit", _ALL)
    found = hands.listed("gh", "pr", "list", *words, "--json", "number,isCrossRepository")
    return next((str(one["number"]) for one in found if not one["isCrossRepository"]), "")


def propose_changes(hands: Hands, wanted: argparse.Namespace) -> str:
    """Commit, push, and open the pull request if it is missing; return what was done."""
    if wanted.branch == wanted.base:
        raise ProposeError(f"{wanted.branch} would be replaced: give a branch of its own", 2)
    commit = commit_changes(hands, f"{wanted.title}\n\n{wanted.body}")
    if not commit:
        return "nothing has changed"
    pushed = _push(hands, commit, wanted.branch)
    number = _pull_request(hands, wanted.branch, wanted.base)
    if not number:
        words = ("--head", wanted.branch, "--base", wanted.base, "--title", wanted.title)
        body = f"{wanted.body}\n"
        number = hands.outside("gh", "pr", "create", *words, "--body-file", "-", body=body)
    if pushed and wanted.run:
        hands.outside("gh", "workflow", "run", wanted.run, "--ref", wanted.branch)
    return f"{wanted.branch} is {commit[:12]}, {'new' if pushed else 'as before'}: {number}".strip()


# --- issue -----------------------------------------------------------------------------------


def read_findings(path: Path) -> dict[str, list[str]]:
    """Return the findings that fail the gate: each ID with its messages.

    Raises:
        ProposeError: it is not a SARIF file of ours (2).
    """
    try:
        runs = json.loads(path.read_text(encoding="utf-8"))["runs"]
        results = [result for run in runs for result in run["results"]]
        failing = [
            one for one in results if one["level"] == "error" and not one.get("suppressions")
        ]
        found: dict[str, list[str]] = {}
        for one in failing:
            found.setdefault(str(one["ruleId"]), []).append(str(one["message"]["text"]))
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ProposeError(f"{path} is not a scan report: {error!r}", 2) from error
    if strange := [name for name in found if not _ID.fullmatch(name)]:
        raise ProposeError(f"{path} names a finding {strange[0]!r}, which is not an ID", 2)
    return found


def _plain(text: str) -> str:
    """Return text as code in a table, without links, mentions or comments."""
    words = " ".join(text.replace("`", "'").replace("|", "/").split())
    return f"`{words[:_LONGEST]}`"


def issue_body(found: Mapping[str, Sequence[str]]) -> str:
    """Return the text, with a hidden line for each finding by which the next run recognises it."""
    rows = [(name, text) for name, texts in sorted(found.items()) for text in texts]
    more = len(rows) - _MOST_ROWS
    lines = [
        "A scan of the published images has new findings that fail the gate.",
        "`invoke docker-scan --published` prints them again. Fix them in a release, or",
        "postpone them with a reason and a last day in `[[scan.ignore]]`. If this issue is closed",
        "while they are still there, the next scan opens a new one.",
        "",
        "| finding | where and what |",
        "| --- | --- |",
        *(f"| `{name}` | {_plain(text)} |" for name, text in rows[:_MOST_ROWS]),
        *([f"\n… and {more} more"] if more > 0 else []),
        "",
        *(_MARK.format(name) for name in sorted(found)),
    ]
    return "\n".join(lines) + "\n"


def _title(names: Iterable[str]) -> str:
    first, *others = sorted(names)
    return f"Vulnerable: {first}" + (f" and {len(others)} more" if others else "")


def propose_issue(hands: Hands, wanted: argparse.Namespace) -> str:
    """Open an issue for findings without one; return what was done."""
    found = read_findings(wanted.sarif)
    if not found:
        return "nothing was found"
    words = ("--label", wanted.label, "--state", "open", "--limit", _ALL, "--json", "body")
    listed = hands.listed("gh", "issue", "list", *words)
    known = {name for one in listed for name in _MARKED.findall(one["body"].replace("\r", ""))}
    new = {name: texts for name, texts in found.items() if name not in known}
    if not new:
        return f"open issues name all of {', '.join(sorted(found))}"
    described = ("--description", "found by the scan of published images", "--color", "B60205")
    hands.outside("gh", "label", "create", wanted.label, *described, "--force")
    opened = ("--title", _title(new), "--label", wanted.label, "--body-file", "-")
    address = hands.outside("gh", "issue", "create", *opened, body=issue_body(new))
    return f"an issue for {', '.join(sorted(new))} {address}".strip()


def _arguments() -> argparse.Namespace:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--dry-run", action="store_true", help="print the commands; change nothing")
    parser = argparse.ArgumentParser(description="Open a pull request, or an issue.")
    kinds = parser.add_subparsers(required=True)
    pull = kinds.add_parser("pull-request", parents=[common], help="for changes in the checkout")
    pull.add_argument("--branch", required=True, help="belongs to this script, and is replaced")
    pull.add_argument("--title", required=True, help="of the pull request and of the commit")
    pull.add_argument("--body", required=True, help="of both")
    pull.add_argument("--base", default="main", help="target branch")
    pull.add_argument("--run", default="", help="a workflow to start on the branch")
    pull.set_defaults(propose=propose_changes)
    issue = kinds.add_parser("issue", parents=[common], help="for findings of a scan")
    issue.add_argument("--sarif", type=Path, required=True, help="the report of the scan")
    issue.add_argument("--label", default="scan", help="of our issues; created if it is missing")
    issue.set_defaults(propose=propose_issue)
    return parser.parse_args()


def main() -> int:
    """Propose, and print what was done."""
    wanted = _arguments()
    try:
        print(f"propose: {wanted.propose(Hands(wanted.dry_run), wanted)}", file=sys.stderr)
    except ProposeError as error:
        print(f"propose: {error}", file=sys.stderr)
        return error.code
    return 0


if __name__ == "__main__":
    sys.exit(main())
