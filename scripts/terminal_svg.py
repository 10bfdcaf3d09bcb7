#!/usr/bin/env python3
"""Draw docs/images/terminal.svg, the picture of a terminal in the README.

Usage: terminal_svg.py [--record]

The picture is drawn from the text beside it, docs/images/terminal.txt. With --record that text is
first taken from a real run: the commands run in a clone of HEAD with the tag v1.2.3 and an image
name of its own, which is removed afterwards. Long lines are cut. Recording needs a Docker engine:
scripts/bootstrap.sh python scripts/terminal_svg.py --record. Exits with code 4 if a command fails.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
TEXT: Final = ROOT / "docs" / "images" / "terminal.txt"
PICTURE: Final = TEXT.with_suffix(".svg")
COMMANDS: Final = ("invoke docker-build", "invoke version --explain")
IMAGE: Final = "dockerutilities"
COLUMNS: Final = 100
# They change the version, or what is printed.
_UNWANTED: Final = {"VERSION", "SOURCE_DATE_EPOCH", "GITHUB_ACTIONS"}
# Pixels: width and height of a letter, margin, and height of the title bar.
_WIDTH, _HEIGHT, _MARGIN, _BAR = 7.9, 19, 20, 34
_FONT: Final = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
# The command that a task starts, and a step of the build.
_STEP: Final = re.compile(r"\$ | +(?:cached|[\d.]+ s) \[")
# Attributes and no style sheet, which not every viewer knows.
_COLORS: Final = {"typed": "#ffffff", "warning": "#f2cc60", "step": "#8b98a8", "plain": "#d5dde6"}


def _run(*argv: str, cwd: Path, env: Mapping[str, str]) -> str:
    """Return what a command prints on both streams."""
    done = subprocess.run(
        argv,
        cwd=cwd,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    return done.stdout


def record(root: Path, env: Mapping[str, str]) -> str:
    """Run the commands in a clone of a repository, and return what a terminal shows.

    Raises:
        subprocess.CalledProcessError: a command failed.
    """
    name = f"{IMAGE}-{secrets.token_hex(4)}"
    clean = {key: value for key, value in env.items() if key not in _UNWANTED}
    clean["BUILDLIB_IMAGE"] = name
    shown: list[str] = []
    with tempfile.TemporaryDirectory(prefix="terminal-") as folder:
        clone = Path(folder, "clone")
        _run("git", "clone", "--quiet", "--no-tags", str(root), str(clone), cwd=root, env=clean)
        _run("git", "tag", "--no-sign", "v1.2.3", cwd=clone, env=clean)
        try:
            for command in COMMANDS:
                printed = _run(sys.executable, "-m", *command.split(), cwd=clone, env=clean)
                shown += [f"$ {command}", *printed.rstrip().splitlines(), ""]
        finally:
            with suppress(subprocess.CalledProcessError):
                _run("docker", "rmi", f"{name}:1.2.3", f"{name}:latest", cwd=root, env=clean)
    lines = [_cut(line.replace(name, IMAGE).replace(str(clone), ".")) for line in shown]
    return "\n".join(lines).rstrip() + "\n"


def _cut(line: str) -> str:
    return line if len(line) <= COLUMNS else f"{line[: COLUMNS - 1].rstrip()}…"


def _kind(line: str) -> str:
    if line.removeprefix("$ ") in COMMANDS:
        return "typed"
    if line.startswith(("warning:", "error:")):
        return "warning"
    return "step" if _STEP.match(line) else "plain"


def _row(line: str, y: int) -> str:
    kind, text = _kind(line), escape(line, quote=False).replace(" ", "\N{NO-BREAK SPACE}")
    if kind == "typed":
        text = f'<tspan fill="#7ee787">$</tspan>{text[1:]}'
    return f'    <text x="{_MARGIN}" y="{y}" fill="{_COLORS[kind]}">{text}</text>'


def render(text: str) -> str:
    """Return the picture of a terminal that shows the text."""
    lines = text.splitlines()
    width = round(COLUMNS * _WIDTH) + 2 * _MARGIN
    height = _BAR + len(lines) * _HEIGHT + _MARGIN
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    dots = "".join(
        f'<circle cx="{_MARGIN + 18 * number}" cy="18" r="6" fill="{color}"/>'
        for number, color in enumerate(("#ff5f57", "#febc2e", "#28c840"))
    )
    rows = [_row(line, _BAR + number * _HEIGHT + 14) for number, line in enumerate(lines) if line]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title">',
            f'  <title id="title">A terminal: {" and ".join(COMMANDS)}</title>',
            f'  <rect width="{width}" height="{height}" rx="10" fill="#111a24"/>',
            f"  {dots}",
            f'  <g font-family="{_FONT}" font-size="13">',
            *rows,
            "  </g>",
            "</svg>\n",
        ]
    )


def main() -> int:
    """Record if asked to, and draw."""
    if sys.argv[1:] not in ([], ["--record"]):
        print(__doc__, file=sys.stderr)
        return 2
    if sys.argv[1:]:
        try:
            text = record(ROOT, os.environ)
        except subprocess.CalledProcessError as error:
            print(f"terminal_svg: {error}\n{error.stdout or ''}", file=sys.stderr)
            return 4
        TEXT.parent.mkdir(exist_ok=True)
        TEXT.write_text(text, encoding="utf-8")
    PICTURE.write_text(render(TEXT.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
