"""Smoke on images that are wrong in one thing each, and on this repository's own."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import tempfile
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from conftest import ROOT, Checkout, docker

from buildlib.image.archive import open_archive
from buildlib.image.platform import engine_platform
from buildlib.smoke import sandbox

pytestmark = pytest.mark.engine
LABEL = "buildlib.smoke"
COMMANDS = """
commands = [["true"]]
version-command = ["cat", "/version"]
"""
SERVER = """
port = 8080
health-path = "/index.html"
health-version = true
start-timeout = 60
stop-timeout = 20
[run]
user = 1001
"""
# Each command has a container of its own, so only those have some that are about commands.
CONFIG = f"[smoke]\npolicy = false\n{SERVER}"
EndGroup = Callable[[subprocess.Popen[str]], None]


@dataclass(frozen=True)
class Image:
    """A way to be wrong: the server's script, and the checks that find it with a part of why."""

    script: str
    failed: tuple[tuple[str, str], ...] = ()
    lines: str = ""
    config: str = CONFIG


SERVE = "cp /version /tmp/index.html && httpd -p 8080 -h /tmp"
WAIT = f"{SERVE} && exec sleep 60"
WRITABLE = "USER 0\nRUN mkdir -m 0777 /scratch\nUSER 1001:1001\n"
IMAGES = {
    "a good one": Image(WAIT, config=f"[smoke]\npolicy = false\n{COMMANDS}{SERVER}"),
    "a good one that prints a lot, and bytes that are no text, and writes where it may": Image(
        f"seq 100000; printf '\\377\\376\\n'; echo x 2>/dev/null > /scratch/x; {WAIT}",
        lines=WRITABLE,
        config=CONFIG.replace("[run]", 'writable-paths = ["/scratch"]\n[run]'),
    ),
    "ignores SIGTERM, and runs as root": Image(
        f"{SERVE} && trap : TERM && while :; do sleep 1; done",
        (
            ("user and groups", "sh -c runs as 0, and not as 1001"),
            ("stops on SIGTERM", "did not end within 2 s, and was killed"),
        ),
        lines="USER 0:0",
        config=CONFIG.replace("stop-timeout = 20", "stop-timeout = 2"),
    ),
    "ends in disorder, and has an error in its log": Image(
        f"echo 'ERROR: all is lost' >&2; {SERVE} && "
        "trap 'exit 5' TERM && while :; do sleep 0.1; done",
        (
            ("stops on SIGTERM", "ended with code 5"),
            ("no error in the log", "ERROR: all is lost"),
        ),
    ),
    "needs a writable root": Image(
        f"cp /version /srv-index && {WAIT}", (("healthy", "Read-only file system"),)
    ),
    "needs a capability": Image(
        f"{SERVE} && chown 7 /tmp/index.html && exec sleep 60", (("healthy", "not permitted"),)
    ),
    "another version in health, and writes outside where it can": Image(
        "echo x 2>/dev/null > /scratch/x; "
        "echo 9.9.9 > /tmp/index.html && httpd -p 8080 -h /tmp && exec sleep 60",
        (("version in health", "absent"), ("writes nowhere else", "A /scratch/x")),
        lines=WRITABLE,
    ),
    "never healthy": Image(
        "echo dull && exec sleep 60",
        (("healthy", "not healthy within 1 s"),),
        config=CONFIG.replace("start-timeout = 60", "start-timeout = 1"),
    ),
    "ends at once": Image("echo goodbye", (("healthy", "it exited at once\ngoodbye"),)),
    "never healthy by its own word": Image(
        WAIT,
        (("healthy by HEALTHCHECK", "not healthy within 3 s: health check: I am ill"),),
        lines='HEALTHCHECK CMD ["sh", "-c", "echo I am ill; exit 1"]',
        config=CONFIG.replace("start-timeout = 60", "start-timeout = 3"),
    ),
    "is in one group more": Image(
        WAIT,
        (("user and groups", "in the groups 4, 1001, and not in 1001 (by [run])"),),
        config=f"{CONFIG}groups = []\n",
        lines="USER 0\nRUN echo 'app:x:1001:1001::/:/bin/sh' >> /etc/passwd"
        " && echo 'app:x:1001:' >> /etc/group && echo 'adm2:x:4:app' >> /etc/group\nUSER app",
    ),
    "commands that can't be run or end, and two other versions": Image(
        "true",
        (
            ("nonsense", "the command is not in the container"),
            ("/version", "the command in the container can't be executed"),
            ("sleep 100", "it did not end within 1 s"),
            ("version of the program", "it says '9.9.9', and '1.2.3' was built"),
            ("version in the label", "it says '9.9.9', and '1.2.3' was built"),
        ),
        config="[smoke]\npolicy = false\ncommand-timeout = 1\n"
        'commands = [["true"], ["nonsense"], ["/version"], ["sleep", "100"]]\n'
        'version-command = ["echo", "9.9.9"]\n'
        '[labels]\n"org.opencontainers.image.version" = "9.9.9"\n',
    ),
    "a program of another machine": Image(
        "cp /version /tmp/index.html && exec busybox-arm64 httpd -f -p 8080 -h /tmp",
        (
            (
                "platform of the process",
                "/bin/busybox-arm64 is for arm64, and the image for amd64",
            ),
        ),
        lines="COPY --from=other /bin/busybox /bin/busybox-arm64",
    ),
}


