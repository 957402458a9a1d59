"""A tiny random Qwen3 folder, made from the shipped weak model's files, for tests that must not depend on training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trim.backends.onnx_engine import _float32  # the one reader of weights
from trim.backends.onnx_model import shipped

Weights = dict[str, NDArray[np.float32]]


def read_weights(folder: Path) -> Weights:
    """The weights of a folder under their Hugging Face names, as float32 [out, in]."""
    from safetensors import deserialize

    raw: dict[str, Any] = dict(deserialize((folder / "model.safetensors").read_bytes()))  # type: ignore[no-untyped-call]
    return {name: _float32(bytes(e["data"]), e["dtype"], e["shape"]) for name, e in raw.items()}


def reference_logits(folder: Path, ids: list[int]) -> NDArray[np.float64]:
    """A plain forward pass in float64, written from the Qwen3 description: [length, vocabulary or labels]."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    w = {name: value.astype(np.float64) for name, value in read_weights(folder).items()}
    heads, head, n = config["num_attention_heads"], config["head_dim"], len(ids)

    def norm(x: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
        scaled: NDArray[np.float64] = x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6) * weight
        return scaled

    frequency = config["rope_theta"] ** (-np.arange(0, head, 2) / head)
    angle = np.arange(n)[:, None] * np.concatenate((frequency, frequency))

    def rotate(x: NDArray[np.float64]) -> NDArray[np.float64]:
        half = np.concatenate((-x[..., head // 2 :], x[..., : head // 2]), -1)
        turned: NDArray[np.float64] = x * np.cos(angle) + half * np.sin(angle)
        return turned

    x = w["model.embed_tokens.weight"][ids]
    for i in range(config["num_hidden_layers"]):
        p = f"model.layers.{i}."
        h = norm(x, w[p + "input_layernorm.weight"])
        q, k, v = (
            (h @ w[p + f"self_attn.{name}_proj.weight"].T).reshape(n, heads, head).transpose(1, 0, 2) for name in "qkv"
        )
        q = rotate(norm(q, w[p + "self_attn.q_norm.weight"]))
        k = rotate(norm(k, w[p + "self_attn.k_norm.weight"]))
        scores = q @ k.transpose(0, 2, 1) / np.sqrt(head) + np.triu(np.full((n, n), -1e30), 1)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (scores / scores.sum(-1, keepdims=True)) @ v
        x = x + mixed.transpose(1, 0, 2).reshape(n, -1) @ w[p + "self_attn.o_proj.weight"].T
        h = norm(x, w[p + "post_attention_layernorm.weight"])
        gate, up = h @ w[p + "mlp.gate_proj.weight"].T, h @ w[p + "mlp.up_proj.weight"].T
        x = x + (gate / (1 + np.exp(-gate)) * up) @ w[p + "mlp.down_proj.weight"].T
    output = w.get("score.weight", w["model.embed_tokens.weight"])
    logits: NDArray[np.float64] = norm(x, w["model.norm.weight"]) @ output.T
    return logits


WEAK = shipped("weak")
