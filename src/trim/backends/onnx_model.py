"""A model folder in this process: where shipped models lie, text to tokens, and caches by question."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from importlib.resources import files
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from trim.backends.onnx_engine import Array, Cache, Engine, Job
from trim.errors import ConfigError, InputTooLong
from trim.protocols import Probe
from trim.types import Message, Question, Usage

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

    @cached_property
    def longest(self) -> int:
        """Characters of a token at most."""
        return max(map(len, self._tokenizer.get_vocab()))

    def encode(self, text: str) -> list[int]:
        """Ids of plain text."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: list[int]) -> str:
        """Text of ids."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))

    def pieces(self, question: Question, steps: tuple[str, ...], after: int) -> list[list[int]]:
        """The prompt, then each step with the token `after` it, which stands for its separator. The models know no
        system prompt: it is left out.
        """
        said = [token for message in question.messages for token in self._turn(message)]
        prompt = [*said, self.user, *self.encode(question.text), self.assistant]
        return [prompt, *([*self.encode(step.strip()), after] for step in steps)]

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
        best = max(idle, key=lambda cache: cache.shared(pieces))
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


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of a text in pieces.

    Args:
        notes: the cache's, by where a piece ends; the caller adds one for each piece in `outputs`.
        ends: of the pieces, in tokens.
        tokens: read now.
        outputs: [number picked, outputs] by index, of the pieces without a note.
    """

    notes: dict[int, Any]
    ends: list[int]
    tokens: int
    outputs: dict[int, Array] = field(default_factory=dict)


class OnnxModel:
    """What the generator and the judges that run in this process share: an engine, its tokens and caches.

    Args:
        kind: what `identity` begins with.
        folder: name of a shipped model, or a folder of the same layout.
        threads: ONNX Runtime threads.
    """

    def __init__(self, kind: str, folder: Path | str, threads: int = 1) -> None:
        path = shipped(str(folder))
        self.kind = kind
        self.name = str(folder)
        self.usage = Usage()
        self.engine = Engine(path, threads)
        self.tokens = Tokens(path)
        self.caches = Caches(self.engine)

    @cached_property
    def identity(self) -> str:
        """Kind and name with a fingerprint of the weights."""
        return f"{self.kind}:{self.name}@{fingerprint(self.name)}"

    def prepare(self) -> None:
        """It was loaded when it was made."""

    async def probe(self, *, quick: bool = False) -> Probe:
        """It was loaded, so it is there."""
        return Probe(self.identity, reachable=True, context=self.engine.context)

    def pieces(self, question: Question, steps: tuple[str, ...], after: int) -> list[list[int]]:
        """See `Tokens.pieces`. What cannot fit is refused before it is read: that would take long.

        Raises:
            InputTooLong: the question has more characters than the context can have.
        """
        length = len(question.text) + sum(len(said.text) for said in question.messages if said.role != "system")
        if length > self.engine.context * self.tokens.longest:
            words = f"a question of {length} characters, the context is {self.engine.context} tokens"
            raise InputTooLong(self.identity, words, limit=self.engine.context)
        return self.tokens.pieces(question, steps, after)

    async def read(self, question: Question, pieces: list[list[int]], picks: list[list[int]]) -> Reading:
        """The outputs at `picks` (see `Job`) of the pieces that the cache has no note on yet."""
        cache = self.caches.take(question, pieces)
        kept = sum(map(len, pieces[: cache.shared(pieces)]))
        ends = list(accumulate(map(len, pieces)))
        cache.notes = {end: note for end, note in cache.notes.items() if end <= kept}
        picks = [[] if end in cache.notes else pick for end, pick in zip(ends, picks, strict=True)]
        new = [index for index, pick in enumerate(picks) if pick]
        reading = Reading(cache.notes, ends, ends[-1] - kept)
        if not new:
            self.caches.give(question, cache)
            return reading
        self.usage.calls += 1
        self.usage.prompt_tokens += reading.tokens
        outputs = await self.run(question, Job(cache, pieces, picks))
        parts = np.split(outputs, list(accumulate(len(picks[index]) for index in new))[:-1])
        reading.outputs.update(zip(new, parts, strict=True))
        return reading

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
