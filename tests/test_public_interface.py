"""`trim.__all__` is the public interface: nothing missing, nothing surplus, and importing it stays light."""

from __future__ import annotations

import ast
import inspect
from importlib import import_module
from pathlib import Path

import pytest

import trim
from trim import errors, protocols, types

ROOT = Path(__file__).parent.parent
WHOLE_MODULES = (types, errors, protocols)
"""Everything public that these define is public."""

FURTHER = {
    "trim.backends.base": {"BaseBackend", "BaseGenerator", "step_stream"},
    "trim.policies.fixed": {"AlwaysStrong", "AlwaysWeak", "RandomSteps"},
    "trim.policies.threshold": {"Threshold"},
    "trim.routing.limits": {"Limits", "OnError"},
    "trim.routing.router": {"Router"},
    "trim.steps": {"Separator", "StepFormat"},
    "trim.config.factory": {"Backends", "open_backends"},
    "trim.config.loading": {"load_config"},
    "trim.config.opening": {"open"},
    "trim.config.settings": {"Config"},
    "trim.config.specs": {"GeneratorSpec", "JudgeSpec"},
    "trim.tasks": {"Task", "fixed_questions", "load_task"},
    "trim.traces": {"TraceWriter", "read_traces"},
}
"""What else is public, by the module that defines it."""


def defined(module: object) -> set[str]:
    name = getattr(module, "__name__", "")
    return {
        key
        for key, value in vars(module).items()
        if not key.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == name
    }


def test_nothing_is_missing_and_nothing_surplus() -> None:
    wanted = set().union(*map(defined, WHOLE_MODULES), *FURTHER.values()) | {"__version__"}
    assert set(trim.__all__) == wanted
    assert trim.__all__ == sorted(trim.__all__)
    assert len(trim.__all__) == len(set(trim.__all__))


def test_every_name_is_the_one_that_its_module_defines() -> None:
    for module, names in FURTHER.items():
        for name in names:
            assert getattr(trim, name).__module__ == module, name
    assert set(trim.__all__) <= set(dir(trim))


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(trim, "Rooter")


def test_examples_and_benchmarks_that_import_from_trim_use_public_names_only() -> None:
    for path in [*ROOT.glob("examples/*.py"), *ROOT.glob("benchmarks/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "trim":
                submodules = {p.stem for p in (ROOT / "src" / "trim").iterdir()}
                used = {alias.name for alias in node.names} - submodules
                assert used <= set(trim.__all__), f"{path}: {used - set(trim.__all__)}"


@pytest.mark.parametrize(
    ("package", "name", "module"),
    [
        ("trim.backends", "open_backends", "trim.config.factory"),
        ("trim.config", "load_config", "trim.config.loading"),
        ("trim.config", "ModelSettings", "trim.config.settings"),
    ],
)
def test_a_name_that_has_moved_says_where_it_is(package: str, name: str, module: str) -> None:
    with pytest.raises(ImportError, match=f"from {module} import {name}"):
        getattr(import_module(package), name)
    assert hasattr(import_module(module), name)
    with pytest.raises(AttributeError, match="'nothing'"):
        getattr(import_module(package), "nothing")  # noqa: B009  # the name must not be known to mypy
