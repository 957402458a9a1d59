"""The gateway against calling its backend directly, request by request in turn.

    python -m benchmarks.gateway_direct --requests 40 --at-once 4

One HTTP server (the one that the clients' tests use) writes a token every 10 ms and takes as long to score. It is asked
in three ways in turn, by the same client: directly for a streamed completion; through the gateway by the weak model
alone, which is the same request upstream; and routed by a threshold, with the judge's calls, keeping every step.
Client, gateway and server are separate processes. Prints the median time of a request and to the end of its first step,
their ratios to the direct ones, and the gateway's CPU time per request.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import socket
import statistics
import time
from collections.abc import Callable
from typing import Any

import httpx

from benchmarks.gateway import cpu_seconds
from trim.config.settings import Config, ModelSettings, PrmSettings

_TOKEN_SECONDS = 0.01
_SOLUTION = "\n\n".join(f"Step {i}: we add {i} and get another number." for i in range(1, 6)) + "\n\n#### 7"


def backend(port: int) -> None:
    """The model server's process."""
    from tests.backends.fake_server import Habits, application

    _serve(application(Habits(solution=_SOLUTION, delay=_TOKEN_SECONDS)), port)


def gateway(port: int, upstream: int) -> None:
    """The gateway's process."""
    from trim.server.app import create_app
    from trim.server.gateway import open_gateway

    url = f"http://127.0.0.1:{upstream}"
    model = ModelSettings("vllm", "m", f"{url}/v1")
    config = Config(model, model, PrmSettings("vllm", "m", url))
    _serve(create_app(lambda: open_gateway(config)), port)


def _serve(app: Any, port: int) -> None:
    import uvicorn

    uvicorn.run(app, port=port, log_config=None, access_log=False, ws="none")


def requests(direct: int, through: int) -> dict[str, tuple[str, dict[str, Any]]]:
    """URL and body of each kind of request."""
    chat = {"messages": [{"role": "user", "content": "q"}], "stream": True, "max_tokens": 500}
    url = f"http://127.0.0.1:{through}/v1/chat/completions"
    prompt = "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n"
    body = {"model": "m", "prompt": prompt, "stream": True, "max_tokens": 500}
    return {
        "direct": (f"http://127.0.0.1:{direct}/v1/completions", body),
        "weak": (url, chat | {"model": "trim-weak"}),
        "threshold": (url, chat | {"model": "trim-threshold-0.5"}),
    }


async def ask(client: httpx.AsyncClient, url: str, body: dict[str, Any]) -> tuple[float, float]:
    """Seconds to the end of the first step, and of the whole stream."""
    started, text, first = time.perf_counter(), "", 0.0
    async with client.stream("POST", url, json=body) as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            if not line.startswith("data: {"):
                continue
            for choice in json.loads(line[6:])["choices"]:
                text += choice.get("text") or choice.get("delta", {}).get("content") or ""
            if not first and "number." in text:
                first = time.perf_counter() - started
    assert text == _SOLUTION, text
    return first, time.perf_counter() - started


async def measure(ways: dict[str, tuple[str, dict[str, Any]]], count: int, at_once: int, pid: int) -> dict[str, Any]:
    """All kinds of requests in turn, `count` requests each; `pid` is the gateway's process."""
    spent = dict.fromkeys(ways, 0.0)
    seen: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    async with httpx.AsyncClient(timeout=60) as client:
        for way in ways.values():
            await ask(client, *way)  # warm
        for _ in range(-(-count // at_once)):
            for name, way in ways.items():
                before = cpu_seconds(pid)
                seen[name] += await asyncio.gather(*(ask(client, *way) for _ in range(at_once)))
                spent[name] += cpu_seconds(pid) - before
    first, whole = (
        {name: statistics.median(pair[i] for pair in pairs) for name, pairs in seen.items()} for i in (0, 1)
    )
    return {
        name: {
            "requests": len(seen[name]),
            "seconds": round(whole[name], 4),
            "of_direct": round(whole[name] / whole["direct"], 3),
            "first_step_seconds": round(first[name], 4),
            "first_step_of_direct": round(first[name] / first["direct"], 3),
            "gateway_cpu_ms": round(spent[name] / len(seen[name]) * 1e3, 1),
        }
        for name in ways
    }


def _start(target: Callable[..., None], *more: int) -> tuple[int, Any]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = multiprocessing.get_context("spawn").Process(target=target, args=(port, *more), daemon=True)
    process.start()
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return port, process
        time.sleep(0.1)
    raise RuntimeError(f"{target.__name__} did not start")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=40)
    parser.add_argument("--at-once", type=int, default=4)
    args = parser.parse_args()
    direct, server = _start(backend)
    through, front = _start(gateway, direct)
    try:
        found = asyncio.run(measure(requests(direct, through), args.requests, args.at_once, front.pid))
    finally:
        for process in (front, server):
            process.terminate()
            process.join(10)
    print(json.dumps(found | {"at_once": args.at_once}, indent=2))


if __name__ == "__main__":
    main()
