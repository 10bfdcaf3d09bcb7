"""The rules for an image, as pure functions over its configuration and the files of its layers."""

from __future__ import annotations

import re
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from buildlib.config.policy import Policy
from buildlib.files import counted, human_size
from buildlib.findings.finding import Finding, Level
from buildlib.findings.policy_rules import rule_of
from buildlib.image.archive import Archive, Image
from buildlib.image.elf import program_arch, runs_beside
from buildlib.image.labels import CREATED_LABEL, REVISION_LABEL
from buildlib.image.layer import LayerError
from buildlib.image.root_filesystem import Rootfs, Stored
from buildlib.image.runtime_config import health_command, main_command
from buildlib.image.size import over_budget
from buildlib.image.user_and_shell import LAST_USER, starts_shell, user_number
from buildlib.policy.secret_checks import Known, LeakSearch, Part, leaks

_CACHES: Final = (
    ("var/cache/apk/", "apk"),
    ("etc/apk/cache/", "apk"),
    ("var/cache/apt/archives/", "apt"),
    ("var/lib/apt/lists/", "apt"),
    ("var/cache/dnf/", "dnf"),
    ("var/cache/yum/", "yum"),
    ("var/cache/pacman/pkg/", "pacman"),
    ("root/.cache/pip/", "pip"),
    ("root/.cache/uv/", "uv"),
    ("root/.npm/_cacache/", "npm"),
    ("usr/local/share/.cache/yarn/", "yarn"),
    ("root/.cache/go-build/", "go"),
    ("go/pkg/mod/cache/", "go"),
)
_NOTHING: Final = Known()


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """One platform's image, read.

    Args:
        image: its configuration and layers.
        stored: everything that any layer holds, in order.
        visible: what a container sees, by path.
    """

    image: Image
    stored: tuple[Stored, ...]
    visible: Mapping[str, Stored]


def read_contents(archive: Archive, image: Image, known: Known = _NOTHING) -> Contents:
    """Read every layer, with the beginning of each file.

    Args:
        known: what is searched for in the layers that are not the base's.

    Raises:
        InputError: a layer can't be read, or engines could not unpack it (exit 2).
    """
    rootfs = Rootfs()
    stored: list[Stored] = []
    search = LeakSearch(known)
    for number, layer in enumerate(image.layers):
        own = number >= image.base_layers
        try:
            stored += rootfs.unpack(archive.files(layer, search=search if own else None))
        except LayerError as error:
            raise archive.unreadable(layer, error) from error
    return Contents(image=image, stored=tuple(stored), visible=rootfs.visible())


def check_image(
    contents: Contents,
    policy: Policy,
    *,
    size_budget: int = 0,
    serves: bool = False,
    drops_to: int = 0,
    seen: bool = False,
    labels: Collection[str] = (),
) -> Iterator[Finding]:
    """Yield what is wrong with one platform's image; whether it counts is for the caller.

    Args:
        policy: its limits.
        size_budget: bytes that it may have as it is pulled; 0: any.
        serves: it is a server, and should have a health check.
        drops_to: the user that its entrypoint is said to become; 0: none.
        seen: smoke has seen every process run as that one.
        labels: that the project gives its images; others may be the base's.
    """
    image = contents.image
    runtime = image.runtime
    for rule, found in (
        ("non-root", _runs_as(runtime, drops_to, seen=seen)),
        ("exec-healthcheck", _healthcheck(runtime, serves=serves)),
        ("exec-entrypoint", _commands(runtime)),
        ("no-secrets", leaks(image, contents.stored, policy.allow_names)),
        ("complete-labels", _labels(image, policy.labels, labels)),
        ("size-budget", _size(image, size_budget)),
        ("layer-budget", _layers(image, policy)),
        ("no-package-cache", _caches(contents)),
        ("no-setuid", _modes(contents, stat.S_ISUID | stat.S_ISGID, "setuid or setgid")),
        ("no-world-writable", _writable(contents)),
        ("no-capabilities", _capabilities(contents)),
        ("platform-matches", _programs(contents)),
    ):
        for part in found:
            base = 0 < part.get("layer", 0) <= image.base_layers
            fields = {"level": Level.ERROR, "platform": image.platform, "base": base, **part}
            yield Finding(rule=rule, **fields)


def _runs_as(runtime: Mapping[str, Any], drops_to: int, *, seen: bool) -> Iterator[Part]:
    user = str(runtime.get("User") or "")
    # An image of files alone runs nothing.
    if not user and not main_command(runtime):
        return
    name, number = user.partition(":")[0], user_number(user)
    if number == 0 or name == "root":
        yield _root(name or "root, as no USER is set", drops_to, seen=seen)
    elif number is None:
        yield {"message": f"USER {name} is a name; give its number", "path": name}
    elif not 0 < number <= LAST_USER:
        yield {"message": f"USER {name} is a number that no user can have", "path": name}


def _root(name: str, drops_to: int, *, seen: bool) -> Part:
    if not drops_to:
        return {"message": f"it runs as {name}"}
    if seen:
        saw = f"smoke saw every process run as {drops_to}"
        return {"level": Level.NOTE, "message": f"it starts as {name}, and {saw}"}
    return {"message": f"it starts as {name}, and smoke has not seen it become {drops_to}"}


