"""The file of a fitted judge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.scoring.test_fitted import ENTROPIC, SAID, step
from trim.errors import ConfigError
from trim.scoring.fitted_model import FittedModel, quantiles_of
from trim.stats import sigmoid


def loaded(path: Path, **changes: Any) -> FittedModel:
    file = path / "mine.json"
    file.write_text(json.dumps(SAID | changes))
    return FittedModel.load(file)


def regression(**changes: Any) -> dict[str, Any]:
    return {"regression": SAID["regression"] | changes}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (regression(coefficients=[]), "needs features"),
        (
            regression(coefficients=[{"feature": "mood", "weight": 1, "low": 0, "high": 1}]),
            "unknown feature 'mood'; there are logprob, ",
        ),
        (regression(coefficients=SAID["regression"]["coefficients"] * 2), "each once"),
        (regression(coefficients=[{"feature": "logprob", "weight": 1, "low": 1, "high": 0}]), "ends before it begins"),
        (
            regression(coefficients=[{"feature": "logprob", "weight": "much", "low": 0, "high": 1}]),
            "not a fitted judge",
        ),
        (regression(curve={"x": [0.5, 0.1], "y": [0.1, 0.5]}), "rising"),
        (ENTROPIC | {"top_logprobs": 20}, "top_logprobs must be 5 with entropies and 0 without, not 20"),
        ({"top_logprobs": 5}, "top_logprobs must be"),
        ({"without_entropy": ENTROPIC["regression"]}, "without_entropy has an entropy"),
        ({"base": 7}, "must be in .0, 1., not 7.0"),
        ({"quantiles": [0.1]}, "two or more that do not fall"),
        ({"quantiles": [0.2, 0.1]}, "two or more that do not fall"),
        ({"target": "mood"}, "not a fitted judge"),
        ({"secret": 1}, "unknown 'secret'"),
        ({"models": None}, "not a fitted judge"),
    ],
)
def test_a_file_that_is_no_judge_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        loaded(tmp_path, **changes)


def test_it_is_written_as_it_is_read(tmp_path: Path) -> None:
    curve = {"x": [0.1, 0.9], "y": [0.0, 1.0]}
    judge = loaded(tmp_path, **ENTROPIC, without_entropy=SAID["regression"] | {"curve": curve}, target="answer")
    judge.save(tmp_path / "again.json")
    assert FittedModel.load(tmp_path / "again.json") == judge


def test_probabilities_go_through_the_curve(tmp_path: Path) -> None:
    judge = loaded(tmp_path, **regression(curve={"x": [0.0, 1.0], "y": [0.0, 0.5]}))
    assert judge.score(step(-0.25), 3) == pytest.approx(sigmoid(0.5) / 2)


def test_what_it_needs_is_what_it_uses(tmp_path: Path) -> None:
    plain = loaded(tmp_path)
    assert (plain.needs_logprobs, plain.needs_entropy) == (True, False)
    entropic = loaded(tmp_path, **ENTROPIC)
    assert (entropic.needs_logprobs, entropic.needs_entropy) == (True, True)
    length = loaded(tmp_path, **regression(coefficients=[{"feature": "log_tokens", "weight": 1, "low": 0, "high": 1}]))
    assert not length.needs_logprobs


def test_where_its_scores_lie(tmp_path: Path) -> None:
    judge = loaded(tmp_path)
    found = [judge.score_at(share) for share in (0.0, 1 / 6, 0.5, 1.0)]
    assert found == pytest.approx([0.2, 0.3, 0.5, 0.8])
    assert judge.known() == "not known: its file does not say; four in five scores lie between 0.26 and 0.74"
    assert loaded(tmp_path, target="answer").known().startswith("P(the weak model's answer from here is right); not")
    scores = [n / 1000 for n in range(1001)]
    assert quantiles_of(scores) == tuple(pytest.approx(n / 20) for n in range(21))
