"""The Qwen3 layout written for fast CPU training, and its export to Hugging Face files.

Nothing here is new architecture: the exported files are plain `Qwen3ForCausalLM` / `Qwen3ForSequenceClassification`.
Only the initial values are special: a few heads start out attending to the previous tokens.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

HEAD = 32
EPS = 1e-6
ROPE_BASE = 1000.0
_GAIN = 1.5  # initial query and key norm weights: attention can become sharp early
_SLOW = 5  # rotary frequencies that a previous-token head reads


@dataclass(frozen=True)
class Shape:
    """Sizes of a model; head width is 32, keys and values have as many heads as queries."""

    width: int
    layers: int
    heads: int
    hidden: int
    vocabulary: int = 2048


def rotary(length: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines [length, 32] of the rotary embedding."""
    frequency = ROPE_BASE ** (-torch.arange(0, HEAD, 2).float() / HEAD)
    angle = torch.arange(length).float()[:, None] * frequency
    angle = torch.cat((angle, angle), -1)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return x * cos.to(x.dtype) + torch.cat((-second, first), -1) * sin.to(x.dtype)


class Block(nn.Module):
    """One Qwen3 layer. Projections are stored apart (as exported) and joined for the product."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width, inner = shape.width, shape.heads * HEAD
        self.heads, self.inner = shape.heads, inner
        self.q, self.k, self.v = (nn.Linear(width, inner, bias=False) for _ in range(3))
        self.o = nn.Linear(inner, width, bias=False)
        self.gate, self.up = (nn.Linear(width, shape.hidden, bias=False) for _ in range(2))
        self.down = nn.Linear(shape.hidden, width, bias=False)
        self.norm_in, self.norm_mlp = nn.RMSNorm(width, eps=EPS), nn.RMSNorm(width, eps=EPS)
        self.q_norm, self.k_norm = (nn.Parameter(torch.full((HEAD,), _GAIN)) for _ in range(2))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        """X [rows, length, width] -> the same shape. Attention is written out: on a CPU faster than SDPA in bf16."""
        rows, length, _ = x.shape
        weight = torch.cat((self.q.weight, self.k.weight, self.v.weight))
        q, k, v = F.linear(self.norm_in(x), weight).view(rows, length, 3, self.heads, HEAD).permute(2, 0, 3, 1, 4)
        q = rotate(F.rms_norm(q, (HEAD,), eps=EPS) * self.q_norm.to(q.dtype), cos, sin)
        k = rotate(F.rms_norm(k, (HEAD,), eps=EPS) * self.k_norm.to(k.dtype), cos, sin)
        attention = ((q @ k.transpose(-1, -2)) * HEAD**-0.5 + mask).softmax(-1).to(v.dtype)
        x = x + self.o((attention @ v).transpose(1, 2).reshape(rows, length, self.inner))
        gate, up = F.linear(self.norm_mlp(x), torch.cat((self.gate.weight, self.up.weight))).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class Model(nn.Module):
    """Embedding, layers, final norm; the output embedding is the input embedding."""

    def __init__(self, shape: Shape, longest: int = 640) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.width, eps=EPS)
        cos, sin = rotary(longest)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        mask = torch.full((longest, longest), float("-inf")).triu(1).bfloat16()
        self.register_buffer("mask", mask, persistent=False)
        nn.init.normal_(self.embedding.weight, std=0.1)
        for index, block in enumerate(self.blocks):
            init_block(block, previous=(1, 2, 3) if index == 0 else (1,))
        with torch.no_grad():
            # Qwen3 has no query and key bias; a constant coordinate plays one for the previous-token heads.
            self.embedding.weight[:, 0] = 0.3

    def layers(self, ids: Tensor) -> Tensor:
        """Hidden states [rows, length, width] before the final norm."""
        length = ids.shape[1]
        x: Tensor = self.embedding(ids)
        for block in self.blocks:
            x = block(x, self.cos[:length], self.sin[:length], self.mask[:length, :length])
        return x

    def loss(self, ids: Tensor, where: Tensor, target: Tensor, self_normalised: float = 0.0) -> Tensor:
        """Mean cross-entropy (nats) of the learnt tokens, plus the weighted square of log Z."""
        hidden = self.norm(self.layers(ids)).reshape(-1, self.shape.width)[where]
        logits = F.linear(hidden, self.embedding.weight).float()
        loss = F.cross_entropy(logits, target)
        return loss + self_normalised * logits.logsumexp(-1).square().mean() if self_normalised else loss


@torch.no_grad()
def init_block(block: Block, previous: tuple[int, ...], constant: int = 0) -> None:
    """Initial values; head i starts out attending to the token `previous[i]` places back, by rotary phase alone.

    `constant` is an input coordinate that never changes; it plays the query and key bias that Qwen3 lacks.
    """
    for linear in (block.q, block.k, block.v, block.gate, block.up):
        nn.init.normal_(linear.weight, std=0.5 / math.sqrt(linear.weight.shape[1]))
    nn.init.zeros_(block.o.weight)
    nn.init.zeros_(block.down.weight)
    frequency = ROPE_BASE ** (-torch.arange(0, HEAD, 2).float() / HEAD)[:_SLOW]
    half = HEAD // 2
    for head, offset in enumerate(previous[: block.heads - 1]):
        rows = slice(head * HEAD, (head + 1) * HEAD)
        query, key = torch.zeros(HEAD), torch.zeros(HEAD)
        key[:_SLOW] = 1.0
        query[:_SLOW] = torch.cos(-frequency * offset)
        query[half : half + _SLOW] = torch.sin(-frequency * offset)
        for linear, value in ((block.q, query), (block.k, key)):
            linear.weight[rows] *= 0.3
            linear.weight[rows, constant] = value


def tensors(model: Model) -> dict[str, Tensor]:
    """The weights under their Hugging Face names."""
    found = {"model.embed_tokens.weight": model.embedding.weight, "model.norm.weight": model.norm.weight}
    for i, block in enumerate(model.blocks):
        p = f"model.layers.{i}."
        for name in ("q", "k", "v", "o"):
            found[p + f"self_attn.{name}_proj.weight"] = getattr(block, name).weight
        for name in ("gate", "up", "down"):
            found[p + f"mlp.{name}_proj.weight"] = getattr(block, name).weight
        found[p + "input_layernorm.weight"] = block.norm_in.weight
        found[p + "post_attention_layernorm.weight"] = block.norm_mlp.weight
        found[p + "self_attn.q_norm.weight"] = block.q_norm
        found[p + "self_attn.k_norm.weight"] = block.k_norm
    return found


def read_model(folder: Path) -> Model:
    """The layers of an exported folder, in float32: exactly the numbers that are shipped."""
    values = json.loads((folder / "config.json").read_text())
    sizes = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")
    model = Model(Shape(*(values[size] for size in sizes)))
    weights = load_file(folder / "model.safetensors")
    with torch.no_grad():
        for name, tensor in tensors(model).items():
            tensor.copy_(weights[name])
    return model.eval()
