"""The in-process engine: plain Qwen3 folders on ONNX Runtime, many questions sharing batches.

One thread a model runs all its work. Jobs that wait are read together, then all open drafts advance token by token in
one batch. Keys and values are kept across the steps of a solution, so a step reads only tokens that are new.

Seeded runs repeat exactly whatever runs beside them and whatever ran before:
- a row's numbers do not depend on the rest of its batch: a batch has at least two rows (one row takes another kernel),
  prompts are padded by their own length and not by their neighbours', cache lengths are multiples of 64;
- cached keys and values depend on the text alone: they are always computed piece by piece (the prompt, then each kept
  step), never taken over from decoding, whose rounding differs in the last bit.
`tests/backends/test_onnx_engine.py` holds the engine to both, bit by bit.
"""

from __future__ import annotations

import json
import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trim.errors import BackendError, ConfigError, InputTooLong, MissingExtra

Array = NDArray[np.float32]
_BLOCK = 64  # cache lengths are multiples of this
_CHUNKS = (8, 16, 32, 64, 128, 256)  # pieces are padded to one of these lengths; longer ones are cut
_TOGETHER = 32  # pieces that are read in one run at most: more would only need more memory
_FORBIDDEN = np.float32(-1e30)


@dataclass(slots=True)
class Cache:
    """Keys and values of the pieces of a text: `k` [layers, heads, 32, size], `v` [layers, heads, size, 32]."""

    k: Array
    v: Array
    pieces: list[list[int]] = field(default_factory=list)
    notes: dict[int, Any] = field(default_factory=dict)  # results by the position where their piece ends

    @property
    def used(self) -> int:
        """Tokens in the cache."""
        return sum(map(len, self.pieces))

    def grow(self, length: int) -> None:
        """Enlarge the arrays to hold `length` tokens."""
        size = _blocks(length)
        if size > self.v.shape[2]:
            layers, heads, head, _ = self.k.shape
            k = np.zeros((layers, heads, head, size), np.float32)
            v = np.zeros((layers, heads, size, head), np.float32)
            used = self.used
            k[..., :used], v[..., :used, :] = self.k[..., :used], self.v[..., :used, :]
            self.k, self.v = k, v

    def shared(self, pieces: Sequence[list[int]]) -> int:
        """Leading pieces that it already holds (pieces longer than a chunk count as not held)."""
        same = 0
        for old, new in zip(self.pieces, pieces, strict=False):
            if old != new:
                break
            same += 1
        return same

    def keep(self, pieces: Sequence[list[int]]) -> int:
        """Drop what does not begin `pieces`; how many pieces stay."""
        same = self.shared(pieces)
        del self.pieces[same:]
        return same


@dataclass(slots=True)
class Job:
    """Bring a cache to `pieces`, give outputs, then let `step` choose further tokens.

    `pick`: for each piece, the positions in it whose outputs are wanted; a piece with any is read even if it is in the
    cache. The future holds those outputs as [number picked, outputs].
    `step`: called with the outputs after the newest token (the last of the last piece must be picked); returns the
    next token, or None to stop. Runs in the engine's thread.
    """

    cache: Cache
    pieces: list[list[int]]
    pick: list[list[int]]
    step: Callable[[Array], int | None] | None = None
    future: Future[Array] = field(default_factory=Future)
    cancelled: bool = False
    outputs: list[Array] = field(default_factory=list)
    token: int = -1  # chosen last
    length: int = 0  # tokens read and chosen

    def resolve(self) -> None:
        """Hand the picked outputs over. The event loop's thread may cancel the future at any time."""
        with suppress(InvalidStateError):
            self.future.set_result(np.concatenate(self.outputs) if self.outputs else np.zeros((0, 0), np.float32))

    def fail(self, error: BackendError) -> None:
        """Hand an error over, unless the job is done or cancelled."""
        with suppress(InvalidStateError):
            self.future.set_exception(error)


