"""Cores and memory under the limits of control groups, read from files as Linux writes them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trim.backends.machine import Machine, this_machine

GIB = 1 << 30
MEMINFO = (
    "MemTotal:       16777216 kB\nMemFree:         1048576 kB\nMemAvailable:    8388608 kB\nHugePages_Total:   0\n"
)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 16 GiB, half of it free, and 4 cores of 2 threads."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    for processor in range(8):
        write(
            tmp_path,
            f"sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list",
            f"{processor % 4},{processor % 4 + 4}\n",
        )
    write(tmp_path, "proc/meminfo", MEMINFO)
    return tmp_path


def write(root: Path, name: str, text: str) -> None:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_two_threads_of_a_core_count_once(root: Path) -> None:
    assert this_machine(root) == Machine(4, 16 * GIB, 8 * GIB)


def test_processors_that_the_process_may_not_use_do_not_count(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 5})
    assert this_machine(root).cores == 2


def test_without_topology_processors_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    write(tmp_path, "proc/meminfo", MEMINFO)
    assert this_machine(tmp_path).cores == 3


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "max 100000\n"}, 4),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
    ],
)
def test_a_control_group_limits_cores(root: Path, files: dict[str, str], cores: int) -> None:
    for name, text in files.items():
        write(root, f"sys/fs/cgroup/{name}", text)
    assert this_machine(root).cores == cores


@pytest.mark.parametrize(
    ("files", "memory", "free"),
    [
        ({"memory.max": "max\n"}, 16, 8),
        ({"memory.max": f"{4 * GIB}\n", "memory.current": f"{GIB}\n"}, 4, 3),
        ({"memory.max": f"{12 * GIB}\n", "memory.current": f"{GIB}\n"}, 12, 8),  # the machine itself has no more
        (
            {
                "memory.max": f"{4 * GIB}\n",
                "memory.current": f"{3 * GIB}\n",
                "memory.stat": f"anon 1\ninactive_file {GIB}\n",
            },
            4,
            2,
        ),
        ({"memory/memory.limit_in_bytes": f"{2 * GIB}\n", "memory/memory.usage_in_bytes": f"{GIB}\n"}, 2, 1),
        ({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, 16, 8),
    ],
)
def test_a_control_group_limits_memory(root: Path, files: dict[str, str], memory: int, free: int) -> None:
    for name, text in files.items():
        write(root, f"sys/fs/cgroup/{name}", text)
    found = this_machine(root)
    assert (found.memory, found.free) == (memory * GIB, free * GIB)


def test_this_very_machine() -> None:
    found = this_machine()
    assert 1 <= found.cores <= (os.cpu_count() or 1)
    assert 0 < found.free <= found.memory
