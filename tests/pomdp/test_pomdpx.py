"""The exported instance, read back and solved by another method, has the same value."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from tests.pomdp.instances import small
from trim.pomdp import solve, to_pomdpx


class Instance:
    """A .pomdpx file as tables: joint states are (stage, solution)."""

    def __init__(self, text: str) -> None:
        self.root = ET.fromstring(text)
        self.values = {
            name: (variable.findtext("ValueEnum") or "").split()
            for variable in self.root.iterfind("Variable/*")
            for name in (variable.get("vname"), variable.get("vnamePrev"), variable.get("vnameCurr"))
            if name
        }
        self.discount = float(self.root.findtext("Discount") or "nan")

    def table(self, section: str, name: str) -> np.ndarray:
        """P(name | parents) or the reward, axes parents then name; '-' and '*' as the format defines them."""
        for table in self.root.iterfind(f"{section}/*"):
            if table.findtext("Var") == name:
                break
        else:
            raise AssertionError(name)
        parents = [p for p in (table.findtext("Parent") or "").split() if p != "null"]
        axes = parents if section == "RewardFunction" else [*parents, name]
        out = np.zeros([len(self.values[axis]) for axis in axes])
        for entry in table.iter("Entry"):
            instance = (entry.findtext("Instance") or "").split()
            numbers = [float(x) for x in (entry.findtext("ProbTable") or entry.findtext("ValueTable") or "").split()]
            spread = [axis for axis, word in zip(axes, instance, strict=True) if word == "-"]
            for combination in product(*(range(n) for n in out.shape)):
                words = [self.values[axis][i] for axis, i in zip(axes, combination, strict=True)]
                if all(word in ("-", "*", mine) for word, mine in zip(instance, words, strict=True)):
                    at = 0
                    for axis, i in zip(axes, combination, strict=True):
                        if axis in spread:
                            at = at * len(self.values[axis]) + i
                    out[combination] = numbers[at]
        return out

    def value(self) -> float:
        """Exact finite-horizon value by the tree over joint beliefs, until the stage is over."""
        stage, solution = (
            self.table("StateTransitionFunction", "stage_1"),
            self.table("StateTransitionFunction", "solution_1"),
        )
        seen, reward = self.table("ObsFunction", "score"), self.table("RewardFunction", "reward")
        for table in (stage, solution, seen):
            assert np.allclose(table.sum(axis=-1), 1)

        def best(at: int, belief: np.ndarray) -> float:
            if self.values["stage_0"][at] == "over":
                return 0.0
            values = []
            for action in range(2):
                total = float(belief @ reward[action, at])
                for after, chance in enumerate(stage[action, at]):
                    predicted = belief @ solution[action, after]
                    for o in range(seen.shape[-1]):
                        joint = predicted * seen[action, :, o]
                        if chance * joint.sum() > 0:
                            later = best(after, joint / joint.sum())
                            total += self.discount * chance * joint.sum() * later
                values.append(total)
            return max(values)

        first = self.table("InitialStateBelief", "stage_0")
        return best(int(first.argmax()), self.table("InitialStateBelief", "solution_0"))


@pytest.mark.parametrize("hazard", [(0.4, 1.0), (0.3,)])
@pytest.mark.parametrize("belief", [None, (0.2, 0.6, 0.2)])
@pytest.mark.parametrize("end", [None, 0.95])
def test_the_file_is_the_same_problem(
    hazard: tuple[float, ...], belief: tuple[float, float, float] | None, end: float | None
) -> None:
    model = replace(small(hazard, repair=0.8), final_accuracy=end)
    text = to_pomdpx(model, 0.02, belief, discount=1.0)
    ours = solve(model, 0.02, 4001).value(0, belief or (0.7, 0.3, 0.0), model.step_tokens)
    assert Instance(text).value() == pytest.approx(float(ours), abs=1e-7)


def test_the_discount_stays_below_one() -> None:
    assert Instance(to_pomdpx(small(), 0.02)).discount < 1
