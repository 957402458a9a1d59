"""Models by their names, opened in one line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from trim.config.factory import Backends, open_backends
from trim.config.loading import load_config


@asynccontextmanager
async def open(  # as `trim.open`
    weak: str | None = None,
    strong: str | None = None,
    judge: str | None = None,
    *,
    config: Path | str | None = None,
) -> AsyncIterator[Backends]:
    """Open a weak and a strong model and a judge; close them at the end.

        async with trim.open(weak="ollama/qwen2.5:0.5b", strong="openai/gpt-4.1-mini", judge="strong") as models:
            trace = await models.solve("What is 12 * 17?")
            print(trace.text, trace.answer)

    Args:
        weak, strong: names, `KIND/MODEL` or `KIND/MODEL@URL`; None: as the configuration says, without one the shipped
            models.
        judge: `strong` or `weak` (that model is asked), a judge's kind, or a model's name; None: as the configuration
            says, else what fits the models.
        config: a TOML file with everything else.

    Raises:
        ConfigError: a name, a key or a file is wrong, or the models don't work together.
    """
    path = None if config is None else Path(config)
    models = {"weak": weak, "strong": strong, "judge": judge}
    async with open_backends(load_config(path, models=models)) as backends:
        yield backends
