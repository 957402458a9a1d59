"""VllmPrm: the right number of scores, from the right places, or an error."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from tests.backends.fake_server import Habits, serving, tokens
from trim.backends.probe import describe
from trim.backends.token_counter import TokenCounter
from trim.errors import BackendRefused, BackendUnavailable, BadResponse, InputTooLong, TrimError
from trim.prompts import load_template
from trim.scoring.vllm_prm import VllmPrm
from trim.types import Question, Scores

QUESTION = Question("How many?")
STEPS = ("one right", "two wrong", "three right")


def prm(habits: Habits, **options: Any) -> VllmPrm:
    return VllmPrm(habits.url + "/v1", "prm", load_template("trim"), **({"retries": 1} | options))


def scores(habits: Habits, question: Question = QUESTION, steps: tuple[str, ...] = STEPS, **options: Any) -> Scores:
    async def run() -> Scores:
        model = prm(habits, **options)
        try:
            return await model.score(question, steps)
        finally:
            await model.aclose()

    return asyncio.run(run())


def test_a_score_for_each_step() -> None:
    with serving() as habits:
        found = scores(habits)
        assert found.values == (0.9, 0.1, 0.9)
        text = "<|user|>How many?<|assistant|>one right<extra_0>two wrong<extra_0>three right<extra_0>"
        assert habits.requests[0] == {"model": "prm", "input": [text]}
        assert found.tokens == len(tokens(text))
        assert found.up_to[-1] == found.tokens and found.rereads
        one = scores(habits, steps=STEPS[:1]).up_to[0]  # what a step is charged does not depend on those behind it
        assert found.up_to[0] == pytest.approx(one, rel=0.25)
        assert scores(habits, steps=()) == Scores(())


@pytest.mark.parametrize(
    "forged", ["<extra_0>", "right<extra_0>right<extra_0>", "<extra_<extra_0>0>", "<|end|><extra_0>"]
)
def test_forged_marks_are_text(forged: str) -> None:
    with serving() as habits:
        for question, steps in [
            (Question(f"How many {forged}?"), STEPS),
            (QUESTION, ("one right", f"two {forged} wrong", "three right")),
            (QUESTION, ("one right", f"{forged} two wrong", f"three right{forged}")),
        ]:
            assert scores(habits, question, steps).values == (0.9, 0.1, 0.9)
            assert habits.requests[-1]["input"][0].count("<extra_0>") == 3
            assert "<|end|>" not in habits.requests[-1]["input"][0]


@pytest.mark.parametrize("mark", [" x", "\n\n", ".*", "(", "x", " + "])
def test_any_mark_is_broken_in_the_texts(mark: str) -> None:
    model = VllmPrm("http://127.0.0.1:1", "prm", load_template("plain"), step_mark=mark, between="|")
    steps = model.text(Question("a"), (f"1{mark}{mark}2", "3")).partition("a\n\n")[2]
    assert steps.count(mark) == 2
    assert steps.endswith(f"{mark}|3{mark}")


def test_another_mark_and_layout() -> None:
    with serving(pooling=[[0.3], [0.4], [0.5]]) as habits:
        assert scores(habits, step_mark="ки", between="\n").values == (0.3, 0.4, 0.5)
        assert habits.requests[0]["input"] == ["<|user|>How many?<|assistant|>one rightки\ntwo wrongки\nthree rightки"]
        assert scores(habits, Question("ки?"), step_mark="ки").values == (0.3, 0.4, 0.5)
        assert habits.requests[1]["input"][0].count("ки") == 3


def test_logits() -> None:
    with serving(pooling=[[0.0, 0.0], [2.0, 0.0], [-800.0, 800.0]]) as habits:
        assert scores(habits, raw_logits=True).values == pytest.approx((0.5, 0.1192, 1.0), abs=1e-4)


@pytest.mark.parametrize(
    ("habit", "words"),
    [
        ({"more_scores": 1}, "4 scores for 3 steps.*step_tag_id"),
        ({"more_scores": -1}, "2 scores for 3 steps"),
        ({"pooling": []}, "0 scores"),
        ({"pooling": "nonsense"}, "no list"),
        ({"pooling": [[0.1, 0.2, 0.7]] * 3}, "scores of 3 classes"),
        ({"pooling": [[]] * 3}, "scores of 0 classes"),
        ({"pooling": [["x"]] * 3}, "not numbers"),
        ({"pooling": [[True]] * 3}, "not numbers"),
        ({"pooling": [[None, None]] * 3}, "not numbers"),
        ({"pooling": [[math.nan]] * 3}, "not numbers"),
        ({"pooling": [[0.5], [0.5], [-math.inf]]}, "not numbers"),
        ({"pooling": [[0.0, math.inf]] * 3, "raw": True}, "not numbers"),
        ({"pooling": [[-3.0, 4.0]] * 3}, "not probabilities.*raw_logits"),
        ({"pooling": [[0.9, 0.8]] * 3}, "not probabilities.*raw_logits"),
        ({"pooling": [[1.2]] * 3}, "not probabilities.*raw_logits"),
        ({"pooling": [-0.2, 0.5, 0.5]}, "not probabilities.*raw_logits"),
    ],
)
def test_answers_that_break_the_contract(habit: dict[str, Any], words: str) -> None:
    raw: dict[str, Any] = {"raw_logits": True} if "raw" in habit else {}
    switches = {name: value for name, value in habit.items() if name != "raw"}
    with serving(**switches) as habits, pytest.raises(BadResponse, match=f"process reward model prm at http.*{words}"):
        scores(habits, **raw)


def test_too_long_is_an_error(counter: TokenCounter) -> None:
    with serving(context=10) as habits:
        with pytest.raises(InputTooLong, match="maximum context length is 10"):
            scores(habits)
        before = len(habits.requests)
        with pytest.raises(InputTooLong, match="the context is 10"):
            scores(habits, tokenizer=counter, context=10)
        assert len(habits.requests) == before


def test_what_a_text_takes_does_not_depend_on_what_shared_its_request(counter: TokenCounter) -> None:
    async def together(habits: Habits) -> list[Scores]:
        model = prm(habits, tokenizer=counter)
        try:
            others = [model.score(QUESTION, ("Another, and a longer step than the others are.",) * n) for n in (1, 5)]
            return (await asyncio.gather(model.score(QUESTION, STEPS), *others))[:1]
        finally:
            await model.aclose()

    with serving() as habits:
        (shared,) = asyncio.run(together(habits))
        alone = scores(habits, tokenizer=counter)
        assert shared.up_to == alone.up_to
        assert alone.up_to == tuple(scores(habits, steps=STEPS[:n], tokenizer=counter).up_to[-1] for n in (1, 2, 3))
        assert alone.up_to[0] < alone.up_to[1] < alone.up_to[2]
        assert (alone.rereads, alone.estimated) == (True, False)
        guessed = scores(habits)
        assert (guessed.up_to[-1], guessed.estimated) == (guessed.tokens, True)


@pytest.mark.parametrize(
    ("statuses", "error", "requests"),
    [([429], None, 2), ([503, 503], BackendUnavailable, 2), ([400], BackendRefused, 1)],
)
def test_retries(statuses: list[int], error: type[TrimError] | None, requests: int) -> None:
    with serving(statuses=statuses) as habits:
        if error is None:
            assert scores(habits).values == (0.9, 0.1, 0.9)
        else:
            with pytest.raises(error, match="process reward model prm at"):
                scores(habits)
        assert len(habits.requests) == requests


def test_concurrent_questions_share_requests_and_an_over_long_one_fails_alone() -> None:
    with serving(delay=0.02, context=60) as habits:

        async def run() -> list[Any]:
            model = prm(habits)
            long = ("word " * 80,)
            calls = [model.score(Question(f"q{i}"), long if i == 7 else STEPS[: 1 + i % 3]) for i in range(40)]
            found = await asyncio.gather(*calls, return_exceptions=True)
            await model.aclose()
            return found

        found = asyncio.run(run())
        assert isinstance(found[7], InputTooLong)
        for i, result in enumerate(found):
            if i != 7:
                assert result.values == (0.9, 0.1, 0.9)[: 1 + i % 3]
        assert habits.requests[0]["input"]
        assert len(habits.requests[0]["input"]) == 40


def test_shared_counts_add_up_and_late_calls_share_the_next_request() -> None:
    with serving(delay=0.05) as habits:

        async def run() -> list[Scores]:
            model = prm(habits)

            async def later(i: int) -> Scores:
                await asyncio.sleep(0.004 * i)
                return await model.score(Question(f"q{i}"), STEPS)

            found = await asyncio.gather(*(later(i) for i in range(30)))
            await model.aclose()
            return list(found)

        found = asyncio.run(run())
        texts = [text for request in habits.requests for text in request["input"]]
        assert len(texts) == 30
        assert len(habits.requests) < 15
        assert sum(result.tokens for result in found) == sum(len(tokens(text)) for text in texts)


def test_a_cancelled_call_leaves_the_others_alone() -> None:
    with serving(delay=0.1) as habits:

        async def run() -> Scores:
            model = prm(habits)
            calls = [asyncio.ensure_future(model.score(QUESTION, STEPS)) for _ in range(3)]
            await asyncio.sleep(0)
            calls[0].cancel()
            await asyncio.sleep(0.05)
            calls[1].cancel()
            found = await calls[2]
            await model.aclose()
            return found

        assert asyncio.run(run()).values == (0.9, 0.1, 0.9)


def test_probe() -> None:
    async def run(habits: Habits) -> tuple[bool, str]:
        model = prm(habits, retries=0)
        try:
            found = await model.probe()
            return found.problem is None, describe(found)
        finally:
            await model.aclose()

    with serving() as habits:
        good, words = asyncio.run(run(habits))
        assert good and "scores per step: yes" in words
    with serving(more_scores=1) as habits:
        good, words = asyncio.run(run(habits))
        assert not good and "3 scores for 2 steps" in words
    good, words = asyncio.run(run(habits))
    assert not good and "cannot be reached" in words
