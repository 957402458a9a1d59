"""Write a trained model as plain Hugging Face files, with the graph that the embedded engine reads.

python -m recipes.export weak strong judge          # from runs/<name> to src/trim/embedded/<name>
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from recipes import graph, pretrain
from recipes.model import EPS, HEAD, ROPE_BASE, Model
from recipes.tokenizer import END, PAD, PATH, Encoder

TARGET = Path("src/trim/embedded")
CONTEXT = 4096
CHAT_TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'user' %}<|user|>{{ m['content'] }}"
    "{% elif m['role'] == 'assistant' %}<|assistant|>{{ m['content'] }}"
    "{% if not (continue_final_message and loop.last) %}<|end|>{% endif %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


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


def config(model: Model, encoder: Encoder, labels: int | None = None) -> dict[str, Any]:
    """`config.json` of a causal model, or of a classifier with `labels` labels."""
    shape = model.shape
    values: dict[str, Any] = {
        "architectures": ["Qwen3ForCausalLM" if labels is None else "Qwen3ForSequenceClassification"],
        "model_type": "qwen3",
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.width,
        "intermediate_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "head_dim": HEAD,
        "hidden_act": "silu",
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": EPS,
        "rope_theta": ROPE_BASE,
        "rope_parameters": {"rope_type": "default", "rope_theta": ROPE_BASE},
        "tie_word_embeddings": labels is None,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "use_cache": True,
        "use_sliding_window": False,
        "sliding_window": None,
        "max_window_layers": shape.layers,
        "bos_token_id": encoder.user,
        "eos_token_id": encoder.end,
        "pad_token_id": encoder.pad,
        "torch_dtype": "bfloat16",
        "dtype": "bfloat16",
    }
    if labels is not None:
        values |= {"num_labels": labels, "id2label": {"0": "bad", "1": "good"}, "label2id": {"bad": 0, "good": 1}}
    return values


def write(folder: Path, weights: dict[str, Tensor], settings: dict[str, Any], encoder: Encoder) -> None:
    """Write everything that a model folder holds, but its card."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = {name: value.detach().to("cpu", torch.bfloat16).contiguous().clone() for name, value in weights.items()}
    save_file(plain, folder / "model.safetensors", metadata={"format": "pt"})
    generation = {"do_sample": True, "temperature": 0.7, "top_p": 0.8, "top_k": 20}
    generation |= {"eos_token_id": encoder.end, "pad_token_id": encoder.pad}
    tokenizer = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": CONTEXT,
        "pad_token": PAD,
        "eos_token": END,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
    files = {"config.json": settings, "generation_config.json": generation, "tokenizer_config.json": tokenizer}
    for name, values in files.items():
        (folder / name).write_text(json.dumps(values, indent=1) + "\n")
    (folder / "tokenizer.json").write_text(PATH.read_text())
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    graph.write(folder)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        trained = pretrain.load(name)
        encoder = Encoder()
        write(TARGET / name, tensors(trained), config(trained, encoder), encoder)
        print(TARGET / name)
