"""A client that behaves well and asks all the time, streaming and not."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx

from benchmarks.chaos.attack import CLIENT, Target

_MODELS = ("trim", "trim-weak", "trim-strong")


@dataclass
class Outcome:
    """How its requests ended: `answered`, or the status and code of the error. `wrong`: ends that are neither."""

    ends: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    longest: float = 0.0

    @property
    def answered(self) -> int:
        """Requests answered."""
        return self.ends["answered"]

    def take(self, answer: httpx.Response) -> None:
        """Count an answer or one clear error."""
        if answer.status_code != 200:
            self.ends[f"{answer.status_code} {answer.json()['error']['code']}"] += 1
            return
        if answer.headers["content-type"].startswith("application/json"):
            self.ends["answered"] += bool(answer.json()["choices"])
            return
        events = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
        if events[-1] == "[DONE]":
            self.ends["answered"] += 1
        else:
            self.ends[f"in the stream: {json.loads(events[-1])['error']['code']}"] += 1


async def client(target: Target, number: int, outcome: Outcome, over: asyncio.Event) -> None:
    """Send requests, one after another, until it is over."""
    draw = random.Random(number)
    transport = httpx.AsyncHTTPTransport(local_address=CLIENT)
    headers = {"authorization": f"Bearer {target.key}"}
    url = f"http://{target.host}:{target.port}/v1/chat/completions"
    async with httpx.AsyncClient(timeout=20, transport=transport, headers=headers) as session:
        while not over.is_set():
            messages = [{"role": "user", "content": f"question {draw.random()}"}]
            body = {"model": draw.choice(_MODELS), "messages": messages, "stream": draw.random() < 0.5}
            await _ask(session, url, body, outcome)
            await asyncio.sleep(0.1)


async def _ask(session: httpx.AsyncClient, url: str, body: dict[str, object], outcome: Outcome) -> None:
    began = time.monotonic()
    try:
        outcome.take(await session.post(url, json=body))
    except Exception as error:
        outcome.wrong.append(f"{type(error).__name__}: {error}")
    outcome.longest = max(outcome.longest, time.monotonic() - began)
