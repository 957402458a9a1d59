"""The judge that scores drafts by what came with them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.routing.models import Scripted, run, strong, weak
from trim.backends.base import score_steps
from trim.errors import BadResponse, ConfigError
from trim.policies import Threshold
from trim.protocols import StepJudge
from trim.routing.limits import Limits
from trim.routing.router import Router
from trim.scoring.fitted import SHIPPED, FittedJudge, file_of, fitted_file, identity
from trim.scoring.fitted_model import FittedModel
from trim.scoring.recalibrated import RecalibratedJudge, RecalibrationCurve
from trim.stats import sigmoid
from trim.testing import check_judge
from trim.types import Action, Finish, Price, Prices, Question, Role, Scores, Step, Trace

QUESTION = Question("What is 3 + 4?")
SAID: dict[str, Any] = {
    "name": "mine",
    "models": ["small-instruct"],
    "regression": {
        "intercept": 1.0,
        "coefficients": [{"feature": "logprob", "weight": 2.0, "low": -1.0, "high": -0.25}],
    },
    "base": 0.75,
    "quantiles": [0.2, 0.4, 0.6, 0.8],
    "measured": [],
    "date": "2026-11-30",
}

FREE = Prices(Price(0, 0), Price(0, 0), Price(0, 0))


def written(path: Path, **changes: Any) -> Path:
    path.write_text(json.dumps(SAID | changes))
    return path


def judge(path: Path) -> FittedJudge:
    return FittedJudge(FittedModel.load(written(path / "mine.json")), "fitted:mine@0")


def step(logprob: float | None, role: Role = Role.WEAK) -> Step:
    return Step("3 + 4 = 7\n\n", role, 8, logprob=logprob, least_logprob=logprob)


def scored(judge: FittedJudge, *steps: Step) -> Scores:
    return asyncio.run(judge.score_steps(QUESTION, steps))


def test_a_score_is_the_regression_inside_the_range_that_was_fitted_on(tmp_path: Path) -> None:
    scores = scored(judge(tmp_path), step(-0.5), step(-7.0), step(-0.01))
    assert scores.values == pytest.approx((sigmoid(0.0), sigmoid(-1.0), sigmoid(0.5)))
    assert (scores.tokens, scores.up_to, scores.completion) == (0, (0, 0, 0), 0)  # nothing is read


def test_a_strong_step_is_scored_by_its_own_log_probabilities_or_the_base_rate(tmp_path: Path) -> None:
    assert scored(judge(tmp_path), step(-0.5, Role.STRONG), step(None, Role.STRONG)).values == (0.5, 0.75)


def test_a_draft_without_log_probabilities_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadResponse, match=r'gives no log-probabilities.*\[prm\] model = "strong"'):
        scored(judge(tmp_path), step(-0.5), step(None))


ENTROPIC = {
    "top_logprobs": 5,
    "regression": {
        "intercept": 2.0,
        "coefficients": [{"feature": "mean_entropy", "weight": -2.0, "low": 0.0, "high": 2.0}],
    },
}


def test_without_the_likeliest_tokens_it_scores_without_entropy_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    both = FittedModel.load(written(tmp_path / "both.json", without_entropy=SAID["regression"], **ENTROPIC))
    mine = FittedJudge(both, "fitted:both@0")
    told = replace(step(-0.5), mean_entropy=0.5, most_entropy=1.0, uncertain=0.0)
    assert scored(mine, told, step(-0.5)).values == pytest.approx((sigmoid(1.0), sigmoid(0.0)))
    scored(mine, step(-0.5))
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("fitted:both@0: the weak model's server does not tell the likeliest tokens")
    alone = FittedJudge(FittedModel.load(written(tmp_path / "alone.json", **ENTROPIC)), "fitted:alone@0")
    with pytest.raises(BadResponse, match="does not tell the likeliest tokens"):
        scored(alone, step(-0.5))
    with pytest.raises(BadResponse, match="gives no log-probabilities"):
        scored(alone, step(None))
    assert scored(alone, step(-0.5, Role.STRONG)).values == (0.75,)


def test_text_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="text alone has none"):
        asyncio.run(judge(tmp_path).score(QUESTION, ("3 + 4 = 7",)))


def test_it_keeps_the_contract_of_judges(tmp_path: Path) -> None:
    drafts = tuple(replace(step(-0.1 * n), text=f"step {n}\n\n") for n in range(1, 5))

    class Texts(FittedJudge):
        async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
            return await self.score_steps(question, drafts[: len(steps)])

    mine = judge(tmp_path)
    assert isinstance(mine, StepJudge)
    asyncio.run(check_judge(Texts(mine.model, mine.identity), QUESTION, tuple(draft.content for draft in drafts)))


def test_a_recalibrated_one_is_given_the_steps_too(tmp_path: Path) -> None:
    both = RecalibratedJudge(judge(tmp_path), RecalibrationCurve((0.0, 1.0), (0.0, 0.5)))
    assert asyncio.run(score_steps(both, QUESTION, (step(-0.5),))).values == (0.25,)


def routed(path: Path, drafts: list[Step], rewritten: Step, lookahead: int) -> Trace:
    weak_model = Scripted({index: drafts[index:] for index in range(len(drafts))})
    strong_model = Scripted({index: [rewritten] for index in range(len(drafts))})
    return run(
        Router(weak_model, strong_model, judge(path), Threshold(0.45), prices=FREE, limits=Limits(lookahead=lookahead))
    )


@pytest.mark.parametrize("lookahead", [0, 1, 3])
def test_the_router_decides_by_the_log_probabilities_of_drafts(tmp_path: Path, lookahead: int) -> None:
    drafts = [
        replace(weak("3 + 4"), logprob=-0.1),
        replace(weak("is 8"), logprob=-0.9),
        replace(weak("#### 7", Finish.EOS), logprob=-0.3),
    ]
    trace = routed(tmp_path, drafts, strong("is 7"), lookahead)
    assert [decision.action for decision in trace.decisions] == [
        Action.CONTINUE,
        Action.REGENERATE,
        Action.CONTINUE,
    ]
    assert trace.decisions[1].score == pytest.approx(sigmoid(1.0 - 2.0 * 0.9))
    assert trace.decisions[1].kept_score == 0.75  # the strong model's server gave none
    used = trace.usage[Role.PRM]
    assert (used.prompt_tokens, used.completion_tokens, trace.cost) == (0, 0, 0.0)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"other\.json: there is no such file"):
        identity(str(tmp_path / "other.json"))


def test_the_judge_of_a_model_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("trim.scoring.fitted.SHIPPED", tmp_path)
    written(tmp_path / "generic.json", models=["*"])
    mine = written(tmp_path / "mine.json")
    assert fitted_file("models/Small-Instruct.gguf") == mine
    assert fitted_file("another") == tmp_path / "generic.json"
    assert file_of("mine") == mine
    assert identity("mine") != identity("generic")


def test_the_shipped_judge_says_how_good_it_is_known_to_be() -> None:
    for path in SHIPPED.glob("*.json"):
        shipped = FittedModel.load(path)
        first = shipped.measured[0]
        assert first.data
        assert 0.5 < first.low < first.auroc < first.high < 1
    scores = scored(FittedJudge(FittedModel.load(file_of("generic")), "x"), step(-0.05), step(-1.5))
    assert scores.values[0] > scores.values[1]
