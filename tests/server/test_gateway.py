"""The parts together: targets over restarts, caps over targets, fallbacks, sampling, a full disk."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.money import dollars
from tests.server.gateway import PRM, STRONG, WEAK, Failing, Sampled, ask, serving, simulated, with_roles
from tests.server.test_budget_controller import HOUR, Clock
from tests.server.test_endpoints import chat
from trim.backends.base import BaseGenerator, step_stream
from trim.config.settings import Config
from trim.errors import BackendUnavailable, ConfigError
from trim.policies import Threshold
from trim.server.gateway import Gateway
from trim.server.trace_recorder import TraceRecorder
from trim.types import Finish, Question, Role, Step, StepOptions, Trace


def test_target_shares_survive_a_restart(tmp_path: Path) -> None:
    backends = simulated(WEAK, STRONG, PRM, state=str(tmp_path / "state.db"))
    with serving(backends) as served:
        for seed in range(30):
            assert served.post(ask("hard 7", model="trim-threshold-30%", seed=seed)).status_code == 200
        assert served.spent(30).requests == 30
        before = served.gateway.controllers.get(Threshold(0.5), 0.3)
        assert before.state.answers == 30
        assert 'trim_strong_share{policy="threshold",target="0.3"}' in served.get("/metrics").text
    with serving(backends) as served:
        after = served.gateway.controllers.get(Threshold(0.5), 0.3)
        assert after.state == before.state
        assert after.policy().parameter == pytest.approx(before.policy().parameter, abs=1e-3)


def test_the_configured_target_share_is_followed_for_trim() -> None:
    with serving(simulated(target_strong_share=0.25)) as served:
        for seed in range(150):
            served.post(ask(f"q{seed}", seed=seed))
        held = served.gateway.controllers.get(Threshold(0.5), 0.25).state
    assert held.share == pytest.approx(0.25, abs=0.06)


def test_a_target_spend_is_met_and_survives_a_restart(tmp_path: Path) -> None:
    alone = {}
    for model in ("trim-weak", "trim-strong"):
        with serving(simulated()) as served:
            costs = [served.post(ask(f"q{i}", model=model, seed=i)).json()["trim"]["cost"] for i in range(30)]
            alone[model] = sum(costs) / len(costs)
    target = 200 * (0.6 * alone["trim-weak"] + 0.4 * alone["trim-strong"])  # 200 requests an hour
    backends, clock = simulated(target_spend_per_hour=target, state=str(tmp_path / "state.db")), Clock()
    asked: list[int] = []

    def ask_for_an_hour(hours: int) -> list[float]:
        spent = []
        for _ in range(hours):
            first = served.gateway.usage.hour()
            for i in range(200):
                assert served.post(ask(f"q{i}", seed=int(clock.now))).status_code == 200
                asked.append(i)
                served.spent(len(asked))
                clock.now += HOUR / 200
            clock.now = (first + 1) * HOUR
            spent.append(served.gateway.usage.totals(first).cost)
        return spent

    with serving(backends, clock=clock) as served:
        first, second = ask_for_an_hour(2)
        assert second == pytest.approx(target, rel=0.1)
        held = served.gateway.controllers.get(Threshold(0.5), None).state
        text = served.get("/metrics").text
        assert 'trim_controller_effort{policy="threshold",target="spend"}' in text
        assert f'trim_spend_target{{window="hour"}} {target}' in text
        (day,) = (line for line in text.splitlines() if line.startswith('trim_spend{window="day"}'))
        assert float(day.split()[1]) == pytest.approx(first + second)
    with serving(backends, clock=clock) as served:
        again = served.gateway.controllers.get(Threshold(0.5), None)
        assert again.state == held
        (third,) = ask_for_an_hour(1)
        assert third == pytest.approx(target, rel=0.1)


def test_a_hard_cap_holds_over_the_target() -> None:
    clock, cap = Clock(), 1.5e-3
    slow = replace(WEAK, token_seconds=0.0002, block=10)
    backends = simulated(slow, target_spend_per_hour=1.0, spend_per_hour=cap, max_requests=8)
    with serving(backends, clock=clock) as served, ThreadPoolExecutor(8) as pool:
        for _ in range(2):  # the next hour has a budget of its own
            before = served.gateway.usage.totals(0)
            answers = list(pool.map(lambda i: served.post(ask(f"hard {i}", seed=i)), range(60)))
            done = [answer.json()["trim"]["cost"] for answer in answers if answer.status_code == 200]
            assert {answer.status_code for answer in answers} == {200, 429}
            spent = served.spent(before.requests + len(done)).cost - before.cost
            assert cap / 4 < spent <= cap + 7 * max(done)  # by no more than what is under way
            clock.now += HOUR


def test_a_policy_that_cannot_follow_a_target_is_found_at_the_start() -> None:
    backends = simulated(target_spend_per_hour=1.0)
    config = replace(backends.config, policy=replace(Config().policy, name="always-weak"))
    with pytest.raises(ConfigError, match="no parameter"):
        Gateway(replace(backends, config=config))


def test_fallbacks_are_visible() -> None:
    weak = Failing(WEAK, BackendUnavailable("weak model", "is gone"), after=1)
    backends = with_roles(simulated(weak), weak={"on_error": "strong"})
    with serving(backends) as served:
        answer = served.post(ask("hard 7", seed=5))
        (fallback,) = answer.json()["trim"]["fallbacks"]
        assert (fallback["role"], fallback["to"]) == ("weak", "strong")
        assert "is gone" in fallback["error"]
        assert answer.headers["x-trim-fallbacks"] == "1"
        assert 'trim_fallbacks_total{role="weak"} 1.0' in served.get("/metrics").text


def test_a_full_disk_does_not_fail_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: TraceRecorder, trace: Trace) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(TraceRecorder, "append", full)
    with serving(simulated(record=str(tmp_path))) as served:
        assert [served.post(ask(n=2)).status_code for _ in range(2)] == [200, 200]
        assert served.spent(2).requests == 2
        assert 'trim_requests_total{policy="threshold",status="ok"} 2.0' in served.get("/metrics").text
        # both choices of both requests were learned from, not just the first
        steps = sum(len(recent.response.trim()["steps"]) for recent in served.gateway.recent)
        text = served.get("/metrics").text
        kept = sum(float(line.split()[1]) for line in text.splitlines() if line.startswith("trim_steps_total{"))
        assert kept == steps


def test_sampling_reaches_the_models_or_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="sampling cannot be changed") as refused:
        chat(client, temperature=0.1)
    assert refused.value.param == "temperature"
    chat(client, temperature=0.7, top_p=0.8)  # the configured ones
    weak, strong = Sampled(Role.WEAK, 0.8), Sampled(Role.STRONG, 0.97)
    with serving(simulated(weak, strong)) as other:
        text = other.post(ask(temperature=0, top_p=0.5)).json()["choices"][0]["message"]["content"]
        assert all("t=0 p=0.5" in step for step in text.split("\n\n"))
        assert "t=0.7" not in other.post(ask()).text


@dataclass
class Nonsense(BaseGenerator):
    """A model of somebody's own whose token counts are none."""

    count: Any

    @step_stream
    async def steps(
        self, question: Question, kept: tuple[str, ...], options: StepOptions = StepOptions()
    ) -> AsyncIterator[Step]:
        yield Step("It is #### 7", Role.WEAK, self.count, Finish.EOS, self.count, self.count)


