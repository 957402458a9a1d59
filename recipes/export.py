"""Write a trained model as plain Hugging Face files, with the graph that the embedded engine reads.

python -m recipes.export weak strong judge prm prm-small     # newest weights of runs/<name> to src/trim/embedded/<name>
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from recipes import onnx_graph, pretrain, prm
from recipes.model import EPS, HEAD, ROPE_BASE, Model, tensors
from recipes.pretrain import TARGET
from recipes.tokenizer import END, PAD, PATH, Encoder

CONTEXT = 4096
CHAT_TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'user' %}<|user|>{{ m['content'] }}"
    "{% elif m['role'] == 'assistant' %}<|assistant|>{{ m['content'] }}"
    "{% if not (continue_final_message and loop.last) %}<|end|>{% endif %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


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
    onnx_graph.write(folder)


def main() -> None:
    """Export what is named."""
    encoder = Encoder()
    for name in sys.argv[1:]:
        if name in prm.RUNS:
            reward = prm.load(name, encoder)
            weights = tensors(reward.body) | {"score.weight": reward.score.weight}
            write(TARGET / name, weights, config(reward.body, encoder, labels=2), encoder)
        else:
            trained = pretrain.load(name)
            write(TARGET / name, tensors(trained), config(trained, encoder), encoder)
        print(TARGET / name)


if __name__ == "__main__":
    main()
