"""Log-probabilities of given text from a server: those of each step's own tokens in every shape of reply, or an error.

The tokens' places have their own tests, in `test_token_alignment.py`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.backends.fake_server import listening, serving
from trim.backends.probe import describe
from trim.backends.token_counter import TokenCounter
from trim.errors import BackendRefused, BadResponse, InputTooLong
from trim.prompts import load_template
from trim.protocols import Probe
from trim.scoring.likelihood import LikelihoodJudge
from trim.scoring.prompt_logprobs import OpenAILogprobs
from trim.types import Question

QUESTION = Question("How many?")


def test_scores_over_http_with_steps_cut_at_the_right_places() -> None:
    with serving() as habits:

        async def run() -> Any:
            source = OpenAILogprobs(habits.url + "/v1", "m", load_template("trim"), retries=0)
            scorer = LikelihoodJudge(source, (1.0, 2.0))
            steps = ("all right", "this is wrong", "right again")
            found = await source.step_logprobs(QUESTION, steps), await scorer.score(QUESTION, steps)
            probed = await scorer.probe()
            await scorer.aclose()
            return *found, probed

        logprobs, scores, probed = asyncio.run(run())
        assert logprobs == ((-0.1, -0.1), (-0.1, -0.1, -5.0), (-0.1, -0.1))
        assert scores.values == pytest.approx((1 / (1 + np.exp(-1.9)), 1 / (1 + np.exp(3)), 1 / (1 + np.exp(-1.9))))
        assert (scores.tokens, scores.up_to, scores.rereads) == (7, (2, 5, 7), True)
        assert probed.problem is None
        assert "prompt log-probabilities: yes" in describe(probed)
        assert habits.requests[0]["echo"]


def test_a_server_without_prompt_logprobs_says_so() -> None:
    with serving(statuses=[400] * 9) as habits:
        source = OpenAILogprobs(habits.url + "/v1", "m", load_template("trim"), retries=0)

        async def run() -> Probe:
            try:
                return await LikelihoodJudge(source).probe()
            finally:
                await source.aclose()

        assert asyncio.run(run()).problem


Told = list[tuple[str, float | None]]
"""Tokens of a reply as their server writes them, with their log-probabilities."""

HEAD = "<|user|>How many?<|assistant|>"
STEPS = ("Zwölf — 12", "also 😀", "#### 12")
RIGHT = ((-1.0, -2.0, -3.0, -4.0), (-5.0, -6.0, -7.0), (-8.0,))


@contextmanager
def replying(reply: Callable[[dict[str, Any]], dict[str, Any]], status: int = 200) -> Iterator[tuple[str, list[Any]]]:
    """A server that gives this reply to each body: its address, and the bodies."""
    bodies: list[Any] = []

    async def answer(request: Request) -> Response:
        bodies.append(await request.json())
        return Response(json.dumps(reply(bodies[-1])), status, media_type="application/json")

    with listening(Starlette(routes=[Route("/v1/completions", answer, methods=["POST"])])) as url:
        yield f"{url}/v1", bodies


def logprobs_of(url: str, steps: tuple[str, ...] = STEPS, **options: Any) -> tuple[tuple[float, ...], ...]:
    async def run() -> tuple[tuple[float, ...], ...]:
        source = OpenAILogprobs(url, "m", load_template("trim"), retries=0, **options)
        try:
            return await source.step_logprobs(QUESTION, steps)
        finally:
            await source.aclose()

    return asyncio.run(run())


def completions(told: Told, *, offset: Callable[[int], int] = lambda at: at, **more: Any) -> dict[str, Any]:
    """The `logprobs` of OpenAI's completions."""
    ends = [sum(len(text) for text, _ in told[:i]) for i in range(len(told))]
    found = {
        "tokens": [text for text, _ in told],
        "token_logprobs": [value for _, value in told],
        "text_offset": [offset(end) for end in ends],
        "top_logprobs": [None if value is None else {text: value} for text, value in told],
    }
    return {"choices": [{"logprobs": found | more, "text": ""}]}


def told(*texts: str, begin: str = "<|user|>", end: str = "x") -> Told:
    """The reply's tokens: the head, those of `STEPS` (-1, -2, ... where they are in a step), and the end."""
    found: Told = [(begin, None), ("How", -0.1), (" many", -0.1), ("?", -0.1), ("<|assistant|>", -0.1)]
    value = 0
    for text in texts:
        value -= text not in SEPARATORS
        found.append((text, -0.1 if text in SEPARATORS else float(value)))
    return [*found, (end, -0.3)]


