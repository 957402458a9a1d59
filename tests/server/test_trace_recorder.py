"""What the gateway keeps: traces that the other commands read, held shares, counters."""

from __future__ import annotations

import random
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.server.gateway import PRM, STRONG, WEAK, ask, serving, simulated
from trim.errors import ConfigError
from trim.policies import AlwaysWeak, RandomSteps, Threshold
from trim.server.budget_controller import AnswerOutcome, ShareController, TargetControllers
from trim.server.usage_store import UsageStore
from trim.traces import read_traces
from trim.types import Trace


def test_traces_are_recorded_and_rotate(tmp_path: Path) -> None:
    with serving(simulated(record=str(tmp_path / "traces"), record_mb=0.004)) as served:
        replies = []
        for i in range(6):
            served.post(ask(f"q{i}", seed=i, stream=True))
            replies.append(served.post(ask(f"q{i}", seed=i)).json()["choices"][0]["message"]["content"])
    files = sorted((tmp_path / "traces").iterdir())
    assert len(files) > 1
    traces = [trace for file in files for trace in read_traces(file)]
    assert len(traces) == 12
    assert [trace.text for trace in traces[1::2]] == replies
    assert max(file.stat().st_size for file in files) < 4_000 + max(len(str(trace)) for trace in traces) * 4


def test_a_hook_may_rewrite_or_drop_traces(tmp_path: Path) -> None:
    def redact(trace: Trace) -> Trace | None:
        return None if "secret" in trace.question.text else replace(trace, question=replace(trace.question, text="-"))

    with serving(simulated(record=str(tmp_path)), redact) as served:
        for text in ("secret", "open"):
            served.post(ask(text))
    (file,) = tmp_path.iterdir()
    assert [trace.question.text for trace in read_traces(file)] == ["-"]


def test_a_left_answer_is_charged_and_not_recorded(tmp_path: Path) -> None:
    with serving(simulated(record=str(tmp_path))) as served:
        served.post(ask("hard 7", seed=5, stop="Step 2"))
        assert served.spent(1).cost > 0
    assert not list(tmp_path.iterdir())


def test_metrics(tmp_path: Path) -> None:
    with serving(simulated()) as served:
        trim = served.post(ask("hard 7", seed=5)).json()["trim"]
        served.post(ask(temperature=3))
        text = served.get("/metrics").text
    strong = trim["usage"]["strong"]["completion_tokens"]
    assert f'trim_tokens_total{{kind="completion",role="strong"}} {strong:.1f}' in text
    assert 'trim_requests_rejected_total{status="400"} 1.0' in text
    assert 'trim_requests_total{policy="threshold",status="ok"} 1.0' in text
    assert f"trim_cost_total {trim['cost']}" in text
    roles = [step["role"] for step in trim["steps"]]
    assert f'trim_steps_total{{role="weak"}} {roles.count("weak"):.1f}' in text


@pytest.mark.parametrize("policy", ["threshold", "random"])
@pytest.mark.parametrize("target", [0.1, 0.2, 0.5])
def test_a_share_is_held_on_drifting_questions(policy: str, target: float) -> None:
    """The share realised over 1,000 answers is within two points, though questions get harder and easier again."""
    controller, draw = (
        ShareController(Threshold(0.5) if policy == "threshold" else RandomSteps(0.5), target),
        random.Random(1),
    )
    for index in range(1_000):
        hard = 1.0 + 2.0 * (300 <= index < 700)
        now, strong, tokens, scores = controller.policy(), 0, 0, []
        for _ in range(draw.randint(1, 10)):
            score, size = draw.random() ** hard, draw.randint(10, 60)
            scores.append(score)
            tokens += size
            asked = score < now.threshold if isinstance(now, Threshold) else draw.random() < now.parameter  # type: ignore[operator]
            strong += size * asked
        controller.update(AnswerOutcome(strong, tokens, scores=scores))
    assert controller.state.share == pytest.approx(target, abs=0.02)
    assert controller.state.answers == 1_000


def test_held_shares_survive_a_restart(tmp_path: Path) -> None:
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


def test_shares_that_cannot_be_held() -> None:
    with closing(UsageStore()) as usage, pytest.raises(ConfigError, match="no parameter"):
        TargetControllers(usage).get(AlwaysWeak(), 0.2)


def test_many_shares_put_the_oldest_away_and_lose_nothing() -> None:
    policy = Threshold(0.5)
    with closing(UsageStore()) as usage:
        controllers = TargetControllers(usage)
        controllers.get(policy, 0.5)
        controllers.update(("threshold", 0.5), AnswerOutcome(10, 40))
        before = controllers.get(policy, 0.5).state
        for share in range(200):
            controllers.get(policy, share / 1_000)
        assert len(controllers.items()) == 64
        controllers.update(("threshold", 0.5), AnswerOutcome(10, 40))  # an answer that was under way
        assert controllers.get(policy, 0.5).state == before


def test_the_configured_share_is_held_for_trim() -> None:
    with serving(simulated(target_strong_share=0.25)) as served:
        for seed in range(150):
            served.post(ask(f"q{seed}", seed=seed))
        held = served.gateway.controllers.get(Threshold(0.5), 0.25).state
    assert held.share == pytest.approx(0.25, abs=0.06)
