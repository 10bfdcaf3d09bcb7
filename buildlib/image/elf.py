"""Tells what is a program, and which machine it is for, by the first bytes of its file.

Source: the ELF specification (System V ABI, chapter 4) and its registry of machines; the words
for architectures are those of Go, which the OCI image-spec uses.
"""

from __future__ import annotations

from typing import Final

_MAGIC: Final = b"\x7fELF"
# Sources: PE Format (Microsoft), "MS-DOS Stub"; WebAssembly Core Specification, 5.5.16.
_OTHER_PROGRAMS: Final = (b"MZ", b"\0asm")
_NEEDED: Final = 20
_BITS: Final = {1: 32, 2: 64}
# e_type of what a linker still has to join, and nothing starts: object files, kernel modules.
_RELOCATABLE: Final = 1
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
# What a 64-bit kernel mostly runs beside its own, such as a library of 32 bits.
_ALSO: Final = {
    "amd64": ("386",),
    "arm64": ("arm",),
    "mips64": ("mips",),
    "mips64le": ("mipsle",),
}


def program_arch(head: bytes) -> str:
    """Return the architecture that a program is for, as OCI names it.

    Args:
        head: the first 20 bytes of the file, or more.

    Returns:
        Nothing where it is not a program for the CPU of a platform: no ELF file, an object that
        nothing starts, or code for a GPU, firmware or eBPF.
    """
    if len(head) < _NEEDED or not head.startswith(_MAGIC):
        return ""
    bits, order = _BITS.get(head[4], 0), _ORDER.get(head[5], "little")
    kind, machine = (
        int.from_bytes(head[at : at + 2], "big" if order == "big" else "little") for at in (16, 18)
    )
    return "" if kind == _RELOCATABLE else _MACHINES.get((machine, bits, order), "")


def is_program(head: bytes) -> bool:
    """Return whether a file is a program for a platform: ELF, Windows' PE, or WebAssembly."""
    return bool(program_arch(head)) or head.startswith(_OTHER_PROGRAMS)


def runs_beside(arch: str, platform: str) -> bool:
    """Return whether programs of an architecture mostly run where a platform's do."""
    return arch in _ALSO.get(platform, ())


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
