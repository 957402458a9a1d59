"""Processes that start in milliseconds: real ones, but forked from one that has imported everything."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any


def forked(target: Callable[..., object], *arguments: Any) -> BaseProcess:
    """Start a process that calls a function of a module's top level."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([f"{__package__}.preloaded"])
    process = context.Process(target=target, args=arguments)
    process.start()
    return process
