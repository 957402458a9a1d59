"""How many traces a fit of the POMDP needs: estimates and decisions with 200, 500 and 2,000 of them.

    python -m benchmarks.fit_size                        on simulated models; a minute
    python -m benchmarks.fit_size RUN [RUN ...]          on folders of trim eval, of one task with step labels:
        trim eval --task gsm_symbolic --policies random --parameters random=0.5 --score --questions 2500 --out RUN

The first 2,000 traces are fitted whole and in disjoint parts; the traces after them are held out (at least 100). For
each size: the estimates of the first part with their intervals; how far from the whole's the parts' p_w, p_s and q_R
lie (root mean square); on held-out drafts the mean log P(state | scores) of the filter in nats, and the share of drafts
on which a part decides as the whole does, at a price where a step costs 0.05 correct answers (mean, and worst part).
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from trim.experiments.run import Settings
from trim.policies import RandomSteps
from trim.policies.pomdp import PomdpPolicy
from trim.pomdp.fit.estimation import PomdpFit, fit
from trim.pomdp.fit.labels import LabelledDraft, Labeller, label_by_rule, labelled_drafts
from trim.routing.router import Router
from trim.simulation import SimulatedModel, SimulatedPrm, is_right
from trim.steps import StepFormat
from trim.tasks import load_task
from trim.traces import read_traces
from trim.types import Action, Question, Role, Trace

SIZES = (200, 500, 2_000)
HELD_OUT = 500
STEP_COST = 0.05
ENDS = StepFormat().has_answer


def drafts(trace: Trace, label: Labeller) -> Iterator[LabelledDraft]:
    """The drafts of a trace that was recorded with scores; the first of each position."""
    labels = label(trace)
    assert labels is not None
    return labelled_drafts(trace, labels, ENDS)


def simulated() -> list[Trace]:
    """Random steps of a simulated pair."""
    weak, strong = SimulatedModel(Role.WEAK, 0.85), SimulatedModel(Role.STRONG, 0.97)
    router = Router(weak, strong, SimulatedPrm(0.9), RandomSteps(0.5, uses_scores=True))

    async def traces() -> list[Trace]:
        return [await router.route(Question(f"question {n}")) for n in range(max(SIZES) + HELD_OUT)]

    return asyncio.run(traces())


def regenerated(policy: PomdpPolicy, seen: Sequence[LabelledDraft]) -> np.ndarray:
    """Whether the policy regenerates each draft."""
    return np.array([policy.act(draft.observation) is not Action.CONTINUE for draft in seen])


def figures(fitted: PomdpFit) -> dict[str, list[float]]:
    """Value, low and high."""
    names = ("weak_accuracy", "strong_accuracy", "strong_accuracy_if_correct", "strong_accuracy_if_wrong")
    found = {name: getattr(fitted, name) for name in names}
    return {name: [round(v, 3) for v in (e.value, e.low, e.high)] for name, e in found.items() if e is not None}


def study(name: str, traces: list[Trace], label: Labeller) -> None:
    """Print a line for each size."""
    whole = traces[: max(SIZES)]
    held_out = [seen for trace in traces[max(SIZES) : max(SIZES) + HELD_OUT] for seen in drafts(trace, label)]
    reference = fit(whole, label, ENDS)
    price = STEP_COST / reference.model.step_tokens
    wanted = regenerated(PomdpPolicy(reference.model, price), held_out)
    print(json.dumps({"world": name, "held_out_drafts": len(held_out), "regenerated": round(float(wanted.mean()), 3)}))
    for size in SIZES:
        parts = [fit(whole[n : n + size], label, ENDS) for n in range(0, len(whole) - size + 1, size)]
        policies = [PomdpPolicy(part.model, price) for part in parts]
        agreement = [float((regenerated(policy, held_out) == wanted).mean()) for policy in policies]
        logs = [np.log([policy.believe(d.observation)[d.state] for d in held_out]).mean() for policy in policies]
        off = {
            key: round(
                float(np.sqrt(np.mean([(figures(p)[key][0] - figures(reference)[key][0]) ** 2 for p in parts]))), 3
            )
            for key in ("weak_accuracy", "strong_accuracy", "strong_accuracy_if_wrong")
        }
        row = {"traces": size, "parts": len(parts), **figures(parts[0]), "off": off}
        row |= {"log_state": [round(float(f(logs)), 3) for f in (np.mean, np.min)]}
        print(json.dumps(row | {"same_decisions": [round(f(agreement), 3) for f in (np.mean, min)]}))


def main() -> None:
    """Simulated models, or the runs that are named."""
    folders = [Path(name) for name in sys.argv[1:]]
    if not folders:
        study(
            "simulated",
            simulated(),
            label_by_rule(lambda q, s: tuple(is_right(tuple(s[: n + 1])) for n in range(len(s)))),
        )
        return
    settings = [Settings.read(folder) for folder in folders]
    task = load_task(settings[0].task)
    assert task.step_labels is not None, f"{task.name} has no step labels"
    found = [trace for folder in folders for trace in read_traces(folder / "traces.jsonl")]
    assert len(found) >= max(SIZES) + 100, f"{len(found)} traces: at least {max(SIZES) + 100} are needed"
    study(task.name, found, label_by_rule(task.step_labels))


if __name__ == "__main__":
    main()
