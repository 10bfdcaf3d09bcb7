"""The rules: what each wants, why, and where to read more."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from buildlib.streams import printable

_DOCKERFILE: Final = "https://docs.docker.com/reference/dockerfile"
_PRACTICES: Final = "https://docs.docker.com/build/building/best-practices"
_OCI: Final = "https://github.com/opencontainers/image-spec/blob/main"
_KUBERNETES: Final = "https://kubernetes.io/docs/concepts/security/pod-security-standards/"


class Rule(NamedTuple):
    """One rule; its findings are warnings until a release where `of_release` is set."""

    id: str
    what: str
    why: str
    link: str
    of_release: bool = False


_ALL: Final = (
    Rule(
        "non-root",
        "the image runs as a user that is not root, by number",
        "who breaks out of a process of root is root; a name can't be told from root by the engine",
        _KUBERNETES,
    ),
    Rule(
        "no-setuid",
        "no file is setuid or setgid",
        "such a file gives every user who runs it the rights of its owner",
        "https://man7.org/linux/man-pages/man7/inode.7.html",
    ),
    Rule(
        "no-capabilities",
        "no file brings capabilities",
        "such a file gives every user who runs it rights that the container was denied",
        "https://man7.org/linux/man-pages/man7/capabilities.7.html",
    ),
    Rule(
        "no-world-writable",
        "nothing can be written by everybody, but directories with the sticky bit",
        "one user of the container could change what another one runs",
        "https://man7.org/linux/man-pages/man7/inode.7.html",
    ),
    Rule(
        "exec-healthcheck",
        "the health check starts its program without a shell",
        "a shell has to be in the image for it, and hides how the program ended",
        f"{_DOCKERFILE}/#healthcheck",
    ),
    Rule(
        "exec-entrypoint",
        "entrypoint and command are lists of words, not a line for a shell",
        "a shell as the first process does not pass SIGTERM on",
        f"{_DOCKERFILE}/#shell-and-exec-form",
    ),
    Rule(
        "no-secrets",
        "no secret is in the environment or the history",
        "everybody who can pull the image can read both",
        "https://docs.docker.com/build/building/secrets/",
    ),
    Rule(
        "complete-labels",
        "the labels tell what it is, and which sources it was made from",
        "registries, scanners and people know an image by them",
        f"{_OCI}/annotations.md",
        of_release=True,
    ),
    Rule(
        "pinned-base",
        "every base image is named by its digest",
        "a tag may be another image tomorrow, and the same sources another release",
        f"{_PRACTICES}/#pin-base-image-versions",
        of_release=True,
    ),
    Rule(
        "no-latest-base",
        "no base image is whatever is latest",
        "it can't be seen what it was built on",
        f"{_PRACTICES}/#pin-base-image-versions",
        of_release=True,
    ),
    Rule(
        "no-package-cache",
        "no layer holds what a package manager has kept",
        "it is pulled and never used; removed in a later layer it is still stored",
        f"{_PRACTICES}/#apt-get",
    ),
    Rule(
        "size-budget",
        "the image is within its budget",
        "everybody waits for what it has too much",
        f"{_PRACTICES}/#choose-the-right-base-image",
    ),
    Rule(
        "layer-budget",
        "no layer is over its budget, and there are not too many",
        "a layer is the smallest part that is pulled again",
        f"{_OCI}/layer.md",
    ),
    Rule(
        "platform-matches",
        "every program is of the platform that the image says",
        "elsewhere it does not start, or only where emulation happens to be",
        f"{_OCI}/config.md",
    ),
    Rule(
        "hadolint",
        "hadolint has nothing to say about the Dockerfile",
        "it knows many more ways to go wrong; each of its rules has a page of its own",
        "https://github.com/hadolint/hadolint#rules",
    ),
    Rule(
        "build-check",
        "the Dockerfile's frontend has nothing to warn of",
        "it builds the image, and some of what it warns of will be errors later",
        "https://docs.docker.com/reference/build-checks/",
    ),
)
RULES: Final = {rule.id: rule for rule in _ALL}
HADOLINT: Final = "hadolint"
BUILD_CHECK: Final = "build-check"


def rule_of(name: str) -> Rule:
    """Return the rule that an id belongs to; all of hadolint's are one, and all build checks."""
    return RULES[name.partition("/")[0]]


# What a rule does not want, and where it was seen.


class Level(StrEnum):
    """An error fails the gate, a warning is told; a note says why something is no finding."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something that a rule does not want.

    Args:
        rule: its id; `hadolint/DL3018` for one of hadolint's, `build-check/StageNameCasing` for one
            of the frontend's.
        level: whether it fails the gate.
        message: what was seen; never a secret's value.
        platform: whose image; empty: the Dockerfile, which is of all.
        layer: counted from the base, 1; 0: it is not about a layer.
        path: of a file in the image; or a name, such as that of a variable.
        line: of the Dockerfile; 0: not about a line.
        base: the base image brings it.
        link: where the tool that found it explains it; empty: where the rule says.
    """

    rule: str
    level: Level
    message: str
    platform: str = ""
    layer: int = 0
    path: str = ""
    line: int = 0
    base: bool = False
    link: str = ""

    def __post_init__(self) -> None:
        """Make one line of each text: names in an image are anybody's."""
        for name in ("rule", "message", "platform", "path", "link"):
            object.__setattr__(self, name, printable(getattr(self, name)))

    @property
    def where(self) -> str:
        """Return it for people."""
        if not self.platform:
            return f"Dockerfile:{self.line}" if self.line else "Dockerfile"
        layer = f"layer {self.layer}" if self.layer else ""
        layer += " of the base" if self.base and self.layer else ""
        return " ".join(part for part in (self.platform, layer, self.path) if part)
