"""The process reward model: the judge's layers, widened, and two fresh ones that compare what is written with what
the judge expected.

Still a plain `Qwen3ForSequenceClassification`, read at the mark after each step; only the initial values are special.
The question "how likely was this token?" is asked at the token itself, where the judge no longer knows what it had
expected. So the residual stream gets `EXTRA` more coordinates, which the judge's layers neither read nor write:

    0        a constant, for heads that attend to the previous token by rotary phase
    1..31    a code of the token itself: one coordinate a digit, random directions for the rest
    32..63   free; the first fresh layer starts out copying into them what was expected one token earlier
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recipes.model import HEAD, Block, Model, init_block
from recipes.tokenizer import Encoder

EXTRA = 64
FRESH = 2  # layers on top of the judge's
_CODE = 31
_FREE = 1 + _CODE
_SMALL = 0.05  # size of the codes in the embedding: the judge's layers must hardly notice them
WORST = 6.0  # nats; log-probabilities below -WORST count as -WORST


class Reward(nn.Module):
    """The model, the judge's output head as teacher, and two throw-away heads that are only trained against it."""

    def __init__(self, judge: Model) -> None:
        super().__init__()
        shape = judge.shape
        self.trunk_layers, self.trunk_width = shape.layers, shape.width
        self.body = Model(replace(shape, width=shape.width + EXTRA, layers=shape.layers + FRESH))
        self.score = nn.Linear(shape.width + EXTRA, 2, bias=False)
        nn.init.zeros_(self.score.weight)
        self.surprise = nn.Linear(shape.width + EXTRA, 1)  # after the first fresh layer: -log p of this token
        self.worst = nn.Linear(shape.width + EXTRA, 1)  # after the last: the largest surprise so far
        self.register_buffer("teacher", judge.embedding.weight.detach().clone() * judge.norm.weight.detach())

    def trunk(self, ids: Tensor) -> Tensor:
        """Residual stream [rows, length, width] after the judge's layers."""
        x: Tensor = self.body.embedding(ids)
        for block in self.body.blocks[: self.trunk_layers]:
            x = block(x, *self._places(ids))
        return x

    def fresh(self, x: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """The streams after the first and after the last fresh layer."""
        first, *rest = self.body.blocks[self.trunk_layers :]
        x = first(x, *self._places(ids))
        after = x
        for block in rest:
            x = block(x, *self._places(ids))
        return after, x

    def _places(self, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        length = ids.shape[1]
        return self.body.cos[:length], self.body.sin[:length], self.body.mask[:length, :length]

    def expected(self, hidden: Tensor) -> Tensor:
        """The judge's log-probabilities [..., vocabulary] of the next token, from the trunk's stream."""
        normed = F.rms_norm(hidden[..., : self.trunk_width].float(), (self.trunk_width,), eps=1e-6)
        return F.linear(normed, self.teacher.float()).float().log_softmax(-1)

    def logits(self, last: Tensor) -> Tensor:
        """Scores [..., 2] (bad, good) from the last stream."""
        return self.score(self.body.norm(last)).float()


@torch.no_grad()
def build(judge: Model, encoder: Encoder, level: float) -> Reward:
    """A reward model whose first layers compute exactly what the judge's do.

    Args:
        judge: a trained language model.
        encoder: of the same tokenizer.
        level: typical RMS of the judge's last residual stream; brings the extra coordinates to its size.
    """
    model = Reward(judge)
    width, body = judge.shape.width, model.body
    _embed(body.embedding.weight, judge, encoder)
    # RMSNorm divides by the mean over more coordinates, most of them zero.
    shrink = (width / (width + EXTRA)) ** 0.5
    for old, new in zip(judge.blocks, body.blocks, strict=False):
        for name in ("q", "k", "v", "gate", "up"):
            getattr(new, name).weight.zero_()[:, :width] = getattr(old, name).weight
        for name in ("o", "down"):
            getattr(new, name).weight.zero_()[:width] = getattr(old, name).weight
        for name in ("norm_in", "norm_mlp"):
            getattr(new, name).weight[:width] = getattr(old, name).weight * shrink
        new.q_norm.copy_(old.q_norm)
        new.k_norm.copy_(old.k_norm)
    for block in body.blocks[judge.shape.layers :]:
        init_block(block, previous=(1, 1, 1), constant=width)
        for linear in (block.q, block.k, block.v, block.gate, block.up):
            linear.weight[:, width : width + _FREE] *= level / _SMALL
    _compare(body.blocks[judge.shape.layers], judge, encoder, level)
    return model


def _embed(table: Tensor, judge: Model, encoder: Encoder) -> None:
    width = judge.shape.width
    table.zero_()
    table[:, :width] = judge.embedding.weight
    # The mark stands where the judge is used to a blank line.
    table[encoder.mark, :width] = judge.embedding.weight[encoder.blank]
    generator = torch.Generator().manual_seed(1)
    codes = torch.randn(len(table), _CODE, generator=generator)
    codes[:, :10] = 0.0
    codes = F.normalize(codes, dim=-1)
    for i, digit in enumerate("0123456789"):
        codes[encoder.id(digit)] = F.one_hot(torch.tensor(i), _CODE).float()
    table[:, width] = 3 * _SMALL
    table[:, width + 1 : width + _FREE] = codes * _SMALL


def _compare(block: Block, judge: Model, encoder: Encoder, level: float) -> None:
    """Let the first fresh layer copy the judge's logits of the ten digits, and directions that tell other tokens
    apart, from the previous token; and let ten of its neurons read the logit of the digit that is written.
    """
    width = judge.shape.width
    head = judge.embedding.weight * judge.norm.weight
    digits = torch.stack([head[encoder.id(digit)] for digit in "0123456789"])
    others = torch.pca_lowrank(head, HEAD - 10, niter=4)[2].T
    rows = F.normalize(torch.cat((digits - digits.mean(0), others)), dim=-1)
    block.v.weight[:HEAD].zero_()[:, :width] = rows
    block.o.weight[width + _FREE :, :HEAD] = 0.5 * level * torch.eye(HEAD)
    for i in range(10):
        block.gate.weight[i].zero_()[width + 1 + i] = 2.0 * level / _SMALL
        block.up.weight[i].zero_()[width + _FREE + i] = 2.0
    block.down.weight[width + _FREE :, :10].normal_(std=0.1 * level)
