"""What servers say of tokens, in the shapes that they were seen to send, as one thing."""

from __future__ import annotations

from dataclasses import astuple
from math import exp, log
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trim.backends.token_logprobs import (
    TOP,
    StepLogprobs,
    TokenLogprob,
    known_entropy,
    of_step,
    read_logprobs,
    top_entropy,
)

LIKELY = (-0.2, -2.5, -3.0, -4.5, -5.0)
ENTROPY = known_entropy(LIKELY)


def entry(token: str, logprob: float, top: tuple[float, ...]) -> dict[str, Any]:
    likeliest = [{"id": n, "token": f"t{n}", "bytes": [116], "logprob": value} for n, value in enumerate(top)]
    return {"id": 9, "token": token, "bytes": [32], "logprob": logprob, "top_logprobs": likeliest}


SHAPES: list[tuple[str, Any, list[TokenLogprob]]] = [
    (
        "chat of OpenAI, Ollama, DeepSeek, vLLM, SGLang; llama-server",
        {"content": [entry(" a", -0.2, LIKELY)]},
        [TokenLogprob(-0.2, ENTROPY)],
    ),
    ("chat with a refusal", {"content": [entry(" a", -0.2, LIKELY)], "refusal": None}, [TokenLogprob(-0.2, ENTROPY)]),
    (
        "completions of vLLM and SGLang",
        {
            "tokens": ["a"],
            "token_logprobs": [-0.2],
            "text_offset": [0],
            "top_logprobs": [dict(zip("abcde", LIKELY, strict=True))],
        },
        [TokenLogprob(-0.2, ENTROPY)],
    ),
    (
        "completions whose token is none of the likeliest, which then are six",
        {"token_logprobs": [-9.0], "top_logprobs": [dict(zip("abcdef", (-9.0, *LIKELY), strict=True))]},
        [TokenLogprob(-9.0, ENTROPY)],
    ),
    ("only what was written", {"token_logprobs": [-0.2], "top_logprobs": None}, [TokenLogprob(-0.2)]),
    ("of another length", {"token_logprobs": [-0.2], "top_logprobs": []}, [TokenLogprob(-0.2)]),
    ("fewer than asked for", {"content": [entry(" a", -0.2, LIKELY[:3])]}, [TokenLogprob(-0.2)]),
    ("no list", {"content": [{"logprob": -0.2, "top_logprobs": "x"}]}, [TokenLogprob(-0.2)]),
    ("nothing yet", {"content": []}, []),
    ("nothing", {"content": None}, []),
    (
        "an impossible one, as llama-server and vLLM write it",
        {"content": [entry(" a", -3.4e38, (0.0, -3.4e38, -9999.0, -9999.0, -9999.0))]},
        [TokenLogprob(-100.0, known_entropy((0.0, -100.0, -100.0, -100.0, -100.0)))],
    ),
    ("no number", {"content": [{"logprob": None}, {"logprob": float("nan")}, {"logprob": 1e-7}]}, [TokenLogprob(0.0)]),
]


@pytest.mark.parametrize(("told", "tokens"), [row[1:] for row in SHAPES], ids=[row[0] for row in SHAPES])
def test_every_shape_is_read(told: Any, tokens: list[TokenLogprob]) -> None:
    assert read_logprobs({"logprobs": told}) == tuple(tokens)


def test_nothing_told_is_not_nothing_written() -> None:
    assert read_logprobs({}) is read_logprobs({"logprobs": None}) is None


@given(st.lists(st.floats(-20, 0), min_size=TOP, max_size=40))
def test_the_entropy_of_the_likeliest_is_a_lower_bound(logits: list[float]) -> None:
    chances = np.exp(logits) / np.exp(logits).sum()
    whole = float(-(chances * np.log(chances)).sum())
    found = top_entropy(np.log(chances).tolist())
    assert found is not None
    assert -1e-9 <= found <= whole + 1e-9
    if len(logits) <= TOP + 1:
        assert found == pytest.approx(whole, abs=1e-9)


def test_entropy_by_hand() -> None:
    assert known_entropy([log(0.5), log(0.25)]) == pytest.approx(0.5 * log(2) + 2 * 0.25 * log(4))
    assert known_entropy([0.0]) == 0.0
    assert top_entropy([-1.0] * (TOP - 1)) is None
    assert exp(-1.0) * TOP > 1  # what no server says
    assert known_entropy([-1.0] * TOP) > 0


def test_a_step_has_the_figures_of_its_tokens() -> None:
    tokens = [TokenLogprob(-0.1, 0.2), TokenLogprob(-2.0, 1.4), TokenLogprob(-0.3)]
    assert astuple(of_step(tokens)) == pytest.approx((-0.8, -2.0, 0.8, 1.4, 0.5))
    few = [TokenLogprob(-0.1, 0.2), TokenLogprob(-2.0), TokenLogprob(-0.3)]
    assert astuple(of_step(few)) == (pytest.approx(-0.8), -2.0, None, None, None)  # of a third: not known
    assert of_step([]) == StepLogprobs()
