"""Log-probabilities of given steps under a causal model that runs in this process."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trim.backends.onnx_engine import Array
from trim.backends.onnx_model import OnnxModel
from trim.types import Question


class EmbeddedLogprobs(OnnxModel):
    """A `LogprobSource` (see `trim.scoring.prompt_logprobs`) from a model folder.

    Args:
        folder: name of a shipped model, or a folder of the same layout.
        threads: ONNX Runtime threads.
    """

    rereads = False

    def __init__(self, folder: Path | str, threads: int = 1) -> None:
        super().__init__("logprobs", folder, threads)

    async def step_logprobs(self, question: Question, steps: tuple[str, ...]) -> tuple[tuple[float, ...], ...]:
        """Natural log-probabilities of each step's tokens given everything before it; the separator is left out."""
        return tuple(logprobs for logprobs, _ in (await self._read(question, steps))[1:])

    async def first_token_entropies(self, question: Question, steps: tuple[str, ...]) -> tuple[float, ...]:
        """Entropy (nats) of the distribution of each step's first token given everything before it."""
        return tuple(float(-(np.exp(row) * row).sum()) for _, row in (await self._read(question, steps))[:-1])

    async def _read(self, question: Question, steps: tuple[str, ...]) -> list[tuple[tuple[float, ...], Array]]:
        """Of the prompt and of each step its tokens' log-probabilities and the distribution (logs) of what follows.

        Steps that were asked for before are not read again: the cache's notes hold this by where a piece ends.
        """
        pieces = self.pieces(question, steps, self.tokens.blank)
        reading = await self.read(question, pieces, [list(range(len(piece))) for piece in pieces])
        notes, ends = reading.notes, reading.ends
        for i, outputs in reading.outputs.items():
            rows = _log_softmax(outputs)
            # A token is expected by the row before it; the first of a step by the last row of the piece before.
            expecting = [notes[ends[i - 1]][1], *rows[:-2]] if i else []
            found = tuple(float(row[token]) for row, token in zip(expecting, pieces[i], strict=False))
            notes[ends[i]] = (found, rows[-1])
        return [notes[end] for end in ends]


def _log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max(axis=1, keepdims=True)
    result: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result
