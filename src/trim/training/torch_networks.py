"""The networks of TRIM-Agg and TRIM-Seq in torch, with a critic beside the actor, for training.

`trim.policies.learned.networks` has the actors without torch; parameters carry the same names.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from trim.policies.learned.features import Vector
from trim.policies.learned.policy import Kind

AGG_WIDTH = 64
"""Units of a layer (paper)."""
SEQ_WIDTH, SEQ_HEADS, SEQ_BLOCKS = 32, 2, 2
"""Width of the residual stream, attention heads, and blocks; the paper does not give them."""


@dataclass(frozen=True)
class Output:
    """The network's output for n observations: logits (n, actions) of the actor, values (n,) of the critic."""

    logits: Tensor
    values: Tensor


class Layer(nn.Module):
    """Linear, layer norm, tanh; orthogonal weights, zero bias."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = _orthogonal(nn.Linear(inputs, outputs), math.sqrt(2))
        self.norm = nn.LayerNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (n, inputs) to (n, outputs)."""
        return torch.tanh(self.norm(self.linear(x)))


class ActorCritic(nn.Module):
    """An actor and a critic head on a shared encoder, which subclasses define."""

    def __init__(self, width: int, actions: int) -> None:
        super().__init__()
        self.actor = nn.ModuleList([Layer(width, width), _orthogonal(nn.Linear(width, actions), 0.01)])
        self.critic = nn.ModuleList([Layer(width, width), _orthogonal(nn.Linear(width, 1), 1.0)])

    def encode(self, observations: Sequence[Vector]) -> Tensor:
        """Encode observations as an array of shape (n, width)."""
        raise NotImplementedError

    def forward(self, observations: Sequence[Vector]) -> Output:
        """Logits and values of observations, each given by its features."""
        encoded = self.encode(observations)
        logits, values = encoded, encoded
        for actor, critic in zip(self.actor, self.critic, strict=True):
            logits, values = actor(logits), critic(values)
        return Output(logits, values.squeeze(-1))


class Agg(ActorCritic):
    """TRIM-Agg: two layers over one feature vector for each observation."""

    def __init__(self, features: int, actions: int) -> None:
        super().__init__(AGG_WIDTH, actions)
        self.encoder = nn.ModuleList([Layer(features, AGG_WIDTH), Layer(AGG_WIDTH, AGG_WIDTH)])

    def encode(self, observations: Sequence[Vector]) -> Tensor:
        """Encode vectors of shape (features,) each; see `ActorCritic`."""
        x = torch.from_numpy(np.stack(observations))
        for layer in self.encoder:
            x = layer(x)
        return x


class Block(nn.Module):
    """A pre-norm transformer block: causal self-attention, then a feed-forward layer with ReLU, both residual."""

    def __init__(self) -> None:
        super().__init__()
        width = SEQ_WIDTH
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mixed, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Residual stream in and out, shape (n, t, width)."""
        shape = (*x.shape[:2], 3, SEQ_HEADS, -1)
        queries, keys, values = self.mixed(self.before(x)).view(shape).permute(2, 0, 3, 1, 4)
        seen = scaled_dot_product_attention(queries, keys, values, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).reshape(x.shape))
        y: Tensor = x + self.down(torch.relu(self.up(self.between(x))))
        return y


class Seq(ActorCritic):
    """TRIM-Seq: a causal transformer over the steps, read at the newest one."""

    def __init__(self, features: int, actions: int) -> None:
        super().__init__(SEQ_WIDTH, actions)
        self.embed = nn.Linear(features, SEQ_WIDTH)
        self.blocks = nn.ModuleList([Block() for _ in range(SEQ_BLOCKS)])

    def encode(self, observations: Sequence[Vector]) -> Tensor:
        """Encode matrices of shape (t, features) each; attention is causal, so padding at the end has no effect."""
        rows = torch.tensor([len(matrix) for matrix in observations])
        padded = np.zeros((len(rows), int(rows.max()), observations[0].shape[1]), np.float32)
        for row, matrix in zip(padded, observations, strict=True):
            row[: len(matrix)] = matrix
        x = self.embed(torch.from_numpy(padded))
        for block in self.blocks:
            x = block(x)
        newest: Tensor = x[torch.arange(len(rows)), rows - 1]
        return newest


def network(kind: Kind, features: int, actions: int) -> ActorCritic:
    """A new network of this kind; its weights depend on torch's seed."""
    return Agg(features, actions) if kind == "agg" else Seq(features, actions)


def _orthogonal(linear: nn.Linear, gain: float) -> nn.Linear:
    nn.init.orthogonal_(linear.weight, gain)
    nn.init.zeros_(linear.bias)
    return linear
