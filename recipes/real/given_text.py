"""Log-probabilities of given text under a GGUF model, by llama.cpp in this process.

llama.cpp's server tells the log-probabilities of what a model writes, never of what it reads. Its C API does, and the
`xllamacpp` wheel exports it. Parameter structs are passed as they come from llama.cpp, with only the first fields
(sizes and threads) set. x86-64 Linux only: that is where a struct by value may be longer than the callee expects.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from ctypes import POINTER, c_bool, c_char_p, c_float, c_int8, c_int32, c_uint32, c_void_p
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trim.stats import FloatArray

TOP = (5, 20)  # likeliest tokens: what services tell at most of a text completion and of a chat
_WINDOW = 256  # tokens read at a time: their distributions are held in memory


class _Opaque(ctypes.Structure):
    """Any parameter struct; longer than all of them."""

    _fields_ = [("words", c_uint32 * 256)]


class _Batch(ctypes.Structure):
    _fields_ = [
        ("n_tokens", c_int32),
        ("token", POINTER(c_int32)),
        ("embd", POINTER(c_float)),
        ("pos", POINTER(c_int32)),
        ("n_seq_id", POINTER(c_int32)),
        ("seq_id", POINTER(POINTER(c_int32))),
        ("logits", POINTER(c_int8)),
    ]


_API = {  # name: result, arguments
    "llama_backend_init": (None, ()),
    "llama_model_default_params": (_Opaque, ()),
    "llama_model_load_from_file": (c_void_p, (c_char_p, _Opaque)),
    "llama_model_get_vocab": (c_void_p, (c_void_p,)),
    "llama_vocab_n_tokens": (c_int32, (c_void_p,)),
    "llama_context_default_params": (_Opaque, ()),
    "llama_init_from_model": (c_void_p, (c_void_p, _Opaque)),
    "llama_n_ctx": (c_uint32, (c_void_p,)),
    "llama_set_n_threads": (None, (c_void_p, c_int32, c_int32)),
    "llama_tokenize": (c_int32, (c_void_p, c_char_p, c_int32, POINTER(c_int32), c_int32, c_bool, c_bool)),
    "llama_batch_init": (_Batch, (c_int32, c_int32, c_int32)),
    "llama_decode": (c_int32, (c_void_p, _Batch)),
    "llama_get_logits": (POINTER(c_float), (c_void_p,)),
    "llama_get_memory": (c_void_p, (c_void_p,)),
    "llama_memory_clear": (None, (c_void_p, c_bool)),
}


@dataclass(frozen=True, slots=True)
class ReadToken:
    """How likely a model found a token of a text.

    Args:
        logprob: its log-probability (nats).
        entropy: of the whole distribution that it stands in (nats).
        top_entropies: by k, what is known of the entropy from the k likeliest tokens (nats): all others count as one.
    """

    logprob: float
    entropy: float
    top_entropies: dict[int, float]


class GivenText:
    """A model that reads text and says how likely each token was.

    Args:
        path: GGUF file.
        context: tokens of a text at most.
        threads: that compute.
    """

    def __init__(self, path: Path, *, context: int = 2048, threads: int = 1) -> None:
        import xllamacpp.xllamacpp as wheel

        self._c = ctypes.CDLL(wheel.__file__)
        for name, (result, arguments) in _API.items():
            function = getattr(self._c, name)
            function.restype, function.argtypes = result, arguments
        self._c.llama_backend_init()
        self._model = self._c.llama_model_load_from_file(str(path).encode(), self._c.llama_model_default_params())
        if not self._model:
            raise SystemExit(f"{path}: llama.cpp cannot load it")
        self._vocab = self._c.llama_model_get_vocab(self._model)
        self._size = self._c.llama_vocab_n_tokens(self._vocab)
        parameters = self._c.llama_context_default_params()
        parameters.words[0] = context
        self._context = self._c.llama_init_from_model(self._model, parameters)
        if not self._context or self._c.llama_n_ctx(self._context) != context:
            raise SystemExit("this llama.cpp has another layout of its parameters; use the wheel of the lock file")
        self._c.llama_set_n_threads(self._context, threads, threads)
        self._batch = self._c.llama_batch_init(_WINDOW, 0, 1)
        self.context = context

    def tokens(self, text: str, *, special: bool = False) -> list[int]:
        """The ids of a text; `special`: marks of the chat template are read as such."""
        data = text.encode()
        ids = (c_int32 * (len(data) + 8))()
        count = self._c.llama_tokenize(self._vocab, data, len(data), ids, len(ids), False, special)
        return list(ids[:count])

    def read(self, ids: list[int], start: int) -> list[ReadToken]:
        """What the model finds each token from `start` on."""
        self._c.llama_memory_clear(self._c.llama_get_memory(self._context), True)
        found: list[ReadToken] = []
        for first in range(0, len(ids) - 1, _WINDOW):
            window = ids[first : min(first + _WINDOW, len(ids) - 1)]
            wanted = [i for i in range(len(window)) if first + i + 1 >= start]
            self._fill(window, first, set(wanted))
            if code := self._c.llama_decode(self._context, self._batch):
                raise SystemExit(f"llama_decode: {code}")
            if wanted:
                logits = np.ctypeslib.as_array(self._c.llama_get_logits(self._context), (len(wanted), self._size))
                found += _read(logits, [ids[first + i + 1] for i in wanted])
        return found

    def _fill(self, window: list[int], first: int, wanted: set[int]) -> None:
        batch = self._batch
        batch.n_tokens = len(window)
        for i, token in enumerate(window):
            batch.token[i], batch.pos[i], batch.n_seq_id[i] = token, first + i, 1
            batch.seq_id[i][0] = 0
            batch.logits[i] = i in wanted


def _read(logits: FloatArray, ids: list[int]) -> Iterator[ReadToken]:
    for row, token in zip(logits, ids, strict=True):
        logprobs = row - row.max()
        logprobs -= np.log(np.exp(logprobs).sum())
        whole = -float((np.exp(logprobs) * logprobs).sum())
        yield ReadToken(float(logprobs[token]), whole, {k: _top_entropy(logprobs, k) for k in TOP})


def _top_entropy(logprobs: FloatArray, k: int) -> float:
    top = np.partition(logprobs, -k)[-k:].astype(float)
    rest = max(1.0 - float(np.exp(top).sum()), 0.0)
    return -float((np.exp(top) * top).sum()) - (rest * float(np.log(rest)) if rest else 0.0)
