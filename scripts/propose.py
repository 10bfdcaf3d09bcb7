#!/usr/bin/env python3
"""Open a pull request for what a task changed, or an issue for what a scan found.

Usage: propose.py pull-request --branch NAME --title TEXT --body TEXT [--base main] [--run FILE]
       propose.py issue --sarif FILE [--label scan]

`pull-request` commits what is changed in tracked files onto the commit that is checked out, as the
branch of that name, and pushes it; the branch is this script's own, and what somebody else put
there is replaced. The checkout stays as it is. Without changes nothing happens, and the next run
brings the same branch and pull request up to date. `--run` starts a workflow on the branch: for a
push with the token of a workflow, GitHub starts none by itself.

`issue` reads what `invoke docker-scan --sarif FILE` wrote, and opens one issue for all that fails
the gate and that no open issue of the label names. Only who may sort issues can give a label, so
that nobody else can hide a finding.

It speaks to GitHub by `gh`, which takes GH_TOKEN from the environment or knows who is signed in.
`--dry-run` prints the commands, and asks and changes nothing outside. Ends with 2 where the input
is wrong, with 3 where gh or git is missing, else with 4 where one of them fails. Runs on the
standard library.
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

# Who commits where git knows nobody: the name under which GitHub shows its workflows' own work.
_NAME: Final = "github-actions[bot]"
_EMAIL: Final = "41898282+github-actions[bot]@users.noreply.github.com"
# git asks gh for the token, for this one command: it is kept nowhere, and is in no command line.
_BY_GH: Final = ("-c", "credential.helper=", "-c", "credential.helper=!gh auth git-credential")
_MARK: Final = "<!-- scan-finding: {} -->"
_MARKED: Final = re.compile(r"^<!-- scan-finding: (\S+) -->\s*$", re.MULTILINE)
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")
# GitHub takes 65,536 characters; every finding needs its hidden line besides.
_MOST_ROWS: Final = 100
_LONGEST: Final = 300
_ALL: Final = "1000"


class ProposeError(Exception):
    """It can't be proposed, and why; `code` is what to exit with."""

    def __init__(self, message: str, code: int) -> None:
        """Keep the code beside the message."""
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Hands:
    """What runs commands; a dry run prints those that reach outside of this machine."""

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
        """Run a command that speaks to GitHub; `body` comes on its standard input."""
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
    """Return the variables that name who commits, where git does not know it."""
    known = hands.here("git", "config", "--default", "", "--get", "user.email")
    if known or os.environ.get("GIT_AUTHOR_EMAIL"):
        return {}
    names = ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME")
    addresses = ("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL")
    return dict.fromkeys(names, _NAME) | dict.fromkeys(addresses, _EMAIL)


def commit_changes(hands: Hands, message: str) -> str:
    """Return a commit of what is changed in tracked files, on top of HEAD; empty: nothing is.

    The same changes on the same commit are the same commit again, as it has that one's time.
    """
    head = hands.here("git", "rev-parse", "HEAD")
    with tempfile.TemporaryDirectory(prefix="propose-") as folder:
        # An index of its own: what is staged here stays as it is.
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
    """Let the branch be the commit; return whether it was not before."""
    reference = f"refs/heads/{branch}"
    found = hands.outside("git", *_BY_GH, "ls-remote", "origin", reference).split()
    before = found[0] if found else ""
    if before == commit:
        return False
    # Only over what was seen there.
    lease = f"--force-with-lease={reference}:{before}"
    hands.outside("git", *_BY_GH, "push", "--quiet", lease, "origin", f"{commit}:{reference}")
    return True


def _pull_request(hands: Hands, branch: str, base: str) -> str:
    """Return the number of the open pull request of our branch, not of a fork's; or nothing."""
    words = ("--head", branch, "--base", base, "--state", "open", "--limit", _ALL)
    found = hands.listed("gh", "pr", "list", *words, "--json", "number,isCrossRepository")
    return next((str(one["number"]) for one in found if not one["isCrossRepository"]), "")


def propose_changes(hands: Hands, wanted: argparse.Namespace) -> str:
    """Commit, push, and open the pull request where there is none; return what was done."""
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
    """Return what fails the gate: each finding's ID with what was said of it.

    Raises:
        ProposeError: it is no SARIF of ours (2).
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
    """Return text as code in a table: nothing in it is a link, a mention or a comment."""
    words = " ".join(text.replace("`", "'").replace("|", "/").split())
    return f"`{words[:_LONGEST]}`"


def issue_body(found: Mapping[str, Sequence[str]]) -> str:
    """Return the text; a hidden line for each finding says to the next run that it is known."""
    rows = [(name, text) for name, texts in sorted(found.items()) for text in texts]
    more = len(rows) - _MOST_ROWS
    lines = [
        "A scan of what is published found what was not known before, and is bad enough to fail.",
        "`invoke docker-scan --published` tells it again. A release with the fix closes it,",
        "and `[[scan.ignore]]` with a reason and a day puts it off. What is closed while it is",
        "still there is opened again by the next scan.",
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
    """Open an issue for what no open one names; return what was done."""
    found = read_findings(wanted.sarif)
    if not found:
        return "nothing was found"
    words = ("--label", wanted.label, "--state", "open", "--limit", _ALL, "--json", "body")
    listed = hands.listed("gh", "issue", "list", *words)
    known = {name for one in listed for name in _MARKED.findall(one["body"].replace("\r", ""))}
    new = {name: texts for name, texts in found.items() if name not in known}
    if not new:
        return f"open issues name all of {', '.join(sorted(found))}"
    described = ("--description", "found by the scan of what is published", "--color", "B60205")
    hands.outside("gh", "label", "create", wanted.label, *described, "--force")
    opened = ("--title", _title(new), "--label", wanted.label, "--body-file", "-")
    address = hands.outside("gh", "issue", "create", *opened, body=issue_body(new))
    return f"an issue for {', '.join(sorted(new))} {address}".strip()


def _arguments() -> argparse.Namespace:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--dry-run", action="store_true", help="print the commands; change nothing")
    parser = argparse.ArgumentParser(description="Open a pull request, or an issue.")
    kinds = parser.add_subparsers(required=True)
    pull = kinds.add_parser("pull-request", parents=[common], help="for what is changed here")
    pull.add_argument("--branch", required=True, help="this script's own; it is replaced")
    pull.add_argument("--title", required=True, help="of the pull request and of the commit")
    pull.add_argument("--body", required=True, help="of both")
    pull.add_argument("--base", default="main", help="where it is to go")
    pull.add_argument("--run", default="", help="a workflow to start on the branch")
    pull.set_defaults(propose=propose_changes)
    issue = kinds.add_parser("issue", parents=[common], help="for what a scan found")
    issue.add_argument("--sarif", type=Path, required=True, help="what the scan wrote")
    issue.add_argument("--label", default="scan", help="of our issues; it is made where needed")
    issue.set_defaults(propose=propose_issue)
    return parser.parse_args()


def main() -> int:
    """Propose, and tell what was done."""
    wanted = _arguments()
    try:
        print(f"propose: {wanted.propose(Hands(wanted.dry_run), wanted)}", file=sys.stderr)
    except ProposeError as error:
        print(f"propose: {error}", file=sys.stderr)
        return error.code
    return 0


if __name__ == "__main__":
    sys.exit(main())
