"""The rules of the policy: what each requires, why, and where to read more."""

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
        "a process that escapes as root is root; the engine can't see whether a name means root",
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
        "no file has capabilities",
        "such a file gives every user who runs it rights that the container was denied",
        "https://man7.org/linux/man-pages/man7/capabilities.7.html",
    ),
    Rule(
        "no-world-writable",
        "nothing is world-writable but directories with the sticky bit",
        "one user of the container could change what another one runs",
        "https://man7.org/linux/man-pages/man7/inode.7.html",
    ),
    Rule(
        "exec-healthcheck",
        "the health check starts its program without a shell",
        "the image would need a shell for it, which hides how the program ended",
        f"{_DOCKERFILE}/#healthcheck",
        of_release=True,
    ),
    Rule(
        "exec-entrypoint",
        "entrypoint and command are in exec form, not a line for a shell",
        "a shell as the first process does not pass SIGTERM on",
        f"{_DOCKERFILE}/#shell-and-exec-form",
    ),
    Rule(
        "no-secrets",
        "no secret is in the environment or the history",
        "everyone who can pull the image can read both",
        "https://docs.docker.com/build/building/secrets/",
    ),
    Rule(
        "complete-labels",
        "the labels say what the image is, and which sources it was built from",
        "registries, scanners and people know an image by them",
        f"{_OCI}/annotations.md",
        of_release=True,
    ),
    Rule(
        "pinned-base",
        "every base image is pinned to its digest",
        "a tag can move, and the same sources would give another release",
        f"{_PRACTICES}/#pin-base-image-versions",
        of_release=True,
    ),
    Rule(
        "no-latest-base",
        "no base image has the tag latest",
        "nothing shows which version the image was built on",
        f"{_PRACTICES}/#pin-base-image-versions",
        of_release=True,
    ),
    Rule(
        "no-package-cache",
        "no layer holds the cache of a package manager",
        "it is pulled and never used; removed in a later layer, it is still stored",
        f"{_PRACTICES}/#apt-get",
    ),
    Rule(
        "size-budget",
        "the image is within its size budget",
        "everyone who pulls the image waits for what it does not need",
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
        "every program is for the image's platform",
        "another one does not start, or only where emulation is set up",
        f"{_OCI}/config.md",
    ),
    Rule(
        "hadolint",
        "hadolint finds nothing in the Dockerfile",
        "it knows many more mistakes; each of its rules has a page of its own",
        "https://github.com/hadolint/hadolint#rules",
    ),
    Rule(
        "build-check",
        "the build checks of BuildKit find nothing in the Dockerfile",
        "some of their warnings will be errors later",
        "https://docs.docker.com/reference/build-checks/",
    ),
)
RULES: Final = {rule.id: rule for rule in _ALL}
HADOLINT: Final = "hadolint"
BUILD_CHECK: Final = "build-check"


def rule_of(name: str) -> Rule:
    """Return the rule that an id belongs to; all of hadolint's are one, and all build checks."""
    return RULES[name.partition("/")[0]]
