"""The house rules: who may import whom, and what is never built."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import trim

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "trim"
FILES = sorted(SOURCE.rglob("*.py"))

# Packages and modules in the order in which they may import each other; those on one line don't.
ORDER = [
    ["types", "errors", "stats", "atomic"],
    ["seeding", "plugins"],
    ["protocols", "steps", "prompts", "pomdp", "trace_schema_1"],
    ["backends"],
    ["traces", "simulation"],
    ["routing", "testing"],
    ["policies", "tasks"],
    ["scoring"],
    ["baselines"],
    ["metrics", "training"],
    ["config"],
    ["experiments"],
    ["reporting"],
    ["server"],
    ["cli"],
]
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
CONFINED = {
    "onnxruntime": {"backends/onnx_engine.py"},
    "matplotlib": {
        f"reporting/{name}.py" for name in ("breakdown_plots", "frontier_plot", "png", "pomdp_plots", "training_plots")
    },
    "math_verify": {"tasks/grading.py"},
    "reasoning_gym": {"tasks/gsm_symbolic.py", "tasks/arithmetic_chain.py", "tasks/string_rewriting.py"},
    "opentelemetry": {"server/tracing.py"},
    "prometheus_client": {"server/prometheus.py"},
    "pydantic": {
        "server/request_parsing.py",
        "server/schemas.py",
        "config/loading.py",
        "config/settings.py",
        "config/validation.py",
        "traces.py",
    },
    "starlette": {"server/app.py", "server/endpoints.py", "server/run.py"},
    "uvicorn": {"server/run.py"},
    "ray": {"experiments/ray_cluster.py"},
    "torch": {"training/torch_networks.py", "training/ppo.py", "training/trackers.py"},
    "tensorboard": set(),  # through torch
    "wandb": {"training/trackers.py"},
    "mlflow": {"training/trackers.py"},
    "gymnasium": {"training/env.py"},
    "transformers": set(),
    "pickle": set(),
}


def imports(path: Path) -> list[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_run_one_way(path: Path) -> None:
    here = room(path)
    if here in ("__init__", "__main__"):
        return
    assert here in LEVEL, f"{here} has no place in the order of rooms"
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "trim" and len(parts) > 1 and parts[1] in LEVEL and parts[1] != here:
            assert LEVEL[parts[1]] < LEVEL[here], f"{here} imports {parts[1]}"


@pytest.mark.parametrize("package", CONFINED)
def test_heavy_packages_are_confined(package: str) -> None:
    users = {str(path.relative_to(SOURCE)) for path in FILES if any(n.split(".")[0] == package for n in imports(path))}
    assert users <= CONFINED[package]


@pytest.mark.parametrize(
    "command", ["import trim", "from trim.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass"]
)
def test_starting_is_light(command: str) -> None:
    heavy = {*CONFINED, "openai", "httpx", "numpy", "rich", "tokenizers"} - {"pickle"}
    code = f"import sys\n{command}\nprint('loaded:', *sorted(set(sys.modules) & {heavy!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded:"


def test_public_names_exist() -> None:
    assert sorted(trim.__all__) == trim.__all__
    assert all(hasattr(trim, name) for name in trim.__all__)


def test_no_rooms_for_odds_and_ends() -> None:
    assert not [path for path in FILES if path.stem in ("utils", "util", "common", "helpers", "misc")]


def test_the_router_is_the_only_step_loop() -> None:
    """Only routing calls a generator's `steps`; others go through it, or hand a call on (circuit breaker, replay)."""
    callers = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "steps":
                callers.add(str(path.relative_to(SOURCE)))
    assert callers <= {"routing/step_reader.py", "testing.py", "server/circuit_breaker.py", "backends/replay_cache.py"}


def test_the_version_is_in_the_changelog_or_unreleased() -> None:
    assert "[Unreleased]" in (ROOT / "CHANGELOG.md").read_text()
