"""GGUF files in this process: llama.cpp's own server from the `xllamacpp` wheel, on a free port of this machine.

The server lives in threads of this process and ends with it. Requests go through the same client as to any other
llama-server, so streaming, counts and log-probabilities are the same.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

from trim.errors import ConfigError, MissingExtra

_MAGIC = b"GGUF"


class LlamaServer:
    """llama.cpp's server for one GGUF file, loaded and listening when this returns.

    Args:
        path: the GGUF file.
        context: tokens that one request can read and write.
        slots: requests that are served at the same time; each has `context` tokens of its own.
        threads: that compute; None: half of the processors that this process may use, since a weak and a strong model
            work at the same time, and threads that wait for each other spin.

    `base_url` ends in `/v1`. `api_key` is made anew for each server, so that nobody else on the machine can use it.

    Raises:
        MissingExtra: xllamacpp is not installed.
        ConfigError: the file is not there, is no GGUF file, or llama.cpp cannot load it.
    """

    def __init__(self, path: Path, *, context: int = 4096, slots: int = 4, threads: int | None = None) -> None:
        try:
            import xllamacpp
        except ImportError:
            raise MissingExtra("xllamacpp", "local") from None
        _check(path)
        self.path = path
        self.context = context
        self.slots = slots
        self.threads = threads or default_threads()
        self.api_key = secrets.token_hex(16)
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(path)
        parameters.hostnames = ["127.0.0.1"]
        parameters.port = 0
        parameters.api_keys = [self.api_key]
        parameters.n_ctx = context * slots
        parameters.n_parallel = slots
        parameters.cpuparams.n_threads = self.threads
        parameters.cpuparams_batch.n_threads = self.threads
        parameters.endpoint_metrics = True
        parameters.ui = False
        parameters.verbosity = 0
        try:
            self._server: Any = xllamacpp.Server(parameters)
        except RuntimeError as error:
            raise ConfigError(f"{path}: llama.cpp cannot load it: {error}") from None
        self.base_url = f"{self._server.listening_address}/v1"

    def close(self) -> None:
        """Stop serving and free the model's memory."""
        self._server = None


def default_threads(models: int = 2) -> int:
    """Computing threads for each of so many models on this machine."""
    return max(1, len(os.sched_getaffinity(0)) // models)


def _check(path: Path) -> None:
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; give the path of a GGUF file")
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise ConfigError(f"{path} is not a GGUF file")
