"""The table of judges: every row opens, and the configuration offers exactly these."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from trim.config.settings import Config, PrmSettings
from trim.errors import ConfigError
from trim.plugins import attribute
from trim.protocols import Judge
from trim.scoring.registry import JUDGES, JudgeFamily, open_judge
from trim.steps import StepFormat


@dataclass(frozen=True)
class Settings:
    backend: str
    model: str = ""
    base_url: str = ""
    template: str = "chatml"
    tokenizer: str | None = None
    system: str | None = None
    context: int | None = None
    step_mark: str = "<extra_0>"
    raw_logits: bool = False
    timeout: float = 60.0
    retries: int = 3


@pytest.mark.parametrize("family", JUDGES.values(), ids=lambda family: family.name)
def test_every_row_opens(family: JudgeFamily) -> None:
    assert callable(attribute(family.opener, "judge"))
    model, address = (family.local, "") if family.local else ("m", "http://127.0.0.1:9")
    judge: Judge = open_judge(Settings(family.name, model, address), None, StepFormat())
    assert judge.identity
    assert Config(prm=PrmSettings(backend=family.name, model=model, base_url=address)).prm.backend == family.name


def test_others_are_refused() -> None:
    with pytest.raises(ConfigError, match="unknown judge 'vlm'"):
        open_judge(Settings("vlm"), None, StepFormat())
    with pytest.raises(ConfigError, match="did you mean 'vllm'"):
        PrmSettings(backend="vlm")