def _dockerfile(alpine: str, image: Image) -> str:
    command = json.dumps(["sh", "-c", image.script])
    return (
        f"FROM --platform=linux/arm64 {alpine} AS other\nFROM {alpine}\nARG VERSION\n"
        f"RUN echo $VERSION > /version\nUSER 1001:1001\n{image.lines}\nCMD {command}\n"
    )


def _containers(run: str) -> list[str]:
    """Return the containers of a run: its name, or a part of it, for each."""
    form = ("--format", f'{{{{.Label "{LABEL}"}}}}')
    found = docker("ps", "--all", "--filter", f"label={LABEL}", *form).split()
    return [name for name in found if run in name]


def _left(run: str) -> list[str]:
    """Return the containers, volumes and tags that a run has left: its name, or a part of it."""
    volumes = docker("volume", "ls", "--quiet").split()
    tags = docker("image", "ls", "--format", "{{.Tag}}").split()
    return [*_containers(run), *(name for name in [*volumes, *tags] if run in name)]


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
def test_each_fault_is_found_by_its_check(
    make_checkout: Callable[..., Checkout],
    alpine: str,
    image: Image,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What docker itself may take beside a command: two that never end wait for it.
    monkeypatch.setattr(sandbox, "_SLACK", 6.0)
    checkout = make_checkout(_dockerfile(alpine, image), image.config)
    done = checkout.invoke("docker-smoke", "--platform", "linux/amd64", "--json", VERSION="1.2.3")
    (result,) = json.loads(done.stdout)["smoke"]
    failed = {f["check"]: f["detail"] for f in result["findings"] if f["state"] == "failed"}
    assert list(failed) == [check for check, _ in image.failed], (failed, done.stderr)
    for check, detail in image.failed:
        assert detail in failed[check]
    assert done.returncode == (7 if image.failed else 0)
    # A failure leaves the image for a closer look, and nothing else.
    run = result["image"].rpartition(":")[2]
    assert _left(run) == ([run] if image.failed else [])


def test_a_failure_can_be_repeated_with_the_line_that_it_shows(
    make_checkout: Callable[..., Checkout], alpine: str
) -> None:
    bad = Image(f"echo 'ERROR: all is lost' >&2; {WAIT}")
    checkout = make_checkout(_dockerfile(alpine, bad), bad.config)
    # In processes of their own: what one that still runs has kept stays.
    done = checkout.invoke_process("docker-smoke", VERSION="1.2.3")
    assert done.returncode == 7
    line = next(line for line in done.stdout.splitlines() if "repeat it: " in line)
    words = shlex.split(line.partition("repeat it: ")[2])
    again = checkout.invoke(*words[1:], "--json")
    assert again.returncode == 7
    (result,) = json.loads(again.stdout)["smoke"]
    assert [(f["check"], f["state"]) for f in result["findings"]] == [
        ("no error in the log", "failed")
    ]
    # The next run of all removes what was kept, and keeps its own.
    kept = words[words.index("--image") + 1].rpartition(":")[2]
    assert _left(kept) == [kept]
    assert checkout.invoke_process("docker-smoke", VERSION="1.2.3").returncode == 7
    assert _left(kept) == []


@pytest.mark.toolchain
def test_our_own_image_passes_every_check_that_is_documented(own_image: str) -> None:
    # The session smoke does so on each platform; what is emulated takes four times as long.
    name = own_image.partition(":")[0]
    own = Checkout(ROOT, name, {"BUILDLIB_IMAGE": name})
    done = own.invoke("docker-smoke", "--platform", "linux/amd64")
    assert done.returncode == 0, done.stdout + done.stderr
    head, *rows = done.stdout.splitlines()
    assert head.split() == ["check", "linux/amd64"]
    checks = [row.partition("  ")[0] for row in rows[:-1]]
    # docs/smoke.md shows this very report.
    picture = ET.parse(ROOT / "docs" / "smoke.svg")
    shown = picture.iterfind(".//{*}text[@class='check']")
    named = [str(text.text) for text in shown]
    # An engine whose own socket has one of the groups needs one container less.
    expected = [check for check in named if check in checks or "socket of group" not in check]
    assert expected == ["check", *checks, "seconds"]
    assert {
        "healthy by HEALTHCHECK",
        "platform of the process",
        "reaches the engine, socket of group 4242",
        "data outlives the container",
        "policy",
    } <= set(checks)
    assert all(row.count("ok ") == 1 for row in rows[:-1])
    assert _left(f"-{os.getpid()}-") == []


@pytest.mark.toolchain
def test_an_image_that_is_given_is_checked_and_stays(own_image: str) -> None:
    own = Checkout(ROOT, own_image)
    version = own.invoke("version").stdout.strip()
    digest = docker("image", "inspect", "--format", "{{.Id}}", own_image)
    done = own.invoke(
        *("docker-smoke", "--image", f"{own_image.partition(':')[0]}@{digest}", "--json"),
        *("--expect-version", version, "--check", "version*"),
    )
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)["smoke"]
    assert [f["check"] for f in result["findings"]] == [
        "version --json",
        "version of the program",
        "version in the label",
        "version in health",
    ]
    assert docker("image", "ls", "--quiet", own_image)
    other = own.invoke(
        *("docker-smoke", "--image", own_image, "--expect-version", "9.9.9", "--check", "*label")
    )
    assert other.returncode == 7
    assert f"it says {version!r}, and '9.9.9' was built" in other.stdout


