"""Texts that a repository needs to build with these tasks: its noxfile and its workflow."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final

from buildlib import distribution

NOXFILE: Final = '''\
"""Sessions that check the image, and make a test release of it."""

import buildlib.nox

buildlib.nox.sessions()
'''
# Tasks that check a change; as the workflow does by default.
_CHECKS: Final = ("docker-build", "docker-policy", "docker-smoke --platform all")
_WORKFLOW: Final = """\
name: Image
on:
  pull_request:
  push:
    tags: [{patterns}]
permissions: {{}}
jobs:
"""
_JOB: Final = """\
  {job}:
    permissions: {{ contents: read, packages: write }} # the checkout, the image in GHCR
    uses: {repository}/.github/workflows/image.yml@{commit}
"""
_GITHUB: Final = re.compile(r"[/@]github\.com[/:]([^/]+/[^/]+?)(?:\.git)?/?$")


def workflow_text(
    prefixes: Mapping[str, Sequence[str]], directory: str, repository: str, commit: str
) -> str:
    """Return a workflow that checks the images on pull requests, and releases them on tags.

    Args:
        prefixes: of the git tags that are versions, each with the images that have these versions.
        directory: of the configuration, in the work tree; empty: its top.
        repository: `owner/name` on GitHub, of this library.
        commit: of that repository.
    """
    # Signs of GitHub's patterns.
    patterns = ", ".join(json.dumps(re.sub(r"([+!\]])", r"\\\1", one) + "*") for one in prefixes)
    text = _WORKFLOW.format(patterns=patterns)
    several = len(prefixes) > 1
    for prefix, names in prefixes.items():
        job = re.sub(r"\W", "_", f"image_{names[0]}" if several else "image")
        text += _JOB.format(job=job, repository=repository, commit=commit)
        given = {"directory": directory} if directory else {}
        if several:
            only = "".join(f" --only {name}" for name in names)
            given["checks"] = " ".join(f"{task}{only}" for task in _CHECKS)
            given["release"] = f"docker-publish --pick-up{only}"
            quoted = prefix.replace("'", "''")
            text += f"    if: github.ref_type != 'tag' || startsWith(github.ref_name, '{quoted}')\n"
        if given:
            lines = (f"      {name}: {json.dumps(value)}\n" for name, value in given.items())
            text += "".join(["    with:\n", *lines])
    return text


def own_workflow(prefixes: Mapping[str, Sequence[str]], directory: str = "") -> str:
    """Return that workflow for the repository and the commit that this library was installed from.

    It is empty where they are not known, or are not on GitHub.
    """
    url, commit = distribution.origin()
    found = _GITHUB.search(url) if commit else None
    return workflow_text(prefixes, directory, found[1], commit) if found else ""
