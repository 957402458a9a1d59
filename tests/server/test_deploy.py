"""The files in deploy/ match the code that they start."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
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
from trim.errors import BackendTimeout, ConfigError
from trim.server.app import PROBE_SECONDS, create_app
from trim.server.exposure import check_exposure
from trim.server.gateway import Gateway
from trim.server.prometheus import Metrics
from trim.types import Role

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PINNED = re.compile(r"[^@\s]+:[^@\s]+@sha256:[0-9a-f]{64}")
MEASURED = 1.8e9  # bytes of the gateway at most, see docs/how-to/deploy.md
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


def test_the_image_runs_as_nobody_in_particular_and_is_pinned() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    (image,) = [line.removeprefix("FROM ") for line in lines if line.startswith("FROM ")]
    assert PINNED.fullmatch(image)
    (user,) = [line.removeprefix("USER ") for line in lines if line.startswith("USER ")]
    assert int(user.split(":")[0]) == 1000  # as a number, which runAsNonRoot can check
    assert lines.index(f"USER {user}") < next(i for i, line in enumerate(lines) if line.startswith("ENTRYPOINT"))


def test_what_is_deployed_needs_keys(tmp_path: Path) -> None:
    text = (DEPLOY / "trim.toml").read_text()
    (tmp_path / "open.toml").write_text(re.sub(r"^keys = .*$", "", text, flags=re.MULTILINE))
    check_exposure(replace(load_config(DEPLOY / "trim.toml").serve, host="0.0.0.0"))
    with pytest.raises(ConfigError, match="is reached from other machines"):
        check_exposure(replace(load_config(tmp_path / "open.toml").serve, host="0.0.0.0"))


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
    (secret,) = gateway["secrets"]
    assert secret["target"] == serve.keys
    assert set(compose["secrets"]) == {secret["source"]}
    assert (gateway["read_only"], gateway["cap_drop"], gateway["tmpfs"]) == (True, ["ALL"], ["/tmp"])
    assert gateway["security_opt"] == ["no-new-privileges:true"]
    assert float(gateway["mem_limit"].removesuffix("g")) * 1e9 > MEASURED
    for name, service in services.items():
        assert "build" in service or PINNED.fullmatch(service["image"]), name
        if name not in config.roles():  # vLLM's image runs as root
            assert int(service["user"].split(":")[0]) > 0, name
            others = [port for port in service["ports"] if not port.startswith("127.0.0.1:")]
            assert others == ([] if name != "gateway" else gateway["ports"])
        else:
            assert "ports" not in service
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
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert volumes["keys"]["secret"]["secretName"] == "trim-keys"
    assert serve.keys == f"{mounts['keys']}/keys.toml"
    assert service["metadata"]["name"] in serve.allowed_hosts
    assert PINNED.fullmatch(container["image"])
    security, allowed = pod["spec"]["securityContext"], container["securityContext"]
    assert security["runAsNonRoot"] and security["runAsUser"] == 1000
    assert allowed["readOnlyRootFilesystem"] and not allowed["allowPrivilegeEscalation"]
    assert allowed["capabilities"] == {"drop": ["ALL"]}
    assert "emptyDir" in volumes["tmp"] and mounts["tmp"] == "/tmp"
    assert int(container["resources"]["limits"]["memory"].removesuffix("Gi")) * 2**30 > MEASURED
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