@pytest.mark.toolchain
def test_both_platforms_of_an_archive_are_checked_side_by_side_with_every_report(
    tmp_path: Path, own_archive: Path, own_image: str
) -> None:
    name = own_image.partition(":")[0]
    own = Checkout(ROOT, name, {"BUILDLIB_IMAGE": name})
    before = docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}", name)
    junit, summary = tmp_path / "reports" / "smoke.xml", tmp_path / "summary.md"
    summary.write_text("# before\n", encoding="utf-8")
    done = own.invoke(
        *("docker-smoke", "--platform", "all", "--image", str(own_archive), "--json"),
        *("--check", "healthy", "--check", "platform*", "--junit", str(junit)),
        GITHUB_STEP_SUMMARY=str(summary),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads(done.stdout)["smoke"]
    with open_archive(own_archive) as opened:
        digests = [image.digest for image in opened.images()]
    assert [result["digest"] for result in results] == digests
    # Its own name is left alone.
    assert docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}", name) == before
    suites = ET.parse(junit).getroot()
    tests = [str(len(result["findings"])) for result in results]
    assert [suite.attrib["tests"] for suite in suites] == tests
    text = summary.read_text(encoding="utf-8")
    assert text.startswith("# before\n## Smoke")
    assert "| linux/amd64 | linux/arm64 |" in text
    assert _left(f"-{os.getpid()}-") == []


def test_an_image_of_a_variant_alone_is_checked_on_it(
    make_checkout: Callable[..., Checkout], tmp_path: Path
) -> None:
    machine = str(engine_platform())
    variant = f"{machine}/v2" if machine == "linux/amd64" else f"{machine}/v9"
    checkout = make_checkout("FROM scratch\nCOPY buildlib.toml /\n", "[smoke]\npolicy = false\n")
    archive = tmp_path / "image.tar"
    output = f"type=oci,dest={archive}"
    built = checkout.invoke("docker-build", "--platform", variant, "--output", output)
    assert built.returncode == 0, built.stderr
    words = ("docker-smoke", "--image", str(archive), "--expect-version", "0", "--json")
    done = checkout.invoke(*words)
    (result,) = json.loads(done.stdout)["smoke"]
    assert (done.returncode, result["platform"]) == (7, variant), done.stderr
    refused = checkout.invoke(*words, "--platform", f"{machine}/v4")
    assert f"it is for {variant}" in refused.stderr


