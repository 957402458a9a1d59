"""GGUF files that are a head without weights."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any


def write_gguf(path: Path, **values: Any) -> Path:
    """Write a file whose head has these values; two underscores stand for a dot."""
    pairs = [_pair(key.replace("__", "."), value) for key, value in values.items()]
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)) + b"".join(pairs) + b"weights")
    return path


def write_model(path: Path, **values: Any) -> Path:
    """A model like Qwen2.5-Coder-0.5B-Instruct: 24 layers, 2 of 14 heads kept, 896 wide, 32,768 tokens."""
    usual: dict[str, Any] = {
        "general__architecture": "qwen2",
        "qwen2__block_count": 24,
        "qwen2__context_length": 32768,
        "qwen2__embedding_length": 896,
        "qwen2__attention__head_count": 14,
        "qwen2__attention__head_count_kv": 2,
        "tokenizer__ggml__tokens": ["a", "b", "<|im_end|>"],
        "tokenizer__ggml__token_type": [1, 1, 3],
        "tokenizer__chat_template": "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>",
    }
    return write_gguf(path, **(usual | values))


def packed_text(text: str) -> bytes:
    """A text as the format has it."""
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _pair(key: str, value: Any) -> bytes:
    if isinstance(value, bool):
        packed = struct.pack("<I?", 7, value)
    elif isinstance(value, int):
        packed = struct.pack("<II", 4, value)
    elif isinstance(value, str):
        packed = struct.pack("<I", 8) + packed_text(value)
    elif isinstance(value[0], str):
        packed = struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(packed_text, value))
    else:
        packed = struct.pack(f"<IIQ{len(value)}i", 9, 5, len(value), *value)
    return packed_text(key) + packed
