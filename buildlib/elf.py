"""Tells which machine a program is for, by the first bytes of its file.

Source: the ELF specification (System V ABI, chapter 4) and its registry of machines; the words
for architectures are those of Go, which the OCI image-spec uses.
"""

from __future__ import annotations

from typing import Final

_MAGIC: Final = b"\x7fELF"
_NEEDED: Final = 20
_BITS: Final = {1: 32, 2: 64}
_ORDER: Final = {1: "little", 2: "big"}
# (e_machine, bits, byte order) -> architecture.
_MACHINES: Final = {
    (3, 32, "little"): "386",
    (8, 32, "big"): "mips",
    (8, 32, "little"): "mipsle",
    (8, 64, "big"): "mips64",
    (8, 64, "little"): "mips64le",
    (21, 64, "big"): "ppc64",
    (21, 64, "little"): "ppc64le",
    (22, 64, "big"): "s390x",
    (40, 32, "little"): "arm",
    (62, 64, "little"): "amd64",
    (183, 64, "little"): "arm64",
    (243, 64, "little"): "riscv64",
    (258, 64, "little"): "loong64",
}


def program_arch(head: bytes) -> str:
    """Return the architecture that a program is for, as OCI names it.

    Args:
        head: the first 20 bytes of the file, or more.

    Returns:
        Nothing where it is no ELF file, and `unknown (machine N)` for one that has no name here.
    """
    if len(head) < _NEEDED or not head.startswith(_MAGIC):
        return ""
    bits, order = _BITS.get(head[4], 0), _ORDER.get(head[5], "little")
    machine = int.from_bytes(head[18:20], "big" if order == "big" else "little")
    return _MACHINES.get((machine, bits, order), f"unknown (machine {machine})")


# What uname -m says on each; the kernel's own words. A 64-bit kernel runs 32-bit programs as well.
_UNAME: Final = {
    "386": ("i386", "i486", "i586", "i686", "x86_64"),
    "amd64": ("x86_64",),
    "arm": ("armv5l", "armv6l", "armv7l", "armv8l", "aarch64"),
    "arm64": ("aarch64", "arm64"),
    "loong64": ("loongarch64",),
}


def kernel_names(arch: str) -> tuple[str, ...]:
    """Return what `uname -m` may say where programs of an architecture run."""
    return _UNAME.get(arch, (arch.replace("mipsle", "mips").replace("mips64le", "mips64"),))
