"""The program in front of an engine's socket, and a browser's tabs in front of the program."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from enginesocket import Image
from playwright.sync_api import Browser, Page


@dataclass
class Service:
    """A running program: its address, and the images that its engine has."""

    address: str
    images: list[Image]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def running(data: Path, engine: Path) -> Iterator[str]:
    """Run the program on a data directory and an engine's socket, and give its address."""
    program, port = os.environ["DOCKERUTILITIES_PROGRAM"], str(_free_port())
    options = ("--port", port, "--data-dir", str(data), "--socket", str(engine))
    with subprocess.Popen([program, "server", *options]) as process:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 30
        try:
            while not _healthy(address):
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield address
        finally:
            process.terminate()


def _healthy(address: str) -> bool:
    try:
        with urlopen(f"{address}/api/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except URLError:
        return False


Start = Callable[[list[Image]], Service]


@dataclass
class Opened:
    """Pages that were opened, and what they said on the console."""

    browser: Browser
    said: list[str] = field(default_factory=list)

    def page(self, width: int = 1400, scheme: str = "light", *, script: bool = True) -> Page:
        """Open a new tab."""
        context = self.browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if scheme == "dark" else "light",
            java_script_enabled=script,
            reduced_motion="reduce",
        )
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("requestfailed", lambda request: self.said.append(f"failed: {request.url}"))
        return page
