"""What is read off a container: pure tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildlib.image.elf import kernel_names, program_arch
from buildlib.smoke.processes import (
    ContainerProcess,
    error_lines,
    of_image,
    parse_proc,
    parse_top,
    program_paths,
    written_elsewhere,
    wrong_user,
)

PROC = """\
machine aarch64
pid 1
exe /sbin/docker-init
Name:\tdocker-init
PPid:\t0
Uid:\t1001\t1001\t1001\t1001
Gid:\t1001\t1001\t1001\t1001
Groups:\t999 1001
words /sbin/docker-init\0--\0/entrypoint.sh\0
pid 12
exe\x20
Name:\tgone
pid 7
exe /usr/bin/qemu-aarch64-static
PPid:\t1
Uid:\t0\t1001\t1001\t1001
Gid:\t1001\t1001\t1001\t1001
Groups:\t
words /usr/bin/qemu-aarch64-static\0/app\0/app\0two\nlines\0
pid 52
exe /bin/busybox
PPid:\t0
Uid:\t1001\t1001\t1001\t1001
Gid:\t1001\t1001\t1001\t1001
words sh\0-c\0script\0
"""
TOP = """\
PID         PPID        UID         GID         SUPGID      COMMAND
4560        4540        1001        1001        1001        /sbin/docker-init -- /entry
4584        4560        1001        1001        999,1001    /app server --x y
4700        4540        0           0           -           sh
"""


def _process(**changes: object) -> ContainerProcess:
    facts: dict[str, object] = {
        "pid": 7,
        "parent": 1,
        "user": 1001,
        "groups": frozenset({1001}),
        "words": ("/app", "server"),
    }
    return ContainerProcess(**{**facts, **changes})  # type: ignore[arg-type]


def test_processes_as_the_container_sees_them() -> None:
    machine, processes = parse_proc(PROC)
    assert machine == "aarch64"
    init, program, shell = processes
    assert init.groups == {999, 1001}
    # The effective user counts, and an argument may hold a line's end.
    assert (program.pid, program.parent, program.user) == (7, 1, 1001)
    assert program.words[-1] == "two\nlines"
    assert shell.words == ("sh", "-c", "script")
    assert of_image(processes, init=True) == (program,)
    assert of_image(processes, init=False) == (init, program)
    assert program_paths(program, {}) == ("/usr/bin/qemu-aarch64-static", "/app")


def test_processes_as_the_engines_machine_sees_them() -> None:
    init, program, _ = parse_top(TOP)
    assert (program.pid, program.words) == (4584, ("/app", "server", "--x", "y"))
    assert program.groups == {999, 1001}
    assert of_image(parse_top(TOP), init=True) == (program,)
    assert of_image(parse_top(TOP), init=False) == (init, program)


def test_nothing_that_was_seen_is_nothing() -> None:
    assert parse_proc("") == ("", ())
    assert parse_top("") == ()
    assert of_image((), init=True) == ()


@pytest.mark.parametrize(
    ("processes", "problem"),
    [
        ([_process()], ""),
        ([], "no process was seen"),
        ([_process(), _process(user=0)], "/app server runs as 0, and not as 1001"),
        ([_process(groups=frozenset({0, 1001}))], "/app server is in the groups 0, 1001, and"),
        ([_process(groups=frozenset(), words=())], "7 is in the groups , and not in 1001"),
    ],
    ids=["right", "none", "one of them as root", "one group more", "one group less"],
)
def test_every_process_has_to_be_the_user_and_in_the_groups(
    processes: list[ContainerProcess], problem: str
) -> None:
    seen = wrong_user(processes, 1001, frozenset({1001}))
    assert seen.startswith(problem)
    assert bool(seen) == bool(problem)


@pytest.mark.parametrize(
    ("log", "found"),
    [
        ("listening\nno errors here", ""),
        ("a\n  ERROR: b\nc", "ERROR: b"),
        ("fatal: x", "fatal: x"),
        ("\n".join(["panic"] * 7), "panic\npanic\npanic\npanic\npanic\nand 2 more"),
    ],
    ids=["no such word", "one line", "another word", "many lines"],
)
def test_lines_of_a_log_that_tell_of_an_error(log: str, found: str) -> None:
    assert error_lines(log, r"(?i)\b(error|fatal|panic)\b") == found
    assert error_lines(log, "") == ""


DIFFS = {
    "nothing": ("", ()),
    "below a path that is allowed": ("C /data\nA /data/x\n", ()),
    "the allowed path itself": ("C /data\n", ()),
    "beside it": ("A /database\n", ("A /database",)),
    "a file, told once and not by its directory": ("C /etc\nA /etc/x\n", ("A /etc/x",)),
    "files that were changed, one called as another one begins": (
        "C /etc\nC /etc/host\nC /etc/hosts\n",
        ("C /etc/host", "C /etc/hosts"),
    ),
    "a file that is gone": ("C /bin\nD /bin/sh\n", ("D /bin/sh",)),
    "a name with blanks": ("A /a b\n", ("A /a b",)),
    "the init that docker adds": ("C /sbin\nA /sbin/docker-init\n", ()),
    "where there was no /sbin": ("A /sbin\nA /sbin/docker-init\n", ()),
    "where /sbin is /usr/sbin": ("C /usr\nC /usr/sbin\nA /usr/sbin/docker-init\n", ()),
    "where it is /usr/bin": ("C /usr\nC /usr/bin\nA /usr/bin/docker-init\n", ()),
    "beside the init": (
        "A /sbin\nA /sbin/docker-init\nA /sbin/x\n",
        ("A /sbin/x",),
    ),
    "an init elsewhere": ("C /opt\nA /opt/docker-init\n", ("A /opt/docker-init",)),
    "a new directory without the init": ("A /sbin\n", ("A /sbin",)),
    "where something was mounted": ("A /srv\nA /srv/conf\n", ()),
    "beside what was mounted": ("C /srv\nA /srv/conf\nA /srv/x\n", ("A /srv/x",)),
    "on the way to what is allowed": ("A /var/cache\nA /var/cache/app\nA /var/cache/app/x\n", ()),
    "what a pattern matches": (
        "C /usr/lib/py\nA /usr/lib/py/__pycache__\nA /usr/lib/py/__pycache__/x\n",
        (),
    ),
    "what no pattern matches": ("A /usr/lib/py/x.pyc\n", ("A /usr/lib/py/x.pyc",)),
}


@pytest.mark.parametrize(("diff", "found"), DIFFS.values(), ids=DIFFS)
def test_what_is_written_elsewhere(diff: str, found: tuple[str, ...]) -> None:
    allowed = ["/data/", "/tmp", "/var/cache/app", "*/__pycache__"]
    assert written_elsewhere(diff, allowed, init=True, mounted=["/srv/conf"]) == found


NAMES = st.lists(st.sampled_from(["a", "b", "sbin", "usr", "docker-init"]), min_size=1, max_size=4)
PATHS = NAMES.map(lambda names: "/" + "/".join(names))


@given(st.sets(PATHS), st.lists(PATHS, max_size=3), st.booleans())
def test_each_file_is_reported_unless_it_is_expected(
    files: set[str],
    allowed: list[str],
    init: bool,
) -> None:
    # Files alone: no path is the directory of another.
    leaves = {path for path in files if not any(one.startswith(f"{path}/") for one in files)}
    diff = "".join(f"A {path}\n" for path in sorted(leaves))
    found = {line[2:] for line in written_elsewhere(diff, allowed, init=init)}
    mounted = {f"{folder}/docker-init" for folder in ("/sbin", "/bin", "/usr/sbin", "/usr/bin")}
    below = {p for p in leaves for root in allowed if p == root or p.startswith(f"{root}/")}
    assert found == leaves - below - (mounted if init else set())


@given(st.sets(PATHS), PATHS)
def test_everything_below_an_allowed_path_is_expected(files: set[str], root: str) -> None:
    diff = "".join(f"A {root}{path}\n" for path in files)
    assert written_elsewhere(diff, [root], init=False) == ()


def test_without_dockers_init_that_file_is_the_images_own() -> None:
    diff = "C /sbin\nA /sbin/docker-init\n"
    assert written_elsewhere(diff, [], init=False) == ("A /sbin/docker-init",)


def _elf(bits: int, order: int, machine: bytes, kind: bytes = b"\x02\x02") -> bytes:
    return b"\x7fELF" + bytes([bits, order, 1]) + bytes(9) + kind + machine + bytes(44)


@pytest.mark.parametrize(
    ("head", "arch"),
    [
        (_elf(2, 1, b"\x3e\x00"), "amd64"),
        (_elf(2, 1, b"\xb7\x00"), "arm64"),
        (_elf(1, 1, b"\x28\x00"), "arm"),
        (_elf(1, 1, b"\x03\x00"), "386"),
        (_elf(2, 1, b"\xf3\x00"), "riscv64"),
        (_elf(2, 1, b"\x15\x00"), "ppc64le"),
        (_elf(2, 2, b"\x00\x15"), "ppc64"),
        (_elf(2, 2, b"\x00\x16"), "s390x"),
        (_elf(2, 1, b"\x08\x00"), "mips64le"),
        (_elf(2, 1, b"\x02\x01"), "loong64"),
        (_elf(2, 1, b"\xff\x00"), ""),
        (_elf(2, 1, b"\xf7\x00"), ""),  # eBPF
        (_elf(2, 1, b"\xbe\x00"), ""),  # CUDA
        (_elf(1, 1, b"\x5e\x00"), ""),  # Xtensa, as firmware has it
        (_elf(2, 1, b"\x3e\x00", kind=b"\x01\x00"), ""),
        (_elf(2, 2, b"\x00\x16", kind=b"\x00\x01"), ""),
        (b"#!/bin/sh\n" + bytes(60), ""),
        (b"\x7fELF", ""),
    ],
)
def test_which_machine_a_program_is_for(head: bytes, arch: str) -> None:
    assert program_arch(head) == arch


def test_a_kernel_may_run_more_than_its_own_architecture() -> None:
    assert "x86_64" in kernel_names("386")
    assert kernel_names("arm64") == ("aarch64", "arm64")
    assert kernel_names("riscv64") == ("riscv64",)
    assert kernel_names("mips64le") == ("mips64",)
