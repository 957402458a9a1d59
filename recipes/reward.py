"""The process reward model: a language model's layers, widened, and two fresh ones that compare what is written with
what was expected.

It is a plain `Qwen3ForSequenceClassification`, read at the mark after each step; only the initial values are special.
"How likely was this token?" must be asked at the token itself, where the trunk no longer knows what it had expected.
Training alone is slow to find that comparison, so the fresh layers start out with it. The trunk was trained to be
self-normalised, so a logit is nearly a log-probability. The residual stream gets `EXTRA` more coordinates, which the
trunk's layers neither read nor write (`Extra` names them).

First fresh layer: one head copies from the previous token how likely each of the critical tokens (digits, signs,
letters) was, one finds out whether the solution has begun, one makes large the small codes that the embedding has for
the token itself (so small that the trunk hardly notices them); neurons then add up how unlikely the written token was.
Second fresh layer: three heads find the most unlikely token, of all so far and of the newest ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from recipes.model import HEAD, ROPE_BASE, Block, Model, init_block
from recipes.tokenizer import Encoder
from trim.tasks import FAMILIES

FRESH = 2  # layers on top of the trunk's
EXTRA = 96
CRITICAL = (*"0123456789", ".", "-", " -", " +", " *", " ", " a", " b", " c", "a", "b", "c", "z", "####")
"""Tokens that a wrong step gets wrong; all others count as one."""

_SCALE = 1 / 16  # of the trunk's residual stream, which has grown large: fresh layers must be able to write beside it
_SMALL = 0.05 * _SCALE  # size of the codes in the embedding: the trunk's layers must hardly notice them
_GAIN = 4.0  # query norm of the fresh layers: attention is sharp
_ON = 6.0  # input of a neuron that fires
_FAST = (0, 1, 2)  # rotary frequencies that tell the previous token from its neighbours
_LOUD = 30.0  # how much larger than the rest the constant is made: it steadies the norms that follow
_REFERENCE = 13  # a frequency for keys that no query reads: it keeps the length of a key that says nothing
_REACH = ((14, 15), (7,), (6,))  # frequencies of the three gathering heads: everything, about 25 tokens, about 15
_LOGIT = 0.02  # what a nat of a copied logit is in the residual stream, in units of its usual level
_TAME = 20.0  # logits are divided by this where they pass through a layer: updates disturb large values most
_NAT = 0.2  # size of a nat of negative log-likelihood there


class Extra:
    """Extra coordinates, counted from the trunk's width."""

    CONSTANT = 0
    CODE = 1  # one coordinate a critical token
    OTHER = CODE + len(CRITICAL)  # this is any other token
    ASSISTANT = OTHER + 1  # this is <|assistant|>
    CODES = ASSISTANT + 1  # how many there are up to here, all small
    SEEN = CODES  # the same ones, large: what is after the first attention reads these
    EXPECTED = SEEN + CODES  # logits of the critical tokens, one token earlier
    QUESTION = EXPECTED + len(CRITICAL)  # the solution has not begun; exactly 0 once it has
    SLIP = QUESTION + 1  # log-probability of this token, about
    WORST = SLIP + 1  # the lowest SLIP, as each gathering head finds it
    END = WORST + len(_REACH)


assert Extra.END <= EXTRA


class Reward(nn.Module):
    """The model: `body` without its output head, and `score` at the marks."""

    def __init__(self, trunk: Model) -> None:
        super().__init__()
        shape = trunk.shape
        self.trunk_layers = shape.layers
        self.body = Model(replace(shape, width=shape.width + EXTRA, layers=shape.layers + FRESH))
        self.score = nn.Linear(shape.width + EXTRA, 2, bias=False)
        nn.init.zeros_(self.score.weight)

    def trunk_parameters(self) -> list[nn.Parameter]:
        """The trunk's layers and the embedding."""
        return [self.body.embedding.weight, *self.body.blocks[: self.trunk_layers].parameters()]

    @torch.no_grad()
    def shift(self, logit: float) -> None:
        """Lower the logit of P(right) by `logit` everywhere. The head has no bias, but a constant coordinate."""
        width = self.body.shape.width - EXTRA
        constant = width + Extra.SEEN + Extra.CONSTANT
        value = self.body.norm.weight[constant] * _LOUD * ((width + EXTRA) / (width + _LOUD**2)) ** 0.5
        self.score.weight[:, constant] += torch.tensor([0.5, -0.5], device=value.device) * logit / value

    def forward(self, ids: Tensor, marks: Tensor) -> Tensor:
        """Scores [marks, 2] (bad, good) at flat positions of `ids` [rows, length]."""
        places = self.body.cos[: ids.shape[1]], self.body.sin[: ids.shape[1]]
        mask = self.body.mask[: ids.shape[1], : ids.shape[1]]
        x = self.body.embedding(ids)
        for block in self.body.blocks:
            x = block(x, *places, mask)
        scores: Tensor = self.score(self.body.norm(x.flatten(0, 1)[marks])).float()
        return scores


