"""True step labels as a process reward model: what step routing could do at best."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trim.types import Question, Scores


class OraclePrm:
    """Scores 1 for a right step and 0 for a wrong one, by a task's rule; costs nothing.

    Args:
        labeler: which of the steps are right.
    """

    def __init__(self, labeler: Callable[[Question, Sequence[str]], tuple[bool, ...]]) -> None:
        self._labeler = labeler

    async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
        """See `trim.protocols.ProcessRewardModel`."""
        return Scores(tuple(float(right) for right in self._labeler(question, steps)))
