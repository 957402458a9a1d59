"""TRIM: routing single reasoning steps between a weak and a strong language model.

    import trim

    async def solve(text: str) -> trim.Trace:
        async with trim.open() as models:  # the shipped ones; or weak="ollama/...", strong="openai/...", config=...
            return await models.solve(text, trim.Threshold(0.5))

`__all__` is the public interface. Everything else may change between versions. `import trim` imports nothing: each name
is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trim.backends.base import BaseBackend, BaseGenerator, step_stream
    from trim.config.factory import Backends, open_backends
    from trim.config.loading import load_config
    from trim.config.opening import open
    from trim.config.settings import Config
    from trim.config.specs import GeneratorSpec, JudgeSpec
    from trim.errors import (
        BackendError,
        BackendRefused,
        BackendTimeout,
        BackendUnavailable,
        BadResponse,
        ConfigError,
        ContentFiltered,
        InputTooLong,
        MissingExtra,
        OutputTooLong,
        PluginError,
        QuotaExhausted,
        RateLimited,
        SpendReached,
        TaskError,
        TraceError,
        TrimError,
    )
    from trim.policies import AlwaysStrong, AlwaysWeak, RandomSteps, Threshold
    from trim.protocols import (
        Backend,
        Judge,
        LateCounts,
        Policy,
        Probe,
        Solver,
        StepGenerator,
        StepJudge,
        StepStream,
        Tunable,
    )
    from trim.routing.limits import Limits, OnError
    from trim.routing.router import Router
    from trim.steps import Separator, StepFormat
    from trim.tasks import Task, fixed_questions, load_task
    from trim.traces import TraceWriter, read_traces
    from trim.types import (
        Action,
        Budget,
        Decision,
        Draft,
        Fallback,
        Finish,
        Message,
        Observation,
        Price,
        Prices,
        Question,
        Role,
        Sampling,
        Scores,
        Step,
        StepOptions,
        StopReason,
        Trace,
        Usage,
    )

__version__ = "0.1.0"

_HOMES = {
    "Action": "trim.types",
    "AlwaysStrong": "trim.policies",
    "AlwaysWeak": "trim.policies",
    "Backend": "trim.protocols",
    "BackendError": "trim.errors",
    "BackendRefused": "trim.errors",
    "BackendTimeout": "trim.errors",
    "BackendUnavailable": "trim.errors",
    "Backends": "trim.config.factory",
    "BadResponse": "trim.errors",
    "BaseBackend": "trim.backends.base",
    "BaseGenerator": "trim.backends.base",
    "Budget": "trim.types",
    "Config": "trim.config.settings",
    "ConfigError": "trim.errors",
    "Decision": "trim.types",
    "Draft": "trim.types",
    "Fallback": "trim.types",
    "Finish": "trim.types",
    "GeneratorSpec": "trim.config.specs",
    "InputTooLong": "trim.errors",
    "RateLimited": "trim.errors",
    "QuotaExhausted": "trim.errors",
    "OutputTooLong": "trim.errors",
    "ContentFiltered": "trim.errors",
    "Judge": "trim.protocols",
    "JudgeSpec": "trim.config.specs",
    "Limits": "trim.routing.limits",
    "Message": "trim.types",
    "MissingExtra": "trim.errors",
    "Observation": "trim.types",
    "OnError": "trim.routing.limits",
    "LateCounts": "trim.protocols",
    "PluginError": "trim.errors",
    "Policy": "trim.protocols",
    "Price": "trim.types",
    "Prices": "trim.types",
    "Probe": "trim.protocols",
    "Question": "trim.types",
    "RandomSteps": "trim.policies",
    "Role": "trim.types",
    "Router": "trim.routing.router",
    "Sampling": "trim.types",
    "Scores": "trim.types",
    "Separator": "trim.steps",
    "Solver": "trim.protocols",
    "SpendReached": "trim.errors",
    "Step": "trim.types",
    "StepFormat": "trim.steps",
    "StepGenerator": "trim.protocols",
    "StepJudge": "trim.protocols",
    "StepOptions": "trim.types",
    "StepStream": "trim.protocols",
    "StopReason": "trim.types",
    "Task": "trim.tasks",
    "TaskError": "trim.errors",
    "Threshold": "trim.policies",
    "Trace": "trim.types",
    "TraceError": "trim.errors",
    "TraceWriter": "trim.traces",
    "TrimError": "trim.errors",
    "Tunable": "trim.protocols",
    "Usage": "trim.types",
    "fixed_questions": "trim.tasks",
    "load_config": "trim.config.loading",
    "load_task": "trim.tasks",
    "open": "trim.config.opening",
    "open_backends": "trim.config.factory",
    "read_traces": "trim.traces",
    "step_stream": "trim.backends.base",
}
"""The modules that define the public names, which are imported when they are first asked for."""

__all__ = [
    "Action",
    "AlwaysStrong",
    "AlwaysWeak",
    "Backend",
    "BackendError",
    "BackendRefused",
    "BackendTimeout",
    "BackendUnavailable",
    "Backends",
    "BadResponse",
    "BaseBackend",
    "BaseGenerator",
    "Budget",
    "Config",
    "ConfigError",
    "ContentFiltered",
    "Decision",
    "Draft",
    "Fallback",
    "Finish",
    "GeneratorSpec",
    "InputTooLong",
    "Judge",
    "JudgeSpec",
    "LateCounts",
    "Limits",
    "Message",
    "MissingExtra",
    "Observation",
    "OnError",
    "OutputTooLong",
    "PluginError",
    "Policy",
    "Price",
    "Prices",
    "Probe",
    "Question",
    "QuotaExhausted",
    "RandomSteps",
    "RateLimited",
    "Role",
    "Router",
    "Sampling",
    "Scores",
    "Separator",
    "Solver",
    "SpendReached",
    "Step",
    "StepFormat",
    "StepGenerator",
    "StepJudge",
    "StepOptions",
    "StepStream",
    "StopReason",
    "Task",
    "TaskError",
    "Threshold",
    "Trace",
    "TraceError",
    "TraceWriter",
    "TrimError",
    "Tunable",
    "Usage",
    "__version__",
    "fixed_questions",
    "load_config",
    "load_task",
    "open",
    "open_backends",
    "read_traces",
    "step_stream",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'trim' has no attribute {name!r}")
    found: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
