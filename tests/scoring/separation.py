"""How well a judge tells right steps from wrong ones."""

from __future__ import annotations

import asyncio

import numpy as np

from trim.protocols import Judge
from trim.tasks.gsm_symbolic import FAMILY


def separation(scorer: Judge) -> float:
    """How often a right reference step scores above the same step with its result changed (AUROC)."""

    async def scenario() -> float:
        right, wrong = [], []
        for question in FAMILY.problems(900_124, 60):
            steps = question.reference_steps
            broken = steps[0].rstrip("0123456789. ") + "987"
            if FAMILY.step_labels(question, [broken]) == (False,):
                right.append((await scorer.score(question, steps[:1])).values[0])
                wrong.append((await scorer.score(question, (broken,))).values[0])
        assert len(right) > 20
        return float(np.mean([(r > w) + (r == w) / 2 for r in right for w in wrong]))

    return asyncio.run(scenario())
