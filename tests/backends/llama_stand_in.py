"""Stands in for the package `xllamacpp` where it is not installed: servers that hold parameters and serve nothing."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


class StandIn(ModuleType):
    """The module. `started` and `stopped`: the parameters of servers, in order; `refuses`: files that do not load."""

    def __init__(self) -> None:
        super().__init__("xllamacpp")
        self.started: list[Any] = []
        self.stopped: list[str] = []
        self.refuses: set[str] = set()
        module = self

        class CommonParams(SimpleNamespace):
            def __init__(self) -> None:
                super().__init__(
                    model=SimpleNamespace(), cpuparams=SimpleNamespace(), cpuparams_batch=SimpleNamespace()
                )

        class Server:
            _path = ""

            def __init__(self, parameters: Any) -> None:
                if parameters.model.path in module.refuses:
                    raise RuntimeError("failed to load model")
                module.started.append(parameters)
                self._path = parameters.model.path
                self.listening_address = f"http://127.0.0.1:{40_000 + len(module.started)}"

            def __del__(self) -> None:
                if self._path:  # it was started
                    module.stopped.append(self._path)

        self.CommonParams, self.Server = CommonParams, Server


def install(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Have it imported as `xllamacpp`."""
    module = StandIn()
    monkeypatch.setitem(sys.modules, "xllamacpp", module)
    return module
