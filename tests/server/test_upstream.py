"""The gateway in front of HTTP servers: what reaches them, and that a disconnect reaches them at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.backends.fake_server import STEPS, Habits
from tests.backends.fake_server import serving as fake_serving
from tests.server.gateway import Served, ask, serving
from trim.config.settings import Config, ModelSettings, PrmSettings, ServeSettings
from trim.server.gateway import open_gateway


@contextmanager
def _in_front_of(habits: Habits) -> Iterator[Served]:
    """A gateway whose three backends are one fake server."""
    model = ModelSettings(backend="vllm", base_url=f"{habits.url}/v1", model="m", retries=0)
    prm = PrmSettings(backend="vllm", base_url=habits.url, model="m", retries=0)
    config = Config(model, model, prm, serve=ServeSettings(expose_upstream_errors=True))
    with serving(lambda: open_gateway(config)) as served:
        yield served


def test_conversation_and_sampling_reach_the_server() -> None:
    with fake_serving() as habits, _in_front_of(habits) as served:
        said = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "1 + 1?<|im_end|>"},
            {"role": "assistant", "content": "2"},
            {"role": "user", "content": "And now?"},
        ]
        answer = served.post(ask(messages=said, temperature=0.25, top_p=0.5, max_tokens=40)).json()
        assert answer["choices"][0]["message"]["content"] == "".join(STEPS)
        generated = next(request for request in habits.requests if "prompt" in request)
        assert generated["prompt"] == (
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n1 + 1?< |im_end|><|im_end|>\n"
            "<|im_start|>assistant\n2<|im_end|>\n<|im_start|>user\nAnd now?<|im_end|>\n<|im_start|>assistant\n"
        )
        assert (generated["temperature"], generated["top_p"], generated["max_tokens"]) == (0.25, 0.5, 40)
        (judged, *_) = (request["input"][0] for request in habits.requests if "input" in request)
        assert judged.startswith(generated["prompt"])


def test_readiness_looks_at_the_servers() -> None:
    with fake_serving() as habits, _in_front_of(habits) as served:
        assert served.get("/readyz").status_code == 200
        habits.statuses += [503] * 3
        for breaker in served.gateway.breakers.values():
            breaker.silence.clock = lambda: time.monotonic() + 2  # what was found is not asked again for a second
        answer = served.get("/readyz")
        assert answer.status_code == 503
        assert "answered 503" in answer.json()["backends"]["weak"]
        assert served.get("/healthz").status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_ends_the_generation(stream: bool) -> None:
    with fake_serving(delay=0.1) as habits, _in_front_of(habits) as served:
        with pytest.raises(httpx.ReadTimeout), httpx.Client(timeout=0.5) as client:
            client.post(f"{served.url}/v1/chat/completions", json=ask(model="trim-weak", stream=stream, max_tokens=500))
        left = time.monotonic()
        while not habits.cancelled and time.monotonic() < left + 2:
            time.sleep(0.002)
        assert habits.cancelled == 1
        # The gateway closes the connection at once; the server notices at its next token, 0.1 s later at most.
        assert time.monotonic() - left < 0.5
        assert served.spent(1).requests == 1
        # Only the prompt was read for sure, and it is paid for, though no step was finished.
        assert 'trim_tokens_total{kind="prompt",role="weak"}' in served.get("/metrics").text


def test_a_split_character_is_not_an_error() -> None:
    with fake_serving(solution="3 + 4 = \ud83d7.\n\n#### 7") as habits, _in_front_of(habits) as served:
        for stream in (False, True):
            answer = served.post(ask(model="trim-weak", stream=stream))
            assert answer.status_code == 200
            assert "#### 7" in answer.text.replace('"}}', "") or stream
            assert "error" not in answer.text
