"""The shipped models as generators and process reward model, run by the in-process engine."""

from __future__ import annotations

import asyncio
import copy
from collections import OrderedDict
from collections.abc import AsyncIterator
from hashlib import blake2b, sha256
from importlib.resources import files
from math import exp, log
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trim.backends.onnx_engine import Array, Cache, Engine, Job
from trim.errors import ConfigError
from trim.types import Finish, Message, Question, Role, Sampling, Scores, Step, StepOptions

USER, ASSISTANT, END, MARK, BLANK = "<|user|>", "<|assistant|>", "<|end|>", "<extra_0>", "\n\n"
_CACHED_TOKENS = 16_000  # of all questions together; a strong model's token takes 6 kB


def shipped(name: str) -> Path:
    """The folder of a shipped model, or the folder that `name` is a path to.

    Raises:
        ConfigError: there is neither; lists what is shipped.
    """
    root = Path(str(files("trim"))) / "embedded"
    for folder in (root / name, Path(name)):
        if (folder / "config.json").is_file():
            return folder
    known = ", ".join(sorted(path.parent.name for path in root.glob("*/config.json")))
    raise ConfigError(f"no shipped model ({known}) and no model folder {name!r}")


def fingerprint(name: str) -> str:
    """Eight characters that change with a model's weights or tokenizer: what was made for other models is noticed."""
    folder, digest = shipped(name), sha256()
    for file in ("tokenizer.json", "model.safetensors"):
        digest.update((folder / file).read_bytes())
    return digest.hexdigest()[:8]


class Tokens:
    """Text to token ids. Special tokens that stand in a text stay text: nobody can forge a turn or a step mark."""

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        self._tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.encode_special_tokens = True
        self.user, self.assistant, self.end, self.mark, self.blank = (
            self._id(token, folder) for token in (USER, ASSISTANT, END, MARK, BLANK)
        )

    def _id(self, token: str, folder: Path) -> int:
        found = self._tokenizer.token_to_id(token)
        if found is None:
            raise ConfigError(f"{folder}/tokenizer.json has no token {token!r}")
        return int(found)

    def encode(self, text: str) -> list[int]:
        """Ids of plain text."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: list[int]) -> str:
        """Text of ids."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))

    def pieces(self, question: Question, steps: tuple[str, ...], after: int) -> list[list[int]]:
        """The prompt, then each step with the token `after` it. The models know no system prompt: it is left out."""
        said = [token for message in question.messages for token in self._turn(message)]
        prompt = [*said, self.user, *self.encode(question.text), self.assistant]
        return [prompt, *([*self.encode(step), after] for step in steps)]

    def _turn(self, message: Message) -> list[int]:
        """An earlier message as the models read it; an answer is steps with blank lines between them."""
        if message.role == "system":
            return []
        if message.role == "user":
            return [self.user, *self.encode(message.text)]
        steps = [token for step in message.text.split(BLANK) for token in (*self.encode(step), self.blank)]
        return [self.assistant, *steps[:-1], self.end]


class Caches:
    """Caches of recent questions. A cache serves one job at a time; the longest unused are dropped."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._idle: OrderedDict[str, list[Cache]] = OrderedDict()

    def take(self, question: Question, pieces: list[list[int]]) -> Cache:
        """The idle cache of this question that shares most pieces, or an empty one."""
        idle = self._idle.pop(question.text, [])
        if not idle:
            return self._engine.cache()
        best = max(idle, key=lambda cache: _same(cache, pieces))
        rest = [cache for cache in idle if cache is not best]
        if rest:
            self._idle[question.text] = rest
        return best

    def give(self, question: Question, cache: Cache) -> None:
        """Return a cache after its job."""
        self._idle.setdefault(question.text, []).append(cache)
        self._idle.move_to_end(question.text)
        used = sum(cache.used for caches in self._idle.values() for cache in caches) if len(self._idle) % 16 == 0 else 0
        while used > _CACHED_TOKENS and len(self._idle) > 1:
            _, dropped = self._idle.popitem(last=False)
            used -= sum(cache.used for cache in dropped)


def _same(cache: Cache, pieces: list[list[int]]) -> int:
    """Leading pieces that a cache already holds (pieces longer than a chunk count as not held)."""
    same = 0
    for old, new in zip(cache.pieces, pieces, strict=False):
        if old != new:
            break
        same += 1
    return same


class _Model:
    """What generator, PRM and judge share: an engine, its tokens and caches."""

    def __init__(self, folder: Path | str, threads: int = 1) -> None:
        path = shipped(str(folder))
        self.engine = Engine(path, threads)
        self.tokens = Tokens(path)
        self.caches = Caches(self.engine)

    async def run(self, question: Question, job: Job) -> Array:
        """The job's outputs; cancelling this cancels the job."""
        future = self.engine.submit(job)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            job.cancelled = True
            raise
        finally:
            if future.done() and not future.cancelled():
                self.caches.give(question, job.cache)

    async def aclose(self) -> None:
        """Stop the engine's thread."""
        await asyncio.get_running_loop().run_in_executor(None, self.engine.close)


