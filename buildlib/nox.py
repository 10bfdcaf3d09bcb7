"""Sessions for the noxfile of a repository whose image these tasks build.

    # noxfile.py
    import buildlib.nox

    buildlib.nox.sessions()

This is the only module that imports nox. The noxfile needs buildlib beside nox, which the extra
`nox` of its distribution installs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import Final, Literal

import nox

from buildlib.config.config import Config
from buildlib.config.load import load_images
from buildlib.errors import InputError, did_you_mean

NAMES: Final = ("image_lint", "smoke", "reproducible", "scan", "release_test")
Install = Callable[[nox.Session], object]
_RELEASES: Final = {
    "rehearse": ("docker-rehearse",),
    "dry": ("docker-publish", "--dry-run"),
}


def sessions(
    root: Path | None = None,
    *,
    only: Iterable[str] = NAMES,
    prefix: str = "",
    release: Literal["rehearse", "dry"] = "rehearse",
    install: Install | None = None,
) -> None:
    """Register sessions that check the image, and make a test release of it.

    `image_lint` is docker-policy, `smoke` is docker-smoke for each image and configured platform,
    `reproducible` is docker-reproduce, `scan` is docker-scan, and `release_test` is
    docker-rehearse. Arguments after `--` are passed on to the task; `image_lint`, `smoke` and
    `scan` take an existing image as the first. All have the tag `image`, and may run in parallel.

    Args:
        root: where the project's configuration is looked for, upwards; default: the directory of
            the noxfile.
        prefix: comes before each name, such as `api_` where a repository has several projects.
        release: `dry` only prints the steps of a release, for a repository whose release can't be
            tested on the machine.
        install: prepares the session's environment; default: there is none, and the tasks run with
            the Python that nox runs with.

    Raises:
        InputError: the configuration is not valid, or there is no such session.
    """
    root = (root or Path.cwd()).resolve()
    wanted = tuple(only)
    for name in wanted:
        if name not in NAMES:
            raise InputError(f"there is no session {name!r}", hint=did_you_mean(name, NAMES))
    made = _Sessions(root, load_images(root, os.environ), install, prefix)
    if "image_lint" in wanted:
        made.checks("image_lint", "docker-policy", "Check image and Dockerfile against the policy.")
    if "smoke" in wanted:
        made.smoke()
    if "reproducible" in wanted:
        text = "Build every platform twice under different conditions, and compare."
        made.add("reproducible", lambda session: made.run(session, "docker-reproduce"), text)
    if "scan" in wanted:
        made.checks("scan", "docker-scan", "Scan the image for known vulnerabilities.")
    if "release_test" in wanted:
        text = "Print the steps of a release." if release == "dry" else "Make a test release."
        made.add("release_test", lambda session: made.run(session, *_RELEASES[release]), text)


def _with_image(session: nox.Session) -> list[str]:
    """Return the arguments of a session, of which the first may be an image."""
    words = list(session.posargs)
    return words if not words or words[0].startswith("-") else ["--image", *words]


class _Sessions:
    """What the sessions of one project have in common."""

    def __init__(
        self, root: Path, configs: Sequence[Config], install: Install | None, prefix: str
    ) -> None:
        self._root, self._configs = root, configs
        self._install, self._prefix = install, prefix

    def add(self, name: str, body: Callable[..., None], text: str) -> None:
        """Register a session."""

        @wraps(body)
        def prepared(session: nox.Session, **parameters: str) -> None:
            if self._install:
                self._install(session)
            if Path.cwd() != self._root:
                session.chdir(self._root)
            body(session, **parameters)

        prepared.__doc__ = text
        nox.session(
            python=None if self._install else False,
            name=self._prefix + name,
            tags=["image"],
            allow_parallel=True,
        )(prepared)

    def run(self, session: nox.Session, *words: str, posargs: Sequence[str] | None = None) -> None:
        """Run a task of the project, with the arguments of the session unless others are given."""
        given = session.posargs if posargs is None else posargs
        python = "python" if self._install else sys.executable
        session.run(python, "-m", "buildlib", *words, *given, external=not self._install)

    def checks(self, name: str, task: str, text: str) -> None:
        """Register a session that checks the image: a new one, unless the arguments name one."""

        def check(session: nox.Session) -> None:
            words = _with_image(session)
            if not any(word.partition("=")[0] == "--image" for word in words):
                self.run(session, "docker-build", posargs=())
            self.run(session, task, posargs=words)

        self.add(name, check, text)

    def smoke(self) -> None:
        """Register the session of smoke, once for each image and configured platform."""
        reports = {
            config.name: f"{config.folder('dist')}/{config.short_name}-smoke"
            for config in self._configs
        }
        cases = [
            (config.name, str(platform))
            for config in self._configs
            for platform in config.platforms or ("",)
        ]

        def smoke(session: nox.Session, image: str = "", platform: str = "") -> None:
            only = ("--only", image) if image else ()
            chosen = ("--platform", platform) if platform else ()
            ending = f"-{platform.replace('/', '-')}" if platform else ""
            report = f"{reports[image]}{ending}.xml"
            words = (*only, *chosen, "--junit", report)
            self.run(session, "docker-smoke", *words, posargs=_with_image(session))

        ids = ["-".join(filter(None, case)) for case in cases]
        body = nox.parametrize("image,platform", cases, ids=ids)(smoke) if any(ids) else smoke
        self.add("smoke", body, "Smoke-test one platform; `-- IMAGE` tests an existing image.")
