"""A process reward model from a folder, run in this process: P(step is correct) at the mark after each step."""

from __future__ import annotations

from math import exp
from pathlib import Path

from trim.backends.onnx_model import OnnxModel
from trim.scoring.registry import JudgeSettings
from trim.steps import StepFormat
from trim.types import Question, Scores


class EmbeddedPrm(OnnxModel):
    """A `Judge` from a model folder with two labels: P(label 1) at the mark after each step.

    Args:
        folder: name of a shipped model, or a folder of the same layout.
    """

    def __init__(self, folder: Path | str = "prm", threads: int = 1) -> None:
        super().__init__("embedded", folder, threads)

    async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
        """One score per step; steps that were scored before are not read again."""
        pieces = self.pieces(question, steps, self.tokens.mark)
        reading = await self.read(question, pieces, [[], *([len(piece) - 1] for piece in pieces[1:])])
        reading.notes.update((reading.ends[index], rows[0]) for index, rows in reading.outputs.items())
        at_marks = [reading.notes[end] for end in reading.ends[1:]]
        # Not `trim.stats.sigmoid`: published scores are those of this formula, to the last bit.
        values = tuple(1.0 / (1.0 + exp(float(row[0] - row[1]))) for row in at_marks)
        return Scores(values, reading.tokens, up_to=tuple(reading.ends[1:]), rereads=False)


def open_judge(settings: JudgeSettings, api_key: str | None, step_format: StepFormat) -> EmbeddedPrm:
    """The shipped PRM, or one in a folder."""
    return EmbeddedPrm(settings.model)
