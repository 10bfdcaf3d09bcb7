"""The table of docs/toolchains.md: versions of Docker's tools, and what passed on them.

    python tests/matrix.py COLUMN...

writes it, a column for each file that `pytest --matrix FILE` wrote.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "toolchains.md"
BEGIN, END = "<!-- written by nox -s engines -->\n", "<!-- end -->\n"


def _said(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


def _version(text: str) -> str:
    """Return the first version in what a program says of itself, without a distribution's part."""
    found = re.search(r"\d+\.\d+\.\d+(?:-\w+)?", text)
    # What was linked without a version says v0.0.0+unknown.
    return found[0] if found and found[0] != "0.0.0" else "unknown"


def _versions(buildkitd: Path) -> dict[str, str]:
    server = json.loads(_said("docker", "version", "--format", "{{json .Server}}"))
    parts = {one["Name"]: one["Version"] for one in server["Components"]}
    (inside,) = re.findall(r"BuildKit version:\s*(\S+)", _said("docker", "buildx", "inspect"))
    return {
        "buildx": _version(_said("docker", "buildx", "version")),
        "engine": _version(server["Version"]),
        "BuildKit in it": _version(inside),
        "containerd": _version(parts["containerd"]),
        "buildkitd": _version(_said(str(buildkitd), "--version")),
    }


def write_column(path: Path, reporter: pytest.TerminalReporter, buildkitd: Path) -> None:
    """Write the versions, and how many tests of each file passed."""
    counts = {
        state: Counter(Path(one.nodeid.partition("::")[0]).stem for one in reports)
        for state in ("passed", "failed", "error")
        if (reports := reporter.getreports(state))
    }
    files = sorted(set().union(*counts.values()))
    column = {
        "versions": _versions(buildkitd),
        "passed": {name: counts.get("passed", Counter())[name] for name in files},
        "failed": {
            name: sum(counts.get(state, Counter())[name] for state in ("failed", "error"))
            for name in files
        },
    }
    path.write_text(json.dumps(column), encoding="utf-8")


def _cell(column: dict[str, Any], name: str) -> str:
    failed = column["failed"].get(name, 0)
    return f"{column['passed'].get(name, 0)} passed" + (f", {failed} failed" if failed else "")


def make_table(columns: list[dict[str, Any]]) -> str:
    """Return the matrix in Markdown; versions first."""
    names = sorted({name for column in columns for name in column["passed"]})
    rows = [
        [key, *(column["versions"][key] for column in columns)] for key in columns[0]["versions"]
    ]
    rows += [
        [f"`{name.removeprefix('test_')}`", *(_cell(one, name) for one in columns)]
        for name in names
    ]
    head, *rest = [f"| {' | '.join(row)} |\n" for row in rows]
    return f"{head}|{' --- |' * len(rows[0])}\n{''.join(rest)}"


def with_table(page: str, columns: list[dict[str, Any]]) -> str:
    """Return the page with the table in the place of the one before; at first, at its end."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before.rstrip()}\n\n{BEGIN}\n{make_table(columns)}\n{END}{after}"


def main() -> None:
    """Write the table into the page."""
    columns = [json.loads(Path(word).read_text(encoding="utf-8")) for word in sys.argv[1:]]
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), columns), encoding="utf-8")


if __name__ == "__main__":
    main()
