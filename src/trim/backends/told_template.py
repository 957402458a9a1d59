"""The chat template that a model's server tells, as it stands beside results so that a run can be repeated."""

from __future__ import annotations

from trim.backends.base import WrappedBackend
from trim.backends.openai import OpenAIGenerator
from trim.backends.replay_cache import RecordedGenerator
from trim.backends.server_facts import RenderedTemplate
from trim.protocols import StepGenerator
from trim.types import Question

TRIAL = Question("What is 1 + 1?")


async def told_template(model: StepGenerator) -> dict[str, str] | None:
    """Its origin in words and its `source`, or, where the server alone renders it, what `TRIAL` becomes; None: the
    server tells none, is not there, or the model has no server.
    """
    served = _served(model)
    if served is None or served.facts is None:
        return None
    await served.learn(TRIAL)
    template = served.facts.template
    if template is None:
        return None
    if isinstance(template, RenderedTemplate):
        return {"origin": template.origin, "rendered": template.head(TRIAL.text)}
    return {"origin": template.origin, "source": template.source}


def _served(model: StepGenerator) -> OpenAIGenerator | None:
    """The model behind a server that others wrap."""
    inner: object = model
    while not isinstance(inner, OpenAIGenerator):
        if isinstance(inner, RecordedGenerator):
            inner = inner.model
        elif isinstance(inner, WrappedBackend):
            inner = inner.wrapped
        else:
            return None
    return inner
