"""The pages in a real browser: nothing is fetched, nothing of a run is obeyed, and everybody can read them."""

import json
import os
import shutil
import subprocess
import sys
import time

import pandas as pd
import pytest

from fedtailor.report import read_run
from fedtailor.report.compared import write_comparison
from fedtailor.report.page import write_page

pytestmark = pytest.mark.browser
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
EVIL = "<script>document.title = 'obeyed'</script><img src=x onerror=\"document.title = 'obeyed'\">"
VIEWS = {"light": (1000, "light"), "dark": (1000, "dark"), "narrow": (390, "light")}


@pytest.fixture(scope="module")
def browser():
    """Yield Debian's Chromium, driven by Playwright; skip without it."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="there is no playwright: pip install playwright")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser):
    """Return what opens an address in a view, and returns the page with all it asked for and complained of."""
    contexts = []

    def open_page(address, view="light"):
        width, scheme = VIEWS[view]
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.asked, page.complaints = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def folder(write_run):
    """Return the folder of a made run with charts, a finding, and texts that do harm."""
    made = write_run(
        "tiny", best_round=2, traffic={"up_bytes": 9, "down_bytes": 9, "by_kind": {"train": {"up_bytes": 9, "down_bytes": 9}}}
    )
    rows = [(r, c) for r in range(6) for c in ("north", EVIL)]
    pd.DataFrame(
        [{"round": r, "client": c, "last_loss": 2.0 + r, "cosine": 0.5, "clipped": 1.0} for r, c in rows if r]
    ).to_parquet(made / "clients.parquet")
    pd.DataFrame(
        [
            {"round": r, "scope": s, "client": c, "metric": "loss", "value": 3.0 - r / 9}
            for r, c in rows
            for s in ("client", "client-validation")
        ]
    ).to_parquet(made / "evaluations.parquet")
    losses = [4.0, 3.0, 4.0, 3.0, 4.0]
    pd.DataFrame(
        [{"round": r, "validation_loss": loss, "seconds": 1.0, "up_bytes": 5} for r, loss in enumerate(losses, start=1)]
    ).to_parquet(made / "rounds.parquet")
    pd.DataFrame([{"example": str(i), "client": "north" if i else EVIL, "part": "train"} for i in range(4)]).to_parquet(
        made / "partition.parquet"
    )
    line = json.dumps({"input": EVIL, "references": ["wanted"], "text": EVIL})
    for moment in ("before", "after"):
        (made / "generations" / f"{moment}.jsonl").write_text(line + "\n")
    return made


@pytest.mark.parametrize("view", VIEWS)
def test_a_report_asks_for_nothing_and_obeys_nothing(folder, opened, view):
    address = write_page(read_run(folder)).as_uri()
    page = opened(address, view)
    assert page.asked == [address]
    assert page.complaints == []
    assert page.title() == "tiny · fedtailor report"
    assert EVIL in page.locator(".sample").first.inner_text()
    assert page.locator("#finding-unstable-rounds").is_visible()
    assert page.locator("figure").count() == page.locator("figure [role=img][aria-label]").count() >= 5
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")  # what is wide scrolls by itself
    ink, paper = page.evaluate("[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]")
    assert (paper == "rgb(22, 24, 28)") == (view == "dark")
    assert page.evaluate("getComputedStyle(document.querySelector('figure svg text')).fill") == ink


@pytest.mark.parametrize("view", VIEWS)
def test_a_report_can_be_read_by_everybody(folder, opened, view):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = opened(write_page(read_run(folder)).as_uri(), view)
    found = axe.Axe().run(page)
    assert [violation["id"] for violation in found.response["violations"]] == [], found.generate_report()


def test_a_report_prints_with_all_its_sections(folder, opened, tmp_path):
    page = opened(write_page(read_run(folder)).as_uri())
    page.pdf(path=tmp_path / "r.pdf")
    pypdf = pytest.importorskip("pypdf")
    text = " ".join(sheet.extract_text() for sheet in pypdf.PdfReader(tmp_path / "r.pdf").pages)
    for title in page.locator("h2").all_inner_texts():
        assert title in text
    assert "client north" in text.replace("\n", " ") or "north" in text  # letters of charts are letters


def test_a_comparison_can_be_read_by_everybody(folder, write_run, opened, tmp_path):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    runs = [read_run(folder), read_run(write_run("other", rank=16))]
    address = write_comparison(runs, tmp_path / "c.html").as_uri()
    page = opened(address)
    assert (page.asked, page.complaints) == ([address], [])
    assert [violation["id"] for violation in axe.Axe().run(page).response["violations"]] == []


def test_the_live_page_follows_the_run_and_ends_as_the_report(folder, opened):
    summary = (folder / "summary.json").read_text()
    (folder / "summary.json").unlink()
    (folder / "run.lock").write_text(json.dumps({"process": os.getpid(), "machine": os.uname().nodename}))
    process = subprocess.Popen([sys.executable, "-m", "fedtailor.cli", "watch", str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        page = opened(address)
        page.get_by_text("the run is under way").wait_for(timeout=20_000)
        (folder / "now.json").write_text('{"event": "step", "client": "north", "step": 3, "steps": 8, "loss": 2.5}')
        page.get_by_text("north: step 3 of 8, loss 2.500").wait_for(timeout=20_000)
        page.locator("summary").first.click()  # what somebody opened stays open
        time.sleep(0.1)
        (folder / "summary.json").write_text(summary)
        page.get_by_text("the run has ended").wait_for(timeout=40_000)
        assert page.locator("details[open]").count() == 1
        shown = page.locator("#run").inner_text()
        page.evaluate("for (const each of document.querySelectorAll('details')) each.open = false")
        shown = page.locator("#run").inner_text()
        assert all(url.startswith(address) for url in page.asked)
        assert page.complaints == []
        assert shown == opened(write_page(read_run(folder)).as_uri()).locator("body").inner_text()
    finally:
        process.terminate()
        process.wait(timeout=20)
