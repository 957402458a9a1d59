"""Every implementation fulfils its protocol: mypy checks the assignments here, the tests the names."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from trim.config.factory import open_backends
from trim.config.settings import Config, ModelSettings, PrmSettings
from trim.config.specs import identities
from trim.scoring.recalibrated import RecalibrationCurve

if TYPE_CHECKING:
    from trim.backends.onnx import EmbeddedGenerator
    from trim.backends.openai import OpenAIGenerator
    from trim.backends.replay_cache import RecordedGenerator, RecordedJudge
    from trim.protocols import Judge, StepGenerator
    from trim.scoring.confidence import ConfidenceJudge
    from trim.scoring.embedded_logprobs import EmbeddedLogprobs
    from trim.scoring.embedded_prm import EmbeddedPrm
    from trim.scoring.likelihood import LikelihoodJudge
    from trim.scoring.llm_judge import LlmJudge
    from trim.scoring.oracle import OracleJudge
    from trim.scoring.prompt_logprobs import LogprobSource, OpenAILogprobs
    from trim.scoring.recalibrated import RecalibratedJudge
    from trim.scoring.vllm_prm import VllmPrm
    from trim.simulation import SimulatedModel, SimulatedPrm

    def is_generator(
        model: OpenAIGenerator | EmbeddedGenerator | RecordedGenerator | SimulatedModel,
    ) -> StepGenerator:
        return model

    def is_judge(
        judge: VllmPrm
        | EmbeddedPrm
        | LlmJudge
        | LikelihoodJudge
        | ConfidenceJudge
        | OracleJudge
        | RecordedJudge
        | RecalibratedJudge
        | SimulatedPrm,
    ) -> Judge:
        return judge

    def is_logprob_source(source: EmbeddedLogprobs | OpenAILogprobs) -> LogprobSource:
        return source


URL = "http://127.0.0.1:9/v1"
SERVER = ModelSettings(backend="vllm", model="m", base_url=URL, template="trim")


def with_judge(**settings: str) -> Callable[[Path], Config]:
    return lambda curve: Config(prm=PrmSettings(**settings))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "made",
    [
        lambda curve: Config(),
        lambda curve: Config(weak=SERVER, strong=replace(SERVER, backend="sglang")),
        with_judge(backend="embedded", model="prm-small"),
        with_judge(backend="likelihood"),
        with_judge(backend="entropy"),
        with_judge(backend="log-probability", model="strong"),
        with_judge(backend="vllm", model="m", base_url=URL, template="trim"),
        with_judge(backend="likelihood", model="m", base_url=URL, template="trim"),
        with_judge(backend="entropy", model="m", base_url=URL, template="trim"),
        with_judge(backend="typed", model="m", base_url=URL),
        lambda curve: Config(prm=PrmSettings(backend="entropy", recalibration=str(curve))),
    ],
)
def test_open_backends_are_called_as_results_call_them(made: Callable[[Path], Config], tmp_path: Path) -> None:
    """What saved policies compare can be read off the models themselves."""
    curve = tmp_path / "curve.json"
    RecalibrationCurve((0.0, 1.0), (0.1, 0.9)).save(curve)
    config = made(curve)

    async def run() -> dict[str, str]:
        async with open_backends(config) as backends:
            models = {"weak": backends.weak, "strong": backends.strong, "prm": backends.prm}
            return {role: model.identity for role, model in models.items()}

    assert asyncio.run(run()) == identities(config)
