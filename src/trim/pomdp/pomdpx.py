"""Export to the .pomdpx format, which SARSOP (APPL) and other POMDP solvers read."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable

from trim.pomdp.model import PomdpModel
from trim.pomdp.observation import STATES
from trim.types import Action

_ACTIONS = (Action.CONTINUE, Action.REGENERATE)


def to_pomdpx(
    model: PomdpModel, price: float, belief: tuple[float, float, float] | None = None, *, discount: float = 0.999999
) -> str:
    """The text of a .pomdpx file: the problem from the first draft on, every draft of `step_tokens` tokens.

    Its optimal value is `solve(model, price).value(0, belief, model.step_tokens)`, up to the discount, which the format
    wants below 1.

    Args:
        model, price: as for `solve`.
        belief: about the first draft, its score seen; None: unseen, (p_w, 1 - p_w, 0).
        discount: per step.
    """
    hazard = model.hazard if model.hazard[-1] == 1.0 else (*model.hazard, 1.0)
    open_stages = [f"open_{t}" for t in range(len(hazard))]
    stages = [*open_stages, "final", "over"]
    scores = [f"o{i}" for i in range(model.observation.mass[0].size)]
    root = ET.Element("pomdpx", version="1.0", id="trim")
    ET.SubElement(root, "Discount").text = repr(discount)
    _variables(ET.SubElement(root, "Variable"), stages, scores)

    start = ET.SubElement(root, "InitialStateBelief")
    first = belief or (model.weak_accuracy, 1 - model.weak_accuracy, 0.0)
    _table(start, "stage_0", "null", [("-", [1.0] + [0.0] * (len(stages) - 1))])
    _table(start, "solution_0", "null", [("-", first)])

    moves = ET.SubElement(root, "StateTransitionFunction")
    follows = [(stage, "final", h) for stage, h in zip(open_stages, hazard, strict=True)]
    follows += [(open_stages[t], open_stages[t + 1], 1 - h) for t, h in enumerate(hazard[:-1])]
    follows += [("final", "over", 1.0), ("over", "over", 1.0)]
    _table(moves, "stage_1", "action stage_0", [(f"* {a} {b}", [p]) for a, b, p in follows])
    kept = {
        Action.CONTINUE: (1.0, 0.0, 0.0),
        Action.REGENERATE: (model.strong_accuracy_if_correct, model.strong_accuracy_if_wrong, 0.0),
    }
    drafts = [
        (f"{action} {stage} {state} -", (k * right, k * (1 - right), 1 - k))
        for action in _ACTIONS
        for stage, right in ((stage, model.draft_accuracy(final=stage == "final")) for stage in stages)
        for state, k in zip(STATES, kept[action], strict=True)
    ]
    _table(moves, "solution_1", "action stage_1 solution_0", drafts)

    seen = ET.SubElement(root, "ObsFunction")
    rows = [
        (f"* {state} -", table.ravel().tolist()) for state, table in zip(STATES, model.observation.mass, strict=True)
    ]
    _table(seen, "score", "action solution_1", rows)

    cost = price * model.step_tokens
    paid = [(f"{Action.REGENERATE} {stage} *", [-cost]) for stage in open_stages]
    earned = [
        (f"{action} final {state}", [k - (cost if action is Action.REGENERATE else 0.0)])
        for action in _ACTIONS
        for state, k in zip(STATES, kept[action], strict=True)
    ]
    reward = ET.SubElement(root, "RewardFunction")
    _table(reward, "reward", "action stage_0 solution_0", paid + earned, kind="Func")
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _variables(parent: ET.Element, stages: list[str], scores: list[str]) -> None:
    stage = ET.SubElement(parent, "StateVar", vnamePrev="stage_0", vnameCurr="stage_1", fullyObs="true")
    ET.SubElement(stage, "ValueEnum").text = " ".join(stages)
    solution = ET.SubElement(parent, "StateVar", vnamePrev="solution_0", vnameCurr="solution_1", fullyObs="false")
    ET.SubElement(solution, "ValueEnum").text = " ".join(STATES)
    ET.SubElement(ET.SubElement(parent, "ObsVar", vname="score"), "ValueEnum").text = " ".join(scores)
    ET.SubElement(ET.SubElement(parent, "ActionVar", vname="action"), "ValueEnum").text = " ".join(_ACTIONS)
    ET.SubElement(parent, "RewardVar", vname="reward")


def _table(
    parent: ET.Element, name: str, given: str, rows: Iterable[tuple[str, Iterable[float]]], *, kind: str = "CondProb"
) -> None:
    table = ET.SubElement(parent, kind)
    ET.SubElement(table, "Var").text = name
    ET.SubElement(table, "Parent").text = given
    parameter = ET.SubElement(table, "Parameter", type="TBL")
    for instance, numbers in rows:
        entry = ET.SubElement(parameter, "Entry")
        ET.SubElement(entry, "Instance").text = instance
        values = ET.SubElement(entry, "ValueTable" if kind == "Func" else "ProbTable")
        values.text = " ".join(repr(float(number)) for number in numbers)
