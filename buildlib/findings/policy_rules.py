"""The rules: what each wants, why, and where to read more."""

from __future__ import annotations

from typing import Final

from buildlib.findings.finding import Rule

_DOCKERFILE: Final = "https://docs.docker.com/reference/dockerfile"
_PRACTICES: Final = "https://docs.docker.com/build/building/best-practices"
_OCI: Final = "https://github.com/opencontainers/image-spec/blob/main"
_KUBERNETES: Final = "https://kubernetes.io/docs/concepts/security/pod-security-standards/"

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
