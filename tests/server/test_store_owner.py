"""Who uses a state file, and who does no more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from trim.server.store_owner import StoreOwner


def test_an_owner_has_not_ended_until_it_has(tmp_path: Path) -> None:
    path = str(tmp_path / "state.db")
    one, other = StoreOwner(path), StoreOwner(path)
    assert not one.has_ended(other.name)
    other.close()
    assert one.has_ended(other.name)
    one.close()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_has_ended(tmp_path: Path) -> None:
    path = str(tmp_path / "state.db")
    code = (
        "import os, sys; from trim.server.store_owner import StoreOwner; "
        "print(StoreOwner(sys.argv[1]).name, flush=True); os.kill(os.getpid(), 9)"
    )
    name = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=False
    ).stdout.strip()
    owner = StoreOwner(path)
    assert name
    assert owner.has_ended(name)
    owner.remove(name)
    owner.close()
    assert list(tmp_path.iterdir()) == []


def test_a_store_in_memory_has_no_file(tmp_path: Path) -> None:
    StoreOwner("").close()
    assert list(tmp_path.iterdir()) == []
