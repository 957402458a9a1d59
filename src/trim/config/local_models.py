"""GGUF files of a run, served in this process while its models are open."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from trim.backends import gguf, gguf_hub
from trim.config.judge_names import ASKING
from trim.config.specs import BackendSpec, GeneratorSpec, RunSpec
from trim.errors import ConfigError

KIND = "gguf"
Spec = TypeVar("Spec", bound=BackendSpec)


@asynccontextmanager
async def serving(run: RunSpec, *, judge_only: bool = False) -> AsyncIterator[None]:
    """Serve the GGUF files of a run while this is open, each once; those of the hub are downloaded first.

    Args:
        run: whose files.
        judge_only: serve what the judge reads, and nothing else.

    Raises:
        MissingExtra: llama.cpp is not installed.
        ConfigError: a file cannot be had or served.
    """
    models = [model for model in (run.weak, run.strong) if model.backend == KIND]
    shared = [model for model in models if reads(run) and model.model == run.judge.model]
    if judge_only:
        models = shared[:1]
    if models or reads(run):
        gguf.require_engine()
    wanted = []
    for model in models:
        path = await _fetched(model.model)
        wanted.append(gguf.Wanted(_roles(model, run), path, model.threads, model.slots, model.context))
    if reads(run) and not shared:
        wanted.append(gguf.Wanted("judge", await _fetched(run.judge.model)))
    async with gguf.serving(wanted):
        yield


def reads(run: RunSpec) -> bool:
    """Whether the judge asks a GGUF file, one of its own or that of the weak or the strong model."""
    files = {model.model for model in (run.weak, run.strong) if model.backend == KIND}
    judge = run.judge
    asks = judge.backend in ASKING and gguf_hub.is_gguf(judge.model)
    return not judge.base_url and (asks or judge.model in files)


def at_server(model: Spec) -> Spec:
    """The same model as one behind the server that serves its file.

    Raises:
        ConfigError: no server does.
    """
    path = gguf_hub.cached(model.model) if gguf_hub.is_hub_name(model.model) else _path(model.model)
    server = None if path is None else gguf.running(path)
    if path is None or server is None:
        raise ConfigError(f"{model.model} is not served: open it with trim.open_backends")
    return replace(model, model=path.stem, base_url=server.base_url, api_key=server.api_key)


def served_generator(model: GeneratorSpec) -> GeneratorSpec:
    """The same for a generator, with the file's own chat template unless another one is configured."""
    path = gguf_hub.cached(model.model) if gguf_hub.is_hub_name(model.model) else _path(model.model)
    return replace(at_server(model), backend="llama-server", template=model.template or str(path))


async def _fetched(model: str) -> Path:
    return await gguf_hub.fetch(model) if gguf_hub.is_hub_name(model) else _path(model)


def _path(model: str) -> Path:
    return Path(model).expanduser()


def _roles(model: GeneratorSpec, run: RunSpec) -> str:
    judges = reads(run) and model.model == run.judge.model
    return f"{model.role.value} and judge" if judges else model.role.value
