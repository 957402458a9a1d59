"""`trim.open`: models by their names, and a question in one line."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import trim
from tests.backends.fake_server import serving
from trim.policies import AlwaysStrong


def solved(text: str, *, policy: trim.Policy | str | None = None, **models: str) -> tuple[trim.Trace, trim.Backends]:
    async def run() -> tuple[trim.Trace, trim.Backends]:
        async with trim.open(**models) as opened:
            return await opened.solve(text, policy, parameter=0.5 if isinstance(policy, str) else None), opened

    return asyncio.run(run())


def test_served_models_by_name(tmp_path: Path) -> None:
    with serving() as habits:
        name = f"vllm/m@{habits.url}"
        trace, opened = solved("What is 3 + 4?", weak=name, strong=name, judge=f"vllm/prm@{habits.url}")
        assert (trace.answer, trace.policy) == ("7", "threshold")
        assert opened.prm.identity == f"vllm:prm at {habits.url}"
        file = tmp_path / "trim.toml"
        file.write_text(f"[weak]\nmodel = '{name}'\n[strong]\nmodel = '{name}'\n[policy]\nname = 'always-weak'\n")
        assert solved("What is 3 + 4?", config=str(file))[0].policy == "always-weak"
        assert solved("What is 3 + 4?", config=str(file), policy=AlwaysStrong())[0].policy == "always-strong"


def test_without_names_the_shipped_models() -> None:
    trace, opened = solved("Tom has 3 boxes of 12 pens. How many pens?", policy="threshold+1")
    assert (trace.policy, trace.parameter) == ("threshold+1", 0.5)
    assert opened.weak.identity.startswith("embedded:weak@")


def test_wrong_names() -> None:
    with pytest.raises(trim.ConfigError, match=r"\[weak\] model 'olama/x' .*did you mean ollama/x"):
        solved("2 + 2?", weak="olama/x")
    with pytest.raises(trim.ConfigError, match=r"\[strong\] model: .* or --strong"):
        solved("2 + 2?", weak="ollama/x")
