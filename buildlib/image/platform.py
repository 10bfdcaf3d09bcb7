"""Platforms, as OCI names them: `os/arch[/variant]`.

Source of the names: the OCI image index specification and Go's GOOS and GOARCH.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from buildlib.errors import InputError, nearest

KNOWN: Final = (
    "darwin/amd64",
    "darwin/arm64",
    "linux/386",
    "linux/amd64",
    "linux/arm/v5",
    "linux/arm/v6",
    "linux/arm/v7",
    "linux/arm64",
    "linux/loong64",
    "linux/mips64le",
    "linux/ppc64le",
    "linux/riscv64",
    "linux/s390x",
    "windows/amd64",
    "windows/arm64",
)

# What else an image or a builder may be for, with any variant; see `go tool dist list`.
_SYSTEMS: Final = frozenset(
    (
        *("aix", "android", "darwin", "dragonfly", "freebsd", "illumos", "ios", "js", "linux"),
        *("netbsd", "openbsd", "plan9", "solaris", "wasi", "wasip1", "windows"),
    )
)
_ARCHITECTURES: Final = frozenset(
    (
        *("386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle"),
        *("ppc64", "ppc64le", "riscv64", "s390x", "sparc64", "wasm"),
    )
)
_VARIANT: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")
# Patterns of the folders that hold a platform's programs, for fnmatch and ignore files alike: with
# a variant as well, such as linux-amd64-v3, and nothing that is only called alike.
SLUGS: Final = tuple(
    slug + variant
    for slug in dict.fromkeys("-".join(known.split("/")[:2]) for known in KNOWN)
    for variant in ("", "-v[0-9]", "-v[0-9].[0-9]")
)

# What uname, Debian and people call an architecture, and what OCI calls it.
_ALIASES: Final = {
    "x86_64": "amd64",
    "x86-64": "amd64",
    "x64": "amd64",
    "aarch64": "arm64",
    "arm64/v8": "arm64",
    "armhf": "arm/v7",
    "armv7l": "arm/v7",
    "armel": "arm/v6",
    "armv6l": "arm/v6",
    "arm": "arm/v7",
    "i386": "386",
    "i686": "386",
    "x86": "386",
    "amd64/v1": "amd64",
}


@dataclass(frozen=True, kw_only=True)
class Platform:
    """One platform; sorted by name."""

    os: str
    arch: str
    variant: str = ""

    def __lt__(self, other: Platform) -> bool:
        """Return whether it comes before another."""
        return (self.os, self.arch, self.variant) < (other.os, other.arch, other.variant)

    def __str__(self) -> str:
        """Return `os/arch[/variant]`, the form that buildx takes."""
        return "/".join(part for part in (self.os, self.arch, self.variant) if part)

    @property
    def slug(self) -> str:
        """Return the form for file names: `linux-arm64`."""
        return str(self).replace("/", "-")


def parse_platform(text: str) -> Platform:
    """Parse one platform, normalising what is unambiguous.

    `arm64` alone means `linux/arm64`, `linux/x86_64` means `linux/amd64`. Any variant is one.

    Raises:
        InputError: the system or the architecture is not known; the message lists the usual ones.
    """
    name = text.strip().lower()
    system, _, arch = name.partition("/")
    if system not in _SYSTEMS:
        system, arch = "linux", name
    name = f"{system}/{_ALIASES.get(arch, arch)}"
    arch, *variants = name.split("/")[1:]
    fits = len(variants) <= 1 and all(map(_VARIANT.fullmatch, variants))
    if arch not in _ARCHITECTURES or not fits:
        # By what comes after the system, which most have in common.
        known = [one.partition("/")[2] for one in KNOWN if one.startswith(f"{system}/")]
        close = nearest(name.partition("/")[2], known)
        guess = f"did you mean {system}/{close}? " if close else ""
        raise InputError(
            f"unknown platform {text.strip()!r}", hint=f"{guess}known: {', '.join(KNOWN)}"
        )
    return Platform(os=system, arch=arch, variant="".join(variants))


def is_platform(text: str) -> bool:
    """Return whether a text names a platform."""
    try:
        return bool(parse_platform(text))
    except InputError:
        return False


def platform_name(said: Mapping[str, object]) -> str:
    """Return `os/arch[/variant]` of what an index or a configuration says, in the normal form.

    Official images say `arm64` with the variant `v8`, buildx and people say `arm64`: they have to
    meet in comparisons. What is not known stays as it is; empty where nothing is said.

    Args:
        said: with the keys `os`, `architecture` and `variant`, as the OCI image-spec has them.
    """
    arch = "/".join(str(said[key]) for key in ("architecture", "variant") if said.get(key))
    return "/".join(part for part in (str(said.get("os") or ""), _ALIASES.get(arch, arch)) if part)


def parse_platforms(texts: Iterable[str]) -> tuple[Platform, ...]:
    """Parse lists of platforms, in which commas and blanks both separate; doubles count once."""
    names = [name for text in texts for name in re.split(r"[\s,]+", text) if name]
    return tuple(dict.fromkeys(parse_platform(name) for name in names))


def meant_platform(asked: Platform, known: Collection[Platform]) -> Platform | None:
    """Return the platform of an image that is meant: the one of that name, or its only variant.

    Args:
        asked: with a variant it means no other.
    """
    if asked in known or asked.variant:
        return asked if asked in known else None
    close = [one for one in known if (one.os, one.arch) == (asked.os, asked.arch)]
    return close[0] if len(close) == 1 else None


def engine_platform(machine: str = "") -> Platform:
    """Return the platform of an engine on this machine, whose containers are Linux's.

    No engine is asked, and the one in use may be elsewhere.

    Args:
        machine: as uname calls it; empty: this one.
    """
    name = machine or os.uname().machine
    try:
        return parse_platform(f"linux/{name}")
    except InputError:
        return Platform(os="linux", arch=name)


def host_platform() -> Platform:
    """Return the platform that this interpreter runs on, as a program built for it would need."""
    here = os.uname()
    return parse_platform(f"{here.sysname}/{here.machine}")
