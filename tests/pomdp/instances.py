"""Small instances, and a brute-force solver over the whole tree to compare with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import strategies as st

from benchmarks.published_instance import FOLDER
from trim.pomdp import ObservationBins, PomdpModel, ResampleModel

needs_calibration = pytest.mark.skipif(not FOLDER.exists(), reason="../shared/data/calibration is not here")


def scores_in(*tables: tuple[float, ...]) -> ObservationBins:
    """Bins of equal width along the score alone, from a table for each state."""
    mass = np.array(tables, dtype=float)[:, None, :]
    return ObservationBins(np.array([0.0, 1.0]), np.linspace(0, 1, mass.shape[2] + 1), mass)


def small(hazard: tuple[float, ...] = (0.2, 0.5, 1.0), repair: float | None = None) -> PomdpModel:
    """Three observations, three steps to come."""
    bins = scores_in((0.1, 0.2, 0.7), (0.6, 0.3, 0.1), (0.5, 0.3, 0.2))
    return PomdpModel(0.7, 0.9, hazard, bins, 10, repair)


@st.composite
def models(draw: st.DrawFn, horizon: int = 3) -> PomdpModel:
    """Random models with two or three scores and a short horizon."""
    share = st.floats(0.01, 1.0)
    columns = draw(st.integers(2, 3))
    tables = [draw(st.lists(share, min_size=columns, max_size=columns)) for _ in range(3)]
    bins = scores_in(*(tuple(x / sum(table) for x in table) for table in tables))
    weak, repair = draw(st.floats(0.05, 1.0)), draw(share)
    strong = weak * draw(share) + (1 - weak) * repair
    hazard = tuple(draw(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=horizon)))
    model = PomdpModel(weak, strong, hazard, bins, draw(st.floats(1, 100)), draw(st.sampled_from([None, repair])))
    return replace(model, final_accuracy=draw(st.none() | st.floats(0.05, 1.0)))


@st.composite
def beliefs(draw: st.DrawFn) -> tuple[float, float, float]:
    """Random beliefs (CORRECT, RECOVERABLE, LOST)."""
    correct = draw(st.floats(0.0, 1.0))
    recoverable = draw(st.floats(0.0, 1.0)) * (1 - correct)
    return correct, recoverable, max(1.0 - correct - recoverable, 0.0)


def brute_force(
    model: PomdpModel,
    price: float,
    step: int,
    belief: np.ndarray,
    tokens: float,
    *,
    final: bool = False,
    take_over: bool = False,
    draft_cost: float = 0.0,
    resamples: int = 0,
    drafts: int = 1,
    differing: bool = False,
    revisions: int = 0,
) -> float:
    """The optimal value by the whole tree over the three-state belief: transition, observation, Bayes, maximum."""
    succeeds = np.array([model.strong_accuracy_if_correct, model.strong_accuracy_if_wrong, 0.0])
    ends = model.hazard[step] if step < len(model.hazard) else 1.0

    def keep(belief: np.ndarray) -> float:
        """Value of keeping the current text."""
        if final:
            return float(belief[0])
        value = -draft_cost
        for last, weight in ((True, ends), (False, 1 - ends)):
            right = belief[0] * model.draft_accuracy(final=last)
            predicted = np.array([right, belief[0] - right, 1 - belief[0]])
            for likelihood in model.observation.mass.reshape(3, -1).T:
                joint = predicted * likelihood
                chance = joint.sum()
                if weight * chance > 0:
                    value += weight * chance * brute_force(
                        model, price, step + 1, joint / chance, model.step_tokens, final=last,
                        take_over=take_over, draft_cost=draft_cost, resamples=resamples, revisions=revisions,
                    )  # fmt: skip
        return value

    def reviewed(text: np.ndarray, written: int = 1, *, differ: bool = False) -> float:
        """Value of the strong model's text, the best of so many: kept, or revised."""
        if written > revisions:
            return keep(text)
        assert model.revise_model is not None
        outcomes = outcomes_of_next_text(
            model.revise_model.given(written, differing=differ), model.strong_observation, text
        )
        again = sum(p * reviewed(b, written + 1, differ=differ or n > 0) for n, (p, b) in enumerate(outcomes))
        return max(keep(text), again - price * model.step_tokens)

    values = [keep(belief)]
    if revisions:
        (same, agreed), *others = outcomes_of_regenerate(model, belief)
        differs = sum(chance * reviewed(b) for chance, b in others)
        values.append(same * keep(agreed) + differs - price * tokens)
    else:
        fixed = float(belief @ succeeds)
        values.append(keep(np.array([fixed, 0.0, 1 - fixed])) - price * tokens)
    if take_over and not final:
        values.append(float(belief @ succeeds) * alone(model, step) - price * (tokens + paid(model, step)))
    if drafts <= resamples:
        value = -draft_cost
        assert model.resample_model is not None
        again = model.resample_model.given(drafts, differing=differing)
        for n, (chance, kept_belief) in enumerate(outcomes_of_next_text(again, model.observation, belief)):
            value += chance * brute_force(
                model, price, step, kept_belief, model.step_tokens,
                final=final, take_over=take_over, draft_cost=draft_cost, resamples=resamples, drafts=drafts + 1,
                differing=differing or n > 0, revisions=revisions,
            )  # fmt: skip
        values.append(value)
    return max(values)