BAD_INPUT = {
    "an image that is not here": (("--image", "buildlib-test-nowhere"), 4, "can't be read"),
    "an archive that is none": (("--image", "pyproject.toml"), 2, "can't be read as an image"),
    "a platform that it is not for": (
        ("--image", "IMAGE", "--platform", "linux/s390x"),
        7,
        "is not for linux/s390x",
    ),
    "a check that is not there": (
        ("--image", "IMAGE", "--check", "nonsense"),
        2,
        "no check is called nonsense",
    ),
    "jobs below zero": (("--jobs", "-1"), 2, "--jobs must not be negative"),
    "a report that can't be written": (
        ("--image", "IMAGE", "--check", "--help", "--junit", "/proc/nowhere/x.xml"),
        2,
        "can't write to /proc/nowhere/x.xml",
    ),
}


@pytest.mark.parametrize(("words", "code", "message"), BAD_INPUT.values(), ids=BAD_INPUT)
def test_bad_input_is_refused_and_nothing_is_left(
    own_image: str, words: tuple[str, ...], code: int, message: str
) -> None:
    named = [own_image if word == "IMAGE" else word for word in words]
    done = Checkout(ROOT, own_image).invoke("docker-smoke", *named)
    assert done.returncode == code, done.stdout + done.stderr
    assert message in done.stderr
    assert _left(f"-{os.getpid()}-") == []


def _own_with(**run: str) -> str:
    """Return a configuration of this repository's image that is wrong about it."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    body = tomllib.loads(text)["tool"]["buildlib"]["smoke"]["data"]["body"]
    table = {"data-path": "/app/data", "socket-path": "/var/run/docker.sock", **run}
    lines = "".join(f'{key} = "{value}"\n' for key, value in table.items())
    return f"""