class _Batch:
    """The open drafts: keys and values of all rows in one block, so that a token costs no copying.

    `k` [layers, rows, heads, 32, past], `v` [layers, rows, heads, past, 32], `mask` [rows, 1, 1, past + 1].
    """

    def __init__(self, layers: int, heads: int, head: int) -> None:
        self.jobs: list[Job] = []
        self.used = np.zeros(0, np.int64)
        self._sizes = layers, heads, head
        self._allocate(0, 0)

    def _allocate(self, rows: int, past: int) -> None:
        layers, heads, head = self._sizes
        self.k = np.zeros((layers, rows, heads, head, past), np.float32)
        self.v = np.zeros((layers, rows, heads, past, head), np.float32)
        self.mask = np.full((rows, 1, 1, past + 1), _FORBIDDEN)
        self.mask[..., past:] = 0

    def _ensure(self, rows: int, past: int) -> None:
        have_rows, have_past = self.k.shape[1], self.k.shape[4]
        if rows <= have_rows and past <= have_past:
            return
        k, v, mask = self.k, self.v, self.mask
        self._allocate(max(have_rows, -(-rows // 8) * 8), max(have_past, _blocks(past)))
        self.k[:, :have_rows, ..., :have_past], self.v[:, :have_rows, :, :have_past] = k, v
        self.mask[:have_rows, ..., :have_past] = mask[..., :have_past]
        self.used = np.concatenate((self.used, np.zeros(self.k.shape[1] - len(self.used), np.int64)))

    def add(self, job: Job) -> None:
        """A row for a job whose cache is complete."""
        row, used, cache = len(self.jobs), job.cache.used, job.cache
        self._ensure(row + 2, used + 1)
        self.k[:, row, ..., :used], self.v[:, row, :, :used] = cache.k[..., :used], cache.v[:, :, :used]
        self.mask[row, ..., :-1], self.mask[row, ..., :used] = _FORBIDDEN, 0
        self.used[row] = used
        self.jobs.append(job)

    def remove(self, row: int) -> None:
        """Drop a row; the last one takes its place."""
        last = len(self.jobs) - 1
        if row != last:
            used = self.used[last]
            self.k[:, row, ..., :used], self.v[:, row, :, :used] = (
                self.k[:, last, ..., :used],
                self.v[:, last, :, :used],
            )
            self.mask[row], self.used[row] = self.mask[last], used
            self.jobs[row] = self.jobs[last]
        self.jobs.pop()
        if not self.jobs:
            self._allocate(0, 0)
            self.used = np.zeros(0, np.int64)

    def extend(self, new: list[Array]) -> None:
        """Take over the keys and values [rows, heads, 32, 1] / [rows, heads, 1, 32] of the token just read."""
        rows = np.arange(len(self.jobs))
        used = self.used[: len(rows)]
        for layer in range(self.k.shape[0]):
            self.k[layer][rows, ..., used] = new[2 * layer][: len(rows), ..., 0]
            self.v[layer][rows, :, used] = new[2 * layer + 1][: len(rows), :, 0]
        self.mask[rows, 0, 0, used] = 0
        self.used[: len(rows)] += 1
        self._ensure(0, int(self.used.max()) + 1)


class Engine:
    """One model folder, loaded.

    Args:
        folder: Hugging Face files of a plain Qwen3 model, with the `model.onnx` that `recipes.onnx_graph` writes.
        threads: ONNX Runtime threads.

    Raises:
        ConfigError: a file is missing or the files don't belong together; says which.
        MissingExtra: onnxruntime is not installed.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        self.folder = folder
        config = _read_config(folder)
        self.context = int(config["max_position_embeddings"])
        self.layers = int(config["num_hidden_layers"])
        self.heads = int(config["num_attention_heads"])
        self.head = int(config["head_dim"])
        frequency = config["rope_theta"] ** (-np.arange(0, self.head, 2, dtype=np.float64) / self.head)
        angle = np.arange(self.context)[:, None] * np.concatenate((frequency, frequency))
        self._cos, self._sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
        self._session = _session(folder, config, threads)
        self._names = [f"{part}_{kind}.{i}" for i in range(self.layers) for part, kind in (("new", "k"), ("new", "v"))]
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def cache(self) -> Cache:
        """An empty cache."""
        shape = (self.layers, self.heads, self.head, 0)
        return Cache(np.zeros(shape, np.float32), np.zeros((*shape[:2], 0, self.head), np.float32))

    def submit(self, job: Job) -> Future[Array]:
        """Queue a job; its future holds the outputs at `pick` once the job is done.

        Raises:
            InputTooLong: the tokens don't fit the model's context.
        """
        if (length := sum(map(len, job.pieces))) > self.context:
            raise InputTooLong(self._name, f"{length} tokens, the context is {self.context}")
        cuts = [cut for piece, pick in zip(job.pieces, job.pick, strict=True) for cut in _cut(piece, pick)]
        job.pieces, job.pick = [piece for piece, _ in cuts], [pick for _, pick in cuts]
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=f"trim-{self.folder.name}", daemon=True)
                self._thread.start()
        self._jobs.put(job)
        return job.future

    def close(self) -> None:
        """Stop the thread; jobs that are still open are cancelled."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            thread.join()

    # The thread -------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        batch = _Batch(self.layers, self.heads, self.head)
        while True:
            arrived = self._arrivals(wait=not batch.jobs)
            if arrived is None:
                for job in batch.jobs:
                    job.fail(BackendError(self._name, "closed while it was writing"))
                return
            try:
                self._prefill([job for job in arrived if not job.cancelled])
                for job in arrived:
                    if self._advance(job):
                        batch.add(job)
                if batch.jobs:
                    self._decode(batch)
            except Exception as error:  # whatever went wrong belongs to the jobs, not to this thread
                for job in {id(job): job for job in batch.jobs + arrived}.values():
                    job.fail(BackendError(self._name, repr(error)))
                batch = _Batch(self.layers, self.heads, self.head)

    @property
    def _name(self) -> str:
        return f"embedded model {self.folder.name}"

    def _arrivals(self, *, wait: bool) -> list[Job] | None:
        """Jobs that came in; None: close."""
        arrived: list[Job] = []
        while True:
            try:
                job = self._jobs.get(block=wait and not arrived)
            except queue.Empty:
                return arrived
            if job is None:
                return None
            arrived.append(job)

    def _advance(self, job: Job) -> bool:
        """Whether the job goes on with another token; otherwise it is resolved."""
        if not job.cancelled and job.step is not None and job.length < self.context:
            token = job.step(job.outputs[-1][-1])
            if token is not None:
                job.token = token
                job.length += 1
                return True
        job.resolve()
        return False

    def _prefill(self, jobs: list[Job]) -> None:
        """Read each job's new pieces; those of one padded length go together."""
        waiting: dict[int, list[tuple[list[int], list[int]]]] = {}
        for job in jobs:
            first = next((i for i, pick in enumerate(job.pick) if pick), len(job.pieces))
            start = job.cache.keep(job.pieces[:first])
            job.length = sum(map(len, job.pieces))
            waiting[id(job)] = list(zip(job.pieces[start:], job.pick[start:], strict=True))
        while True:
            groups: dict[int, list[Job]] = defaultdict(list)
            for job in jobs:
                if waiting[id(job)]:
                    length = len(waiting[id(job)][0][0])
                    groups[next(size for size in _CHUNKS if size >= length)].append(job)
            if not groups:
                return
            for size, group in groups.items():
                for start in range(0, len(group), _TOGETHER):
                    part = group[start : start + _TOGETHER]
                    self._read(part, [waiting[id(job)].pop(0) for job in part], size)

    def _read(self, jobs: list[Job], cuts: list[tuple[list[int], list[int]]], size: int) -> None:
        """Read one piece of each job into its cache."""
        rows, used = max(2, len(jobs)), [job.cache.used for job in jobs]
        past = max(_BLOCK, _blocks(max(used)))
        ids, position = np.zeros((rows, size), np.int64), np.zeros((rows, size), np.int64)
        mask = np.full((rows, 1, size, past + size), _FORBIDDEN)
        mask[..., past:] = np.triu(np.full((size, size), _FORBIDDEN), 1)
        pick = np.zeros((rows, max(1, *(len(picked) for _, picked in cuts))), np.int64)
        k = np.zeros((self.layers, rows, self.heads, self.head, past), np.float32)
        v = np.zeros((self.layers, rows, self.heads, past, self.head), np.float32)
        for i, (job, (piece, picked)) in enumerate(zip(jobs, cuts, strict=True)):
            n = used[i]
            ids[i, : len(piece)], position[i, : len(piece)] = piece, np.arange(n, n + len(piece))
            mask[i, :, :, :n] = 0
            pick[i, : len(picked)] = picked
            k[:, i, ..., :n], v[:, i, :, :n] = job.cache.k[..., :n], job.cache.v[:, :, :n]
        out, *new = self._run(ids, position, mask, pick, k, v)
        for i, (job, (piece, picked)) in enumerate(zip(jobs, cuts, strict=True)):
            n, end, cache = used[i], used[i] + len(piece), job.cache
            cache.grow(end)
            for layer in range(self.layers):
                cache.k[layer, ..., n:end] = new[2 * layer][i, ..., : len(piece)]
                cache.v[layer, :, n:end] = new[2 * layer + 1][i, :, : len(piece)]
            cache.pieces.append(piece)
            if picked:
                job.outputs.append(out[i, : len(picked)])

    def _decode(self, batch: _Batch) -> None:
        """Read the newest token of every open draft and let it choose the next."""
        rows = max(2, len(batch.jobs))
        ids = np.zeros((rows, 1), np.int64)
        ids[: len(batch.jobs), 0] = [job.token for job in batch.jobs]
        position = np.minimum(batch.used[:rows, None], self.context - 1)
        zeros = np.zeros((rows, 1), np.int64)
        out, *new = self._run(ids, position, batch.mask[:rows], zeros, batch.k[:, :rows], batch.v[:, :rows])
        batch.extend(new)
        for row in reversed(range(len(batch.jobs))):
            job = batch.jobs[row]
            job.outputs[-1] = out[row]
            if not self._advance(job):
                batch.remove(row)

    def _run(
        self,
        ids: NDArray[np.int64],
        position: NDArray[np.int64],
        mask: Array,
        pick: NDArray[np.int64],
        k: Array,
        v: Array,
    ) -> list[Array]:
        feeds: dict[str, Any] = {"ids": ids, "mask": mask, "pick": pick}
        feeds["cos"], feeds["sin"] = self._cos[position][:, None], self._sin[position][:, None]
        for layer in range(self.layers):
            feeds[f"past_k.{layer}"], feeds[f"past_v.{layer}"] = k[layer], v[layer]
        outputs: list[Array] = self._session.run(["out", *self._names], feeds)
        return outputs


def _blocks(length: int) -> int:
    return -(-length // _BLOCK) * _BLOCK


def _cut(piece: list[int], pick: list[int]) -> list[tuple[list[int], list[int]]]:
    """A piece in parts of at most the longest chunk, each with the picked positions inside it."""
    longest = _CHUNKS[-1]
    return [
        (piece[start : start + longest], [p - start for p in pick if start <= p < start + longest])
        for start in range(0, len(piece), longest)
    ]


def _read_config(folder: Path) -> dict[str, Any]:
    for name in ("config.json", "model.safetensors", "model.onnx", "tokenizer.json"):
        if not (folder / name).is_file():
            raise ConfigError(f"{folder} is not an embedded model: {name} is missing")
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text("utf-8"))
        if config["model_type"] != "qwen3":
            raise ConfigError(f"{folder}/config.json: model_type {config['model_type']!r}, the engine reads qwen3")
    except (ValueError, KeyError) as error:
        raise ConfigError.reading(folder / "config.json", "cannot be read", error) from None
    return config


def _session(folder: Path, config: dict[str, Any], threads: int) -> Any:
    """An ONNX Runtime session of the folder's graph with the folder's weights."""
    try:
        import onnxruntime as ort
    except ImportError:
        raise MissingExtra("onnxruntime") from None
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    weights = _weights(folder, config)
    options.add_external_initializers(
        list(weights), [ort.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
    )
    try:
        return ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own types without a common base
        raise ConfigError(f"{folder}: model.onnx and model.safetensors don't belong together: {error}") from None


def _weights(folder: Path, config: dict[str, Any]) -> dict[str, Array]:
    """The weights as float32, matrices as [in, out]."""
    from safetensors import SafetensorError, deserialize

    try:
        raw: dict[str, Any] = dict(deserialize((folder / "model.safetensors").read_bytes()))  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise ConfigError(f"{folder}/model.safetensors cannot be read: {error}") from None
    weights: dict[str, Array] = {}
    for name, entry in raw.items():
        array = _float32(bytes(entry["data"]), entry["dtype"], entry["shape"])
        matrix = array.ndim == 2 and name != "model.embed_tokens.weight"
        weights[name] = np.ascontiguousarray(array.T) if matrix else array
    output = weights.pop("score.weight", None)
    if output is None:
        output = weights.pop("lm_head.weight", None)
    if output is None:
        output = np.ascontiguousarray(weights["model.embed_tokens.weight"].T)
    weights["output"] = output
    return weights


def _float32(data: bytes, kind: str, shape: list[int]) -> Array:
    if kind == "BF16":
        return (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(shape)
    types = {"F32": np.float32, "F16": np.float16}
    if kind not in types:
        raise ConfigError(f"weights of type {kind} are not supported")
    return np.frombuffer(data, types[kind]).astype(np.float32).reshape(shape)
