"""Texts that a repository needs to build with these tasks: its noxfile and its workflow."""

from __future__ import annotations

from typing import Final

from buildlib import distribution

NOXFILE: Final = '''\
"""Sessions that check the image, and make a test release of it."""

import buildlib.nox

buildlib.nox.sessions()
'''
_WORKFLOW: Final = """\
name: Image
on:
  pull_request:
  push:
    tags: ["{prefix}*"]
permissions: {{}}
jobs:
  image:
    permissions: {{ contents: read, packages: write }} # the checkout, the image in GHCR
    uses: {repository}/.github/workflows/image.yml@{commit}
"""


def workflow_text(tag_prefix: str, repository: str, commit: str) -> str:
    """Return a workflow that checks the image on pull requests, and releases it on tags.

    Args:
        tag_prefix: of the git tags that are versions.
        repository: `owner/name` on GitHub, of this library.
        commit: of that repository.
    """
    return _WORKFLOW.format(prefix=tag_prefix, repository=repository, commit=commit)


def own_workflow(tag_prefix: str) -> str:
    """Return that workflow for the repository and the commit that this library was installed from.

    It is empty where they are not known.
    """
    _, found, repository = distribution.address("Source").partition("https://github.com/")
    commit = distribution.commit()
    return workflow_text(tag_prefix, repository, commit) if found and commit else ""
