"""The page of docker-report in a real browser, opened from its file."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from buildrecords import MARKUP, hostile, many, shop
from conftest import ROOT
from pages import Opened
from playwright.sync_api import Page, expect

from buildlib.records.record import Record
from buildlib.records.report.compare import compare
from buildlib.records.report.page import render

pytestmark = pytest.mark.browser
WIDE = "() => document.documentElement.scrollWidth - innerWidth"


def _write(folder: Path, text: str, name: str = "report.html") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path.as_uri()


def _compared() -> str:
    before, now = shop()
    history: list[Record] = [before, before, now]
    images = [
        ("Image for linux/amd64", ("Section", "Changes"), [("files", "1 added"), ("", "x" * 90)])
    ]
    return render(now, history=history, comparison=compare(now, before), images=images)


@pytest.fixture
def address(tmp_path: Path) -> str:
    """Return the address of a page with all its sections."""
    return _write(tmp_path, _compared())


@pytest.mark.parametrize("width", [390, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_nothing_is_wider_than_the_window(
    address: str, tmp_path: Path, tabs: Opened, width: int, scheme: str
) -> None:
    page = tabs.page(width, scheme)
    for one in (address, _write(tmp_path, render(hostile()), "hostile.html")):
        page.goto(one)
        page.get_by_role("button", name="Unfold all").click()
        page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
        assert page.evaluate(WIDE) <= 0
        results = Axe().run(page, options={"resultTypes": ["violations"]})
        assert results.violations_count == 0, results.generate_report()


def _steps(page: Page) -> list[str]:
    return [str(one) for one in page.locator("#steps li:visible b").all_text_contents()]


def test_steps_are_searched_and_filtered_by_mouse(address: str, tabs: Opened) -> None:
    page = tabs.page()
    page.goto(address)
    all_of_them = _steps(page)
    page.get_by_role("searchbox").fill("go build")
    expect(page.get_by_role("status")).to_have_text("1 of 8 steps")
    assert _steps(page) == ["[build 4/4]"]
    page.get_by_role("searchbox").fill("")
    page.get_by_role("combobox", name="Show").select_option("from the cache")
    expect(page.get_by_role("status")).to_have_text("2 of 8 steps")
    assert _steps(page) == ["[build 1/4]", "[build 2/4]"]
    page.get_by_role("combobox", name="Show").select_option("all steps")
    # What was folded before is folded again.
    assert _steps(page) == all_of_them
    page.get_by_role("button", name="Fold all", exact=True).click()
    assert _steps(page) == []
    page.get_by_role("link", name="[build 4/4]").click()
    expect(page.get_by_text("compiling the shop")).to_be_visible()


def test_steps_are_searched_and_unfolded_by_keyboard(address: str, tabs: Opened) -> None:
    page = tabs.page()
    page.goto(address)
    page.get_by_role("searchbox").focus()
    page.keyboard.type("go build")
    expect(page.get_by_role("status")).to_have_text("1 of 8 steps")
    log = page.get_by_text("compiling the shop")
    expect(log).to_be_hidden()
    for _ in range(5):
        page.keyboard.press("Tab")
    expect(page.locator("li summary:focus")).to_contain_text("go build")
    page.keyboard.press("Enter")
    expect(log).to_be_visible()
    expect(page.get_by_role("button", name="Copy the instruction")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("Copied the instruction")


def test_a_command_is_copied(address: str, tabs: Opened) -> None:
    page = tabs.page()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(address)
    page.get_by_role("button", name="Copy the command").click()
    expect(page.get_by_role("status")).to_have_text("Copied the command")
    assert page.evaluate("navigator.clipboard.readText()").startswith("docker buildx build")


def test_a_page_without_a_script_has_it_all(address: str, tabs: Opened) -> None:
    page = tabs.page(script=False)
    page.goto(address)
    expect(page.get_by_role("button", name="Fold all", exact=True)).to_be_hidden()
    page.locator("#steps li summary", has_text="go build").click()
    expect(page.get_by_text("compiling the shop")).to_be_visible()


def test_hostile_names_stay_text(tmp_path: Path, tabs: Opened) -> None:
    page = tabs.page()
    page.goto(_write(tmp_path, render(hostile(), history=[hostile()] * 2)))
    expect(page.get_by_text(MARKUP).first).to_be_attached()
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 1


def test_five_thousand_steps_are_there_within_two_seconds(tmp_path: Path, tabs: Opened) -> None:
    address = _write(tmp_path, render(many(5000)))
    page = tabs.page()
    seconds = []
    # The first is slow where the machine is busy with something else.
    for _ in range(3):
        started = time.monotonic()
        page.goto(address)
        expect(page.get_by_role("searchbox")).to_be_visible()
        seconds.append(time.monotonic() - started)
    assert min(seconds) < 2
    page.get_by_role("searchbox").fill("module-4321 ")
    expect(page.get_by_role("status")).to_have_text("1 of 5000 steps")


def test_the_picture_for_the_documentation(
    tabs: Opened, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """With `--screenshots` it is that of docs/images."""
    folder = ROOT / "docs/images" if request.config.getoption("--screenshots") else tmp_path
    page = tabs.page(1200)
    page.goto(_write(tmp_path, render(shop()[1])))
    page.screenshot(path=folder / "build-report.png")
    assert 10_000 < (folder / "build-report.png").stat().st_size < 250_000
