"""The notebooks in a real Chromium, on a phone and on a wide screen. `make test-browser` runs it.

With SCREENSHOTS set to a folder, each page is also stored there as a picture, for people to look at: `make screenshots`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from docruns.commands.load import load_runs
from docruns.sandbox import Sandbox
from docruns.store.target import Target
from support.loading import connect

WIDTHS = (420, 1600)

WAIT_MS = 120_000

CHARTS = {
    ("explore", "extend"): 0, ("quality", "extend"): 6, ("operations", "extend"): 3,
    ("explore", "plextera"): 0, ("quality", "plextera"): 0, ("operations", "plextera"): 2,
}  # fmt: skip

URL = re.compile(r"http://(?:localhost|127\.0\.0\.1):\d+\S*")

OUTSIDE = """
() => [...document.querySelectorAll('marimo-vega-component, .vega-embed canvas, .vega-embed svg')]
    .map(element => element.getBoundingClientRect())
    .filter(box => box.width > 0 && (box.left < 0 || box.right > document.documentElement.clientWidth)).length
"""
"""How many charts reach beyond the page: an axis would be cut."""


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both platforms in one file."""
    path = tmp_path_factory.mktemp("pages") / "docruns.duckdb"
    with Sandbox(runs=120, standalone=20, seed=18, plextera_runs=20) as platform:
        for name in ("extend", "plextera"):
            load_runs(connect(platform, name), Target(name, path))
    return path


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The Chromium of the system."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    assert found, "there is no Chromium: install it, for example with apt-get install chromium"
    with sync_playwright() as playwright:
        # Chromium's own sandbox needs rights that a container may lack; it opens pages of this project alone
        yield playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])


@contextmanager
def served(name: str, database: Path, dataset: str) -> Iterator[str]:
    """The address of a notebook, while it is served."""
    words = ["notebook", name, "--database", str(database), "--dataset", dataset]
    with subprocess.Popen(
        [sys.executable, "-c", "from docruns.commands.cli.main import run; run()", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "BROWSER": "true", "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        try:
            yield next(found[0] for line in process.stdout if (found := URL.search(line)))
        finally:
            process.kill()


@contextmanager
def opened(browser: Browser, url: str, width: int) -> Iterator[tuple[Page, list[str]]]:
    """The page, and what the browser complained of so far."""
    page = browser.new_page(viewport={"width": width, "height": 1000})
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request",
        lambda sent: (
            complaints.append(sent.url)
            if "//localhost:" not in sent.url and sent.url.startswith("http")
            else None
        ),
    )
    page.goto(url)
    page.wait_for_selector("h1", timeout=WAIT_MS)
    try:
        yield page, complaints
    finally:
        page.close()


def charts(page: Page) -> Any:
    """The drawn charts."""
    return page.locator(".vega-embed canvas, .vega-embed svg.marks")


def figure(page: Page, caption: str) -> Any:
    """The figure above or below a caption."""
    return page.get_by_text(caption, exact=True).locator("xpath=ancestor::*[3]")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("name", "dataset"), CHARTS)
def test_page(name: str, dataset: str, width: int, browser: Browser, database: Path) -> None:
    """Every chart is drawn, inside the page; the browser complains of nothing and asks nobody else."""
    with served(name, database, dataset) as url, opened(browser, url, width) as (page, complaints):
        last = {"explore": "Where on the page was it read?", "quality": "What slips through a threshold?"}
        expect(page.get_by_role("heading", name=last.get(name, "Quarantine"), exact=True)).to_be_visible(
            timeout=WAIT_MS
        )
        expect(charts(page)).to_have_count(CHARTS[name, dataset], timeout=WAIT_MS)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(OUTSIDE) == 0
        assert complaints == []
        if folder := os.environ.get("SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            tall = "Math.max(...[...document.querySelectorAll('*')].map(element => element.scrollHeight))"
            page.set_viewport_size({"width": width, "height": min(page.evaluate(tall) + 50, 9000)})
            page.wait_for_timeout(2000)
            page.screenshot(path=Path(folder) / f"{name}_{dataset}_{width}.png")


def test_slider_and_filter(browser: Browser, database: Path) -> None:
    """The threshold and the choice of a processor change the figures."""
    with served("quality", database, "extend") as url, opened(browser, url, 1600) as (page, complaints):
        passing = figure(page, "pass without a review")
        expect(passing).to_contain_text("%", timeout=WAIT_MS)
        before = passing.inner_text()
        slider = page.get_by_role("slider").first
        slider.focus()
        for _ in range(2):
            slider.press("ArrowLeft")
        expect(passing).not_to_have_text(before, timeout=WAIT_MS)
        extractions = figure(page, "extractions")
        before = extractions.inner_text()
        page.get_by_label("processor").select_option("Supplier invoice")
        expect(extractions).not_to_have_text(before, timeout=WAIT_MS)
        assert complaints == []


def test_a_document_and_its_place(browser: Browser, database: Path) -> None:
    """A choice of another field shows where that field was read."""
    with served("explore", database, "extend") as url, opened(browser, url, 1600) as (page, complaints):
        boxes = page.get_by_role("checkbox")
        shown = page.get_by_role("heading", name="Where on the page was it read?")
        expect(shown).to_be_visible(timeout=WAIT_MS)
        card = page.locator("table:has-text('text on the page'), table:has-text('value')").last
        before = card.inner_text()
        boxes.nth(boxes.count() - 1).click()
        expect(card).not_to_have_text(before, timeout=WAIT_MS)
        assert complaints == []
