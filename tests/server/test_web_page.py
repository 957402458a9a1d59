"""The page in a real browser (skipped where there is none): steps, roles, keyboard, offline use."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.browser import CHROMIUM, OPTIONS
from tests.server.gateway import WEAK, Served, ask, serving, simulated
from trim.config.settings import Config
from trim.server.auth import hash_key
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


def test_steps_scores_and_rejected_drafts_are_visible(page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trim.server.gateway.secrets.randbits", lambda bits: 4)  # both models write a part
    with serving(simulated()) as served:
        page.goto(served.url)
        page.fill("#parameter", "0.9")
        page.check("#compare")
        _ask(page, "hard 7")
        assert page.locator("#answers h3").all_inner_texts() == ["Routed", "Weak model alone", "Strong model alone"]
        routed, weak, strong = (page.locator("#answers section").nth(i) for i in range(3))
        assert {item.get_attribute("class") for item in routed.locator("li").all()} == {
            "step weak",
            "step strong",
            "step weak rejected",
        }
        assert {item.get_attribute("class") for item in weak.locator("li").all()} == {"step weak"}
        assert {item.get_attribute("class") for item in strong.locator("li").all()} == {"step strong"}
        rejected = routed.locator("li.rejected").first
        assert rejected.is_visible()  # without hovering
        assert "by weak draft 1" in rejected.inner_text()
        assert re.search(r"rejected · score 0\.\d\d · \d+ tokens", rejected.inner_text())
        rows = page.locator("#costs tbody tr").all_inner_texts()
        assert [row.split("\t")[0] for row in rows] == ["threshold 0.9", "always-weak", "always-strong"]
        heads = page.locator("#costs th").all_inner_texts()
        assert all(re.search(r"\((tokens|%|\$)", head) for head in heads[1:])
        assert page.locator("#recent tbody tr").count() == 3
        assert re.search(r"On this page: 3 requests, \d+ strong tokens, cost \$", page.locator("#spend").inner_text())


def test_other_policies_are_chosen_from_those_that_are_served(page: Any) -> None:
    with serving(simulated()) as served:
        page.goto(served.url)
        names = [option["id"] for option in served.get("/v1/models").json()["data"]]
        page.locator("#policy option").nth(len(names) - 1).wait_for(state="attached")
        values = page.locator("#policy option").evaluate_all("options => options.map((o) => o.value)")
        assert values == names
        page.select_option("#policy", "trim-random-20%")
        assert page.locator("#tuning").is_hidden()
        _ask(page, "q")
        assert page.locator("#costs tbody tr").inner_text().startswith("random")


def test_nobody_sees_the_questions_of_others(page: Any, tmp_path: Path) -> None:
    """Without keys nothing, unless the operator asks for it; with keys those of the key alone."""
    with serving(simulated()) as served:
        served.post(ask("mine alone"))
        served.spent(1)
        page.goto(served.url)
        page.locator("#spend", has_text="On this page: 0 requests").wait_for()
        assert page.locator("#recent").is_hidden()
        assert served.get("/v1/trim/recent").json() == {"hour": None, "day": None, "recent": []}
    with serving(simulated(recent_requests=True)) as served:
        served.post(ask("for all"))
        served.spent(1)
        page.goto(served.url)
        page.locator("#recent td", has_text="for all").wait_for()
    keys = tmp_path / "keys.toml"
    keys.write_text("".join(f'[[key]]\nname = "{k}"\nsha256 = "{hash_key(k)}"\n' for k in ("anna", "ben")))
    with serving(simulated(keys=str(keys))) as served:
        served.post(ask("asked by anna"), headers={"authorization": "Bearer anna"})
        served.spent(1)
        for key, count in (("anna", 1), ("ben", 0)):
            told = served.get("/v1/trim/recent", headers={"authorization": f"Bearer {key}"}).json()
            assert (len(told["recent"]), told["day"]["requests"]) == (count, count)


def test_the_documentation_is_one_link_away(page: Any) -> None:
    with serving(simulated()) as served:
        page.goto(served.url)
        page.click("a[href='/docs']")
        page.locator("h1", has_text="Documentation of this gateway").wait_for()
        assert "POST /v1/chat/completions" in page.inner_text("table")
        assert "max_strong_tokens" in page.inner_text("body")


def test_by_keyboard_alone(page: Any) -> None:
    with serving(simulated(replace(WEAK, accuracy=0.0))) as served:
        page.goto(served.url)
        page.locator("#sliding").wait_for()
        page.focus("#slider")
        for _ in range(40):
            page.keyboard.press("ArrowRight")
        assert page.input_value("#parameter") == "0.9"
        for _ in range(3):
            page.keyboard.press("Shift+Tab")
        page.keyboard.press("Control+Enter")
        page.locator("#status", has_text="Done").wait_for()
        assert page.locator("#answers li").count() > 0
        assert page.locator("#answers li.rejected").first.is_visible()


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
        page.locator("#recent tbody tr").nth(2).wait_for()
        page.screenshot(path=folder / "page.png", full_page=True)

    with serving(lambda: open_gateway(Config())) as served:
        shoot(served)