def _healthcheck(runtime: Mapping[str, Any], *, serves: bool) -> Iterator[Part]:
    # A container has no SHELL of its image.
    words = health_command({"Healthcheck": runtime.get("Healthcheck")})
    if starts_shell(words):
        yield {"message": 'HEALTHCHECK runs in a shell; give CMD a list of words, ["…", "…"]'}
    elif not words and serves:
        yield {"message": "it serves, and has no HEALTHCHECK"}


def _commands(runtime: Mapping[str, Any]) -> Iterator[Part]:
    # A CMD behind an ENTRYPOINT is words for that.
    if starts_shell(main_command(runtime)):
        instruction = "ENTRYPOINT" if runtime.get("Entrypoint") else "CMD"
        yield {
            "message": f"{instruction} is a line for a shell; give a list of words",
            "path": instruction,
        }


def _labels(image: Image, wanted: Iterable[str], given: Collection[str]) -> Iterator[Part]:
    labels = image.labels
    created = image.config.get("created")
    history = image.config.get("history") or ()
    steps = [str(step.get("created_by")) for step in history if step.get("created") == created]
    for name in wanted:
        if not labels.get(name):
            yield {"message": f"the label {name} is missing", "path": name}
        elif (
            image.base_layers
            and given
            and name not in given
            # A LABEL of the Dockerfile is as good.
            and not any(step.startswith("LABEL ") and f"{name}=" in step for step in steps)
        ):
            yield {"message": f"the label {name} is missing: it is the base's", "path": name}
    revision = labels.get(REVISION_LABEL, "")
    if revision and not re.fullmatch(r"[0-9a-f]{40}([0-9a-f]{24})?", revision):
        yield {"message": f"the revision {revision!r} is not a commit", "path": "revision"}
    created = labels.get(CREATED_LABEL, "")
    if created and not _is_time(created):
        yield {"message": f"created is {created!r}, and no time of RFC 3339", "path": "created"}


def _is_time(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _size(image: Image, budget: int) -> Iterator[Part]:
    if too_large := over_budget(image.size, budget):
        yield {"message": too_large}


def _layers(image: Image, policy: Policy) -> Iterator[Part]:
    count = len(image.layers)
    if policy.max_layers and count > policy.max_layers:
        yield {"message": f"{counted(count, 'layer')}, and {policy.max_layers} are allowed"}
    for number, layer in enumerate(image.layers, 1):
        if too_large := over_budget(layer.size, policy.layer_budget):
            yield {"message": too_large, "layer": number}


def _caches(contents: Contents) -> Iterator[Part]:
    sums: dict[tuple[int, str, str], int] = {}
    for one in contents.stored:
        for folder, manager in _CACHES:
            if one.file.kind == "file" and one.file.size and one.file.path.startswith(folder):
                key = (one.layer, folder, manager)
                sums[key] = sums.get(key, 0) + one.file.size
    for (layer, folder, manager), size in sorted(sums.items()):
        hidden = not any(path.startswith(folder) for path in contents.visible)
        later = ", which a later layer hides and does not remove" if hidden else ""
        message = f"{human_size(size)} that {manager} has kept{later}"
        yield {"message": message, "layer": layer, "path": f"/{folder.rstrip('/')}"}


def _files(contents: Contents) -> Iterator[Stored]:
    """Yield what has a mode of its own, in order; a link has none."""
    for _, one in sorted(contents.visible.items()):
        if one.file.kind in {"file", "directory"}:
            yield one


def _about(one: Stored, message: str) -> Part:
    return {"message": message, "layer": one.layer, "path": f"/{one.file.path}"}


def _modes(contents: Contents, bits: int, what: str) -> Iterator[Part]:
    for one in _files(contents):
        # On a directory setgid only says which group new files get.
        if one.file.kind == "file" and one.file.mode & bits:
            yield _about(one, f"{what}: mode {one.file.mode:04o}")


def _writable(contents: Contents) -> Iterator[Part]:
    for one in _files(contents):
        sticky = one.file.kind == "directory" and one.file.mode & stat.S_ISVTX
        if one.file.mode & stat.S_IWOTH and not sticky:
            yield _about(one, f"everybody can write it: mode {one.file.mode:04o}")


def _capabilities(contents: Contents) -> Iterator[Part]:
    for one in _files(contents):
        if "security.capability" in one.file.attributes:
            yield _about(one, "it has file capabilities")


def _programs(contents: Contents) -> Iterator[Part]:
    wanted = str(contents.image.config.get("architecture") or "")
    for one in _files(contents):
        seen = program_arch(one.file.head)
        if seen and seen != wanted:
            level = {"level": Level.WARNING} if runs_beside(seen, wanted) else {}
            message = f"a program for {seen}, and the image is for {wanted}"
            yield {**_about(one, message), **level}


def levelled(
    findings: Iterable[Finding], *, release: bool, base: Level = Level.ERROR
) -> Iterator[Finding]:
    """Yield the findings, less bad where they count only in a release, or are the base's.

    Args:
        findings: each with the level that its rule gives it.
        base: how bad is what the base brings.
    """
    for finding in findings:
        late = rule_of(finding.rule).of_release and not release
        mild = late or (finding.base and base is Level.WARNING)
        warns = mild and finding.level is Level.ERROR
        yield replace(finding, level=Level.WARNING) if warns else finding
