"""Desktop servers and hosted services, scripted as strict as the real ones, by their names in a configuration: all of
them solve, stream, count and cancel. `make test-hosted` asks the real ones.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backends.fake_server import SOLUTION, STEPS
from tests.conformance.scripted_server import ScriptedServer, scripted_server
from tests.hosted.services import KEY, QUESTION, SERVICES, Served, Service, shown
from tests.server.gateway import ask, serving
from trim.backends.openai import OpenAIGenerator
from trim.backends.request_extras import RequestExtras
from trim.config.factory import open_backends
from trim.config.loading import load_config
from trim.config.settings import Config
from trim.errors import BackendError, BackendRefused
from trim.policies import AlwaysStrong, AlwaysWeak, Threshold
from trim.protocols import Policy
from trim.server.gateway import open_gateway
from trim.types import Question, Role, StepOptions, Trace

VARIABLE = "TRIM_TEST_HOSTED_KEY"
BY_KIND = {service.kind: service for service in SERVICES}
each = pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.kind)


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as server:
        yield server


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, KEY)


def configured(folder: Path, weak: Served, strong: Served, **keys: str) -> Config:
    """Both models by name, the strong one as the judge; another address than the preset's is not sent its key."""
    lines = []
    for role, served in (("weak", weak), ("strong", strong)):
        needed = {"api_key_env": VARIABLE} if served.service.unknown_key is not None else {}
        table = {"model": served.name, "retries": 0} | needed | keys
        lines += [f"[{role}]", *(f"{name} = {json.dumps(value)}" for name, value in table.items())]
    path = folder / "trim.toml"
    path.write_text("\n".join([*lines, '[prm]\nmodel = "strong"\n']))
    return load_config(path, environment={})


def solved(config: Config, policy: Policy) -> Trace:
    async def run() -> Trace:
        async with open_backends(config) as backends:
            return await backends.router(policy).route(Question(QUESTION))

    return asyncio.run(run())


@each
def test_a_question_is_solved_by_both_models_and_a_judge(
    server: ScriptedServer, service: Service, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weak, strong = service.serve(server), service.serve(server)
    with caplog.at_level(logging.WARNING):
        trace = solved(configured(tmp_path, weak, strong), Threshold(0.5))
    assert trace.error is None
    assert shown(trace.text) == shown(SOLUTION)
    assert [decision.step.role for decision in trace.decisions] == [Role.WEAK, Role.STRONG, Role.WEAK]
    assert all(trace.usage[role].completion_tokens > 0 for role in (Role.WEAK, Role.STRONG))
    assert KEY not in caplog.text + repr(trace)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == len(set(lines))  # what is learnt is learnt and said once a connection
    for served, most in (
        (weak, 1),
        (strong, 5),
    ):  # a generator; a generator, and a judge of whose kind nothing is known
        refused = [body for body in served.script.requests if service.refused(dict(body)) is not None]
        assert len(refused) <= most, refused


@each
@pytest.mark.parametrize("role", [Role.WEAK, Role.STRONG])
def test_tokens_are_those_that_the_service_counts(
    server: ScriptedServer, service: Service, role: Role, tmp_path: Path
) -> None:
    """Those of reasoning that is not shown among them."""
    served = service.serve(server)
    trace = solved(configured(tmp_path, served, served), AlwaysWeak() if role is Role.WEAK else AlwaysStrong())
    assert shown(trace.text) == shown(SOLUTION)
    assert trace.usage[role].completion_tokens == sum(served.written)
    assert not trace.usage[role].estimated or service.thinks == ""


@each
def test_a_stream_that_is_closed_is_no_longer_written(server: ScriptedServer, service: Service, tmp_path: Path) -> None:
    served = service.serve(server, every=0.03)

    async def run() -> tuple[str, int]:
        async with open_backends(configured(tmp_path, served, served)) as backends:
            stream = backends.weak.steps(Question(QUESTION), (), StepOptions())
            step = await anext(stream)
            await stream.aclose()
            limit = time.monotonic() + 5
            while not served.script.broken_off and time.monotonic() < limit:
                await asyncio.sleep(0.01)
            return step.text, backends.weak.usage.completion_tokens

    text, tokens = asyncio.run(run())
    assert text == STEPS[0]
    assert served.script.broken_off == 1
    assert tokens >= 5  # all that was read is counted


@each
def test_the_gateway_streams_counts_and_cancels(server: ScriptedServer, service: Service, tmp_path: Path) -> None:
    served = service.serve(server, every=0.01)
    config = configured(tmp_path, served, served)
    with serving(lambda: open_gateway(config)) as gateway:
        answer = gateway.post(ask(QUESTION, stream=True, stream_options={"include_usage": True}))
        chunks = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
        text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])
        assert shown(text) == shown(SOLUTION)
        assert sum(bool(chunk["choices"]) for chunk in chunks) > 2
        assert chunks[-1]["usage"]["completion_tokens"] > 0
        before = served.script.broken_off
        gateway.spent(1)
        with gateway.client.stream(
            "POST", gateway.url + "/v1/chat/completions", json=ask(QUESTION, model="trim-strong", stream=True)
        ) as leaving:
            for line in leaving.iter_lines():
                if '"content":' in line and "apples" in line:
                    break
        spent = gateway.spent(2)
        limit = time.monotonic() + 5
        while served.script.broken_off == before and time.monotonic() < limit:
            time.sleep(0.01)
        assert served.script.broken_off > before
        assert spent.strong_tokens > 0