class EmbeddedGenerator(_Model):
    """A `StepGenerator` from a model folder.

    Args:
        folder: name of a shipped model, or a folder of the same layout.
        role: weak or strong.
        sampling: how tokens are chosen.

    Seeded: a step depends on (seed, question, kept steps, attempt) alone. Steps are separated by blank lines.
    """

    def __init__(self, folder: Path | str, role: Role, sampling: Sampling | None = None, threads: int = 1) -> None:
        super().__init__(folder, threads)
        self.role = role
        self.sampling = sampling or Sampling()

    def steps(
        self, question: Question, kept: tuple[str, ...], options: StepOptions = StepOptions()
    ) -> AsyncIterator[Step]:
        """Continue `kept`; see `trim.protocols.StepGenerator`."""
        return _Stream(self, question, kept, options)

    def sampled(self, sampling: Sampling) -> EmbeddedGenerator:
        """The same model on the same engine, with tokens chosen in another way."""
        other = copy.copy(self)
        other.sampling = sampling
        return other


class _Writing:
    """One step being written: chooses tokens until the step ends. Called in the engine's thread."""

    def __init__(self, model: EmbeddedGenerator, key: bytes, limit: int) -> None:
        self.ids: list[int] = []
        self.logprobs: list[float] = []
        self.entropy = 0.0
        self.finish = Finish.LENGTH
        self._sampling = model.sampling
        self._ends = {model.tokens.blank: Finish.SEPARATOR, model.tokens.end: Finish.EOS}
        self._key = key
        self._limit = limit
        self.stopped = False

    def choose(self, logits: Array) -> int | None:
        if self.stopped or len(self.ids) >= self._limit:
            return None
        draw = blake2b(self._key + len(self.ids).to_bytes(4, "big"), digest_size=7).digest()
        token, logprob, entropy = choose_token(logits, self._sampling, int.from_bytes(draw, "big") / 2.0**56)
        if not self.ids:
            self.entropy = entropy
        self.ids.append(token)
        self.logprobs.append(logprob)
        if token in self._ends:
            self.finish = self._ends[token]
            return None
        return token


class _Stream:
    """The steps of one solution, written as they are pulled."""

    def __init__(
        self, model: EmbeddedGenerator, question: Question, kept: tuple[str, ...], options: StepOptions
    ) -> None:
        self._model = model
        self._question = question
        self._kept = kept
        self._first = len(kept)
        self._options = options
        self._tokens_left = options.max_tokens
        self._ended = False
        self._writing: _Writing | None = None

    def __aiter__(self) -> _Stream:
        return self

    @property
    def pending_tokens(self) -> int:
        """Tokens of the step that is being written."""
        return len(self._writing.ids) if self._writing else 0

    async def __anext__(self) -> Step:
        options, model, index = self._options, self._model, len(self._kept)
        if self._ended or index - self._first == options.limit or self._tokens_left == 0:
            raise StopAsyncIteration
        attempt = options.attempt if index == self._first else 0
        key = f"{options.seed}\0{model.role.value}\0{index}\0{attempt}\0{self._question.text}"
        pieces = model.tokens.pieces(self._question, self._kept, model.tokens.blank)
        cache = model.caches.take(self._question, pieces[:-1])
        same = min(_same(cache, pieces), len(pieces) - 1)
        cached = sum(map(len, pieces[:same]))
        limit = model.sampling.max_step_tokens
        limit = limit if self._tokens_left is None else min(limit, self._tokens_left)
        self._writing = writing = _Writing(model, blake2b(key.encode("utf-8", "replace")).digest(), limit)
        picks: list[list[int]] = [[] for _ in pieces]
        picks[-1] = [len(pieces[-1]) - 1]
        try:
            await model.run(self._question, Job(cache, pieces, picks, writing.choose))
        except asyncio.CancelledError:
            writing.stopped = True
            raise
        self._writing = None
        if self._tokens_left is not None:
            self._tokens_left -= len(writing.ids)
        self._ended = writing.finish is not Finish.SEPARATOR
        prompt = sum(map(len, pieces)) if index == self._first else 0
        step = self._step(writing, prompt, cached if prompt else 0)
        self._kept = (*self._kept, step.text)
        return step

    def _step(self, writing: _Writing, prompt: int, cached: int) -> Step:
        ids = writing.ids if writing.finish is Finish.LENGTH else writing.ids[:-1]
        return Step(
            text=self._model.tokens.decode(ids).strip(),
            role=self._model.role,
            tokens=len(writing.ids),
            finish=writing.finish,
            prompt_tokens=prompt,
            cached_tokens=cached,
            logprob=sum(writing.logprobs) / max(1, len(writing.logprobs)),
            entropy=writing.entropy,
        )

    async def aclose(self) -> None:
        """Stop writing."""
        self._ended = True
        if self._writing is not None:
            self._writing.stopped = True


