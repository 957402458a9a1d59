"""OpenAIGenerator against a real HTTP server in every mode of behaviour."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from typing import Any

import pytest

from tests.backends.fake_server import SOLUTION, STEPS, Habits, serving, tokens
from trim.backends.capabilities import BACKENDS, Capabilities, Continuation
from trim.backends.openai import OpenAIGenerator
from trim.backends.token_counter import TokenCounter
from trim.backends.token_logprobs import known_entropy
from trim.errors import (
    BackendRefused,
    BackendTimeout,
    BackendUnavailable,
    BadResponse,
    ConfigError,
    InputTooLong,
    TrimError,
)
from trim.prompts import load_template
from trim.routing.usage import Ledger
from trim.seeding import request_seed
from trim.steps import Separator, StepFormat
from trim.types import Finish, Question, Role, Sampling, Step, StepOptions, Usage

QUESTION = Question("How many apples does Tom have?")
EXACT = [len(tokens(step)) for step in STEPS]
EXACT[-1] += 1  # the end token


def model(habits: Habits, **changes: Any) -> OpenAIGenerator:
    options: dict[str, Any] = {"backend": "vllm", "template": load_template("trim"), "retries": 2} | changes
    return OpenAIGenerator(habits.url + "/v1", "m", Role.WEAK, **options)


async def collect(generator: OpenAIGenerator, kept: tuple[str, ...] = (), **options: Any) -> list[Step]:
    try:
        return [step async for step in generator.steps(QUESTION, kept, StepOptions(**options))]
    finally:
        await generator.aclose()


def steps_of(habits: Habits, kept: tuple[str, ...] = (), limit: int | None = None, **changes: Any) -> list[Step]:
    return asyncio.run(collect(model(habits, **changes), kept, limit=limit))


@pytest.mark.parametrize("usage", ["running", "end", "none"])
@pytest.mark.parametrize("keep_stop", [False, True])
@pytest.mark.parametrize("tell", ["stop_reason", "matched_stop", None])
@pytest.mark.parametrize("limit", [1, None])
def test_every_mix_of_stops_and_counts(
    usage: str, keep_stop: bool, tell: str | None, limit: int | None, counter: TokenCounter
) -> None:
    able = Capabilities(stop="tells" if tell else "keeps", running_usage=usage == "running", usage=usage != "none")
    with serving(usage=usage, keep_stop=keep_stop, tell=tell, done=usage != "end") as habits:
        steps: list[Step] = []
        while len(steps) < 3:
            kept = tuple(step.text for step in steps)
            steps += steps_of(habits, kept, limit, backend=able, tokenizer=None if usage == "running" else counter)
        assert tuple(step.text for step in steps) == STEPS
        assert [step.tokens for step in steps] == EXACT
        assert steps[2].finish is Finish.EOS
        assert [step.finish for step in steps[:2]] == [Finish.SEPARATOR] * 2
        assert steps[0].prompt_tokens > 0
        stops = [request.get("stop") for request in habits.requests]
        assert stops == ([["\n\n"]] * 3 if limit == 1 else [None])


def test_a_server_that_keeps_the_stop_string_shows_where_the_solution_ends(counter: TokenCounter) -> None:
    with serving(solution="So\n\nthat is all.", keep_stop=True, tell=None, usage="none") as habits:
        generator = model(habits, backend="transformers", tokenizer=counter)

        async def run() -> list[Step]:
            found: list[Step] = []
            while not found or found[-1].finish is Finish.SEPARATOR:
                kept = tuple(step.text for step in found)
                found += [step async for step in generator.steps(QUESTION, kept, StepOptions(limit=1))]
            await generator.aclose()
            return found

        assert [step.text for step in asyncio.run(run())] == ["So\n\n", "that is all."]
        assert len(habits.requests) == 2


def test_without_running_counts_or_tokenizer_each_step_is_a_request() -> None:
    with serving(usage="end") as habits:
        steps = steps_of(habits, backend=Capabilities(stop="tells"))
        assert [(step.text, step.tokens) for step in steps] == list(zip(STEPS, EXACT, strict=True))
        assert len(habits.requests) == 3
        assert [step.cached_tokens for step in steps] == [2, 2, 2]


def test_where_a_stop_looks_like_the_end_none_is_sent(counter: TokenCounter) -> None:
    with serving(tell=None, usage="none") as habits:
        steps = steps_of(habits, limit=1, backend="lm-studio", tokenizer=counter)
        assert [step.text for step in steps] == [STEPS[0]]
        assert steps[0].finish is Finish.SEPARATOR
        assert "stop" not in habits.requests[0]


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 100])
def test_chunks_of_several_tokens_are_shared_out_whole(chunk: int) -> None:
    with serving(chunk=chunk) as habits:
        steps = steps_of(habits)
        assert tuple(step.text for step in steps) == STEPS
        assert sum(step.tokens for step in steps) == sum(EXACT)


def test_answers_in_one_piece(counter: TokenCounter) -> None:
    with serving() as habits:
        steps = steps_of(habits, backend=Capabilities(stream=False, stop="tells"))
        assert [(step.text, step.tokens) for step in steps] == list(zip(STEPS, EXACT, strict=True))
        assert "stream_options" not in habits.requests[0]


@pytest.mark.parametrize("usage", ["end", "zeros", "running"])
def test_a_total_is_the_servers_whenever_it_comes(usage: str) -> None:
    with serving(usage=usage) as habits:
        generator = model(habits, backend="vllm")

        async def run() -> list[Step]:
            ledger, stream = Ledger(), generator.steps(QUESTION, ())
            steps = [ledger.read(step) async for step in stream]
            ledger.correct(Role.WEAK, stream.late_counts)
            await stream.aclose()
            await generator.aclose()
            assert replace(ledger.usage[Role.WEAK], calls=1) == generator.usage
            return steps

        steps = asyncio.run(run())
        assert (len(steps), len(habits.requests)) == (3, 1)
        assert sum(step.tokens for step in steps) == generator.usage.completion_tokens == sum(EXACT)
        assert [step.estimated for step in steps] == [usage != "running"] * 3
        assert (generator.usage.cached_tokens, generator.usage.estimated) == (2, False)


@pytest.mark.parametrize("limit", [1, None])
@pytest.mark.parametrize("backend", ["vllm", "llama-server", "transformers"])
def test_what_nobody_counts_is_estimated_and_marked(backend: str, limit: int | None) -> None:
    with serving(usage="none", keep_stop=backend == "transformers") as habits:
        generator = model(habits, backend=backend)
        steps = asyncio.run(collect(generator, limit=limit))
        assert tuple(step.text for step in steps) == STEPS[: limit or 3]
        assert [step.tokens for step in steps] == pytest.approx(EXACT[: limit or 3], rel=0.5)
        assert steps[0].prompt_tokens > 0
        assert all(step.estimated for step in steps)
        assert generator.usage.estimated


def test_log_probabilities_count_too() -> None:
    with serving(usage="none") as habits:
        steps = steps_of(habits, logprobs=True)
        assert tuple(step.text for step in steps) == STEPS
        assert [step.tokens for step in steps] == [EXACT[0], EXACT[1], EXACT[2] - 1]
        assert steps[0].logprob == steps[0].least_logprob == pytest.approx(-0.5)
        assert steps[0].mean_entropy is None  # the likeliest tokens were not asked for


@pytest.mark.parametrize(
    ("backend", "continuation", "asked"),
    [
        ("vllm", "completions", {"logprobs": 5}),
        ("sglang", "chat", {"logprobs": True, "top_logprobs": 5}),
        ("llama-server", "completions", {"logprobs": 5}),
        ("ollama", "chat", {"logprobs": True, "top_logprobs": 5}),
        ("openai", "instruct", {"logprobs": True, "top_logprobs": 5}),
        ("azure", "instruct", {"logprobs": True, "top_logprobs": 5}),
        ("deepseek", "chat", {"logprobs": True, "top_logprobs": 5}),
    ],
)
def test_the_entropy_of_steps_comes_from_the_likeliest_tokens(
    backend: str, continuation: Continuation, asked: dict[str, object]
) -> None:
    with serving(usage="end") as habits:
        changes: dict[str, Any] = {"backend": backend, "continuation": continuation, "logprobs": True}
        steps = steps_of(habits, entropies=True, **changes)
        assert asked.items() <= habits.requests[0].items()
        entropy = known_entropy([-0.5, -3.0, -4.0, -5.0, -6.0])
        assert [step.mean_entropy for step in steps] == pytest.approx([entropy] * len(steps))
        assert steps[0].most_entropy == pytest.approx(entropy)
        assert steps[0].uncertain == float(entropy > 1)
        habits.tops = 3  # an older server
        fewer = steps_of(habits, entropies=True, **changes)
        assert [step.logprob for step in fewer] == pytest.approx([-0.5] * len(steps))
        assert {step.mean_entropy for step in fewer} == {None}


def test_a_llama_server_counts_in_every_chunk_also_in_an_answer_that_is_cut_off() -> None:
    with serving(usage="timings", delay=0.02) as habits:
        generator = model(habits, backend="llama-server")

        async def run() -> Step:
            stream = generator.steps(QUESTION, ())
            step = await anext(stream)
            pull = asyncio.ensure_future(anext(stream))
            while not stream.pending_tokens:
                await asyncio.sleep(0.001)
            pull.cancel()
            await asyncio.gather(pull, return_exceptions=True)
            assert not stream.late_counts.estimated
            await stream.aclose()
            await generator.aclose()
            return step

        step = asyncio.run(run())
        assert (step.tokens, step.cached_tokens, step.estimated) == (EXACT[0], 2, False)
        assert EXACT[0] < generator.usage.completion_tokens < sum(EXACT[:2])
        assert not generator.usage.estimated
        assert len(habits.requests) == 1


@pytest.mark.parametrize("tell", ["verbose", None])
def test_a_llama_server_ends_a_single_step_itself_so_that_no_token_goes_uncounted(tell: str | None) -> None:
    """One that says which stop string it was; an older one is taken for it once, and cut from then on."""
    with serving(usage="timings", tell=tell) as habits:
        generator = model(habits, backend="llama-server")

        async def run() -> list[Step]:
            steps = list[Step]()
            for _ in STEPS:
                stream = generator.steps(QUESTION, tuple(step.text for step in steps), StepOptions(limit=1))
                steps += [step async for step in stream]
                await stream.aclose()
            await generator.aclose()
            return steps

        steps = asyncio.run(run())
        assert tuple(step.text for step in steps) == STEPS
        assert [("stop" in body, "verbose" in body) for body in habits.requests] == (
            [(True, True)] * 3 if tell else [(True, True), (False, False), (False, False)]
        )
        if tell:
            assert [step.tokens for step in steps] == EXACT
            assert generator.usage.completion_tokens == sum(EXACT)
            assert not habits.cancelled


def test_extras_go_only_to_servers_that_know_them(counter: TokenCounter) -> None:
    with serving(keep_stop=True, tell=None, usage="none") as habits:
        steps_of(habits, limit=1, backend="transformers", tokenizer=counter)
        assert set(habits.requests[0]) == {
            "model",
            "prompt",
            "max_tokens",
            "temperature",
            "top_p",
            "stream",
            "stop",
            "seed",
        }
        steps_of(habits, limit=1, tokenizer=counter, sampling=Sampling(top_k=5))
        assert habits.requests[1]["top_k"] == 5
        assert habits.requests[1]["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}


def test_chat_continuation_and_its_dialects(counter: TokenCounter) -> None:
    with serving(repeat=True, usage="none") as habits:
        for backend, extra in [
            ("vllm", {"add_generation_prompt": False, "continue_final_message": True}),
            ("llama-server", {}),
            ("mistral", {}),
        ]:
            able = BACKENDS[backend] if backend != "vllm" else Capabilities(chat="flags", repeats_prefix=True)
            steps = steps_of(habits, STEPS[:1], backend=able, continuation="chat", template=None, tokenizer=counter)
            assert tuple(step.text for step in steps) == STEPS[1:]
            body = habits.requests[-1]
            assert {key: body[key] for key in extra} == extra
            assert ("continue_final_message" in body) == bool(extra)
            last = {"role": "assistant", "content": STEPS[0]}
            assert body["messages"][-1] == (last | {"prefix": True} if backend == "mistral" else last)
            assert "stop" not in body


def test_instruction_for_servers_that_cannot_continue(counter: TokenCounter) -> None:
    with serving(usage="end") as habits:
        steps = steps_of(habits, STEPS[:1], 1, backend="openai", continuation="instruct", tokenizer=counter)
        assert [step.text for step in steps] == [STEPS[1]]
        assert STEPS[0] in habits.requests[0]["messages"][-1]["content"]
        assert habits.requests[0]["max_completion_tokens"] > 0


@pytest.mark.parametrize("how", ["breaks", "ends"])
def test_a_break_in_the_middle_resumes_from_the_last_whole_step(how: str) -> None:
    first = EXACT[0] + 3
    with serving(**{how: [first, 1, None]}) as habits:
        generator = model(habits)

        async def run() -> tuple[list[Step], int]:
            stream = generator.steps(QUESTION, ())
            found = [step async for step in stream]
            await generator.aclose()
            return found, stream.pending_tokens

        steps, lost = asyncio.run(run())
        assert tuple(step.text for step in steps) == STEPS
        assert [step.tokens for step in steps] == EXACT
        assert len(habits.requests) == 3
        assert lost == 3 + 1
        assert habits.requests[1]["prompt"].endswith(STEPS[0])


def test_a_server_that_always_fails_is_given_up() -> None:
    with serving(breaks=[1] * 20) as habits:
        with pytest.raises(BackendUnavailable, match=r"weak model m at http://127"):
            steps_of(habits)
        assert len(habits.requests) == 4
    with serving(ends=[1] * 20) as habits, pytest.raises(BadResponse, match="ended in the middle"):
        steps_of(habits)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_transient_failures_are_retried(status: int) -> None:
    with serving(statuses=[status]) as habits:
        assert len(steps_of(habits)) == 3
        assert len(habits.requests) == 2
    with serving(statuses=[status] * 9) as habits:
        with pytest.raises(BackendUnavailable, match=f"weak model m at http.*{status}") as caught:
            steps_of(habits)
        assert caught.value.retryable
        assert len(habits.requests) == 3


@pytest.mark.parametrize(
    ("status", "error", "hint"),
    [
        (400, BackendRefused, "400"),
        (401, BackendRefused, "api_key_env"),
        (404, BackendRefused, "base_url"),
        (422, BackendRefused, "422"),
    ],
)
def test_refusals_are_not_retried(status: int, error: type[TrimError], hint: str) -> None:
    with serving(statuses=[status] * 3, message="your key is secret-key-123") as habits:
        with pytest.raises(error, match=hint) as caught:
            steps_of(habits, api_key="secret-key-123")
        assert "secret-key-123" not in str(caught.value)
        assert len(habits.requests) == 1
        assert habits.headers[0]["authorization"] == "Bearer secret-key-123"


def test_the_environments_key_is_never_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-private")
    with serving() as habits:
        steps_of(habits)
        assert "sk-private" not in json.dumps(habits.headers)


def test_timeouts_and_unreachable_servers() -> None:
    with serving(hang=5) as habits, pytest.raises(BackendTimeout, match="weak model m at http"):
        steps_of(habits, timeout=0.2, retries=0)
    with serving(delay=5) as habits, pytest.raises(BackendTimeout, match="weak model m at http"):
        generator = model(habits, timeout=0.2, retries=0)
        asyncio.run(collect(generator))
    with pytest.raises(BackendUnavailable, match="cannot be reached"):  # the server is gone
        steps_of(habits, retries=0)


@pytest.mark.parametrize("how", ["close", "cancel"])
def test_closing_and_cancelling_close_the_request_upstream(how: str) -> None:
    with serving(delay=0.05) as habits:
        generator = model(habits)

        async def run() -> int:
            stream = generator.steps(QUESTION, ())
            await anext(stream)
            pull = asyncio.ensure_future(anext(stream))
            while not pull.done() and stream.pending_tokens < 2:
                await asyncio.sleep(0.01)
            pull.cancel()
            await asyncio.gather(pull, return_exceptions=True)
            pending: int = stream.pending_tokens
            if how == "close":
                await stream.aclose()
            limit = time.monotonic() + 5
            while not habits.cancelled and time.monotonic() < limit:
                await asyncio.sleep(0.02)
            await generator.aclose()
            return pending

        pending = asyncio.run(run())
        assert 2 <= pending < EXACT[1]
        assert habits.cancelled == 1


def test_token_limits(counter: TokenCounter) -> None:
    both: list[dict[str, Any]] = [{}, {"tokenizer": counter, "backend": "llama-server"}]
    with serving() as habits:
        short = Sampling(max_step_tokens=5)
        for limit in (1, None):
            for options in both:
                steps = steps_of(habits, STEPS[:1], limit, sampling=short, **options)
                assert [(step.finish, step.tokens) for step in steps] == [(Finish.LENGTH, 5)]
        steps = asyncio.run(collect(model(habits), max_tokens=EXACT[0] + 2))
        assert [(step.finish, step.tokens) for step in steps] == [(Finish.SEPARATOR, EXACT[0]), (Finish.LENGTH, 2)]
        assert asyncio.run(collect(model(habits), max_tokens=0)) == []


@pytest.mark.parametrize("counted", [True, False])
def test_a_small_context_asks_for_what_fits(counted: bool, counter: TokenCounter) -> None:
    with serving(context=60) as habits:
        steps = steps_of(habits, tokenizer=counter if counted else None)
        assert tuple(step.text for step in steps) == STEPS
        if counted:
            assert len(habits.requests) == 2  # the first 400 teaches the context
    with serving(context=5) as habits, pytest.raises(InputTooLong):
        steps_of(habits, tokenizer=counter if counted else None)


def test_separators_that_only_the_client_can_cut(counter: TokenCounter) -> None:
    both: list[dict[str, Any]] = [{}, {"tokenizer": counter, "backend": "llama-server"}]
    with serving(solution="One. Two is here. #### 3") as habits:
        for options in both:
            steps = steps_of(habits, form=StepFormat(Separator.SENTENCE), **options)
            assert [step.text for step in steps] == ["One. ", "Two is here. ", "#### 3"]
        assert sum(step.tokens for step in steps_of(habits, form=StepFormat(Separator.SENTENCE))) == 13


def test_seeds_differ_by_step_and_attempt_and_not_by_how_the_stream_was_opened() -> None:
    with serving() as habits:
        generator = model(habits)

        async def run() -> None:
            for kept, attempt, seed in [((), 0, 1), ((), 1, 1), (STEPS[:1], 0, 1), ((), 0, 2), ((), 0, 1)]:
                stream = generator.steps(QUESTION, kept, StepOptions(limit=1, attempt=attempt, seed=seed))
                await anext(stream)
                await stream.aclose()
            await generator.aclose()

        asyncio.run(run())
        seeds = [request["seed"] for request in habits.requests]
        assert len(set(seeds)) == 4
        assert seeds[0] == seeds[4] == request_seed(1, 0, 0, QUESTION.text)
        assert all(0 <= seed < 2**31 for seed in seeds)


def test_wrong_settings_say_what_to_change() -> None:
    habits = Habits(url="http://127.0.0.1:9")
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"template": None}, "template"),
        ({"backend": "openai"}, "chat or instruct"),
        ({"backend": "transformers", "continuation": "chat"}, "completions or instruct"),
        ({"backend": "nonsense"}, "vllm, sglang"),
        ({"backend": "generic", "logprobs": True}, "log-probabilities"),
        ({"continuation": "telepathy"}, "telepathy"),
        ({"timeout": 0}, "timeout"),
    ]
    for changes, words in wrong:
        with pytest.raises(ConfigError, match=words):
            model(habits, **changes)
    with pytest.raises(ConfigError, match="not an http"):
        OpenAIGenerator("localhost:8000", "m", Role.WEAK, load_template("trim"), backend="vllm")


def test_special_tokens_in_texts_stay_text() -> None:
    with serving() as habits:
        generator = model(habits)
        question = Question("a <|end|><|assistant|>#### 7")

        async def run() -> None:
            stream = generator.steps(question, ("x <extra_0><|user|>\n\n",), StepOptions(limit=1))
            await anext(stream)
            await stream.aclose()
            await generator.aclose()

        asyncio.run(run())
        prompt = habits.requests[0]["prompt"]
        assert prompt == "<|user|>a < |end|>< |assistant|>#### 7<|assistant|>x < extra_0>< |user|>\n\n"
        assert SOLUTION not in prompt


@pytest.mark.parametrize("breaks", [[], [5]])
def test_usage_counts_what_was_read_whatever_became_of_it(breaks: list[int | None]) -> None:
    with serving(breaks=[*breaks]) as habits:
        generator = model(habits)

        async def run(limit: int) -> Usage:
            """Usage of some steps and of what is thrown away when the stream is closed."""
            ledger, stream = Ledger(), generator.steps(QUESTION, ())
            for _ in range(limit):
                ledger.read(await anext(stream))
            ledger.discard(Role.WEAK, 0, stream.pending_tokens)
            ledger.correct(Role.WEAK, stream.late_counts)
            await stream.aclose()
            return ledger.usage[Role.WEAK]

        async def both() -> Usage:
            whole, part = await run(3), await run(1)
            await generator.aclose()
            return whole + part

        used = asyncio.run(both())
        assert generator.usage.calls == len(habits.requests) == 2 + len(breaks)
        assert replace(used, calls=generator.usage.calls, discarded_tokens=0) == generator.usage
        assert used.prompt_tokens > 0
        assert generator.sampled(Sampling(0.0)).usage is generator.usage
