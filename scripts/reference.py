#!/usr/bin/env python3
"""Generate docs/reference: configuration.md, its JSON schema, and the options of buildx.

Usage: reference.py [--check]

With --check nothing is written; exits with code 1 if a file is outdated.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from buildlib.config import buildx_options
from buildlib.config.schema import json_schema, tables, type_of
from buildlib.records.schema import record_schema

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "reference"
# The page that explains each table.
GUIDES = {
    "base-images": "docker-build-process.md#base-images-from-elsewhere",
    "bases": "bases.md",
    "build": "docker-build-process.md#other-options-of-buildx",
    "builders": "builders.md",
    "context": "reproducible.md#generated-files",
    "diff": "diff.md#in-a-release",
    "goreleaser": "goreleaser.md",
    "images": "monorepo.md",
    "inject": "docker-build-process.md#build-args-and-labels",
    "policy": "policy.md",
    "publish": "release.md#configuration",
    "registries": "release.md#configuration",
    "records": "records.md",
    "run": "running.md#configuration",
    "scan": "scan.md#configuration",
    "sign": "sign.md#configuration",
    "smoke": "smoke.md",
    "tags": "versions.md#rules-of-your-own",
    "verify": "sign.md#configuration",
}
INTRODUCTION = """\
# Configuration

Keys are in `buildlib.toml`, or below `[tool.buildlib]` in `pyproject.toml`. A value comes from,
in this order: the command line, the environment, the file, the default; `invoke config` prints
each value with its source. Every key that is not a table can be set by a variable
(`BUILDLIB_IMAGE`, `BUILDLIB_BUILDER`, …); a variable whose name is almost a key, or is that of a
table, is refused, and so is an unknown key.

Editors that support JSON Schema complete and check the file with
[buildlib.schema.json](buildlib.schema.json). Those with taplo find it by a line of
`buildlib.toml`: `#:schema https://github.com/smiller333/dockerutilities/raw/main/docs/reference/buildlib.schema.json`.

From Python: `buildlib.load_project`, `buildlib.make_build_plan` and `buildlib.build_image`; every
public name is typed and listed in `buildlib.__all__`.

`scripts/reference.py` generates this page.
"""


BUILDX = f"""\
# Options of buildx

Every option of `docker buildx build`, as buildx 0.38 lists them, and where it is: as an option of
`docker-build`, and as a key that every build of the project gets, also in `docker-publish`,
`docker-smoke`, `docker-run`, `docker-reproduce` and `binary`. `since` is the version of buildx that
brought it, if that is newer than the oldest supported one; an older buildx exits with code 3 before
the build starts. `BuildKit` is the version that an option needs there, if an older one ignores it;
a builder that reports an older one exits with code 4.
[The build process](../docker-build-process.md#other-options-of-buildx) explains how they go
together.

{buildx_options.reference()}

`scripts/reference.py` generates this page from `buildlib/config/buildx_options.py`.
"""


def _heading(name: str) -> str:
    if not name:
        return "Keys"
    return f"`[[{name.removesuffix('[]')}]]`" if name.endswith("[]") else f"`[{name}]`"


def _row(name: str, schema: dict[str, object], *, needed: bool) -> str:
    default = "needed" if needed else ""
    if "default" in schema:
        default = f"`{json.dumps(schema['default'])}`".replace("|", "\\|")
    kind = type_of(schema).replace("|", "\\|")
    return f"| `{name}` | {kind} | {default} | {schema['description']} |"


def _keys() -> str:
    """Return the page with a table of keys for each table."""
    parts, guides = [INTRODUCTION], dict(GUIDES)
    for name, schema in tables():
        parts.append(f"## {_heading(name)}\n")
        if guide := guides.pop(name.partition(".")[0], ""):
            parts.append(f"Guide: [{guide.partition('.')[0].replace('-', ' ')}](../{guide}).\n")
        rows = [
            _row(key, inner, needed=key in schema.get("required", ()))
            for key, inner in schema["properties"].items()
        ]
        parts.append(
            "\n".join(["| key | takes | default | what |", "| --- | --- | --- | --- |", *rows, ""])
        )
    return "\n".join(parts)


def main() -> int:
    """Write the files, or compare them with what they should be."""
    files = {
        FOLDER / "configuration.md": _keys(),
        FOLDER / "buildx.md": BUILDX,
        FOLDER / "buildlib.schema.json": json.dumps(json_schema(), indent=2) + "\n",
        FOLDER / "record.schema.json": json.dumps(record_schema(), indent=2) + "\n",
    }
    if sys.argv[1:] == ["--check"]:
        old = [path for path, text in files.items() if path.read_text("utf-8") != text]
        for path in old:
            print(
                f"{path.relative_to(ROOT)} is outdated: run scripts/reference.py", file=sys.stderr
            )
        return 1 if old else 0
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
