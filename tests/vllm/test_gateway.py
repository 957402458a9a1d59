"""The gateway in front of three real vLLM servers: disconnecting clients stop them; the page shows their output."""

from __future__ import annotations

import asyncio
import os
import re
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.browser import CHROMIUM, OPTIONS
from tests.server.gateway import ask, serving
from tests.vllm.conftest import ROOT, VllmServer
from trim.config.loading import load_config
from trim.config.settings import Config
from trim.server.gateway import open_gateway
from trim.tasks.arithmetic_chain import FAMILY
from trim.types import Question

CLIENTS = 4
ATTEMPTS = 10  # on a busy machine the server may be done before its first step has come to the client
STOPPED = 2.0  # seconds; on an idle machine a tenth of it (docs/results/performance.md), but tests share theirs


def config(servers: dict[str, VllmServer]) -> Config:
    """The example's configuration at these servers' addresses."""
    example = load_config(ROOT / "examples" / "vllm.toml")
    url = {name: server.base_url for name, server in servers.items()}
    return replace(
        example,
        weak=replace(example.weak, base_url=url["weak"]),
        strong=replace(example.strong, base_url=url["strong"]),
        prm=replace(example.prm, base_url=url["prm"].removesuffix("/v1")),
    )


def counted(server: VllmServer, name: str, **labels: str) -> float:
    """A counter of a server's /metrics."""
    with urllib.request.urlopen(server.base_url.removesuffix("/v1") + "/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    found = [line for line in lines if re.match(rf"vllm:{name}\b", line) and all(text in line for text in wanted)]
    assert found, f"vLLM tells no {name}: {[line for line in lines if line.startswith('vllm:')]}"
    return sum(float(line.rsplit(" ", 1)[1]) for line in found)


async def ask_all(url: str, server: VllmServer, *, leave: bool) -> tuple[float, float]:
    """Stream long solutions, to the end or until each has its first step: the tokens that the server wrote in all, and
    the seconds from then on until it wrote no more.
    """

    async def listen(problem: Question) -> None:
        body = ask(problem.text, model="trim-strong", stream=True, seed=5)
        async with client.stream("POST", url + "/v1/chat/completions", json=body) as answer:
            async for line in answer.aiter_lines():
                if leave and '"content"' in line:
                    return

    async def written() -> float:
        return await asyncio.to_thread(counted, server, "generation_tokens_total")

    before = await written()
    async with httpx.AsyncClient(timeout=60) as client:
        await asyncio.gather(*(listen(problem) for problem in FAMILY.problems(900_800, CLIENTS)))
    left = time.monotonic()
    last, since = await written(), time.monotonic()
    while time.monotonic() < since + 0.5:
        if (now := await written()) != last:
            last, since = now, time.monotonic()
    return last - before, since - left


def test_a_client_that_leaves_stops_the_server(servers: dict[str, VllmServer]) -> None:
    with serving(lambda: open_gateway(config(servers))) as served:
        whole, _ = asyncio.run(ask_all(served.url, servers["strong"], leave=False))
        left = []
        while not left or (min(left)[0] >= 0.8 * whole and len(left) < ATTEMPTS):
            left.append(asyncio.run(ask_all(served.url, servers["strong"], leave=True)))
        written, seconds = min(left)
        print(f"{written:.0f} of {whole:.0f} tokens, the last one {1000 * seconds:.0f} ms after the clients left")
        assert written < 0.8 * whole
        assert seconds < STOPPED
        assert served.spent((1 + len(left)) * CLIENTS).cost > 0  # what was written is paid for


def test_the_page_over_real_servers(servers: dict[str, VllmServer]) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    with serving(lambda: open_gateway(config(servers))) as served, playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        page = browser.new_page(viewport={"width": 1000, "height": 900})
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.goto(served.url)
        page.locator("#sliding").wait_for()
        page.fill("#parameter", "0.9")
        page.check("#compare")
        page.click("#ask")
        steps = page.locator("#answers section").first.locator("li")
        steps.first.wait_for(timeout=20_000)
        assert page.locator("#status", has_text="Done").count() == 0  # the first step is there before the last one
        page.locator("#status", has_text="Done").wait_for(timeout=60_000)
        assert "####" in steps.last.inner_text()
        assert page.locator("#answers li.strong").count() > 0
        assert page.locator("#costs tbody tr").count() == 3
        page.locator("#recent tbody tr").nth(2).wait_for()
        if folder := os.environ.get("TRIM_SCREENSHOTS"):
            page.screenshot(path=Path(folder) / "page-vllm.png", full_page=True)
        assert complaints == []
        browser.close()
