"""The networks of TRIM-Agg and TRIM-Seq as plain numpy: what a decision needs, without torch.

`trim.training.torch_networks` has the same networks for training; arrays carry the names of torch's parameters, and a
test holds both to the same outputs. Layer norm has epsilon 1e-5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trim.errors import ConfigError
from trim.policies.learned.features import Vector

Arrays = Mapping[str, NDArray[Any]]

_EPSILON = 1e-5


@dataclass(frozen=True, eq=False)
class _Linear:
    """y = x W + b for rows x."""

    weight: Vector  # (in, out)
    bias: Vector

    @classmethod
    def of(cls, arrays: Arrays, name: str) -> _Linear:
        weight, bias = _array(arrays, f"{name}.weight", 2), _array(arrays, f"{name}.bias", 1)
        if len(weight) != len(bias):
            raise ConfigError(f"network: {name} has a weight of shape {weight.shape} and a bias of {bias.shape}")
        return cls(np.ascontiguousarray(weight.T), bias)

    def __call__(self, x: Vector) -> Vector:
        y: Vector = x @ self.weight
        y += self.bias
        return y


@dataclass(frozen=True, eq=False)
class _Norm:
    """Layer norm over the last axis."""

    gain: Vector
    shift: Vector

    @classmethod
    def of(cls, arrays: Arrays, name: str) -> _Norm:
        return cls(_array(arrays, f"{name}.weight", 1), _array(arrays, f"{name}.bias", 1))

    def __call__(self, x: Vector) -> Vector:
        size = x.shape[-1]
        centred = x - np.add.reduce(x, axis=-1, keepdims=True) / size
        variance = np.add.reduce(centred * centred, axis=-1, keepdims=True) / size
        y: Vector = centred / np.sqrt(variance + np.float32(_EPSILON)) * self.gain + self.shift
        return y


@dataclass(frozen=True, eq=False)
class _Layer:
    """Linear, layer norm, tanh."""

    linear: _Linear
    norm: _Norm

    @classmethod
    def of(cls, arrays: Arrays, name: str) -> _Layer:
        return cls(_Linear.of(arrays, f"{name}.linear"), _Norm.of(arrays, f"{name}.norm"))

    def __call__(self, x: Vector) -> Vector:
        y: Vector = np.tanh(self.norm(self.linear(x)))
        return y


@dataclass(frozen=True, eq=False)
class AggNetwork:
    """Two layers, one more for the actor, and a logit for each action (paper, section on TRIM-Agg).

    Raises:
        ConfigError: arrays are missing or have other shapes.
    """

    layers: tuple[_Layer, ...]
    logits: _Linear

    @classmethod
    def of(cls, arrays: Arrays) -> AggNetwork:
        """From arrays by name."""
        layers = tuple(_Layer.of(arrays, name) for name in ("encoder.0", "encoder.1", "actor.0"))
        return cls(layers, _Linear.of(arrays, "actor.1"))

    @property
    def width(self) -> int:
        """Features that it reads."""
        return len(self.layers[0].linear.weight)

    def __call__(self, features: Vector) -> Vector:
        """Logits, shape (actions,), of one observation's features, shape (width,)."""
        for layer in self.layers:
            features = layer(features)
        return self.logits(features)


@dataclass(frozen=True, eq=False)
class _Block:
    """Causal attention, then two linear layers with ReLU; both read a layer norm and add to the stream."""

    heads: int
    before: _Norm
    mixed: _Linear  # queries, keys and values of all heads
    out: _Linear
    between: _Norm
    up: _Linear
    down: _Linear

    @classmethod
    def of(cls, arrays: Arrays, name: str, heads: int) -> _Block:
        before, between = (_Norm.of(arrays, f"{name}.{part}") for part in ("before", "between"))
        mixed, out, up, down = (_Linear.of(arrays, f"{name}.{part}") for part in ("mixed", "out", "up", "down"))
        return cls(heads, before, mixed, out, between, up, down)

    def __call__(self, x: Vector) -> Vector:
        """The stream after this block, shape (t, d)."""
        steps, width = x.shape
        each = width // self.heads
        parts = self.mixed(self.before(x)).reshape(steps, 3, self.heads, each).transpose(1, 2, 0, 3)
        queries, keys, values = parts
        seen: Vector = queries @ keys.transpose(0, 2, 1)
        seen *= np.float32(1 / math.sqrt(each))
        seen += _future(steps)
        seen -= seen.max(axis=-1, keepdims=True)
        np.exp(seen, out=seen)
        seen /= np.add.reduce(seen, axis=-1, keepdims=True)
        gathered: Vector = (seen @ values).transpose(1, 0, 2).reshape(steps, width)
        x = x + self.out(gathered)
        hidden = self.up(self.between(x))
        np.maximum(hidden, 0, out=hidden)
        return x + self.down(hidden)


@lru_cache(maxsize=64)
def _future(steps: int) -> Vector:
    """What is added to attention so that no step sees a later one."""
    return np.triu(np.full((steps, steps), -np.inf, np.float32), 1)


@dataclass(frozen=True, eq=False)
class SeqNetwork:
    """A small causal transformer over the steps, read at the newest; then as `AggNetwork` (paper: TRIM-Seq).

    Raises:
        ConfigError: arrays are missing or have other shapes.
    """

    embed: _Linear
    blocks: tuple[_Block, ...]
    actor: _Layer
    logits: _Linear

    @classmethod
    def of(cls, arrays: Arrays, *, heads: int) -> SeqNetwork:
        """From arrays by name; as many blocks as there are."""
        depth = len({name.split(".")[1] for name in arrays if name.startswith("blocks.")})
        blocks = tuple(_Block.of(arrays, f"blocks.{i}", heads) for i in range(depth))
        return cls(_Linear.of(arrays, "embed"), blocks, _Layer.of(arrays, "actor.0"), _Linear.of(arrays, "actor.1"))

    @property
    def width(self) -> int:
        """Features of a step that it reads."""
        return len(self.embed.weight)

    def __call__(self, features: Vector) -> Vector:
        """Logits, shape (actions,), of one observation's features, shape (t, width)."""
        stream = self.embed(features)
        for block in self.blocks:
            stream = block(stream)
        return self.logits(self.actor(stream[-1]))


def _array(arrays: Arrays, name: str, dimensions: int) -> Vector:
    if name not in arrays or arrays[name].ndim != dimensions:
        raise ConfigError(f"network: no array {name} of {dimensions} dimensions")
    return np.asarray(arrays[name], np.float32)