@torch.no_grad()
def build(trunk: Model, encoder: Encoder) -> Reward:
    """A reward model whose first layers compute exactly what the trunk's do.

    Args:
        trunk: a trained, self-normalised language model.
        encoder: of the same tokenizer.
    """
    model = Reward(trunk)
    width, body = trunk.shape.width, model.body
    critical = [encoder.id(text.replace(" ", "Ġ")) for text in CRITICAL]
    _embed(body.embedding.weight, trunk, encoder, critical)
    # RMSNorm divides by the mean over more coordinates, most of them zero.
    wider = ((width + EXTRA) / width) ** 0.5
    for old, new in zip(trunk.blocks, body.blocks, strict=False):
        for name in ("q", "k", "v", "gate", "up"):
            getattr(new, name).weight.zero_()[:, :width] = getattr(old, name).weight
        for name in ("o", "down"):
            getattr(new, name).weight.zero_()[:width] = getattr(old, name).weight * _SCALE
        for name in ("norm_in", "norm_mlp"):
            getattr(new, name).weight[:width] = getattr(old, name).weight / wider
        new.q_norm.copy_(old.q_norm)
        new.k_norm.copy_(old.k_norm)
    heads = trunk.embedding.weight[critical] * trunk.norm.weight / wider
    units = _Units(width, wider, *_levels(trunk, encoder))
    compare, gather = body.blocks[-2], body.blocks[-1]
    for block in (compare, gather):
        init_block(block, previous=())
        block.q_norm.fill_(_GAIN)
    _copy_expectations(compare, heads, units)
    _find_beginning(compare, units)
    _raise_voice(compare, units)
    _add_negative_log_likelihood(compare, units)
    gather.q_norm.fill_(3 * _GAIN)
    for head, frequencies in enumerate(_REACH):
        _gather(gather, head, frequencies, units)
    model.score.weight[1, width + Extra.WORST + 1] = 0.4 / (_NAT * units.after)
    model.score.weight[1, width + Extra.SEEN + Extra.CONSTANT] = 1.0 / (_LOUD * units.after)
    model.score.weight[0] = -model.score.weight[1]
    return model


class _Units:
    """What weights have to be so that a normed coordinate counts as 1: the residual stream's usual level is `level`,
    its codes are `_SMALL`, and the norm multiplies by `wider` what the level divides (by `after` once the constant is
    loud). At <|assistant|> the level is another.
    """

    def __init__(self, width: int, wider: float, level: float, assistant_level: float) -> None:
        self.width, self.level = width, level * _SCALE
        self.after = ((width + EXTRA) / (width + _LOUD**2)) ** 0.5
        self.code = self.level / (_SMALL * wider)
        self.assistant_code = assistant_level * _SCALE / (_SMALL * wider)


def _levels(trunk: Model, encoder: Encoder) -> tuple[float, float]:
    """Median RMS of the trunk's last residual stream at the tokens of solutions, and at <|assistant|>."""
    solution, assistant = [], []
    for family in FAMILIES.values():
        for question in family.problems(5, 8, "validation"):
            prompt = encoder.prompt(question.text)
            ids = torch.tensor([prompt + encoder.solution(question.reference_steps)])
            rms = trunk.layers(ids)[0].square().mean(-1).sqrt()
            assistant.append(rms[len(prompt) - 1])
            solution.append(rms[len(prompt) :])
    return float(torch.cat(solution).median()), float(torch.stack(assistant).median())


def _embed(table: Tensor, trunk: Model, encoder: Encoder, critical: Sequence[int]) -> None:
    width = trunk.shape.width
    table.zero_()
    table[:, :width] = trunk.embedding.weight * _SCALE
    # The mark stands where the trunk is used to a blank line.
    table[encoder.mark, :width] = trunk.embedding.weight[encoder.blank] * _SCALE
    table[:, width + Extra.CONSTANT] = _SMALL
    table[:, width + Extra.OTHER] = _SMALL
    for index, token in enumerate(critical):
        table[token, width + Extra.OTHER] = 0.0
        table[token, width + Extra.CODE + index] = _SMALL
    table[encoder.assistant, width + Extra.ASSISTANT] = _SMALL


def _rows(head: int, frequencies: Sequence[int]) -> list[int]:
    """Rows of a projection that hold the cosine parts of a head's frequencies."""
    return [head * HEAD + frequency for frequency in frequencies]


