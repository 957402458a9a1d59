"""Texts as vectors: a light default without a model, an OpenAI-compatible endpoint, or sentence-transformers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Protocol
from zlib import crc32

import numpy as np

from trim.addresses import Address
from trim.backends.environment import check_connections, usable_key
from trim.errors import BackendUnavailable, BadResponse, ConfigError
from trim.redaction import hide, redact_library_logs
from trim.stats import FloatArray

_WORD = re.compile(r"[a-z]+|\d|[^\sa-z\d]")
_DIMENSIONS = 1024


class Embedder(Protocol):
    """Turns texts into vectors; `name` says how, so that a trained router is used with the same one."""

    @property
    def name(self) -> str: ...

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """One vector of length 1 for each text, shape (N, D)."""
        ...


class HashedNgrams:
    """Words, pairs of words and parts of words, hashed into 1,024 signed counts. Deterministic, no training.

    Digits are words of their own, whatever number they stand in; a count c weighs 1 + log c.
    """

    name = "hashed-ngrams"

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """One vector of length 1 for each text."""
        made = np.zeros((len(texts), _DIMENSIONS))
        for row, text in zip(made, texts, strict=True):
            for feature, count in Counter(_features(text)).items():
                place = crc32(feature.encode("utf-8", "replace"))
                row[place % _DIMENSIONS] += (1 if place >> 31 else -1) * (1 + np.log(count))
        return _unit(made)


def _unit(rows: FloatArray) -> FloatArray:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))


def _features(text: str) -> Iterator[str]:
    words = _WORD.findall(text.lower())
    yield from words
    yield from (f"{first} {second}" for first, second in pairwise(words))
    for word in words:
        padded = f"<{word}>"
        yield from (padded[start : start + 4] for start in range(max(0, len(padded) - 3)) if len(word) > 3)


class EndpointEmbeddings:
    """Vectors from an OpenAI-compatible `/embeddings`.

    Args:
        base_url: the API's address with its `/v1`.
        model: the server's name for it.
        api_key: if one is needed.
        timeout: seconds for a request of up to 64 texts.
    """

    def __init__(self, base_url: str, model: str, *, api_key: str | None = None, timeout: float = 60.0) -> None:
        check_connections()
        redact_library_logs()
        address = Address(base_url)
        self.name = f"{model} at {address}"
        self._url = f"{address.rstrip('/')}/embeddings"
        self._query = dict(address.parameters)
        self._model = model
        self._headers = address.headers
        if api_key:
            hide(api_key)
            self._headers = {"Authorization": f"Bearer {usable_key(api_key, model)}"}
        self._timeout = timeout

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """See `Embedder`.

        Raises:
            BackendError: the server cannot be reached or answers with something else.
        """
        rows: list[FloatArray] = [self._ask(texts[first : first + 64]) for first in range(0, len(texts), 64)]
        return _unit(np.concatenate(rows))

    def _ask(self, texts: Sequence[str]) -> FloatArray:
        import httpx

        server = f"embedding model {self.name}"
        body = {"model": self._model, "input": list(texts)}
        try:
            answer = httpx.post(self._url, params=self._query, json=body, headers=self._headers, timeout=self._timeout)
        except httpx.HTTPError as error:
            raise BackendUnavailable(server, str(error) or type(error).__name__) from None
        try:
            answer.raise_for_status()
            data = sorted(answer.json()["data"], key=lambda entry: int(entry["index"]))
            made = np.array([entry["embedding"] for entry in data], float)
        except (httpx.HTTPStatusError, ValueError, KeyError, TypeError) as error:
            raise BadResponse(server, f"no embeddings: {error}") from None
        if made.ndim != 2 or len(made) != len(texts):
            raise BadResponse(server, f"embeddings of shape {made.shape} for {len(texts)} texts")
        return made


class SentenceTransformer:
    """Vectors from a sentence-transformers model, which the user installs (`pip install sentence-transformers`)."""

    def __init__(self, model: str) -> None:
        try:
            from sentence_transformers import SentenceTransformer as Model
        except ImportError:
            raise ConfigError("sentence-transformers is not installed: pip install sentence-transformers") from None
        self.name = f"sentence-transformers:{model}"
        self._model: Any = Model(model)

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """One vector of length 1 for each text."""
        return np.asarray(self._model.encode(list(texts), normalize_embeddings=True), float)


def open_embedder(name: str, api_key: str | None = None) -> Embedder:
    """An embedder by its `name`: `hashed-ngrams`, `sentence-transformers:MODEL`, or `MODEL at URL`.

    Raises:
        ConfigError: it is none of these, or not installed.
    """
    if name == HashedNgrams.name:
        return HashedNgrams()
    if name.startswith("sentence-transformers:"):
        return SentenceTransformer(name.partition(":")[2])
    model, at, url = name.partition(" at ")
    if not at or not url.startswith(("http://", "https://")):
        raise ConfigError(
            f"embedder {name!r}: write {HashedNgrams.name}, sentence-transformers:MODEL or 'MODEL at http://.../v1'"
        )
    return EndpointEmbeddings(url, model, api_key=api_key)
