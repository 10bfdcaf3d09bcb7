"""Two builds on the real engine: our own image, and images that can't be built twice alike."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Checkout, docker

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("engine")]
Make = Callable[..., Checkout]


def _mounted(word: str) -> list[str]:
    """Return the cache mounts of the builder that have a word in their description."""
    listing = docker("buildx", "du", "--verbose").splitlines()
    return [line for line in listing if "cached mount" in line and word in line]


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    folder = tmp_path / "temporary files"
    folder.mkdir()
    return folder


@dataclass(frozen=True)
class Faults:
    """A Dockerfile that gives another image each time, and the files and what differs in them."""

    dockerfile: str
    found: tuple[tuple[str, str], ...]


FAULTS = {
    # A file each: of the time of the build, of chance, of the builder's name, of the checkout.
    "times, chance, and the name of the builder": Faults(
        "RUN date +%s > /stamp\nRUN head -c 9 /dev/urandom > /key\n"
        "RUN cat /proc/sys/kernel/hostname > /h\nCOPY --chmod=0644 f /f",
        (("stamp", "content"), ("key", "content"), ("h", "content"), ("f", "time")),
    ),
    "the umask of the checkout": Faults(
        "COPY f /out/f\nRUN touch /out/f\nFROM scratch\nCOPY --from=0 /out/ /", (("f", "mode"),)
    ),
    "a label that nobody can foresee is no fault": Faults("LABEL a=b", ()),
}


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
def test_each_fault_is_explained_by_its_file(
    make_checkout: Make, alpine: str, folder: Path, faults: Faults
) -> None:
    token = secrets.token_hex(8)
    checkout = make_checkout(f"FROM {alpine}\nRUN echo {token}\n{faults.dockerfile}\n")
    (checkout.root / "f").write_text("x\n", encoding="utf-8")
    done = checkout.invoke("docker-reproduce", "--json", TMPDIR=str(folder))
    result = json.loads(done.stdout)
    assert done.returncode == (7 if faults.found else 0), done.stderr
    found = tuple((d["item"], d["what"]) for d in result["differences"])
    assert sorted(found) == sorted(faults.found)
    assert result["late"] == []
    assert list(folder.iterdir()) == []
    assert _mounted(token) == []


@pytest.mark.toolchain
def test_the_table_shows_layer_file_and_difference(make_checkout: Make, alpine: str) -> None:
    checkout = make_checkout(f"FROM {alpine}\nCOPY --chmod=0644 f /deep/f\n")
    (checkout.root / "f").write_text("x\n", encoding="utf-8")
    done = checkout.invoke("docker-reproduce", SOURCE_DATE_EPOCH="1700000000")
    assert done.returncode == 7
    assert "two builds  not identical" in done.stdout
    assert "layer 2, made by COPY --chmod=0644 f /deep/f" in done.stdout
    assert "  deep/f  time" in done.stdout
    # A year before the epoch, and set to it: 2022-11-14 and 2023-11-14.
    assert "2022-11-14T22:13:" in done.stdout
    assert "2023-11-14T22:13:20Z" in done.stdout
    assert "the image is not reproducible: 1 difference" in done.stderr


@pytest.mark.toolchain
def test_cache_mounts_are_not_shared_and_not_left(make_checkout: Make, alpine: str) -> None:
    name = f"c{secrets.token_hex(6)}"
    mount = f"RUN --mount=type=cache,id={name},target=/c"
    checkout = make_checkout(
        f"FROM {alpine}\n{mount} test ! -e /c/used && touch /c/used && echo fresh > /x\n"
    )
    done = checkout.invoke("docker-reproduce")
    # With the mount of the first build, the second would fail.
    assert done.returncode == 0, done.stderr
    assert _mounted(name) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupted_run_leaves_nothing(
    make_checkout: Make,
    alpine: str,
    folder: Path,
    end_group: Callable[[subprocess.Popen[str]], None],
    number: signal.Signals,
) -> None:
    token = secrets.token_hex(8)
    checkout = make_checkout(
        f"FROM {alpine}\nCOPY f /{token}\n"
        f"RUN --mount=type=cache,id={token},target=/c echo {token} waiting; sleep 300\n"
    )
    (checkout.root / "f").write_text("x\n", encoding="utf-8")
    process = checkout.start("docker-reproduce", TMPDIR=str(folder))
    end_group(process)
    assert process.stdout
    for line in process.stdout:
        if "waiting" in line and "RUN" not in line:
            break
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    rest = process.stdout.read()
    assert process.wait(timeout=120) == 130, rest
    assert "Traceback" not in rest
    assert list(folder.iterdir()) == []
    deadline = time.monotonic() + 60
    while _mounted(token) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert _mounted(token) == []
    # Who was left to the first process of the machine is gone when that has noticed.
    while _is_alive(process.pid) and time.monotonic() < deadline + 60:
        time.sleep(0.1)
    assert not _is_alive(process.pid)


def _is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_place_to_keep_them_that_is_a_file_exits_2(make_checkout: Make, alpine: str) -> None:
    checkout = make_checkout(f"FROM {alpine}\n")
    done = checkout.invoke("docker-reproduce", "--keep", "buildlib.toml")
    assert done.returncode == 2
    assert "can't write to" in done.stderr


def test_a_build_that_fails_exits_4_and_leaves_nothing(
    make_checkout: Make, alpine: str, folder: Path
) -> None:
    token = secrets.token_hex(8)
    checkout = make_checkout(f"FROM {alpine}\nRUN echo {token}\nRUN exit 9\n")
    done = checkout.invoke("docker-reproduce", TMPDIR=str(folder))
    assert done.returncode == 4
    assert "the build failed in step" in done.stderr
    assert list(folder.iterdir()) == []
    assert _mounted(token) == []
