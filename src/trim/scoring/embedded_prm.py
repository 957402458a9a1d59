"""A process reward model from a folder, run in this process: P(step is correct) at the mark after each step."""

from __future__ import annotations

from math import exp
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trim.backends.onnx_engine import Job
from trim.backends.onnx_model import OnnxModel, shared_pieces
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
        pieces = self.tokens.pieces(question, steps, self.tokens.mark)
        outputs, read = await self._last_outputs(question, pieces)
        # Not `trim.stats.sigmoid`: published scores are those of this formula, to the last bit.
        return Scores(tuple(1.0 / (1.0 + exp(float(row[0] - row[1]))) for row in outputs), read)

    async def _last_outputs(self, question: Question, pieces: list[list[int]]) -> tuple[list[NDArray[np.float32]], int]:
        """The outputs at the last token of every piece but the first, and the number of tokens read for them."""
        cache = self.caches.take(question, pieces)
        kept = sum(map(len, pieces[: shared_pieces(cache, pieces)]))
        ends = np.cumsum([len(piece) for piece in pieces]).tolist()
        notes = {end: note for end, note in cache.notes.items() if end <= kept}
        cache.notes = notes
        picks = [[] if i == 0 or ends[i] in notes else [len(piece) - 1] for i, piece in enumerate(pieces)]
        wanted = [end for end, pick in zip(ends, picks, strict=True) if pick]
        if wanted:
            found = await self.run(question, Job(cache, pieces, picks))
            notes |= dict(zip(wanted, found, strict=True))
        else:
            self.caches.give(question, cache)
        read = ends[-1] - kept
        self.usage.calls += bool(wanted)
        self.usage.prompt_tokens += read
        return [notes[end] for end in ends[1:]], read


def open_judge(settings: JudgeSettings, api_key: str | None, step_format: StepFormat) -> EmbeddedPrm:
    """The shipped PRM, or one in a folder."""
    return EmbeddedPrm(settings.model)
