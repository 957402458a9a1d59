"""Token counts as servers give them, and what is no count."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trim.backends.token_counter import TokenCounter
from trim.backends.token_counts import MOST, TextCounter, TokenCounts, as_count, log_wrong, read_counts, size


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        pytest.param({"usage": None}, (None, None, None), id="none yet"),
        pytest.param({"choices": []}, (None, None, None), id="none"),
        pytest.param(
            {"usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}}, (9, None, 4), id="plain"
        ),
        pytest.param(
            {"usage": {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": None}},
            (9, None, 4),
            id="vLLM without its prefix cache's counts",
        ),
        pytest.param(
            {"usage": {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 8}}},
            (9, 8, 4),
            id="OpenAI, vLLM",
        ),
        pytest.param(
            {"usage": {"input_tokens": 9, "output_tokens": 4, "input_tokens_details": {"cached_tokens": 8}}},
            (9, 8, 4),
            id="OpenAI's responses",
        ),
        pytest.param(
            {
                "usage": {
                    "input_tokens": 3,
                    "output_tokens": 4,
                    "cache_read_input_tokens": 100,
                    "cache_creation_input_tokens": 20,
                }
            },
            (123, 100, 4),
            id="Anthropic counts cached tokens apart",
        ),
        pytest.param(
            {"usage": {"prompt_tokens": 123, "completion_tokens": 4, "cache_read_input_tokens": 100}},
            (123, 100, 4),
            id="a proxy in front of Anthropic",
        ),
        pytest.param(
            {
                "usage": {
                    "prompt_tokens": 123,
                    "completion_tokens": 4,
                    "prompt_cache_hit_tokens": 64,
                    "prompt_cache_miss_tokens": 59,
                }
            },
            (123, 64, 4),
            id="DeepSeek",
        ),
        pytest.param(
            {"usage": {"prompt_tokens": 9, "completion_tokens": 4, "cached_tokens": 8}}, (9, 8, 4), id="Moonshot"
        ),
        pytest.param(
            {"choices": [{"usage": {"prompt_tokens": 9, "completion_tokens": 4}}]}, (9, None, 4), id="Moonshot's stream"
        ),
        pytest.param(
            {"x_groq": {"usage": {"prompt_tokens": 9, "completion_tokens": 4}}}, (9, None, 4), id="Groq's stream"
        ),
        pytest.param(
            {"choices": [], "timings": {"cache_n": 236, "prompt_n": 1, "predicted_n": 35}},
            (237, 236, 35),
            id="llama-server's timings alone",
        ),
        pytest.param(
            {
                "usage": {"prompt_tokens": 237, "completion_tokens": 35},
                "timings": {"cache_n": 236, "prompt_n": 1, "predicted_n": 35},
            },
            (237, 236, 35),
            id="llama-server",
        ),
        pytest.param(
            {"usage": {"prompt_tokens": 237, "completion_tokens": 35}, "timings": {"prompt_n": 1, "predicted_n": 35}},
            (237, 236, 35),
            id="llama-server before cache_n",
        ),
        pytest.param({"usage": {"prompt_tokens": 9.0, "completion_tokens": "4"}}, (9, None, 4), id="floats, strings"),
        pytest.param(
            {"prompt_eval_count": 9, "usage": {"eval_count": 4}}, (None, None, 4), id="counts of another place"
        ),
    ],
)
def test_every_server_has_its_own_words(response: Any, expected: tuple[int | None, ...]) -> None:
    counts = read_counts(response)
    assert (counts.prompt, counts.cached, counts.completion) == expected
    assert counts.wrong == {}


def test_reasoning_is_some_of_the_completion() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 40, "completion_tokens_details": {"reasoning_tokens": 30}}
    assert read_counts({"usage": usage | {"total_tokens": 49}}) == TokenCounts(9, None, 40, 30)
    apart = usage | {"completion_tokens": 10, "total_tokens": 49}  # xAI
    assert read_counts({"usage": apart}) == TokenCounts(9, None, 40, 30)


@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", "-1", "-0.5", "true", '"many"', '""', "[3]", "{}", "1e40", "1" * 5000, '"nan"']
)
def test_what_cannot_be_a_count_is_dropped_and_said(value: str) -> None:
    counts = read_counts({"usage": {"prompt_tokens": 9, "completion_tokens": _loaded(value)}})
    assert (counts.prompt, counts.completion) == (9, None)
    assert list(counts.wrong) == ["completion"]


def _loaded(value: str) -> Any:
    return int("1" * 4000) ** 2 if len(value) > 1000 else json.loads(value)


def test_more_cached_tokens_than_prompt_tokens_are_clipped() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 50}}
    counts = read_counts({"usage": usage})
    assert (counts.prompt, counts.cached) == (9, 9)
    assert "50 cached tokens of 9" in counts.wrong["cached"]


def test_a_wrong_count_is_replaced_by_a_right_one_of_the_same_answer() -> None:
    counts = read_counts({"usage": {"completion_tokens": -1}, "timings": {"predicted_n": 35}})
    assert (counts.completion, counts.wrong) == (35, {})


def test_it_is_logged_once_for_a_server(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "trim.backends"):
        for _ in range(3):
            log_wrong("weak model once", read_counts({"usage": {"completion_tokens": float("nan")}}))
        log_wrong("weak model never", read_counts({"usage": {"completion_tokens": 1}}))
    (record,) = caplog.records
    assert record.getMessage().startswith("weak model once: token counts that cannot be right (completion_tokens: nan)")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_NAMES = st.sampled_from(
    [
        *("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "total_tokens", "cached_tokens"),
        *("prompt_tokens_details", "completion_tokens_details", "cache_read_input_tokens", "prompt_n", "cache_n"),
        *("cache_creation_input_tokens", "prompt_cache_hit_tokens", "predicted_n", "reasoning_tokens"),
    ]
)
_USAGE = st.recursive(_JSON, lambda inner: st.dictionaries(_NAMES, inner, max_size=6), max_leaves=12)


@given(st.dictionaries(st.sampled_from(["usage", "timings", "x_groq", "choices", "message"]), _USAGE) | _USAGE)
def test_anything_gives_counts(response: object) -> None:
    counts = read_counts(response)
    for count in (counts.prompt, counts.cached, counts.completion, counts.reasoning):
        assert count is None or (type(count) is int and 0 <= count <= MOST)
    if counts.prompt is not None and counts.cached is not None:
        assert counts.cached <= counts.prompt
    if counts.completion is not None and counts.reasoning is not None:
        assert counts.reasoning <= counts.completion


def test_numbers() -> None:
    assert [as_count(value) for value in (0, 12, 12.0, "12", " 12.0 ", "1e3", MOST)] == [0, 12, 12, 12, 12, 1000, MOST]
    assert [as_count(value) for value in (None, True, MOST + 1, "1_0", "٣", "inf", "12 tokens")] == [None] * 7


def test_texts_are_counted_by_the_best_that_is_known(counter: TokenCounter) -> None:
    text = "one two three four five"
    assert TextCounter(counter).count(text) == counter.count(text)
    plain = TextCounter()
    assert (plain.count(""), plain.count("a"), plain.count("x" * 400)) == (0, 1, 100)
    plain.learn(200, 40)
    assert plain.count("x" * 400) == 100  # 40 tokens say too little
    plain.learn(200, 40)
    assert plain.count("x" * 400) == 80


def test_half_a_character_has_a_size(counter: TokenCounter) -> None:
    assert size("é") == 2
    assert size("\ud83d") == 3
    assert TextCounter(counter).count("\ud83d") >= 1
