"""TRIM: step-level routing between a weak and a strong language model, guided by a process reward model.

`import trim` is light: models, plots and graders are imported where they are used.
"""

from trim.errors import TrimError
from trim.policies import AlwaysStrong, AlwaysWeak, RandomSteps, Threshold
from trim.routing.limits import Limits, OnError
from trim.routing.router import Router
from trim.steps import Separator, StepFormat
from trim.types import (
    Action,
    Budget,
    Decision,
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
)

__version__ = "0.1.0"

__all__ = [
    "Action",
    "AlwaysStrong",
    "AlwaysWeak",
    "Budget",
    "Decision",
    "Limits",
    "Observation",
    "OnError",
    "Price",
    "Prices",
    "Question",
    "RandomSteps",
    "Role",
    "Router",
    "Sampling",
    "Scores",
    "Separator",
    "Step",
    "StepFormat",
    "StepOptions",
    "StopReason",
    "Threshold",
    "Trace",
    "TrimError",
    "__version__",
]
