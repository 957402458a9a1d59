"""The layers: which modules may import which, which packages stay in named files, and what is never built."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "trim"
FILES = sorted(SOURCE.rglob("*.py"))

# From the bottom up: each may import those on the lines above it. Those on one line don't import each other.
LAYERS = [
    ["text_search"],
    ["visible_text", "private_files", "redaction"],
    [
        "types",
        "addresses",
        "errors",
        "stats",
        "atomic",
        "answer_marks",
        "control_tokens",
        "file_locks",
        "jinja_sandbox",
        "json_files",
        "off_loop",
    ],
    ["seeding", "plugins", "model_files", "structures"],
    ["gguf_head"],
    ["protocols", "reasoning", "steps", "prompts", "pomdp", "trace_schema_1"],
    ["backends", "step_boundaries"],
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
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
CONFINED = {
    "onnxruntime": {"backends/onnx_engine.py"},
    "jinja2": {"reporting/report_page.py", "jinja_sandbox.py"},
    "matplotlib": {
        f"reporting/{name}.py"
        for name in ("breakdown_plots", "frontier_plot", "png", "pomdp_plots", "svg", "training_plots")
    },
    "math_verify": {"tasks/formulas.py", "tasks/grading.py"},
    "reasoning_gym": {"tasks/gsm_symbolic.py", "tasks/arithmetic_chain.py", "tasks/string_rewriting.py"},
    "opentelemetry": {"server/tracing.py"},
    "psycopg": {"server/postgres_database.py"},
    "prometheus_client": {"server/prometheus.py"},
    "pydantic": {
        "server/auth.py",
        "server/conversation.py",
        "server/request_parsing.py",
        "server/responses_request.py",
        "server/schemas.py",
        "config/loading.py",
        "config/settings.py",
        "config/validation.py",
        "config/value_types.py",
        "json_files.py",
        "traces.py",
    },
    "starlette": {
        f"server/{name}.py"
        for name in ("app", "connection_limits", "cross_origin", "endpoints", "http_1_0", "request_body", "run")
    },
    "uvicorn": {"server/connection_limits.py", "server/http_1_0.py", "server/run.py"},
    "ray": {"experiments/ray_cluster.py"},
    "torch": {"training/torch_networks.py", "training/ppo.py", "training/trackers.py"},
    "tensorboard": set(),  # through torch
    "wandb": {"training/trackers.py"},
    "mlflow": {"training/trackers.py"},
    "gymnasium": {"training/env.py"},
    "transformers": set(),
    "pickle": set(),
}


def module(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module(path): path for path in FILES}


def imports(path: Path) -> set[str]:
    """Everything that a file imports, at its top, in functions and for type checking alike."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: a relative import"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in MODULES else node.module for name in inner}
    return names


def layer(name: str) -> str:
    return name.split(".")[1] if "." in name else "__init__"


@pytest.mark.parametrize("name", MODULES)
def test_imports_run_downwards(name: str) -> None:
    here = layer(name)
    if here in ("__init__", "__main__"):
        return
    assert here in LEVEL, f"{here} is on no layer"
    for other in imports(MODULES[name]) & MODULES.keys():
        if (there := layer(other)) not in (here, "__init__"):
            assert LEVEL[there] < LEVEL[here], f"{name} imports {other}"


def test_no_module_is_part_of_an_import_cycle() -> None:
    graph = {name: (imports(path) & MODULES.keys()) - {name, "trim"} for name, path in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


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


def test_no_miscellaneous_modules() -> None:
    assert not [path for path in FILES if path.stem in ("utils", "util", "common", "helpers", "misc")]


def test_the_router_is_the_only_step_loop() -> None:
    """Only routing calls a generator's `steps`; others go through it, hand a call on (circuit breaker, allowance,
    replay), or try two steps (probe).
    """
    callers = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "steps":
                callers.add(str(path.relative_to(SOURCE)))
    allowed = {"server/allowance.py", "server/circuit_breaker.py", "backends/replay_cache.py", "backends/probe.py"}
    assert callers <= allowed | {"routing/step_reader.py", "testing.py", "experiments/metered_models.py"}


def test_the_version_is_in_the_changelog_or_unreleased() -> None:
    assert "[Unreleased]" in (ROOT / "CHANGELOG.md").read_text()
