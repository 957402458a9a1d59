"""The process reward model: the judge's layers, widened, and two fresh ones that compare what is written with what
the judge expected.

It is a plain `Qwen3ForSequenceClassification`, read at the mark after each step; only the initial values are special.
"How likely was this token?" must be asked at the token itself, where the judge no longer knows what it had expected.
Training alone is slow to find that comparison, so the fresh layers start out with a rough version of it. The residual
stream gets `EXTRA` more coordinates, which the judge's layers neither read nor write (`Extra` names them).

First fresh layer: three heads copy from the previous token what was expected there, one finds out whether the solution
has begun; ten neurons then fire where a digit is written that was not expected. Second fresh layer: one head finds the
token so far where they fired most.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recipes.model import HEAD, Block, Model, init_block
from recipes.tokenizer import Encoder

FRESH = 2  # layers on top of the judge's
EXTRA = 64
_SCALE = 1 / 16  # of the judge's residual stream, which has grown large: fresh layers must be able to write beside it
_SMALL = 0.05 * _SCALE  # size of the codes in the embedding: the judge's layers must hardly notice them
_SLOWEST = (14, 15)  # rotary frequencies so low that distance hardly matters


class Extra:
    """Extra coordinates, counted from the judge's width."""

    CONSTANT = 0
    CODE = slice(1, 32)  # which token this is: one coordinate a digit, one for <|assistant|>, random for the rest
    ASSISTANT = 11
    EXPECTED = slice(32, 61)  # what was expected one token earlier: first the ten digits
    BEGUN = 61  # the solution has begun
    SLIP = 62  # this token was not expected
    WORST_SLIP = 63


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
            getattr(new, name).weight.zero_()[:width] = getattr(old, name).weight * _SCALE
        for name in ("norm_in", "norm_mlp"):
            getattr(new, name).weight[:width] = getattr(old, name).weight * shrink
        new.q_norm.copy_(old.q_norm)
        new.k_norm.copy_(old.k_norm)
    level *= _SCALE
    for index, block in enumerate(body.blocks[judge.shape.layers :]):
        init_block(block, previous=(1, 1, 1) if index == 0 else (), constant=width)
        for linear in (block.q, block.k, block.v, block.gate, block.up):
            linear.weight[:, width : width + Extra.CODE.stop] *= level / _SMALL
    _compare(body.blocks[-2], judge, encoder, level)
    _gather(body.blocks[-1], width, level)
    for head, coordinate in ((model.surprise, Extra.SLIP), (model.worst, Extra.WORST_SLIP)):
        head.weight[0, width + coordinate] = 2.0
        head.bias.fill_(-3.0)
    return model


def _embed(table: Tensor, judge: Model, encoder: Encoder) -> None:
    width, size = judge.shape.width, Extra.CODE.stop - Extra.CODE.start
    table.zero_()
    table[:, :width] = judge.embedding.weight * _SCALE
    # The mark stands where the judge is used to a blank line.
    table[encoder.mark, :width] = judge.embedding.weight[encoder.blank] * _SCALE
    codes = torch.randn(len(table), size, generator=torch.Generator().manual_seed(1))
    codes[:, :11] = 0.0
    codes = F.normalize(codes, dim=-1)
    for i, token in enumerate([*map(encoder.id, "0123456789"), encoder.assistant]):
        codes[token] = F.one_hot(torch.tensor(i), size).float()
    table[:, width + Extra.CONSTANT] = 3 * _SMALL
    table[:, width + Extra.CODE.start : width + Extra.CODE.stop] = codes * _SMALL


def _point(block: Block, head: int, source: tuple[int, float], constant: tuple[int, float]) -> None:
    """Let a head attend to tokens on which coordinate `source` is large; pairs of coordinate and weight."""
    for frequency in _SLOWEST:
        row = head * HEAD + frequency
        block.k.weight[row, source[0]] += source[1]
        block.q.weight[row, constant[0]] += constant[1]


def _compare(block: Block, judge: Model, encoder: Encoder, level: float) -> None:
    """Initial values of the first fresh layer: copy, `BEGUN`, and `SLIP` for digits."""
    width = judge.shape.width
    big = level / _SMALL
    head = judge.embedding.weight * judge.norm.weight
    digits = torch.stack([head[encoder.id(digit)] for digit in "0123456789"])
    copied = Extra.EXPECTED.stop - Extra.EXPECTED.start
    others = torch.pca_lowrank(head, copied - 10, niter=4)[2].T  # directions that tell tokens apart
    block.v.weight[:copied].zero_()[:, :width] = F.normalize(torch.cat((digits - digits.mean(0), others)), dim=-1)
    block.o.weight[width + Extra.EXPECTED.start : width + Extra.EXPECTED.stop, :copied] = (
        0.5 * level * torch.eye(copied)
    )
    _point(block, 3, (width + Extra.ASSISTANT, 6 * big), (width + Extra.CONSTANT, 2 * big))
    block.v.weight[3 * HEAD].zero_()[width + Extra.ASSISTANT] = big
    block.o.weight[width + Extra.BEGUN, 3 * HEAD] = level
    block.q_norm.fill_(2.5)  # sharp: nine tenths of the attention on the previous token
    for i in range(10):
        gate, up = block.gate.weight[i].zero_(), block.up.weight[i].zero_()
        gate[width + Extra.CODE.start + i] = 8.0 * big
        gate[width + Extra.BEGUN] = 8.0
        gate[width + Extra.CONSTANT] = -14.0 / 3 * big
        gate[width + Extra.EXPECTED.start + i] = -4.0
        up[width + Extra.CONSTANT] = big / 3
        block.down.weight[width + Extra.SLIP, i] = 0.3 * level


def _gather(block: Block, width: int, level: float) -> None:
    """Initial values of the second fresh layer: `WORST_SLIP`."""
    _point(block, 0, (width + Extra.SLIP, 4.0), (width + Extra.CONSTANT, 2 * level / _SMALL))
    block.v.weight[0].zero_()[width + Extra.SLIP] = 1.0
    block.o.weight[width + Extra.WORST_SLIP, 0] = level
    block.q_norm.fill_(2.5)
