"""The options of `docker buildx build`: what docker-build calls each, and where the rest are.

The names and help are those of buildx 0.38; `since` is the first release whose commands/build.go
has the option. The reference, the options of docker-build and preflight are made from this table,
and a test compares it with the help of the buildx at hand.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple


class Takes(StrEnum):
    """How often an option is given, and with what."""

    EACH = "each"
    ONE = "one"
    NOTHING = "nothing"


class BuildxOption(NamedTuple):
    """An option of buildx.

    Args:
        name: without its dashes.
        option: what it is called here, with its dashes; empty: it is left out.
        note: what differs, or why it is left out.
        takes: None where docker-build declares the option itself.
        help: of the option that docker-build gets from here.
        since: the version of buildx that brought it; empty: the oldest supported one has it.
        buildkit: the version of BuildKit before which it is ignored without a word.
    """

    name: str
    option: str
    key: str = ""
    note: str = ""
    takes: Takes | None = None
    help: str = ""
    since: tuple[int, ...] = ()
    buildkit: tuple[int, ...] = ()

    @property
    def parameter(self) -> str:
        """Return the name of the parameter that holds it."""
        return self.name.replace("-", "_")


def _given(
    name: str,
    takes: Takes,
    text: str,
    key: str = "",
    note: str = "",
    since: tuple[int, ...] = (),
    buildkit: tuple[int, ...] = (),
) -> BuildxOption:
    shown = f"{text}; repeat it" if takes is Takes.EACH else text
    return BuildxOption(name, f"--{name}", key, note, takes, shown, since, buildkit)


def _own(name: str, key: str = "", note: str = "") -> BuildxOption:
    """Return an option that docker-build has, with more to it."""
    return BuildxOption(name, f"--{name}", key, note)


def _left_out(name: str, note: str) -> BuildxOption:
    return BuildxOption(name, "", "", note)


_CALL: Final = (0, 15)
_POLICY: Final = (0, 31)
_RESOURCE: Final = (0, 35)

OPTIONS: Final = (
    _given(
        *("add-host", Takes.EACH, "NAME:ADDRESS, a host that the build's commands know"),
        *("build.add-hosts", "several addresses of a name with commas work with every buildx"),
    ),
    _given(
        *("allow", Takes.EACH, "entitlement that the build may use, such as network.host"),
        *("build.allow", "the builder has to allow it as well"),
    ),
    _given(
        *("annotation", Takes.EACH, "[TYPE:]NAME=value, an OCI annotation"),
        *("build.annotations", "configured ones of an index are for several platforms only"),
    ),
    _given(
        *("attest", Takes.EACH, "type=sbom or type=provenance with its fields, an attestation"),
        "build.attest",
        "of docker-build alone, as it has another digest every time; a release has "
        "`publish.attestations`",
    ),
    _own("build-arg", "build-args"),
    _given(
        *("build-context", Takes.EACH, "NAME=SOURCE: a directory, docker-image://, oci-layout://"),
        *(
            "build.contexts",
            "git and HTTP addresses too; a release takes directories from the commit",
        ),
    ),
    _own("builder", "builder"),
    _own("cache-from", "cache-from"),
    _own("cache-to", "cache-to"),
    _given(
        *(
            "call",
            Takes.ONE,
            "check, outline or targets: print that of the Dockerfile instead of a build",
        ),
        note="prints buildx's output and exits with its code",
        since=_CALL,
    ),
    _given(
        *("cgroup-parent", Takes.ONE, "parent cgroup of the build's commands"),
        key="build.cgroup-parent",
    ),
    _given(
        *("check", Takes.NOTHING, "short for --call check"),
        note="`docker-policy` has the same checks as findings",
        since=_CALL,
    ),
    _left_out("debug", "add it to the printed line; `BUILDLIB_DEBUG=1` is about buildlib itself"),
    _given("file", Takes.ONE, "Dockerfile, instead of the configured one", "dockerfile"),
    _left_out("help", "`--help` is that of the task"),
    _given(
        *("iidfile", Takes.ONE, "file for the image's ID"),
        note="the digest of the index, where there are several platforms",
    ),
    _given("label", Takes.EACH, "NAME=value, a label of the image", "labels"),
    BuildxOption("load", "--output load", "", "the default"),
    _given(
        *("metadata-file", Takes.ONE, "file for what buildx writes about the build"),
        note="without it, a temporary file is used",
    ),
    _given(
        *("network", Takes.ONE, "default, none or host: network of the build's commands"),
        key="build.network",
    ),
    _own("no-cache", note="releases use no cache, unless `publish.cache` is set"),
    _given(
        *("no-cache-filter", Takes.EACH, "stage whose steps are built again"),
        *("build.no-cache-filter", "says nothing where no cache is used at all"),
    ),
    _own("output"),
    _own("platform", "platforms", "`all` means the configured ones"),
    _given(
        *("policy", Takes.EACH, "filename=FILE,..., a policy for what the build reads"),
        "build.policy",
        "the file has to be in the build context; docker-reproduce leaves policies out",
        _POLICY,
        # build/opt.go of buildx has it for strict policies.
        (0, 27),
    ),
    _own("progress", "progress", "counting steps needs `auto`"),
    _given(
        *("provenance", Takes.ONE, "true, false or fields such as mode=max: short for --attest"),
        *("build.attest", "`false` is the default, as it has another digest every time"),
    ),
    _own("pull"),
    _own("push"),
    _left_out("quiet", "`--iidfile` and `--json` have the image's ID and digest"),
    _given(
        *("resource", Takes.EACH, "NAME=value, a limit of the build's commands, as memory=2g"),
        "build.resources",
        since=_RESOURCE,
        # The release notes of Dockerfile 1.25.
        buildkit=(0, 31),
    ),
    _given(
        *("sbom", Takes.ONE, "true, false or fields such as generator=IMAGE: short for --attest"),
        key="build.attest",
    ),
    _own("secret", "secrets"),
    _given("shm-size", Takes.ONE, "size of /dev/shm, such as 128m", "build.shm-size"),
    _given(
        *("ssh", Takes.EACH, "default or ID[=SOCKET or KEY[,KEY]]: ssh agent or keys"),
        key="build.ssh",
    ),
    _own("tag", note="the version and `latest` are given as well"),
    _own("target", "target"),
    _given(
        "ulimit", Takes.EACH, "NAME=SOFT[:HARD], a limit of the build's commands", "build.ulimits"
    ),
)
BY_NAME: Final = {option.name: option for option in OPTIONS}
# Those that docker-build gets from this table.
GIVEN: Final = tuple(option for option in OPTIONS if option.takes)
# The values that came later than their option.
NEWER_VALUES: Final = {
    ("allow", "device"): (0, 21),
    ("allow", "buildx.local.delete"): _RESOURCE,
}


def version_text(version: tuple[int, ...]) -> str:
    """Return a version as it is written."""
    return ".".join(map(str, version))


def reference() -> str:
    """Return the table of the reference."""
    head = ("option of buildx", "here", "key", "since", "BuildKit", "note")
    rows = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for one in OPTIONS:
        here = f"`{one.option}`" if one.option else "left out"
        key = f"`{one.key}`" if one.key else ""
        since, buildkit = version_text(one.since), version_text(one.buildkit)
        cells = (f"`--{one.name}`", here, key, since, buildkit, one.note)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)
