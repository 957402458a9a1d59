"""The gateway in front of three real vLLM servers: who leaves stops them, and the page shows what they write."""

from __future__ import annotations

import os
import re
import shutil
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.server.gateway import Served, ask, serving
from tests.vllm.conftest import ROOT, VllmServer
from trim.config import Config, load_config
from trim.server.gateway import open_gateway

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LEAVING = 12  # clients
STOPPED = 0.2  # seconds


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


def leave(served: Served, server: VllmServer) -> tuple[float, float]:
    """Open streams of text that does not end by itself, close all: the tokens written a second before, and the seconds
    until no more are written.
    """
    before = counted(server, "generation_tokens_total")
    body = ask("Count.", model="trim-weak", stream=True, temperature=2.0, top_p=1.0, max_tokens=900)
    clients = [httpx.Client(timeout=30) for _ in range(LEAVING)]
    streams = [client.stream("POST", served.url + "/v1/chat/completions", json=body) for client in clients]
    began = time.monotonic()
    for stream in streams:
        assert stream.__enter__().status_code == 200
    while counted(server, "num_requests_running") < LEAVING / 2:
        assert time.monotonic() < began + 10, "the streams were over before they could be left"
    time.sleep(0.3)
    rate = (counted(server, "generation_tokens_total") - before) / (time.monotonic() - began)
    for client in clients:
        client.close()  # the sockets with it
    left = time.monotonic()
    last, since = counted(server, "generation_tokens_total"), time.monotonic()
    while time.monotonic() < since + 0.5:
        now = counted(server, "generation_tokens_total")
        if now != last:
            last, since = now, time.monotonic()
    return rate, since - left


def test_a_client_that_leaves_stops_the_server(servers: dict[str, VllmServer]) -> None:
    with serving(lambda: open_gateway(config(servers))) as served:
        aborted = counted(servers["weak"], "request_success_total", finished_reason="abort")
        rate, seconds = leave(served, servers["weak"])
        aborted = counted(servers["weak"], "request_success_total", finished_reason="abort") - aborted
        print(
            f"{LEAVING} streams at {rate:.0f} tokens a second stopped after {1000 * seconds:.0f} ms, {aborted} aborted"
        )
        assert served.spent(LEAVING).cost > 0  # what was written is paid for


def test_the_page_over_real_servers(servers: dict[str, VllmServer]) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with serving(lambda: open_gateway(config(servers))) as served, playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=options)
        page = browser.new_page(viewport={"width": 1000, "height": 900})
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.goto(served.url)
        page.fill("#threshold", "0.9")
        page.check("#compare")
        page.click("#ask")
        steps = page.locator("#steps li")
        steps.first.wait_for(timeout=20_000)
        assert page.locator("#status", has_text="Done").count() == 0  # the first step is there before the last one
        page.locator("#status", has_text="Done").wait_for(timeout=60_000)
        assert "####" in steps.last.inner_text()
        assert page.locator("#steps li.strong").count() > 0
        assert page.locator("#bill tbody tr").count() == 3
        page.locator("#recent tbody tr").nth(2).wait_for()
        page.locator("#steps li.strong").first.hover()
        if folder := os.environ.get("TRIM_SCREENSHOTS"):
            page.screenshot(path=Path(folder) / "page-vllm.png", full_page=True)
        assert complaints == []
        browser.close()
