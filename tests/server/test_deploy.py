"""The files in deploy/ match the code that they start."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.routing import Route

from tests.server.gateway import simulated
from trim.cli.main import main, parser
from trim.config.loading import load_config
from trim.config.settings import ServeSettings
from trim.errors import BackendTimeout
from trim.server.app import PROBE_SECONDS, create_app
from trim.server.gateway import Gateway
from trim.server.prometheus import Metrics
from trim.types import Role

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
pytestmark = pytest.mark.skipif(not DEPLOY.is_dir(), reason="no deploy/ beside the tests")


def _yaml(name: str) -> list[Any]:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def _served(arguments: list[str], mounts: dict[str, Path]) -> ServeSettings:
    """The settings that the image's entry point makes of these arguments; paths are looked up in what is mounted."""
    (entry,) = re.findall(r"^ENTRYPOINT (.+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    program, *fixed = json.loads(entry)
    assert program == "trim"
    args = parser().parse_args([*fixed, *arguments])
    assert args.host == "0.0.0.0"
    return load_config(mounts[str(args.config)]).serve


def _paths() -> set[str]:
    return {
        route.path for route in create_app(lambda: nullcontext(Gateway(simulated()))).routes if isinstance(route, Route)
    }


def test_the_configuration_is_valid(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check", str(DEPLOY / "trim.toml")]) == 0, capsys.readouterr().err


def test_compose_starts_what_the_configuration_names() -> None:
    (compose,) = _yaml("compose.yaml")
    services, config = compose["services"], load_config(DEPLOY / "trim.toml")
    for role, settings in config.roles().items():
        address = urlsplit(settings.base_url)
        assert (address.hostname, address.port) == (role, 8000)  # vLLM's own port
        flags = shlex.split(services[role]["command"])
        assert flags[flags.index("--served-model-name") + 1] == settings.model
        if "--pooler-config" in flags:
            assert set(json.loads(flags[flags.index("--pooler-config") + 1])) == {"step_tag_id", "returned_token_ids"}
        assert services[role]["healthcheck"]["test"][-1].startswith(f"http://localhost:{address.port}/")
    shares = [
        float(re.findall(r"--gpu-memory-utilization (\S+)", services[role]["command"])[0]) for role in config.roles()
    ]
    assert sum(shares) < 1

    gateway = services["gateway"]
    mounts = dict(reversed(volume.split(":")[:2]) for volume in gateway["volumes"])
    files = {there: DEPLOY / here for there, here in mounts.items() if here.startswith("./")}
    serve = _served(shlex.split(gateway["command"]), files)
    assert gateway["ports"] == [f"8080:{serve.port}"]
    assert int(gateway["stop_grace_period"].removesuffix("s")) > serve.grace
    assert urlsplit(re.findall(r"http://[^']+", gateway["healthcheck"]["test"][-1])[0]).path in _paths()
    assert set(gateway["depends_on"]) == set(config.roles())
    for path in (serve.state, serve.record):
        assert any(path.startswith(f"{there}/") for there, here in mounts.items() if here in compose["volumes"])
    assert (ROOT / "deploy" / gateway["build"]["context"] / gateway["build"]["dockerfile"]).is_file()

    for name in ("prometheus", "grafana"):
        for volume in services[name]["volumes"]:
            assert (DEPLOY / volume.split(":")[0]).exists()
    (prometheus,) = _yaml("prometheus/prometheus.yml")
    assert prometheus["scrape_configs"][0]["static_configs"][0]["targets"] == [f"gateway:{serve.port}"]
    (source,) = _yaml("grafana/provisioning/datasources/prometheus.yml")
    assert source["datasources"][0]["url"] == "http://prometheus:9090"
    (boards,) = _yaml("grafana/provisioning/dashboards/trim.yml")
    assert any(v.split(":")[1] == boards["providers"][0]["options"]["path"] for v in services["grafana"]["volumes"])


def test_kubernetes_starts_what_there_is() -> None:
    gateway, service = _yaml("kubernetes.yaml")
    pod = gateway["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    kept = [claim["metadata"]["name"] for claim in gateway["spec"]["volumeClaimTemplates"]]
    assert set(mounts) == {*kept, *(volume["name"] for volume in pod["spec"]["volumes"])}
    serve = _served(container["args"], {f"{mounts['config']}/trim.toml": DEPLOY / "trim.toml"})
    for path in (serve.state, serve.record):
        assert any(path.startswith(f"{mounts[name]}/") for name in kept)
    assert gateway["spec"]["serviceName"] == service["metadata"]["name"]
    (port,) = container["ports"]
    assert port["containerPort"] == serve.port == int(pod["metadata"]["annotations"]["prometheus.io/port"])
    for probe in ("livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["path"] in _paths()
        assert container[probe]["httpGet"]["port"] == port["name"]
    assert container["readinessProbe"]["timeoutSeconds"] > PROBE_SECONDS
    assert pod["spec"]["terminationGracePeriodSeconds"] > serve.grace
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]
    labels = pod["metadata"]["labels"]
    assert service["spec"]["selector"] == gateway["spec"]["selector"]["matchLabels"] == labels


@pytest.mark.skipif(
    find_spec("ray") is None or find_spec("fastapi") is None, reason="needs ray[serve], which is not installed"
)
def test_ray_serve_serves_the_gateway() -> None:
    command = [sys.executable, "-m", "tests.server.ray_run"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {"health": 200, "answer": "always-weak", "stream": True, "refused": 400, "left": True}


def test_the_dashboard_shows_existing_metrics() -> None:
    metrics = Metrics()
    metrics.call_failed(Role.WEAK, BackendTimeout("weak model", "no answer"))
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