SEPARATORS = ("\n\n", "\u010a\u010a", "<0x0A>")
TEXTS = ("Zw", "ölf", " —", " 12", "\n\n", "also", " ", "😀", "\n\n", "#### 12")
VOCABULARY = {  # letters of a byte-level vocabulary
    " —": "\u0120\u00e2\u0122\u0136",
    "ölf": "\u00c3\u00b6lf",
    " 12": "\u012012",
    " ": "\u0120",
    "😀": "\u00f0\u0141\u013a\u0122",
    "\n\n": "\u010a\u010a",
    "#### 12": "####\u012012",
}


@pytest.mark.parametrize(
    "reply",
    [
        completions(told(*TEXTS)),
        completions([("<s>", None), *[(t, -0.1 if v is None else v) for t, v in told(*TEXTS)]]),  # vLLM, Llama: a BOS
        completions(told(*TEXTS), offset=lambda at: -1),  # SGLang
        completions(told(*TEXTS), offset=lambda at: 2 * at),
        completions(told(*TEXTS), text_offset=None),
        completions(told(*TEXTS)[:-1]),  # nothing was written
        completions(told(*TEXTS, end="")),  # the end token, which has no text
        completions(told(*(VOCABULARY.get(text, text) for text in TEXTS))),
        completions(told("Zw", "ölf", "—", "12", "\n\n", "also", "", "😀", "\n\n", "#### 12")),  # stripped spaces
        {
            "choices": [
                {"logprobs": {"content": [{"token": t, "logprob": v, "bytes": [*t.encode()]} for t, v in told(*TEXTS)]}}
            ]
        },
        {
            "choices": [
                {
                    "logprobs": None,
                    "prompt_logprobs": [
                        None if v is None else {str(i): {"logprob": v, "decoded_token": t}, "7": {"logprob": -9.0}}
                        for i, (t, v) in enumerate(told(*TEXTS)[:-1], 100)
                    ],
                }
            ]
        },
    ],
)
def test_each_step_gets_its_own_tokens_whatever_the_offsets(reply: dict[str, Any]) -> None:
    with replying(lambda body: reply) as (url, bodies):
        assert logprobs_of(url) == RIGHT
        assert bodies[0]["prompt"] == HEAD + "\n\n".join(STEPS)


@pytest.mark.parametrize(
    ("texts", "right"),
    [
        (["Zw", "<0xC3>", "<0xB6>", "lf — 12", "<0x0A>", "<0x0A>", "also 😀"], ((-1, -2, -3, -4), (-5,))),
        (["Zw", "bytes:\\xc3", "bytes:\\xb6", "lf — 12", "\n\n", "also 😀"], ((-1, -2, -3, -4), (-5,))),
        (["Zwölf", " \ufffd", "\ufffd\ufffd", " 12", "\n\n", "also \ufffd", "\ufffd"], ((-1, -2, -3, -4), (-5, -6))),
        (["Zwölf", " ", "", " 12", "\n\n", "also ", ""], ((-1, -2, -3, -4), (-5, -6))),  # llama-cpp-python
        (["Zwölf", "", " —", " 12", "\n\n", "also ", "", "", "😀"], ((-1, -2, -3, -4), (-5, -6, -7, -8))),  # vLLM
        (["Zwölf — 12\n\n", "also 😀"], ((-1,), (-2,))),  # a token over the end of a step is that step's
        (["Zwölf — 12", "\n\nalso", " 😀"], ((-1,), (-2, -3))),
        (["Zwölf — 12", "\n\n", "also 😀\n"], None),
        (["Zwölf — 12", "also 😀"], None),
        (["Zwölf — 12\n\nalso 😀"], None),  # no token of the second step's own
        (["Zwölf \ufffd 12", "\n\n", "also 😀"], None),  # a whole character is no part of one
    ],
)
def test_tokens_with_parts_of_characters_and_over_the_ends_of_steps(
    texts: list[str], right: tuple[tuple[float, ...], ...] | None
) -> None:
    with replying(lambda body: completions(told(*texts))) as (url, _):
        if right is None:
            with pytest.raises(BadResponse, match=r"do not join to the text|no token of its own"):
                logprobs_of(url, STEPS[:2])
        else:
            assert logprobs_of(url, STEPS[:2]) == right