def _clear(block: Block, head: int) -> None:
    for linear in (block.q, block.k, block.v):
        linear.weight[head * HEAD : (head + 1) * HEAD] = 0.0
    block.o.weight[:, head * HEAD : (head + 1) * HEAD] = 0.0


def _copy_expectations(block: Block, heads: Tensor, units: _Units) -> None:
    """Head 0: the previous token's logits of the critical tokens."""
    _clear(block, 0)
    constant, count = units.width + Extra.CONSTANT, len(CRITICAL)
    for frequency in _FAST:
        angle = torch.tensor(-(ROPE_BASE ** (-2 * frequency / HEAD)))
        block.k.weight[frequency, constant] = units.code
        block.q.weight[frequency, constant] = torch.cos(angle) * units.code
        block.q.weight[frequency + HEAD // 2, constant] = torch.sin(angle) * units.code
    block.v.weight[:count, : units.width] = heads / _TAME
    for index in range(count):
        block.o.weight[units.width + Extra.EXPECTED + index, index] = _LOGIT * units.level * _TAME


def _find_beginning(block: Block, units: _Units) -> None:
    """Head 1: looks at <|assistant|> if there was one, where constant and code cancel; about 1 before."""
    head = 1
    _clear(block, head)
    constant, assistant = units.width + Extra.CONSTANT, units.width + Extra.ASSISTANT
    block.k.weight[_rows(head, (_REFERENCE,)), constant] = units.code
    block.k.weight[_rows(head, _REACH[0]), assistant] = 8 * units.assistant_code
    block.q.weight[_rows(head, _REACH[0]), constant] = units.code
    block.v.weight[head * HEAD, constant] = units.code
    block.v.weight[head * HEAD, assistant] = -units.code
    block.o.weight[units.width + Extra.QUESTION, head * HEAD] = units.level


def _raise_voice(block: Block, units: _Units) -> None:
    """Head 2: the codes of the token itself, as large as the rest of the residual stream."""
    head, count = 2, Extra.CODES
    _clear(block, head)
    rows = _rows(head, _FAST)
    block.k.weight[rows, units.width + Extra.CONSTANT] = units.code
    block.q.weight[rows, units.width + Extra.CONSTANT] = units.code
    for index in range(count):
        block.v.weight[head * HEAD + index, units.width + index] = units.code
        loud = _LOUD if index == Extra.CONSTANT else 1.0
        block.o.weight[units.width + Extra.SEEN + index, head * HEAD + index] = loud * units.level


def _add_negative_log_likelihood(block: Block, units: _Units) -> None:
    """Neurons: the logit of the critical token that is written, and what it takes to write another where a critical
    one was expected.
    """
    width, count, seen = units.width, len(CRITICAL), units.width + Extra.SEEN
    on = _ON / units.after
    logit = 1 / (_LOGIT * units.after)  # weight that makes an expectation count in nats
    for index in range(count):
        written, missed = index, count + index
        for neuron in (written, missed):
            for linear in (block.gate, block.up):
                linear.weight[neuron] = 0.0
            block.gate.weight[neuron, width + Extra.QUESTION] = -6 * on
            block.gate.weight[neuron, seen + Extra.CONSTANT] = -3 * on / _LOUD
        block.gate.weight[written, seen + Extra.CODE + index] = 4 * on
        block.up.weight[written, width + Extra.EXPECTED + index] = logit / _TAME
        # Fires when another token is written, and the more the likelier this one was; says little to begin with.
        block.gate.weight[missed, seen + Extra.OTHER] = 4 * on
        block.gate.weight[missed, width + Extra.EXPECTED + index] = _ON / 2 * logit
        block.up.weight[missed, seen + Extra.CONSTANT] = -0.2 / _TAME / (_LOUD * units.after)
        for neuron in (written, missed):
            block.down.weight[:, neuron] = 0.0
            block.down.weight[width + Extra.SLIP, neuron] = _NAT * units.level / _ON * _TAME


def _gather(block: Block, head: int, frequencies: Sequence[int], units: _Units) -> None:
    """The lowest SLIP within reach of the head's frequencies."""
    _clear(block, head)
    constant, slip = units.width + Extra.SEEN + Extra.CONSTANT, units.width + Extra.SLIP
    block.k.weight[_rows(head, (_REFERENCE,)), constant] = 1.0 / (_LOUD * units.after)
    block.k.weight[_rows(head, frequencies), slip] = -1.0 / units.after
    block.q.weight[_rows(head, frequencies), constant] = 1.0 / (_LOUD * units.after)
    block.v.weight[head * HEAD, slip] = 1.0 / units.after
    block.o.weight[units.width + Extra.WORST + head, head * HEAD] = units.level
