"""The head of a GGUF file, llama.cpp's format of models: its chat templates and control tokens, and its size.

The format is that of ggml's GGUF specification, versions 2 and 3. Weights are not read.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from mmap import ACCESS_READ, mmap
from pathlib import Path

from trim.control_tokens import is_control
from trim.errors import ConfigError
from trim.model_files import ModelFiles

Value = int | float | bool | str | list["Value"]
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_UNKNOWN, _CONTROL, _USER_DEFINED = 2, 3, 4  # types of tokens
_TEMPLATE, _TOKENIZER = "tokenizer.chat_template", "tokenizer.ggml."
_WANTED = ("tokens", "token_type")  # lists of the tokenizer; others, such as its merges, are long and not needed
_SAMPLE = 1 << 20  # bytes at each end of a file
_HALF = 2  # bytes of a 16-bit float
_NAMES = {"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "padding": "pad_token"}


def read_gguf_files(path: Path) -> ModelFiles:
    """What the file says of its tokenizer.

    Raises:
        ConfigError: it is no GGUF file, or cut off.
    """
    return _files(_values(path, lambda key: key.removeprefix(_TOKENIZER) in _WANTED))


@dataclass(frozen=True)
class GgufModel:
    """What a model needs.

    Args:
        architecture: llama.cpp's name for it, such as "qwen2"; empty: the file does not say, it is no language model.
        context: tokens that it was trained to read, or None.
        token_bytes: memory that a token takes in the cache of keys and values, at 16 bits; an upper bound where layers
            see a window only.
        vocabulary: number of tokens.
        parts: files that the model is split into.
    """

    architecture: str
    context: int | None
    token_bytes: int
    vocabulary: int
    parts: int


def read_gguf_model(path: Path) -> GgufModel:
    """What the file says of its model.

    Raises:
        ConfigError: it is no GGUF file, or cut off.
    """
    values = _values(path, lambda _: False)
    architecture = str(values.get("general.architecture", ""))

    def number(key: str, otherwise: int = 0) -> int:
        value = values.get(key)
        return value if isinstance(value, int) else otherwise

    own = f"{architecture}."
    layers, heads = number(f"{own}block_count"), max(number(f"{own}attention.head_count", 1), 1)
    width = number(f"{own}embedding_length") // heads
    length = number(f"{own}attention.key_length", width) + number(f"{own}attention.value_length", width)
    by_layer = values.get(f"{own}attention.head_count_kv")
    if isinstance(by_layer, list):
        cached = sum(kept for kept in by_layer if isinstance(kept, int))
    else:
        cached = layers * number(f"{own}attention.head_count_kv", heads)
    return GgufModel(
        architecture,
        number(f"{own}context_length") or None,
        cached * length * _HALF,
        number(f"{_TOKENIZER}tokens"),
        max(number("split.count", 1), 1),
    )


def gguf_fingerprint(path: Path) -> str:
    """Eight characters that change with a model: of its size, its head and its last weights, since reading all of them
    takes seconds.

    Raises:
        ConfigError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            digest = sha256(f"{size} ".encode() + file.read(_SAMPLE))
            file.seek(max(size - _SAMPLE, 0))
            digest.update(file.read(_SAMPLE))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; give the path of a GGUF file") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    return digest.hexdigest()[:8]


def _values(path: Path, whole: Callable[[str], bool]) -> dict[str, Value]:
    """The key-value pairs of a file's head; of a long list only its length, unless `whole` of its key is true."""
    try:
        with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            return _Reader(data, whole).values()
    except (OSError, ValueError, struct.error, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read as a GGUF file: {error}") from None


class _Reader:
    """Reads values one after the other."""

    def __init__(self, data: mmap, whole: Callable[[str], bool]) -> None:
        self._data = data
        self._whole = whole
        self._at = 0

    def values(self) -> dict[str, Value]:
        """All key-value pairs of the head."""
        if self._bytes(4) != b"GGUF":
            raise ValueError("it does not begin with GGUF")
        version, _, pairs = self._number("I"), self._number("Q"), self._number("Q")
        if version not in (2, 3):
            raise ValueError(f"version {version} is not known")
        found: dict[str, Value] = {}
        for _ in range(int(pairs)):
            key = self._string()
            kind = int(self._number("I"))
            short = kind == _ARRAY and key.startswith(_TOKENIZER) and not self._whole(key)
            found[key] = self._length() if short else self._value(kind)
        return found

    def _length(self) -> int:
        """How many values a list has; goes past them without reading them."""
        kind, count = int(self._number("I")), int(self._number("Q"))
        if kind in _NUMBERS:
            self._bytes(count * struct.calcsize(f"<{_NUMBERS[kind]}"))
        elif kind == _STRING:
            size = struct.Struct("<Q")
            for _ in range(count):
                self._at += size.size + size.unpack_from(self._data, self._at)[0]
        else:
            for _ in range(count):
                self._value(kind)
        return count

    def _bytes(self, count: int) -> bytes:
        if self._at + count > len(self._data):
            raise ValueError("it is cut off")
        self._at += count
        return self._data[self._at - count : self._at]

    def _number(self, kind: str) -> int | float | bool:
        value: int | float | bool = struct.unpack(f"<{kind}", self._bytes(struct.calcsize(f"<{kind}")))[0]
        return value

    def _string(self) -> str:
        return self._bytes(int(self._number("Q"))).decode("utf-8", "replace")

    def _value(self, kind: int) -> Value:
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            return self._number(self._kind(kind))
        kind, count = int(self._number("I")), int(self._number("Q"))
        if kind in _NUMBERS:
            form = f"<{count}{_NUMBERS[kind]}"
            return list(struct.unpack(form, self._bytes(struct.calcsize(form))))
        read: Callable[[], Value] = self._string if kind == _STRING else lambda: self._value(kind)
        return [read() for _ in range(count)]

    def _kind(self, kind: int) -> str:
        if kind not in _NUMBERS:
            raise ValueError(f"a value of unknown type {kind}")
        return _NUMBERS[kind]


def _files(values: dict[str, Value]) -> ModelFiles:
    templates = {
        key.removeprefix(_TEMPLATE).removeprefix(".") or "default": value
        for key, value in values.items()
        if isinstance(value, str) and (key == _TEMPLATE or key.startswith(f"{_TEMPLATE}."))
    }
    tokens, kinds = (_list(values.get(f"{_TOKENIZER}{name}")) for name in ("tokens", "token_type"))
    by_kind = [(str(token), kind) for token, kind in zip(tokens, kinds, strict=False)]
    named: dict[str, str] = {}
    for name, token in _NAMES.items():
        number = values.get(f"{_TOKENIZER}{name}_token_id")
        if isinstance(number, int) and 0 <= number < len(tokens):
            named[token] = str(tokens[number])
    adds = values.get(f"{_TOKENIZER}add_bos_token")
    first = None if not isinstance(adds, bool) else named.get("bos_token", "") if adds else ""
    return ModelFiles(
        templates,
        tuple(named.items()),
        tuple(token for token, kind in by_kind if kind in (_CONTROL, _UNKNOWN) and token.strip()),
        tuple(token for token, kind in by_kind if kind == _USER_DEFINED and token and is_control(token)),
        bool(kinds),
        first,
    )


def _list(value: Value | None) -> list[Value]:
    return value if isinstance(value, list) else []