def outcomes_of_next_text(
    again: ResampleModel, scores: ObservationBins, belief: np.ndarray
) -> list[tuple[float, np.ndarray]]:
    """What may be seen of another text, first that it is the same, and the belief about the one that is then kept, by
    counting worlds.
    """
    worlds: dict[int, dict[tuple[int, int], float]] = {}  # observation (-1: the same text) -> states of old, new
    for old, chance in enumerate(belief):
        worlds.setdefault(-1, {})[old, old] = chance * again.repeat_probability[old]
        right = (again.accuracy_if_correct, again.accuracy_if_wrong, 0.0)[old]
        for new, share in ((0, right), (1 if old < 2 else 2, 1 - right)):
            for seen, likelihood in enumerate(scores.mass.sum(axis=1)[new]):
                worlds.setdefault(seen, {})[old, new] = (
                    chance * (1 - again.repeat_probability[old]) * share * likelihood
                )
    found = []
    for outcome in worlds.values():
        total = sum(outcome.values())
        beliefs = [np.zeros(3), np.zeros(3)]
        for states, chance in outcome.items():
            for draft, state in enumerate(states):
                beliefs[draft][state] += chance / total if total > 0 else 1 / len(outcome)
        found.append((total, max(beliefs, key=lambda b: b[0])))
    return found


def outcomes_of_regenerate(model: PomdpModel, belief: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """What may be seen of the strong model's text, and the belief about it: the draft again, or another one."""
    agreement = np.array(model.agreement or (0.0, 0.0, 0.0))
    right = np.array([model.strong_accuracy_if_correct - agreement[0], model.strong_accuracy_if_wrong, 0.0])
    wrong = np.array([1 - model.strong_accuracy_if_correct, 1 - agreement[1] - model.strong_accuracy_if_wrong, 0.0])
    states = np.array([belief @ right, belief @ wrong, belief[2] * (1 - agreement[2])])
    joint = [belief * agreement, *(states * seen for seen in model.strong_observation.mass.sum(axis=1).T)]
    return [(float(part.sum()), part / max(part.sum(), 1e-300)) for part in joint]


def alone(model: PomdpModel, step: int) -> float:
    """P(the strong model gets every step after this one right)."""
    ends = model.hazard[step] if step < len(model.hazard) else 1.0
    right = model.draft_accuracy(final=True)
    last = right * model.strong_accuracy_if_correct + (1 - right) * model.strong_accuracy_if_wrong
    return ends * last + ((1 - ends) * model.strong_accuracy * alone(model, step + 1) if ends < 1 else 0.0)


def paid(model: PomdpModel, step: int) -> float:
    """Tokens that it is expected to write for them."""
    ends = model.hazard[step] if step < len(model.hazard) else 1.0
    return model.step_tokens + ((1 - ends) * paid(model, step + 1) if ends < 1 else 0.0)