@pytest.mark.parametrize(("sent", "read"), [("Zoe\u0308 pays 3", "Zo\u00eb pays 3"), ("\ufb01ve", "five")])
def test_a_tokenizer_may_normalise_what_it_reads(sent: str, read: str) -> None:
    """Qwen's reads `e` and a combining accent as one character, others a ligature as its letters."""
    with replying(lambda body: completions(told(read, "\n\n", "#### 3"))) as (url, bodies):
        assert logprobs_of(url, (sent, "#### 3")) == ((-1.0,), (-2.0,))
        assert sent in bodies[0]["prompt"]


GOOD = completions(told(*TEXTS))["choices"][0]["logprobs"]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, "no log-probabilities of the prompt.*llama-server"),
        ({}, "no log-probabilities of the prompt"),
        ({"tokens": ["x"], "token_logprobs": [-0.5]}, "no log-probabilities of a prompt.*llama-server"),  # no echo
        (GOOD | {"token_logprobs": [-0.1]}, "no log-probabilities of the prompt"),
        (GOOD | {"token_logprobs": [float("nan")] * 16}, "no log-probabilities of the prompt"),
        (GOOD | {"token_logprobs": [5.0] * 16}, "no log-probabilities of the prompt"),
        (GOOD | {"token_logprobs": [None] * 16}, "no log-probability of a token of step 1"),
        (GOOD | {"tokens": GOOD["tokens"][5:], "token_logprobs": GOOD["token_logprobs"][5:]}, "do not join"),  # cut
    ],
)
def test_what_is_not_there_is_no_score(found: Any, words: str) -> None:
    reply = {"choices": [{"logprobs": found and {**found, "top_logprobs": None}}]}
    with replying(lambda body: reply) as (url, _), pytest.raises(BadResponse, match=f"likelihood model m at.*{words}"):
        logprobs_of(url)


def test_entropy_needs_the_most_likely_tokens() -> None:
    reply = {"choices": [{"logprobs": GOOD | {"top_logprobs": None}}]}

    async def entropies(url: str) -> tuple[float, ...]:
        source = OpenAILogprobs(url, "m", load_template("trim"), retries=0)
        try:
            return await source.first_token_entropies(QUESTION, STEPS)
        finally:
            await source.aclose()

    with replying(lambda body: reply) as (url, _), pytest.raises(BadResponse, match="no log-probability of a token"):
        asyncio.run(entropies(url))


@pytest.mark.parametrize("status", [400, 500, 501])
def test_llama_server_is_refused_with_a_sentence(status: int) -> None:
    body = {"error": {"message": "Only no echo is supported"}}
    with (
        replying(lambda asked: body, status) as (url, _),
        pytest.raises(BackendRefused, match=r"gives no log-probabilities of a prompt .*no echo.*vLLM and SGLang"),
    ):
        logprobs_of(url)


def test_with_a_tokenizer_ids_are_sent_and_say_where_tokens_stand(counter: TokenCounter) -> None:
    text = HEAD + "\n\n".join(STEPS)
    ids, offsets = counter.encode(text)
    texts = [text[start:end] for start, end in offsets]

    def reply(body: dict[str, Any]) -> dict[str, Any]:
        assert body["prompt"] == ids
        return completions([(t, -float(i)) for i, t in enumerate((*texts, "x"))])

    with replying(reply) as (url, _):
        found = logprobs_of(url, tokenizer=counter)
        begin = next(i for i, (start, _) in enumerate(offsets) if start >= len(HEAD))
        assert found[0][0] == -float(begin)
        assert sum(map(len, found)) == len([t for t in texts[begin:] if t != "\n\n"])
        with pytest.raises(InputTooLong, match=r"\d+ tokens, the context is 3"):
            logprobs_of(url, tokenizer=counter, context=3)
    by_id = completions([(f"token_id:{i}", -0.5) for i in (*ids, 9)])
    with replying(lambda body: by_id) as (url, _):
        assert [len(step) for step in logprobs_of(url, tokenizer=counter)] == [len(step) for step in found]
    other = completions([(f"token_id:{i + 1}", -0.5) for i in (*ids, 9)])
    with replying(lambda body: other) as (url, _), pytest.raises(BadResponse, match="do not join"):
        logprobs_of(url, tokenizer=counter)
    fewer = completions([(HEAD, -0.5), (text.removeprefix(HEAD), -0.5)])
    with (
        replying(lambda body: fewer) as (url, _),
        pytest.raises(BadResponse, match="tokenizer must be the model's own"),
    ):
        logprobs_of(url, tokenizer=counter)
