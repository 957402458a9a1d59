"""A run over two Ray workers is the run on this machine, also when one of them is killed midway."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from trim.errors import MissingExtra
from trim.experiments.ray_cluster import Cluster


@pytest.mark.skipif(find_spec("ray") is None, reason="needs the ray extra")
def test_two_workers_and_a_killed_one_give_the_same_results(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.experiments.cluster_run", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {"solutions": 240, "cluster": True, "killed": True, "refused": "cannot solve q7"}


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"trim-router\[ray\]"):
        Cluster(None, workers=1)  # type: ignore[arg-type]
