"""The ONNX graph of a plain Qwen3 folder, without its weights.

    python -m recipes.onnx_graph src/trim/embedded/weak

Writes `model.onnx` (some kilobytes) beside `model.safetensors`; the engine puts the two together when it loads, so the
weights exist once. The graph reads new tokens against a key-value cache that the caller keeps:

    ids        [rows, new]                 token ids
    cos, sin   [rows, 1, new, 32]          rotary embedding at the new tokens' positions
    mask       [rows, 1, new, past + new]  0 where attention is allowed, very negative where not
    pick       [rows, picked]              which of the new tokens to give outputs for
    past_k.i   [rows, heads, 32, past]     keys of layer i, transposed; past_v.i [rows, heads, past, 32]
 -> out        [rows, picked, vocabulary or labels]
    new_k.i    [rows, heads, 32, new], new_v.i [rows, heads, new, 32]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save


class _Graph:
    """Collects nodes; each method returns the name of its result."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._constants: dict[tuple[float | int, ...], str] = {}

    def op(self, kind: str, *inputs: str, outputs: int = 1, name: str | None = None, **attributes: Any) -> Any:
        names = [name] if name else [f"{kind}_{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def weight(self, name: str, shape: tuple[int, ...]) -> str:
        """A weight whose values are given when the graph is loaded."""
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", "given-by-the-engine"
        self.initializers.append(tensor)
        return name

    def ints(self, *values: int) -> str:
        return self._constant(np.array(values, np.int64), values)

    def number(self, value: float) -> str:
        return self._constant(np.array(value, np.float32), (value, 0.5))

    def _constant(self, array: np.ndarray, key: tuple[float | int, ...]) -> str:
        if key not in self._constants:
            self._constants[key] = f"constant_{len(self._constants)}"
            self.initializers.append(numpy_helper.from_array(array, self._constants[key]))
        return self._constants[key]

    def norm(self, x: str, weight: str) -> str:
        return str(self.op("SimplifiedLayerNormalization", x, weight, axis=-1, epsilon=1e-6, stash_type=1))

    def rotate(self, x: str) -> str:
        """X cos + rotate_half(x) sin."""
        first, second = self.op("Split", x, outputs=2, axis=-1, num_outputs=2)
        turned = self.op("Concat", self.op("Neg", second), first, axis=-1)
        return str(self.op("Add", self.op("Mul", x, "cos"), self.op("Mul", turned, "sin")))


def _layer(g: _Graph, x: str, i: int, config: dict[str, Any]) -> str:
    width, hidden = config["hidden_size"], config["intermediate_size"]
    heads, head = config["num_attention_heads"], config["head_dim"]
    p = f"model.layers.{i}."
    h = g.norm(x, g.weight(p + "input_layernorm.weight", (width,)))

    def project(name: str, order: list[int], normed: bool) -> str:
        y = g.op("MatMul", h, g.weight(p + f"self_attn.{name}_proj.weight", (width, heads * head)))
        y = g.op("Reshape", y, g.ints(0, 0, heads, head))
        if normed:
            y = g.norm(y, g.weight(p + f"self_attn.{name}_norm.weight", (head,)))
        return str(g.op("Transpose", y, perm=order))

    q = g.rotate(project("q", [0, 2, 1, 3], True))
    k = g.rotate(project("k", [0, 2, 1, 3], True))
    k = g.op("Transpose", k, name=f"new_k.{i}", perm=[0, 1, 3, 2])
    v = g.op("Identity", project("v", [0, 2, 1, 3], False), name=f"new_v.{i}")
    q = g.op("Mul", q, g.number(head**-0.5))
    logits = g.op("Concat", g.op("MatMul", q, f"past_k.{i}"), g.op("MatMul", q, k), axis=-1)
    weights = g.op("Softmax", g.op("Add", logits, "mask"), axis=-1)
    past = g.op("Shape", f"past_v.{i}", start=2, end=3)
    new = g.op("Shape", v, start=2, end=3)
    old_weights, new_weights = g.op("Split", weights, g.op("Concat", past, new, axis=0), outputs=2, axis=-1)
    mixed = g.op("Add", g.op("MatMul", old_weights, f"past_v.{i}"), g.op("MatMul", new_weights, v))
    mixed = g.op("Reshape", g.op("Transpose", mixed, perm=[0, 2, 1, 3]), g.ints(0, 0, heads * head))
    x = g.op("Add", x, g.op("MatMul", mixed, g.weight(p + "self_attn.o_proj.weight", (heads * head, width))))
    h = g.norm(x, g.weight(p + "post_attention_layernorm.weight", (width,)))
    gate = g.op("MatMul", h, g.weight(p + "mlp.gate_proj.weight", (width, hidden)))
    up = g.op("MatMul", h, g.weight(p + "mlp.up_proj.weight", (width, hidden)))
    inner = g.op("Mul", g.op("Mul", gate, g.op("Sigmoid", gate)), up)
    return str(g.op("Add", x, g.op("MatMul", inner, g.weight(p + "mlp.down_proj.weight", (hidden, width)))))


def build(config: dict[str, Any]) -> Any:
    """The model proto for a Hugging Face `config.json` of a Qwen3 causal model or two-label classifier."""
    g = _Graph()
    heads, head, layers = config["num_attention_heads"], config["head_dim"], config["num_hidden_layers"]
    width, vocabulary = config["hidden_size"], config["vocab_size"]
    if config["num_key_value_heads"] != heads:
        raise ValueError("grouped key-value heads are not supported")
    x = g.op("Gather", g.weight("model.embed_tokens.weight", (vocabulary, width)), "ids")
    for i in range(layers):
        x = _layer(g, x, i, config)
    picked = g.op("GatherND", x, g.op("Unsqueeze", "pick", g.ints(2)), batch_dims=1)
    picked = g.norm(picked, g.weight("model.norm.weight", (width,)))
    outputs = config.get("num_labels", vocabulary)
    g.op("MatMul", picked, g.weight("output", (width, outputs)), name="out")
    f, n = TensorProto.FLOAT, TensorProto.INT64
    value = helper.make_tensor_value_info
    inputs = [
        value("ids", n, ["rows", "new"]),
        value("cos", f, ["rows", 1, "new", head]),
        value("sin", f, ["rows", 1, "new", head]),
        value("mask", f, ["rows", 1, "new", "all"]),
        value("pick", n, ["rows", "picked"]),
    ]
    results = [value("out", f, ["rows", "picked", outputs])]
    for i in range(layers):
        inputs.append(value(f"past_k.{i}", f, ["rows", heads, head, "past"]))
        inputs.append(value(f"past_v.{i}", f, ["rows", heads, "past", head]))
        results.append(value(f"new_k.{i}", f, ["rows", heads, head, "new"]))
        results.append(value(f"new_v.{i}", f, ["rows", heads, "new", head]))
    graph = helper.make_graph(g.nodes, "qwen3", inputs, results, g.initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def write(folder: Path) -> None:
    """Write `model.onnx` into a model folder."""
    save(build(json.loads((folder / "config.json").read_text())), str(folder / "model.onnx"))


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        write(Path(argument))
