"""True step labels as a judge: the upper bound of step-level routing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trim.backends.base import BaseBackend
from trim.types import Question, Scores


class OracleJudge(BaseBackend):
    """Scores 1 for a right step and 0 for a wrong one, by a task's rule; costs nothing.

    Args:
        labeler: which of the steps are right.
    """

    def __init__(self, labeler: Callable[[Question, Sequence[str]], tuple[bool, ...]]) -> None:
        self._labeler = labeler

    @property
    def identity(self) -> str:
        """The rule that labels steps."""
        return "oracle:step labels"

    async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
        """See `trim.protocols.Judge`."""
        return Scores(tuple(float(right) for right in self._labeler(question, steps)))
