"""The page in a real browser (skipped where there is none): steps, roles, keyboard, offline use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.browser import CHROMIUM, OPTIONS
from tests.server.gateway import WEAK, Served, serving, simulated
from trim.config.settings import Config
from trim.server.gateway import open_gateway

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    made = browser.new_page(viewport={"width": 1000, "height": 900})
    made.complaints = []
    made.on("console", lambda message: made.complaints.append(message.text) if message.type == "error" else None)
    made.on("request", lambda request: made.complaints.append(request.url) if "127.0.0.1" not in request.url else None)
    yield made
    assert [words for words in made.complaints if "429" not in words and not words.startswith("data:")] == []
    made.close()


def _ask(page: Any, question: str) -> None:
    page.fill("#question", question)
    page.click("#ask")
    page.locator("#status", has_text="Done").wait_for(timeout=20_000)


def test_steps_scores_and_rejected_drafts(page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trim.server.gateway.secrets.randbits", lambda bits: 4)  # both models write a part
    with serving(simulated()) as served:
        page.goto(served.url)
        page.fill("#threshold", "0.9")
        page.check("#compare")
        _ask(page, "hard 7")
        steps = page.locator("#steps li")
        roles = {steps.nth(i).get_attribute("class") for i in range(steps.count())}
        assert roles == {"step weak", "step strong"}
        rewritten = page.locator("#steps li.strong").first
        assert not rewritten.locator(".rejected").is_visible()
        rewritten.hover()
        assert "by weak draft 1" in rewritten.locator(".rejected").inner_text()
        assert "score" in rewritten.locator(".rejected").inner_text()
        rows = page.locator("#costs tbody tr").all_inner_texts()
        assert [row.split("\t")[0] for row in rows] == ["threshold 0.9", "always-weak", "always-strong"]
        assert page.locator("#recent tbody tr").first.is_visible()
        assert "3 requests" in page.locator("#spend").inner_text()


def test_by_keyboard_alone(page: Any) -> None:
    with serving(simulated(replace(WEAK, accuracy=0.0))) as served:
        page.goto(served.url)
        for _ in range(2):
            page.keyboard.press("Tab")
        for _ in range(40):
            page.keyboard.press("ArrowRight")
        assert page.locator("#shown").inner_text() == "0.90"
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Control+Enter")
        page.locator("#status", has_text="Done").wait_for()
        assert page.locator("#steps li").count() > 0
        page.locator("#steps li.strong").first.focus()
        assert page.locator("#steps li.strong").first.locator(".rejected").is_visible()


def test_errors_are_shown_and_text_stays_text(page: Any) -> None:
    with serving(simulated(spend_per_hour=0.0)) as served:
        page.goto(served.url)
        page.fill("#question", "<img src=x onerror=alert(1)>")
        page.click("#ask")
        page.wait_for_selector("#status.error")
        assert "budget of the gateway for this hour is spent" in page.locator("#status").inner_text()
        assert page.locator("img").count() == 0


@pytest.mark.skipif("TRIM_SCREENSHOTS" not in os.environ, reason="pictures for the docs: TRIM_SCREENSHOTS=docs/img")
def test_pictures(page: Any) -> None:
    folder = Path(os.environ["TRIM_SCREENSHOTS"])

    def shoot(served: Served) -> None:
        page.goto(served.url)
        page.check("#compare")
        _ask(page, page.input_value("#question"))
        page.locator("#steps li.strong").first.hover()
        page.locator("#recent tbody tr").nth(2).wait_for()
        page.screenshot(path=folder / "page.png", full_page=True)

    with serving(lambda: open_gateway(Config())) as served:
        shoot(served)
