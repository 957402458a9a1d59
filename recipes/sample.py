"""Batched sampling with a key-value cache, for data and figures about the models in training.

The shipped engine (`trim.backends.onnx_engine`) serves single steps reproducibly; this one only has to be fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from recipes.model import EPS, HEAD, Block, Model, rotate
from recipes.tokenizer import Encoder
from trim.types import Question, Sampling

GREEDY = Sampling(temperature=0.0)
FULL = Sampling(temperature=1.0, top_p=1.0, top_k=0)
_ROWS = 160  # decoded together
_SHRINK = 0.75  # finished rows are dropped when fewer than this share is still being written


@dataclass
class _Cache:
    """`k`, `v` [layers, rows, heads, capacity, 32], `used` of the capacity; `visible` [rows, capacity]: not padding."""

    k: Tensor
    v: Tensor
    visible: Tensor
    used: int = 0

    def keep(self, rows: Tensor) -> None:
        """Drop all rows but these."""
        self.k, self.v, self.visible = self.k[:, rows], self.v[:, rows], self.visible[rows]


def _attend(block: Block, x: Tensor, cos_sin: tuple[Tensor, Tensor], layer: int, cache: _Cache) -> Tensor:
    rows, new, _ = x.shape
    h = block.norm_in(x)
    q, k, v = (p(h).view(rows, new, block.heads, HEAD).transpose(1, 2) for p in (block.q, block.k, block.v))
    q = rotate(F.rms_norm(q, (HEAD,), eps=EPS) * block.q_norm, *cos_sin)
    k = rotate(F.rms_norm(k, (HEAD,), eps=EPS) * block.k_norm, *cos_sin)
    start, end = cache.used, cache.used + new
    cache.k[layer, :, :, start:end], cache.v[layer, :, :, start:end] = k, v
    scores = (q @ cache.k[layer, :, :, :end].transpose(-1, -2)) * HEAD**-0.5
    allowed = cache.visible[:, None, None, :end]
    if new > 1:
        allowed = allowed & torch.ones(new, end, dtype=torch.bool, device=x.device).tril(start)
    scores = scores.masked_fill(~allowed, -1e30).softmax(-1)
    mixed = (scores @ cache.v[layer, :, :, :end]).transpose(1, 2).reshape(rows, new, block.inner)
    x = x + block.o(mixed)
    h = block.norm_mlp(x)
    out: Tensor = x + block.down(F.silu(block.gate(h)) * block.up(h))
    return out


def _read(model: Model, ids: Tensor, cache: _Cache) -> Tensor:
    """Logits [rows, vocabulary] after the last of the new tokens `ids` [rows, new]."""
    start, end = cache.used, cache.used + ids.shape[1]
    x = model.embedding(ids)
    cos_sin = model.cos[start:end], model.sin[start:end]
    for layer, block in enumerate(model.blocks):
        x = _attend(block, x, cos_sin, layer, cache)
    cache.used = end
    return F.linear(model.norm(x[:, -1]), model.embedding.weight).float()


def choose(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> Tensor:
    """One token a row [rows] from logits [rows, vocabulary]."""
    if sampling.temperature == 0:
        return logits.argmax(-1)
    values, tokens = logits.topk(sampling.top_k or logits.shape[-1], -1)
    chances = (values / sampling.temperature).softmax(-1)
    chances = chances.masked_fill(chances.cumsum(-1) - chances >= sampling.top_p, 0.0)
    return tokens.gather(1, torch.multinomial(chances, 1, generator=generator))[:, 0]


@torch.no_grad()
def _write(
    model: Model,
    prefixes: list[list[int]],
    sampling: Sampling,
    generator: torch.Generator,
    stops: frozenset[int],
    most: int,
) -> list[list[int]]:
    """Continue rows of similar length together; they are padded on the left (rotary positions are relative)."""
    device = model.embedding.weight.device
    longest = max(map(len, prefixes))
    capacity = min(longest + most, model.cos.shape[0])
    shape = (model.shape.layers, len(prefixes), model.shape.heads, capacity, HEAD)
    visible = torch.ones(len(prefixes), capacity, dtype=torch.bool, device=device)
    for row, prefix in enumerate(prefixes):
        visible[row, : longest - len(prefix)] = False
    cache = _Cache(torch.zeros(shape, device=device), torch.zeros(shape, device=device), visible)
    ids = torch.tensor([[0] * (longest - len(prefix)) + prefix for prefix in prefixes], device=device)
    written: list[list[int]] = [[] for _ in prefixes]
    rows = list(range(len(prefixes)))
    while True:
        token = choose(_read(model, ids, cache), sampling, generator)
        active = []
        for position, (row, value) in enumerate(zip(rows, token.tolist(), strict=True)):
            if not written[row] or written[row][-1] not in stops:
                written[row].append(value)
                if value not in stops:
                    active.append(position)
        if not active or cache.used >= capacity:
            return written
        if len(active) < _SHRINK * len(rows):
            rows, index = [rows[i] for i in active], torch.tensor(active, device=device)
            cache.keep(index)
            token = token[index]
        ids = token[:, None]


def complete(
    model: Model,
    prefixes: Sequence[list[int]],
    sampling: Sampling,
    seed: int,
    stops: frozenset[int],
    most: int = 240,
) -> list[list[int]]:
    """New tokens of each row, the stop token included, `most` at most.

    Args:
        model: in float32, as decoded by the shipped engine.
        prefixes: token ids to continue, one list a row.
        sampling: how tokens are chosen.
        seed: of the draws. They also depend on which rows share a batch.
        stops: tokens that end a row (`<|end|>`, and the blank line for single steps).
        most: new tokens a row.
    """
    generator = torch.Generator(model.embedding.weight.device).manual_seed(seed)
    order = sorted(range(len(prefixes)), key=lambda i: len(prefixes[i]))
    written: list[list[int]] = [[] for _ in prefixes]
    for start in range(0, len(order), _ROWS):
        part = order[start : start + _ROWS]
        for i, tokens in zip(
            part, _write(model, [prefixes[i] for i in part], sampling, generator, stops, most), strict=True
        ):
            written[i] = tokens
    return written


def split_steps(encoder: Encoder, tokens: list[int]) -> tuple[str, ...]:
    """The steps that token ids of a solution spell."""
    text = encoder.decode([token for token in tokens if token != encoder.end])
    return tuple(step.strip() for step in text.split("\n\n") if step.strip())


def solve(
    model: Model,
    encoder: Encoder,
    questions: Sequence[Question],
    sampling: Sampling,
    seed: int,
    kept: Sequence[tuple[str, ...]] | None = None,
    single: bool = False,
) -> list[tuple[str, ...]]:
    """Steps of each question, the `kept` ones first; `single` writes one step only."""
    kept = kept or [()] * len(questions)
    prefixes = [
        encoder.prompt(question.text) + [token for step in steps for token in (*encoder.encode(step), encoder.blank)]
        for question, steps in zip(questions, kept, strict=True)
    ]
    stops = frozenset({encoder.end, encoder.blank} if single else {encoder.end})
    tokens = complete(model, prefixes, sampling, seed, stops)
    return [steps + split_steps(encoder, new) for steps, new in zip(kept, tokens, strict=True)]