[smoke]
port = 8080
health-path = "/api/health"
engine-path = "/api/images"
[smoke.data]
write = "POST /api/reports"
read = "/api/reports"
body = '{body}'
[run]
user = 1001
drops-root = true
{lines}"""


WRONG_PATHS = {
    "data that goes with the container": (
        "data-path",
        "data*",
        "a second container with the same data answers otherwise",
    ),
    "a socket where the program does not look": (
        "socket-path",
        "reaches*",
        "reaches the engine, the engine's own socket: failed: HTTP 503",
    ),
}


@pytest.mark.parametrize(("key", "only", "detail"), WRONG_PATHS.values(), ids=WRONG_PATHS)
def test_what_the_program_keeps_or_looks_for_elsewhere_is_found(
    make_checkout: Callable[..., Checkout], own_image: str, key: str, only: str, detail: str
) -> None:
    # That both are found well where they are right: test_our_own_image_passes_every_check_...
    checkout = make_checkout(config=_own_with(**{key: "/elsewhere"}))
    done = checkout.invoke("docker-smoke", "--image", own_image, "--check", only)
    assert done.returncode == 7, done.stderr
    assert detail in done.stdout


@pytest.mark.parametrize(("config", "jobs"), [('commands = [["--help"]]', "1"), ("port = 80", "2")])
def test_a_program_that_can_not_run_here_ends_with_the_command_that_registers_it(
    make_checkout: Callable[..., Checkout], config: str, jobs: str
) -> None:
    # A header of s390x, for which nothing is registered, and nothing behind it.
    checkout = make_checkout(
        'FROM scratch\nCOPY program /program\nENTRYPOINT ["/program"]\n',
        f"[smoke]\n{config}\n",
    )
    program = checkout.root / "program"
    head = b"\x7fELF\x02\x02\x01" + bytes(9) + b"\x00\x02\x00\x16\x00\x00\x00\x01"
    program.write_bytes(head + bytes(200))
    program.chmod(0o755)
    both = ("--platform", "linux/s390x", "--platform", "linux/ppc64le")
    done = checkout.invoke("docker-smoke", *both, "--jobs", jobs)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "emulation is not registered" in done.stderr
    assert "tonistiigi/binfmt --install all registers it" in done.stderr


@pytest.mark.parametrize("words", [("--dry-run",), ()], ids=["--dry-run", "invoke --dry"])
def test_a_dry_run_prints_what_would_run_and_starts_nothing(
    own_image: str, words: tuple[str, ...]
) -> None:
    own = Checkout(ROOT, own_image)
    before = ("" if words else "--dry",)
    line = [word for word in (*before, "docker-smoke", "--platform", "linux/arm64", *words) if word]
    ran = own.invoke(*line)
    assert ran.returncode == 0, ran.stderr
    assert _left(f"-{os.getpid()}-") == []
    lines = [shlex.split(text) for text in ran.stdout.splitlines() if text.startswith("docker ")]
    build, *runs = lines
    assert build[:3] == ["docker", "buildx", "build"]
    tag = build[build.index("--tag") + 1]
    assert [run[:5] for run in runs] == [["docker", "run", "--rm", "--platform", "linux/arm64"]] * 5
    assert all("--cap-drop=ALL" in run and tag in run for run in runs)
    # The lines are whole: one that is pasted does what it says, of an image that is there.
    version = [word if word != tag else own_image for word in runs[3]]
    version[version.index("linux/arm64")] = "linux/amd64"
    done = subprocess.run(version, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.strip() == own.invoke("version").stdout.strip()


def _started(checkout: Checkout, end_group: EndGroup, *words: str) -> subprocess.Popen[str]:
    """Start smoke, and return as soon as it has a container on each platform."""
    process = checkout.start("docker-smoke", *words)
    end_group(process)
    deadline = time.monotonic() + 120
    while len(_containers(f"-{process.pid}-")) < 2:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return process


@pytest.mark.parametrize("by", ["Ctrl-C", "SIGTERM"])
def test_an_interrupted_run_leaves_nothing(own_image: str, end_group: EndGroup, by: str) -> None:
    # At any other moment, on one platform: test_interrupts.py.
    name = own_image.partition(":")[0]
    own = Checkout(ROOT, name, {"BUILDLIB_IMAGE": name})
    process = _started(own, end_group, "--platform", "all", "--jobs", "2")
    if by == "Ctrl-C":
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.terminate()
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 130, out
    assert "interrupted" in out
    assert "Traceback" not in out
    assert _left(f"-{process.pid}-") == []


def _wait_until_gone(mark: str, left: list[str]) -> None:
    # The run of another test may have begun to remove it, and the engine takes a while.
    deadline = time.monotonic() + 30
    while set(left) & set(_left(mark)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not set(left) & set(_left(mark))


def _kill_and_run_again(own: Checkout, image: str, end_group: EndGroup) -> bool:
    """Kill a run, and return whether the next one says that it removed what was left."""
    process = _started(own, end_group, "--platform", "all", "--jobs", "2")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    # The relays' sockets.
    temporary = Path(tempfile.gettempdir())
    mark, relays = f"-{process.pid}-", f"buildlib-*-{process.pid}-*"
    left = _left(mark)
    ours = len(left) > 1 and bool(list(temporary.glob(relays)))
    again = ("docker-smoke", "--image", image, "--check", "--help")
    done = own.invoke(*again)
    assert done.returncode == 0, done.stderr
    _wait_until_gone(mark, left)
    if late := _left(mark):
        # A docker that outlived the killed run started it since: it goes with one more.
        assert own.invoke(*again).returncode == 0
        _wait_until_gone(mark, late)
    assert _left(mark) == []
    assert not list(temporary.glob(relays))
    return ours and f"removed what {left[0]} had left" in done.stderr


def test_what_a_killed_run_left_goes_with_the_next(own_image: str, end_group: EndGroup) -> None:
    name = own_image.partition(":")[0]
    own = Checkout(ROOT, name, {"BUILDLIB_IMAGE": name})
    # The next one may be that of another test.
    assert any(_kill_and_run_again(own, own_image, end_group) for _ in range(4))


def test_two_at_once_do_not_disturb_each_other(own_image: str, end_group: EndGroup) -> None:
    name = own_image.partition(":")[0]
    own = Checkout(ROOT, name, {"BUILDLIB_IMAGE": name})
    both = [own.start("docker-smoke", "--check", "data*", "--check", "--help") for _ in range(2)]
    for process in both:
        end_group(process)
    for process in both:
        out, _ = process.communicate(timeout=250)
        assert process.returncode == 0, out
        assert _left(f"-{process.pid}-") == []
