"""The program in front of a fake engine, and a real browser in front of the program."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from engineimages import hostile, thousands, usual
from enginesocket import Image, serving
from pages import Opened, Service, Start, running
from playwright.sync_api import Browser, sync_playwright

# Under each of these names it is one of Chromium's kind; scripts/lib/browser.sh has the same.
BROWSERS = ("chromium", "chromium-headless-shell", "google-chrome", "chromium-browser")


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Return what starts the program in front of an engine with some images."""
    with ExitStack() as stack:

        def _start(images: list[Image]) -> Service:
            folder = tmp_path_factory.mktemp("service")
            stack.enter_context(serving(folder / "s", images))
            return Service(stack.enter_context(running(folder / "data", folder / "s")), images)

        yield _start


@pytest.fixture
def service(start: Start) -> Service:
    """Return a service with the images of a developer's machine, and no report."""
    return start(usual())


@pytest.fixture(scope="session")
def hostile_service(start: Start) -> Service:
    """Return a service with hostile names."""
    return start(hostile())


@pytest.fixture(scope="session")
def long_service(start: Start) -> Service:
    """Return a service with 10,000 images."""
    return start(thousands(10_000))


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Return the machine's own browser."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    assert found, f"no browser: scripts/bootstrap.sh --browser, or one of {BROWSERS} on PATH"
    with sync_playwright() as playwright:
        # Without its sandbox: as root it has none, and it opens our own pages alone.
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def tabs(chromium: Browser) -> Iterator[Opened]:
    """Return what opens tabs; nothing may be said on their consoles."""
    opened = Opened(chromium)
    yield opened
    for context in chromium.contexts:
        context.close()
    assert opened.said == []
