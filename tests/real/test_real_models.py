"""A real open model behind llama.cpp's own server: what it writes reaches the caller byte for byte, counted right.

`make test-real` fetches the model and runs this folder; a plain `pytest` leaves it out. TRIM_REAL_WEAK names another
GGUF file.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from recipes.real.fetch import FOLDER, MODELS
from tests.server.gateway import Served, ask, serving
from trim.backends.gguf import LlamaServer
from trim.config.settings import Config, GenerationSettings, ModelSettings, PrmSettings
from trim.prompts import load_template
from trim.server.gateway import open_gateway

FILE = Path(os.environ.get("TRIM_REAL_WEAK", FOLDER / MODELS["weak"].file))
QUESTIONS = {
    "python": "Write a Python class Stack with push and pop methods, and a short test, blank lines between methods.",
    "go": "Write a Go program that prints the number of words in each line of its standard input.",
    "c": "Write a C function that reverses a singly linked list.",
    "javascript": "Write a JavaScript function debounce(fn, ms) with comments and an example of its use.",
    "makefile": "Write a Makefile for a C project with targets all, clean and test.",
    "emoji": "Answer with one emoji only: which emoji shows a rocket?",
}
TOKENS = 160


@pytest.fixture(scope="module")
def server() -> Iterator[LlamaServer]:
    if not FILE.is_file():
        pytest.skip(f"{FILE} is not there: make test-real fetches it")
    server = LlamaServer(FILE, context=2048, slots=1)
    yield server
    server.close()


@pytest.fixture(scope="module")
def served(server: LlamaServer) -> Iterator[Served]:
    os.environ["TRIM_TEST_REAL_KEY"] = server.api_key
    model = ModelSettings(
        backend="llama-server", base_url=server.base_url, model="m", api_key_env="TRIM_TEST_REAL_KEY", retries=0
    )
    judge = PrmSettings(
        backend="yes-no", base_url=server.base_url, model="m", api_key_env="TRIM_TEST_REAL_KEY", retries=0
    )
    config = Config(model, model, judge, generation=GenerationSettings(temperature=0.0, top_k=0, top_p=1.0))
    with serving(lambda: open_gateway(config)) as running:
        yield running


def _direct(server: LlamaServer, question: str) -> str:
    """The server's own answer."""
    body = {
        "prompt": load_template(str(FILE)).render(question),
        "max_tokens": TOKENS,
        "temperature": 0.0,
        "top_p": 1.0,
    }
    headers = {"Authorization": f"Bearer {server.api_key}"}
    for _ in range(2):  # with the prompt in the server's cache, as later requests find it: ties fall alike then
        answer = httpx.post(f"{server.base_url}/completions", json=body, headers=headers, timeout=300)
    return str(answer.json()["choices"][0]["text"])


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
@pytest.mark.parametrize("name", ["trim-weak", "trim-strong"])
def test_an_answer_is_the_servers_own_byte_for_byte(
    server: LlamaServer, served: Served, question: str, name: str
) -> None:
    direct = _direct(server, question)
    body = ask(model=name, max_tokens=TOKENS) | {"messages": [{"role": "user", "content": question}]}
    whole = served.post(body, timeout=300).json()
    assert whole["choices"][0]["message"]["content"] == direct
    lines = served.post(body | {"stream": True}, timeout=300).text.split("\n")
    deltas = [json.loads(line[6:])["choices"][0]["delta"] for line in lines if line.startswith("data: {")]
    assert "".join(delta.get("content", "") for delta in deltas) == direct


def test_tokens_are_those_that_the_server_counts(server: LlamaServer, served: Served) -> None:
    """The sums that the gateway's ledger has, against the server's own metrics."""

    def metric(name: str) -> float:
        headers = {"Authorization": f"Bearer {server.api_key}"}
        page = httpx.get(server.base_url.removesuffix("/v1") + "/metrics", headers=headers).text
        found = re.search(rf"^llamacpp:{name} (\S+)", page, re.MULTILINE)
        assert found is not None, page
        return float(found[1])

    before = metric("tokens_predicted_total")
    written = 0
    for question in list(QUESTIONS.values())[:3]:
        body = ask(model="trim-weak", max_tokens=80) | {"messages": [{"role": "user", "content": question}]}
        answer = served.post(body, timeout=300).json()
        written += answer["trim"]["usage"]["weak"]["completion_tokens"]
    assert written == pytest.approx(metric("tokens_predicted_total") - before, rel=0.01)
