"""What this machine gives to a process: processor cores and memory, under the limits of affinity and control groups."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_UNLIMITED = 1 << 60  # what version 1 of control groups calls no limit is somewhat more


@dataclass(frozen=True)
class Machine:
    """A machine as a process sees it.

    Args:
        cores: that can compute at the same time; two threads of one core count once.
        memory: bytes, those in use included.
        free: bytes that can still be had without swapping.
    """

    cores: int
    memory: int
    free: int


def this_machine(root: Path = Path("/")) -> Machine:
    """What this process may use.

    Args:
        root: where `proc` and `sys` are.
    """
    memory, free = _memory(root / "proc/meminfo")
    limit, used = _memory_limit(root)
    if limit is not None and limit < memory:
        memory, free = limit, min(free, max(limit - used, 0))
    return Machine(max(1, min(_cores(root), _quota(root))), memory, free)


def _cores(root: Path) -> int:
    """Cores among the processors that this process may run on; where the system does not tell, its processors."""
    if not hasattr(os, "sched_getaffinity"):  # macOS, Windows
        return os.cpu_count() or 1
    allowed = os.sched_getaffinity(0)
    siblings = set()
    for processor in allowed:
        text = _text(root / f"sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list")
        siblings.add(text or str(processor))
    return len(siblings)


def _quota(root: Path) -> int:
    """Processors that a control group lets all its processes use together, rounded up."""
    quota, period = 0, 0
    if match := re.fullmatch(r"(\d+) (\d+)", _text(root / "sys/fs/cgroup/cpu.max")):
        quota, period = int(match[1]), int(match[2])
    elif (old := root / "sys/fs/cgroup/cpu").is_dir():
        quota, period = _number(old / "cpu.cfs_quota_us") or 0, _number(old / "cpu.cfs_period_us") or 0
    return -(-quota // period) if quota > 0 and period > 0 else 1 << 30


def _memory(file: Path) -> tuple[int, int]:
    """All memory, and what can still be had of it; where the system does not tell the latter, three quarters."""
    found = {name: int(size) * 1024 for name, size in re.findall(r"^(\w+): +(\d+) kB$", _text(file), re.MULTILINE)}
    if "MemTotal" in found:
        return found["MemTotal"], found.get("MemAvailable", found["MemTotal"] * 3 // 4)
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return memory, memory * 3 // 4
    return _UNLIMITED, _UNLIMITED  # llama.cpp says what it cannot have


def _memory_limit(root: Path) -> tuple[int | None, int]:
    """A control group's limit, and what it uses of it besides files that can be read again."""
    for limit, used, reclaimable in (
        ("memory.max", "memory.current", "memory.stat"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
    ):
        group = root / "sys/fs/cgroup"
        most = _number(group / limit)
        if most is not None and most < _UNLIMITED:
            files = re.search(r"^(?:total_)?inactive_file (\d+)$", _text(group / reclaimable), re.MULTILINE)
            return most, max((_number(group / used) or 0) - (int(files[1]) if files else 0), 0)
    return None, 0


def _number(file: Path) -> int | None:
    text = _text(file)
    return int(text) if text.isdigit() else None


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, ValueError):
        return ""
