"""A short chaos run: a real gateway process under a few attacks. `python -m benchmarks.chaos` is the long one."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from benchmarks.chaos.attacks import all_attacks
from benchmarks.chaos.run import run

SHORT = ("header floods", "endless answers", "redirects")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, and addresses of loopback beside 127.0.0.1")
def test_attacks_break_neither_health_nor_books(tmp_path: Path) -> None:
    attacks = [all_attacks()[name]() for name in SHORT]
    report = asyncio.run(run(attacks, 2.0, tmp_path))
    assert not [phase.name for phase in report.phases if phase.health_failed]
    assert not report.faults  # of charges, of memory and log, of tasks, threads and sockets that are left
    assert not [fault for phase in report.phases for fault in phase.faults if fault.startswith(SHORT)]
    assert sum(phase.answered for phase in report.phases)
