"""What is opened for a configuration, and what cannot be opened."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.backends.fake_server import serving
from trim.backends.onnx import EmbeddedGenerator
from trim.backends.openai import OpenAIGenerator
from trim.config.factory import Backends, open_backends, open_generator, open_prm
from trim.config.loading import load_config
from trim.config.resolution import resolve
from trim.config.settings import BudgetSettings, Config, GenerationSettings, ModelSettings, PrmSettings
from trim.errors import ConfigError
from trim.experiments.conditions import conditions
from trim.policies import AlwaysStrong, Threshold
from trim.scoring.confidence import ConfidenceJudge
from trim.scoring.embedded_prm import EmbeddedPrm
from trim.scoring.fitted import file_of
from trim.scoring.likelihood import LikelihoodJudge
from trim.scoring.llm_judge import LlmJudge
from trim.scoring.vllm_prm import VllmPrm
from trim.types import Budget, Question, Sampling

URL = "http://127.0.0.1:9/v1"
SERVER = ModelSettings("vllm", "m", URL)
ROLES = ("weak", "strong")


def opened(config: Config) -> Backends:
    async def run() -> Backends:
        async with open_backends(config) as backends:
            return backends

    return asyncio.run(run())


def test_models_in_this_process_and_behind_servers() -> None:
    ours = opened(Config())
    assert isinstance(ours.weak, EmbeddedGenerator)
    assert isinstance(ours.prm, EmbeddedPrm)
    theirs = opened(Config(weak=SERVER, strong=SERVER, prm=PrmSettings("vllm", "m", URL)))
    assert isinstance(theirs.strong, OpenAIGenerator)
    assert isinstance(theirs.prm, VllmPrm)


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        (PrmSettings("embedded", "prm-small"), EmbeddedPrm),
        (PrmSettings("likelihood"), LikelihoodJudge),
        (PrmSettings("entropy", "m", URL), ConfidenceJudge),
        (PrmSettings("typed", "m", URL), LlmJudge),
    ],
)
def test_every_kind_of_judge(settings: PrmSettings, kind: type) -> None:
    async def run() -> None:
        judge = open_prm(Config(prm=settings))
        await judge.aclose()
        assert isinstance(judge, kind)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Config(weak=ModelSettings(model="no-such-model")), "no-such-model"),
        (Config(strong=SERVER, weak=replace(SERVER, template="no-such-template")), "no-such-template"),
        (
            Config(strong=SERVER, weak=replace(SERVER, api_key_env="TRIM_NO_SUCH_KEY")),
            r"\[weak\] api_key_env names TRIM_NO_SUCH_KEY",
        ),
        (Config(prm=PrmSettings("yes-no", "m", URL, "TRIM_NO_SUCH_KEY")), r"\[prm\] api_key_env names TRIM_NO"),
        (Config(prm=PrmSettings(recalibration="no-such-curve.json")), "no-such-curve.json"),
        (Config(generation=GenerationSettings(separator="newline")), r"\[generation\] separator: the embedded models"),
    ],
)
def test_what_cannot_be_opened(config: Config, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        opened(config)


def test_a_router_has_the_limits_of_the_configuration(tmp_path: Path) -> None:
    config = Config(budget=BudgetSettings(12), generation=GenerationSettings(max_steps=3, lookahead=0))
    backends = opened(config)
    router = backends.router(AlwaysStrong(), max_tokens=40)
    assert (router.limits.max_steps, router.limits.lookahead, router.limits.max_tokens) == (3, 0, 40)
    assert router.budget == Budget(12)
    assert router.prices == backends.spec.prices
    assert backends.router(AlwaysStrong(), budget=Budget(5)).budget == Budget(5)


def test_other_sampling_keeps_the_rest() -> None:
    backends = opened(Config())
    colder = backends.sampled(Sampling(temperature=0.0))
    assert colder.weak is not backends.weak
    assert (colder.prm, colder.spec) == (backends.prm, backends.spec)


def test_a_judge_on_a_server_gives_no_scores_to_the_shipped_models() -> None:
    backends = opened(Config(prm=PrmSettings("vllm", "m", URL)))
    assert backends.router(AlwaysStrong()).policy.name == "always-strong"
    with pytest.raises(ConfigError, match=r"\[prm\] model: vllm at http://127.0.0.1:9/v1 does not know the texts of"):
        backends.router(Threshold(0.5))


def test_log_probabilities_are_asked_for_only_as_the_judge_needs_them(tmp_path: Path) -> None:
    weak, strong = (
        ModelSettings("ollama", "w", "http://w/v1", continuation="chat"),
        ModelSettings("vllm", "s", "http://s/v1"),
    )
    values = json.loads(file_of("generic").read_text())
    plain = tmp_path / "plain.json"
    plain.write_text(
        json.dumps(values | {"regression": values["without_entropy"], "without_entropy": None, "top_logprobs": 0})
    )
    for prm, asked in (
        (PrmSettings(), (True, True)),
        (PrmSettings(model=str(plain)), (True, False)),
        (PrmSettings("yes-no"), (False, False)),
    ):
        spec = resolve(Config(weak, strong, prm))
        for model in (spec.weak, spec.strong):
            opened = open_generator(model, spec)
            assert isinstance(opened, OpenAIGenerator)
            assert (opened.logprobs, opened.entropies) == asked


def test_requests_carry_what_the_configuration_adds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TEAM_TOKEN", "s3cr3t")
    caplog.set_level("DEBUG")
    added = (
        'omit = ["temperature", "seed"]\nextra_body = { provider = { order = ["x"] } }\n'
        'headers = { X-Team = "maths", X-Token = "t ${TEAM_TOKEN}" }\n'
    )
    with serving() as habits:
        (tmp_path / "trim.toml").write_text("".join(f"[{r}]\nmodel = 'vllm/m@{habits.url}'\n{added}" for r in ROLES))
        config = load_config(tmp_path / "trim.toml", {})

        async def ask() -> None:
            async with open_backends(config) as backends:
                await backends.router(AlwaysStrong()).route(Question("What is 3 + 4?"))

        asyncio.run(ask())
    body, headers = habits.requests[-1], habits.headers[-1]
    assert {"temperature", "seed"}.isdisjoint(body)
    assert body["provider"] == {"order": ["x"]}
    assert (headers["x-team"], headers["x-token"]) == ("maths", "t s3cr3t")
    assert "s3cr3t" not in f"{caplog.text} {config} {resolve(config)} {conditions(config, 'gsm_symbolic')}"
    monkeypatch.delenv("TEAM_TOKEN")
    with pytest.raises(ConfigError, match=r"\[weak\] headers: X-Token names TEAM_TOKEN, which is not set"):
        opened(config)


@pytest.mark.parametrize(
    ("judge", "takes_body"),
    [
        ("backend = 'yes-no'\nmodel = 'strong'", True),
        ("model = 'vllm/m@URL'", True),
        ("backend = 'likelihood'\nmodel = 'm'\nbase_url = 'URL/v1'\ntemplate = 'chatml'", True),
        ("backend = 'vllm'\nmodel = 'm'\nbase_url = 'URL'\ntemplate = 'chatml'", False),
    ],
)
def test_requests_of_a_judge_carry_what_the_configuration_adds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, judge: str, takes_body: bool
) -> None:
    monkeypatch.setenv("TEAM_TOKEN", "s3cr3t")
    with serving() as habits:
        text = "".join(f"[{role}]\nmodel = 'vllm/m@{habits.url}'\n" for role in ROLES)
        text += f"[prm]\n{judge.replace('URL', habits.url)}\nheaders = {{ X-Token = '${{TEAM_TOKEN}}' }}\n"
        text += "omit = ['temperature']\nextra_body = { provider = { order = ['x'] } }\n" if takes_body else ""
        (tmp_path / "trim.toml").write_text(text)
        config = load_config(tmp_path / "trim.toml", {})

        async def ask() -> None:
            judge = open_prm(config)
            await judge.score(Question("What is 3 + 4?"), ("3 + 4 = 7\n\n",))
            await judge.aclose()

        asyncio.run(ask())
    assert habits.headers[-1]["x-token"] == "s3cr3t"
    assert ("provider" in habits.requests[-1]) is takes_body
    assert ("temperature" not in habits.requests[-1]) or not takes_body
    assert "s3cr3t" not in f"{config} {resolve(config)} {conditions(config, 'gsm_symbolic')}"


def test_a_model_that_judges_is_asked_as_it_is_asked_for_steps(tmp_path: Path) -> None:
    (tmp_path / "trim.toml").write_text(
        "[weak]\nmodel = 'ollama/a'\n[strong]\nmodel = 'openrouter/b'\nomit = ['seed']\n"
        "headers = { X-Title = 'trim' }\nextra_body = { provider = { order = ['x'] } }\n[prm]\nmodel = 'strong'\n"
    )
    spec = resolve(load_config(tmp_path / "trim.toml", {}))
    assert (spec.judge.omit, spec.judge.headers) == (("seed",), spec.strong.headers)
    assert spec.judge.extra_body == spec.strong.extra_body != ""


def test_a_process_reward_model_takes_no_parameters_of_text() -> None:
    with pytest.raises(ConfigError, match=r"\[prm\] omit: it has no effect with the judge 'vllm'"):
        Config(weak=SERVER, strong=SERVER, prm=PrmSettings("vllm", "m", URL, extra_body="{}", omit=("seed",)))