@each
def test_a_wrong_key_and_a_wrong_model_are_said_in_the_services_words(
    server: ScriptedServer, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = service.serve(server)
    config = configured(tmp_path, served, served)
    if service.unknown_key is not None:
        monkeypatch.setenv(VARIABLE, "sk-wrong-7Q-4093")
        with pytest.raises(BackendRefused) as raised:
            solved(config, AlwaysWeak())
        assert "7Q-4093" not in str(raised.value)
        monkeypatch.setenv(VARIABLE, KEY)
    named = served.name.replace(service.model, "m")
    (tmp_path / "trim.toml").write_text(
        (tmp_path / "trim.toml").read_text().replace(json.dumps(served.name), json.dumps(named))
    )
    with pytest.raises(BackendRefused, match="m"):
        solved(load_config(tmp_path / "trim.toml", environment={}), AlwaysWeak())


def test_a_refused_partial_answer_is_asked_for_in_words_once_and_from_then_on(
    server: ScriptedServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    served = BY_KIND["anthropic"].serve(server)
    config = configured(tmp_path, served, served, continuation="chat")

    async def run() -> tuple[list[str], tuple[str, ...], str]:
        async with open_backends(config) as backends:
            texts = []
            for _ in range(2):
                stream = backends.strong.steps(Question(QUESTION), STEPS[:1], StepOptions())
                texts.append("".join([step.text async for step in stream]))
            assert isinstance(backends.strong, OpenAIGenerator)
            other = backends.strong.sampled(backends.spec.sampling)
            return texts, backends.strong.server.learnt, other.continuation

    with caplog.at_level(logging.WARNING):
        texts, learnt, continuation = asyncio.run(run())
    assert [shown(text) for text in texts] == [shown("".join(STEPS[1:]))] * 2
    ends = [request["messages"][-1]["role"] for request in served.script.requests]
    assert ends.count("assistant") <= 2  # one of them before the temperature was found to be refused
    assert ends[-1] == "user"
    assert any("continues no partial answer" in words for words in learnt)
    assert continuation == "instruct"
    assert sum("continues no partial answer" in record.getMessage() for record in caplog.records) == 1


def test_azure_gets_its_key_in_its_own_header(server: ScriptedServer, tmp_path: Path) -> None:
    served = BY_KIND["azure"].serve(server)
    solved(configured(tmp_path, served, served), AlwaysWeak())
    for headers in served.script.headers:
        assert headers["api-key"] == KEY
        assert "authorization" not in headers


def test_an_error_in_the_middle_of_a_stream_is_told(server: ScriptedServer, tmp_path: Path) -> None:
    served = BY_KIND["openrouter"].serve(server)
    served.fails_after = 4
    with pytest.raises(BackendError, match="Provider disconnected unexpectedly"):
        solved(configured(tmp_path, served, served), AlwaysWeak())


def test_a_provider_is_pinned_in_every_request(server: ScriptedServer) -> None:
    served = BY_KIND["openrouter"].serve(server)
    provider = {"order": ["chutes"], "allow_fallbacks": False}

    async def run() -> list[str]:
        model = OpenAIGenerator(
            served.script.url,
            served.service.model,
            Role.WEAK,
            backend="openrouter",
            continuation="chat",
            api_key=KEY,
            extras=RequestExtras(extra_body={"provider": provider}, headers={"X-Title": "TRIM"}),
        )
        try:
            stream = model.steps(Question(QUESTION), STEPS[:1], StepOptions())
            return [step.text async for step in stream]
        finally:
            await model.aclose()

    assert shown("".join(asyncio.run(run()))) == shown("".join(STEPS[1:]))
    assert all(request["provider"] == provider for request in served.script.requests)
    assert all(headers["x-title"] == "TRIM" for headers in served.script.headers)
