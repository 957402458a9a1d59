"""The POMDP's parameters: what follows from them, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.pomdp.instances import small
from trim.errors import ConfigError
from trim.pomdp import PomdpModel, ResampleModel

MODEL = ResampleModel((0.9, 0.3, 0.6), 0.9, 0.2, after_differing=ResampleModel((0.5, 0.1, 0.2), 0.1, 0.1))


def test_strong_accuracy_is_the_mixture_over_the_drafts_states() -> None:
    model = small(repair=0.7)
    q_c, q_r = model.strong_accuracy_if_correct, model.strong_accuracy_if_wrong
    assert q_r == 0.7
    assert model.weak_accuracy * q_c + (1 - model.weak_accuracy) * q_r == pytest.approx(model.strong_accuracy)
    paper = small()
    assert paper.strong_accuracy_if_wrong == paper.strong_accuracy
    assert paper.strong_accuracy_if_correct == pytest.approx(paper.strong_accuracy)


def test_a_final_draft_may_have_an_accuracy_of_its_own() -> None:
    model = replace(small(), final_accuracy=0.99)
    assert (model.draft_accuracy(final=True), model.draft_accuracy(final=False)) == (0.99, 0.7)
    assert small().draft_accuracy(final=True) == 0.7


def test_the_weight_of_a_repetition_moves_the_states_together() -> None:
    assert MODEL.with_repeat_weight(1.0) == MODEL
    without = MODEL.with_repeat_weight(0.0)
    assert without.repeat_probability == (0.3, 0.3, 0.3)
    assert without.after_differing == ResampleModel((0.1, 0.1, 0.1), 0.1, 0.1)
    assert MODEL.with_repeat_weight(0.5).repeat_probability == pytest.approx((0.6, 0.3, 0.45))


def test_later_texts_have_a_model_of_their_own() -> None:
    assert MODEL.given(1, differing=False) is MODEL
    assert MODEL.given(2, differing=True) is MODEL.after_differing
    unknown = MODEL.given(3, differing=False)
    assert unknown == ResampleModel((0.3, 0.3, 0.3), 0.9, 0.2)  # a repetition is no evidence


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weak_accuracy": 0.0}, "step accuracies"),
        ({"strong_accuracy": 1.1}, "step accuracies"),
        ({"hazard": ()}, "hazard"),
        ({"hazard": (0.5, 1.5)}, "hazard"),
        ({"step_tokens": 0.0}, "step_tokens"),
        ({"past_weight": 1.5}, "past_weight"),
        ({"final_accuracy": 0.0}, "final_accuracy"),
        ({"repair_accuracy": 0.1}, "repair_accuracy 0.1 contradicts"),
        ({"agreement": (0.99, 0.5, 0.5)}, "agreement"),
    ],
)
def test_numbers_out_of_range_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(small(), **change)  # type: ignore[arg-type]


def test_resample_probabilities_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="probabilities"):
        ResampleModel((0.1, 0.2, 0.3), 1.5, 0.0)


def test_the_hazard_is_plain_numbers() -> None:
    hazard = PomdpModel(0.7, 0.9, (1,), small().observation, 10).hazard
    assert hazard == (1.0,)
    assert isinstance(hazard[0], float)
