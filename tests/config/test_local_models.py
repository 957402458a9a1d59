"""GGUF files of a configuration, with a stand-in for llama.cpp. The tests of real models are in tests/real."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.backends.gguf_files import write_model
from tests.backends.hub_server import hub
from tests.backends.llama_stand_in import StandIn, install
from trim.backends import gguf
from trim.backends.machine import Machine
from trim.backends.openai import OpenAIGenerator
from trim.config.factory import open_backends, open_prm
from trim.config.local_models import serving
from trim.config.policy import strong_judge
from trim.config.resolution import resolve
from trim.config.settings import Config, ModelSettings, PrmSettings
from trim.config.specs import identities
from trim.errors import ConfigError
from trim.scoring.llm_judge import LlmJudge


@pytest.fixture
def llama(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> StandIn:
    """llama.cpp's stand-in, on a machine with 8 GB; relative paths are those of the test's folder."""
    monkeypatch.setattr(gguf, "this_machine", lambda: Machine(2, 8_000_000_000, 8_000_000_000))
    monkeypatch.chdir(tmp_path)
    return install(monkeypatch)


@pytest.fixture
def pair(tmp_path: Path, llama: StandIn) -> Iterator[Config]:
    """Two files, and the strong one judges."""
    weak, strong = write_model(tmp_path / "small.gguf"), write_model(tmp_path / "large.gguf")
    yield Config(ModelSettings("gguf", str(weak)), ModelSettings("gguf", str(strong)), PrmSettings("yes-no", "strong"))


def generator(backend: object) -> OpenAIGenerator:
    assert isinstance(backend, OpenAIGenerator)
    return backend


async def nothing(config: Config) -> None:
    async with open_backends(config):
        pass


def test_models_and_judge_are_behind_servers_of_this_process(pair: Config, llama: StandIn) -> None:
    async def run() -> None:
        async with open_backends(pair) as backends:
            weak, strong, judge = generator(backends.weak), generator(backends.strong), backends.prm
            assert isinstance(judge, LlmJudge)
            urls = [model.server._base_url for model in (weak, strong, judge)]
            assert urls == [f"http://127.0.0.1:4000{number}/v1" for number in (1, 2, 2)]
            keys = [model.server._key for model in (weak, strong, judge)]
            assert keys[0] != keys[1] == keys[2] != "none"
            assert [parameters.api_keys for parameters in llama.started] == [[keys[0]], [keys[1]]]
            assert weak.able is generator(strong).able
            assert weak.able.top_k
            assert weak.template is not None
            assert weak.template.render("Hi") == "<user>Hi<assistant>"
            assert llama.stopped == []

    asyncio.run(run())
    assert [Path(path).name for path in llama.stopped] == ["large.gguf", "small.gguf"]


def test_servers_stop_whatever_ends_the_work(pair: Config, llama: StandIn) -> None:
    async def run() -> None:
        async with open_backends(pair):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(run())
    assert len(llama.stopped) == 2


def test_one_file_for_both_models_is_loaded_once(pair: Config, llama: StandIn) -> None:
    asyncio.run(nothing(Config(pair.weak, ModelSettings("gguf", "small.gguf"), PrmSettings("yes-no", "strong"))))
    assert len(llama.started) == 1


def test_a_judge_alone_needs_its_model_alone(pair: Config, llama: StandIn) -> None:
    async def run() -> None:
        async with serving(resolve(pair), judge_only=True):
            judge = open_prm(pair)
            assert isinstance(judge, LlmJudge)
            await judge.aclose()

    asyncio.run(run())
    assert [Path(parameters.model.path).name for parameters in llama.started] == ["large.gguf"]


@pytest.mark.parametrize("judge_only", [False, True])
def test_a_judge_of_its_own_file(pair: Config, llama: StandIn, tmp_path: Path, judge_only: bool) -> None:
    write_model(tmp_path / "judge.gguf")
    config = Config(pair.weak, pair.strong, PrmSettings(model="gguf/judge.gguf", timeout=3.0))
    assert identities(config)["prm"].startswith("yes-no:judge.gguf@")

    async def run() -> None:
        async with serving(resolve(config), judge_only=judge_only):
            judge = open_prm(config)
            assert isinstance(judge, LlmJudge)
            assert judge.server.model == "judge"
            await judge.aclose()

    asyncio.run(run())
    names = [Path(parameters.model.path).name for parameters in llama.started]
    assert names == (["judge.gguf"] if judge_only else ["small.gguf", "large.gguf", "judge.gguf"])


def test_a_judge_whose_file_is_another_models_shares_it(pair: Config, llama: StandIn) -> None:
    asyncio.run(nothing(Config(pair.weak, pair.strong, PrmSettings(model=f"gguf/{pair.strong.model}"))))
    assert len(llama.started) == 2


def test_a_judge_of_a_file_that_is_not_there(pair: Config) -> None:
    with pytest.raises(ConfigError, match=r"no-such\.gguf: no such file"):
        asyncio.run(nothing(Config(pair.weak, pair.strong, PrmSettings(model="gguf/no-such.gguf"))))


def test_keys_of_a_file(pair: Config, llama: StandIn) -> None:
    weak = ModelSettings("gguf", "small.gguf", template="plain", threads=3, slots=5, context=1024)

    async def run() -> None:
        async with open_backends(Config(weak, pair.strong, pair.prm)) as backends:
            template = generator(backends.weak).template
            assert template is not None
            assert template.render("Hi") == "Hi\n\n"

    asyncio.run(run())
    first = llama.started[0]
    assert (first.cpuparams.n_threads, first.n_parallel, first.n_ctx) == (3, 5, 5 * 1024)


def test_a_file_of_the_hub(pair: Config, llama: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    weak = ModelSettings("gguf", "hf:owner/model-GGUF:Q4_K_M")
    config = Config(weak, pair.strong, pair.prm)
    assert identities(config)["weak"] == "gguf:hf:owner/model-GGUF:Q4_K_M"
    with hub({"model-q4_k_m.gguf": (tmp_path / "small.gguf").read_bytes()}) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        asyncio.run(nothing(config))
    asyncio.run(nothing(config))  # without the hub
    assert Path(llama.started[2].model.path) == tmp_path / "cache/hub/owner/model-GGUF/model-q4_k_m.gguf"


def test_what_results_call_a_file_changes_with_the_file_alone(pair: Config, tmp_path: Path) -> None:
    before = identities(pair)
    assert before["weak"].startswith("gguf:small.gguf@")
    assert identities(Config(ModelSettings("gguf", "small.gguf"), pair.strong, pair.prm)) == before
    write_model(tmp_path / "small.gguf", general__name="another")
    assert identities(pair)["weak"] != before["weak"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model": "no-such.gguf"}, "no-such.gguf: no such file"),
        ({"model": "plain.gguf"}, r"plain.gguf has no chat template: set template to a family \(chatml, "),
        ({"model": "small.gguf", "context": 65_536}, "small can read 32,768 tokens"),
        ({"model": "small.gguf", "context": 32_768, "slots": 64}, "not enough memory"),
        ({"model": "hf:owner"}, "write hf:OWNER/REPO:QUANT"),
    ],
)
def test_what_cannot_be_served(
    pair: Config, llama: StandIn, tmp_path: Path, settings: dict[str, object], words: str
) -> None:
    write_model(tmp_path / "plain.gguf", tokenizer__chat_template=1)
    weak = ModelSettings("gguf", **settings)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=words) as caught:
        asyncio.run(nothing(Config(weak, pair.strong, pair.prm)))
    assert "\n" not in str(caught.value)
    assert len(llama.started) == len(llama.stopped)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"backend": "gguf"}, r"\[weak\] backend: 'gguf' needs model"),
        ({"backend": "vllm", "model": "m", "base_url": "http://gpu:8000/v1", "slots": 2}, r"\[weak\] slots: it has no"),
        ({"threads": 2}, r"\[weak\] threads: it has no effect with 'embedded'"),
        ({"context": 100}, r"context = 100 must be a whole number of at least 512"),
    ],
)
def test_keys_that_cannot_be_meant(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Config(ModelSettings(**settings))  # type: ignore[arg-type]


def test_the_strong_model_can_be_asked_for_grades(pair: Config, llama: StandIn) -> None:
    """A second judge beside the configured one, as baselines open it, shares the server."""

    async def run() -> None:
        async with open_backends(pair):
            judge = open_prm(replace(pair, prm=strong_judge(pair)))
            assert isinstance(judge, LlmJudge)
            assert judge.server._base_url == "http://127.0.0.1:40002/v1"
            await judge.aclose()

    asyncio.run(run())
    assert len(llama.started) == 2


def test_a_judge_of_a_file_that_is_not_served_says_so(pair: Config, llama: StandIn) -> None:
    with pytest.raises(ConfigError, match=r"large\.gguf is not served: open it with trim\.open_backends"):
        open_prm(pair)