def choose_token(logits: Array, sampling: Sampling, draw: float) -> tuple[int, float, float]:
    """A token, its log-probability and the entropy (nats), the latter two under the model's own distribution.

    `draw` in [0, 1) decides: the token is where the cumulative probability of the allowed tokens, most likely first,
    passes it.
    """
    values = logits.astype(np.float64)
    values -= values.max()
    full = np.exp(values)
    total = full.sum()
    entropy = log(total) - float((full * values).sum() / total)
    if sampling.temperature <= 0:
        token = int(values.argmax())
        return token, float(values[token]) - log(total), entropy
    count = sampling.top_k if 0 < sampling.top_k < len(values) else len(values)
    top = np.argpartition(-values, count - 1)[:count] if count < len(values) else np.arange(len(values))
    top = top[np.lexsort((top, -values[top]))]
    weights = np.exp(values[top] / sampling.temperature)
    cumulative = np.cumsum(weights)
    # top-p keeps the fewest tokens whose share reaches p: those before which less than p has been used up.
    allowed = int(np.searchsorted(cumulative, sampling.top_p * cumulative[-1], side="left")) + 1
    allowed = min(allowed, len(top))
    chosen = int(np.searchsorted(cumulative[:allowed], draw * cumulative[allowed - 1], side="right"))
    token = int(top[min(chosen, allowed - 1)])
    return token, float(values[token]) - log(total), entropy


class EmbeddedPrm(_Model):
    """A `ProcessRewardModel` from a model folder with two labels: P(label 1) at the mark after each step.

    Args:
        folder: name of a shipped model, or a folder of the same layout.
    """

    def __init__(self, folder: Path | str = "prm", threads: int = 1) -> None:
        super().__init__(folder, threads)

    async def score(self, question: Question, steps: tuple[str, ...]) -> Scores:
        """One score per step; steps that were scored before are not read again."""
        pieces = self.tokens.pieces(question, steps, self.tokens.mark)
        outputs, read = await _last_outputs(self, question, pieces)
        return Scores(tuple(1.0 / (1.0 + exp(float(row[0] - row[1]))) for row in outputs), read)


async def _last_outputs(
    model: _Model, question: Question, pieces: list[list[int]]
) -> tuple[list[NDArray[np.float32]], int]:
    """The outputs at the last token of every piece but the first, and the number of tokens read for them."""
    cache = model.caches.take(question, pieces)
    kept = sum(map(len, pieces[: _same(cache, pieces)]))
    ends = np.cumsum([len(piece) for piece in pieces]).tolist()
    notes = {end: note for end, note in cache.notes.items() if end <= kept}
    cache.notes = notes
    picks = [[] if i == 0 or ends[i] in notes else [len(piece) - 1] for i, piece in enumerate(pieces)]
    wanted = [end for end, pick in zip(ends, picks, strict=True) if pick]
    if wanted:
        found = await model.run(question, Job(cache, pieces, picks))
        notes |= dict(zip(wanted, found, strict=True))
    else:
        model.caches.give(question, cache)
    return [notes[end] for end in ends[1:]], ends[-1] - kept


class EmbeddedJudge(_Model):
    """A causal model that says how likely each token of given steps is: for `trim.scoring.likelihood`."""

    async def step_logprobs(self, question: Question, steps: tuple[str, ...]) -> tuple[tuple[float, ...], ...]:
        """Natural log-probabilities of each step's tokens given everything before it; the separator is left out."""
        return tuple(logprobs for logprobs, _ in (await self._read(question, steps))[1:])

    async def first_token_entropies(self, question: Question, steps: tuple[str, ...]) -> tuple[float, ...]:
        """Entropy (nats) of the distribution of each step's first token given everything before it."""
        return tuple(float(-(np.exp(row) * row).sum()) for _, row in (await self._read(question, steps))[:-1])

    async def _read(self, question: Question, steps: tuple[str, ...]) -> list[tuple[tuple[float, ...], Array]]:
        """Of the prompt and of each step its tokens' log-probabilities and the distribution (logs) of what follows.

        Steps that were asked for before are not read again: the cache's notes hold this by where a piece ends.
        """
        pieces = self.tokens.pieces(question, steps, self.tokens.blank)
        cache = self.caches.take(question, pieces)
        kept = sum(map(len, pieces[: _same(cache, pieces)]))
        ends = np.cumsum([len(piece) for piece in pieces]).tolist()
        cache.notes = notes = {end: note for end, note in cache.notes.items() if end <= kept}
        new = [i for i, end in enumerate(ends) if end not in notes]
        picks = [[] if ends[i] in notes else list(range(len(piece))) for i, piece in enumerate(pieces)]
        if not new:
            self.caches.give(question, cache)
        else:
            logprobs = _log_softmax(await self.run(question, Job(cache, pieces, picks)))
            at = 0
            for i in new:
                piece, rows = pieces[i], logprobs[at : at + len(pieces[i])]
                # A token is expected by the row before it; the first of a step by the last row of the piece before.
                expecting = [notes[ends[i - 1]][1], *rows[:-2]] if i else []
                found = tuple(float(row[token]) for row, token in zip(expecting, piece, strict=False))
                notes[ends[i]] = (found, rows[-1])
                at += len(piece)
        return [notes[end] for end in ends]


def _log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max(axis=1, keepdims=True)
    result: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result
