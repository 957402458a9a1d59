"""A target strong share over 1,000 requests while questions drift.

    python -m benchmarks.target_share

Simulated models behind the whole gateway (in one process, without sockets), 16 requests at a time. The first 300
questions are easy for the weak model, the next 400 hard, the rest mixed. Prints the share realised over all requests
and over each phase, for a threshold and for a POMDP policy, and the total cost of an hour with a hard cap.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import httpx

from trim.backends.base import BaseGenerator
from trim.config.factory import Backends
from trim.config.settings import Config, PolicySettings, ServeSettings
from trim.config.specs import identities
from trim.policies.artifacts import Models, Provenance
from trim.policies.pomdp import PomdpPolicy
from trim.pomdp import PomdpModel
from trim.protocols import StepStream
from trim.server.app import create_app
from trim.server.gateway import Gateway
from trim.simulation import SimulatedModel, SimulatedPrm, graded
from trim.types import Question, Role, StepOptions

_TARGET = 0.2
_REQUESTS = 1_000
_AT_ONCE = 16


@dataclass(frozen=True)
class Drifting(BaseGenerator):
    """A weak model that errs more often on questions that are called hard."""

    easy: SimulatedModel
    hard: SimulatedModel

    def steps(self, question: Question, kept: tuple[str, ...], options: StepOptions = StepOptions()) -> StepStream:
        """Continue `kept`."""
        model = self.hard if question.text.startswith("hard") else self.easy
        return model.steps(question, kept, options)


def question(number: int) -> str:
    """The question of a request; what is asked changes with time."""
    hard = 300 <= number < 700 or (number >= 700 and number % 3 == 0)
    return f"{'hard' if hard else 'easy'} {number}"


def backends(folder: Path, **serve: float) -> Backends:
    """Simulated models, and a POMDP policy that was made for the easy questions."""
    weak = SimulatedModel(Role.WEAK, 0.92, spread=0.5)
    model = PomdpModel(0.92, 0.98, weak.ends[1:], graded(0.85), 40.0, 0.9)
    made = Provenance(Models(**identities(Config())), "simulated", "2026-11-25", 0)
    PomdpPolicy(model, 0.001).save(folder, made)
    settings = ServeSettings(max_requests=_AT_ONCE, **serve)  # type: ignore[arg-type]
    config = replace(Config(), policy=PolicySettings("threshold", 0.5, str(folder)), serve=settings)
    drifting = Drifting(weak, replace(weak, accuracy=0.7))
    return Backends(config, drifting, SimulatedModel(Role.STRONG, 0.98, spread=0.5), SimulatedPrm(0.85))


async def ask(gateway: Gateway, model: str) -> list[httpx.Response]:
    """All requests, a few at a time, in the order in which they come."""
    app = create_app(lambda: nullcontext(gateway))
    app.state.gateway = gateway
    answers: dict[int, httpx.Response] = {}
    numbers = iter(range(_REQUESTS))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:

        async def worker() -> None:
            for number in numbers:
                body = {"model": model, "seed": number, "messages": [{"role": "user", "content": question(number)}]}
                answers[number] = await client.post("/v1/chat/completions", json=body)

        await asyncio.gather(*(worker() for _ in range(_AT_ONCE)))
    return [answers[number] for number in sorted(answers)]


def share(answers: list[httpx.Response]) -> float:
    """Strong tokens over tokens of the answers."""
    replies = [answer.json() for answer in answers]
    strong = sum(reply["trim"]["usage"]["strong"]["completion_tokens"] for reply in replies)
    return round(float(strong / sum(reply["usage"]["completion_tokens"] for reply in replies)), 4)


def main() -> None:
    """Measure and print."""
    results: dict[str, object] = {"target": _TARGET}
    with tempfile.TemporaryDirectory() as folder:
        for policy in ("threshold", "pomdp"):
            answers = asyncio.run(ask(Gateway(backends(Path(folder))), f"trim-{policy}-{_TARGET:.0%}"))
            phases = {"easy": answers[:300], "hard": answers[300:700], "mixed": answers[700:]}
            results[policy] = {"all": share(answers)} | {name: share(part) for name, part in phases.items()}
        cap = 0.005
        gateway = Gateway(backends(Path(folder), spend_per_hour=cap))
        answers = asyncio.run(ask(gateway, "trim"))
        costs = [answer.json()["trim"]["cost"] for answer in answers if answer.status_code == 200]
        results["cap"] = {
            "cap": cap,
            "spent": gateway.usage.totals(0).cost,
            "answered": len(costs),
            "refused": len(answers) - len(costs),
            "most_expensive_request": max(costs),
            "concurrent_requests": _AT_ONCE,
        }
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