@pytest.mark.parametrize("count", [float("nan"), float("inf"), -8, "many", None])
def test_token_counts_that_are_none_reach_no_book(count: Any) -> None:
    with serving(simulated(Nonsense(count))) as served:
        for _ in range(2):
            answer = served.post(ask(model="trim-weak"))
            assert answer.status_code == 200
            used = answer.json()["trim"]["usage"]["weak"]
            assert (used["completion_tokens"], used["prompt_tokens"], used["estimated"]) == (0, 0, True)
        assert served.spent(2).cost == pytest.approx(
            sum(dollars(recent.response.cost) for recent in served.gateway.recent)
        )
        assert "nan" not in served.get("/metrics").text.lower()


@pytest.mark.parametrize("book", ["usage.charge", "metrics.add_usage", "controllers.update", "recorder.append"])
def test_a_book_that_fails_keeps_no_other_from_its_entry(
    book: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(simulated(record=str(tmp_path), target_strong_share=0.3)) as served:

        def broken(*_: object) -> None:
            raise RuntimeError("on purpose")

        gateway = served.gateway
        part, name = book.split(".")
        owner = {"usage": gateway.usage, "metrics": gateway.metrics, "controllers": gateway.controllers}
        monkeypatch.setattr(owner.get(part) or gateway.recorder, name, broken)
        assert [served.post(ask(model="trim")).status_code for _ in range(2)] == [200, 200]
        limit = time.monotonic() + 5
        while len(gateway.recent) < 2 or gateway.admission.running:
            assert time.monotonic() < limit
            time.sleep(0.01)
        text = served.get("/metrics").text
    assert caplog.text.count("was not recorded") >= 2
    assert (gateway_requests(text) == 2.0) is (book != "metrics.add_usage")
    assert bool([*tmp_path.glob("traces-*.jsonl")]) is (book != "recorder.append")


def gateway_requests(metrics: str) -> float:
    return sum(float(line.split()[-1]) for line in metrics.splitlines() if line.startswith("trim_requests_total"))
