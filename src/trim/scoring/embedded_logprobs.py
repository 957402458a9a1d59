"""Log-probabilities of given steps under a causal model that runs in this process."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trim.backends.onnx_engine import Array, Job
from trim.backends.onnx_model import OnnxModel, shared_pieces
from trim.types import Question


class EmbeddedLogprobs(OnnxModel):
    """A `LogprobSource` (see `trim.scoring.prompt_logprobs`) from a model folder.

    Args:
        folder: name of a shipped model, or a folder of the same layout.
        threads: ONNX Runtime threads.
    """

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
        pieces = self.tokens.pieces(question, steps, self.tokens.blank)
        cache = self.caches.take(question, pieces)
        kept = sum(map(len, pieces[: shared_pieces(cache, pieces)]))
        ends = np.cumsum([len(piece) for piece in pieces]).tolist()
        cache.notes = notes = {end: note for end, note in cache.notes.items() if end <= kept}
        new = [i for i, end in enumerate(ends) if end not in notes]
        picks = [[] if ends[i] in notes else list(range(len(piece))) for i, piece in enumerate(pieces)]
        if not new:
            self.caches.give(question, cache)
        else:
            self.usage.calls += 1
            self.usage.prompt_tokens += ends[-1] - kept
            logprobs = _log_softmax(await self.run(question, Job(cache, pieces, picks)))
            at = 0
            for i in new:
                piece, rows = pieces[i], logprobs[at : at + len(pieces[i])]
                # A token is expected by the row before it; the first of a step by the last row of the piece before.
                expecting = [notes[ends[i - 1]][1], *rows[:-2]] if i else []
                found = tuple(float(row[token]) for row, token in zip(expecting, piece, strict=False))
                notes[ends[i]] = (found, rows[-1])
                at += len(piece)
        return [notes[end] for end in ends]


def _log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max(axis=1, keepdims=True)
    result: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result
