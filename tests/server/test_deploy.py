"""The files in deploy/ fit the code that they start."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from trim.config import load_config
from trim.errors import BackendTimeout
from trim.server.metrics import Metrics
from trim.types import Role

DEPLOY = Path(__file__).parents[2] / "deploy"
pytestmark = pytest.mark.skipif(not DEPLOY.is_dir(), reason="no deploy/ beside the tests")


def test_the_configuration_is_valid() -> None:
    config = load_config(DEPLOY / "trim.toml")
    compose = (DEPLOY / "compose.yaml").read_text()
    for role in ("weak", "strong", "prm"):
        settings = config.roles()[role]
        assert settings.base_url.startswith(f"http://{role}:8000")
        assert f"--served-model-name {settings.model} " in compose


def test_the_dashboard_shows_counters_that_there_are() -> None:
    metrics = Metrics()
    metrics.failed(Role.WEAK, BackendTimeout("weak model", "no answer"))
    known = {sample.name for family in metrics.registry.collect() for sample in family.samples}
    known |= {f"{family.name}{end}" for family in metrics.registry.collect() for end in ("", "_total", "_bucket")}
    dashboard = json.loads((DEPLOY / "grafana" / "dashboards" / "trim.json").read_text())
    wanted = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"trim_\w+", target["expr"])
    }
    assert len(wanted) > 10
    assert wanted <= known
