"""The data types that every other module uses. Standard library only.

A `Question` is solved step by step. The weak model proposes a draft `Step`; the process reward model gives `Scores`;
a policy maps an `Observation` to an `Action`; the outcome is a `Decision`; a question with all its
decisions, usage and timings is a `Trace`, the one record that everything else reads.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import Literal

from trim.visible_text import unmarked

Field = Literal["content", "reasoning_content", "reasoning"]
"""Fields of a message that servers send text in; what is not content is reasoning."""


class Role(StrEnum):
    """Which model produced a text or a score."""

    WEAK = "weak"
    STRONG = "strong"
    PRM = "prm"


class Finish(StrEnum):
    """Why a step ended."""

    SEPARATOR = "separator"  # the separator was written: another step may follow
    EOS = "eos"  # the model ended the solution
    LENGTH = "length"  # cut at the token limit of a step, so that the next one goes on there, or of the solution
    CONTENT_FILTER = "content_filter"  # cut off by the server's content filter
    REFUSAL = "refusal"  # the model refused to answer; the text says so


class Action(StrEnum):
    """What to do with the current draft (paper: CONTINUE and REGENERATE; the others are ours)."""

    CONTINUE = "CONTINUE"  # keep the draft
    REGENERATE = "REGENERATE"  # the strong model writes this one step instead
    RESAMPLE = "RESAMPLE"  # drop the draft, ask the weak model for another
    REVISE = "REVISE"  # drop the strong model's text, ask it for another
    TAKE_OVER = "TAKE_OVER"  # the strong model writes this step and all that follow


class StopReason(StrEnum):
    """Why a solution ended."""

    FINAL_ANSWER = "final_answer"  # the newest kept step holds a final answer
    EOS = "eos"  # a model ended the solution without one
    EMPTY = "empty"  # the solution ended before its first step
    STEP_LIMIT = "step_limit"  # max_steps steps were kept
    STEP_LENGTH = "step_length"  # of earlier versions: a step at its token limit ended the solution
    DEGENERATE = "degenerate"  # two steps in a row without a word in them
    MAX_TOKENS = "max_tokens"  # the tokens that the solution may have are written
    REPETITION = "repetition"  # the text has gone round in circles: one passage over and over
    CONTENT_FILTER = "content_filter"  # a server's content filter ended the solution
    REFUSAL = "refusal"  # a model refused to answer; the newest step says so
    INPUT_TOO_LONG = "input_too_long"  # the question, or the solution so far, does not fit the context of a model


@dataclass(frozen=True, slots=True)
class Message:
    """An earlier message of a conversation. Models read all system messages as one at the beginning."""

    role: Literal["system", "user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """One input. `reference` is the gold answer and `reference_steps` a gold solution, where they are known.
    `messages` are the earlier ones of the conversation, oldest first; `text` is the newest message, a user's.
    """

    text: str
    reference: str | None = None
    id: str = ""
    reference_steps: tuple[str, ...] = ()
    messages: tuple[Message, ...] = ()

    @property
    def length(self) -> int:
        """Characters of the text and the conversation."""
        return len(self.text) + sum(len(message.text) for message in self.messages)


@dataclass(frozen=True, slots=True)
class Step:
    """One reasoning step. `text` is exactly what the model wrote, white space and separator included: the texts of
    all steps, joined, are the text of the solution. `content` is what is judged, compared and shown of it.

    `tokens` are completion tokens as the server or the model's own tokenizer counts them, separator or end token
    included. `prompt_tokens` (of which `cached_tokens` came from a prefix cache) are those of the request that the
    step began; they stand on the first step of a stream and are 0 on the others. `logprob` is the mean and
    `least_logprob` the least log-probability of the step's tokens under the model's own distribution, without the end
    token where it can be told, `entropy` the entropy (nats) of its first token's distribution. `mean_entropy` and
    `most_entropy` are of all its tokens, as far as the 5 likeliest tell, all others counted as one; `uncertain` is the
    share of tokens where that is above 1 nat. None: not known.
    `estimated`: the server has not given some of these counts (yet). What it says after the step was handed over is in
    `Usage`.

    Models that reason: `field` is the field of the message in which the server sent the text. `reasoning`: the text
    begins inside reasoning. `inserted` stands before the text though no model wrote it: the mark that closes reasoning
    which another model had left open.
    """

    text: str
    role: Role
    tokens: int
    finish: Finish = Finish.SEPARATOR
    prompt_tokens: int = 0
    cached_tokens: int = 0
    logprob: float | None = None
    entropy: float | None = None
    estimated: bool = False
    field: Field = "content"
    reasoning: bool = False
    inserted: str = ""
    least_logprob: float | None = None
    mean_entropy: float | None = None
    most_entropy: float | None = None
    uncertain: float | None = None

    @property
    def content(self) -> str:
        """The text as it is judged and compared: without the white space around it and the marks of reasoning."""
        return unmarked(self.text).strip()


@dataclass(frozen=True, slots=True)
class StepOptions:
    """How a generator continues. `attempt` (0, 1, ...) requests another draft of the FIRST step of the stream; later
    steps are always attempt 0. A generator with a seed draws a step from (seed, question, index of the step, attempt)
    alone, so that it does not matter whether a stream was kept open or reopened.
    """

    limit: int | None = None  # steps to yield at most; None: until the solution ends
    max_tokens: int | None = None  # completion tokens of the whole stream at most
    attempt: int = 0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a model chooses tokens (the paper's settings). `temperature` 0 is greedy; `top_k` 0 means no limit."""

    temperature: float = 0.7
    top_p: float = 0.8
    top_k: int = 20
    max_step_tokens: int = 2048


@dataclass(frozen=True, slots=True)
class Scores:
    """P(step is correct) in [0, 1], one per step, and the tokens that the process reward model read for them.

    `tokens` are those that this call read. `up_to` says for each step what a call that ends with it reads if nothing of
    the text was read before. What a solution is charged is computed from it, so that it does not depend on which steps
    shared a call; without it, `tokens` are shared evenly among the steps. `rereads`: each call reads the whole text;
    False: what was read of a solution before is kept, and only what is new is read. `estimated`: the judge's server has
    not given these counts.

    A judge that answers in words is asked about each step in a call of its own: `written` says for each step the
    completion tokens of that call, `up_to` its prompt; `completion` are the completion tokens of this call of `score`.
    """

    values: tuple[float, ...]
    tokens: int = 0
    up_to: tuple[int, ...] = ()
    rereads: bool = True
    estimated: bool = False
    completion: int = 0
    written: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Observation:
    """All that a policy may see: numbers, never text. t = len(tokens) counts the current draft.

    `scores` r_1..r_t and `tokens` c_1..c_t end with the draft's; `scores` is empty for a policy that uses none.
    `actions` are those of the t-1 kept steps. `draft_scores` has an entry for each of the t positions: the scores of
    the weak model's drafts there in the order they were made, so that the last entry ends with r_t; a draft that
    repeats an earlier one word for word has that one's score exactly. `final`: the draft ends the solution. `drafts`:
    drafts seen for this step, this one included. `strong_tokens`: spent so far. `draw`: a uniform number in [0, 1)
    fixed by seed, question, step and draft, for policies that randomise.

    A policy with `max_revisions` also decides on the strong model's text: that is then the current text, and
    r_t, c_t, `final`, `logprob` and `entropy` belong to it. `strong_scores` has an entry for each position: the scores
    of the strong model's texts there as the policy saw them, in the order they were made; the last is empty for a weak
    draft.
    """

    scores: tuple[float, ...]
    tokens: tuple[int, ...]
    actions: tuple[Action, ...] = ()
    final: bool = False
    drafts: int = 1
    strong_tokens: int = 0
    draw: float = 0.0
    logprob: float | None = None
    entropy: float | None = None
    draft_scores: tuple[tuple[float, ...], ...] = ()
    strong_scores: tuple[tuple[float, ...], ...] = ()

    @property
    def score(self) -> float:
        """r_t, the score of the current draft."""
        return self.scores[-1]

    @property
    def strong_texts(self) -> int:
        """Strong texts seen for this step, the current one included; 0: the current text is a weak draft."""
        return len(self.strong_scores[-1]) if self.strong_scores else 0


@dataclass(frozen=True, slots=True)
class Draft:
    """A draft that was not kept, with its score and the action that rejected it."""

    step: Step
    score: float | None
    action: Action


@dataclass(frozen=True, slots=True)
class Decision:
    """One position of a solution: the step that was kept and how it was chosen.

    `score` is the one that the decision was made on (the draft's); `kept_score` that of the kept text, once known.
    `forced`: the policy wanted something else and a budget, a limit or a failure overruled it. `rejected` are the texts
    that were not kept, in the order they were made: the weak model's drafts, then strong texts that were revised.
    `attempt` is the 0-based position of the kept text among those by the same role.
    """

    step: Step
    action: Action
    score: float | None = None
    kept_score: float | None = None
    forced: bool = False
    rejected: tuple[Draft, ...] = ()
    attempt: int = 0

    @property
    def drafts(self) -> tuple[Draft, ...]:
        """All drafts of the weak model, kept or not, in the order they were made."""
        others = self._rejected(Role.WEAK)
        if self.action is not Action.CONTINUE:
            return others
        return self._with_kept(others, self.score)

    @property
    def strong_texts(self) -> tuple[Draft, ...]:
        """All texts of the strong model, kept or not, in the order they were made."""
        if self.step.role is not Role.STRONG:
            return ()
        return self._with_kept(self._rejected(Role.STRONG), self.kept_score)

    def _rejected(self, role: Role) -> tuple[Draft, ...]:
        return tuple(draft for draft in self.rejected if draft.step.role is role)

    def _with_kept(self, others: tuple[Draft, ...], score: float | None) -> tuple[Draft, ...]:
        return (*others[: self.attempt], Draft(self.step, score, self.action), *others[self.attempt :])


@dataclass(frozen=True, slots=True)
class Fallback:
    """A failed role was replaced by a model, as `OnError` says. `step` is the 0-based position in the solution."""

    role: Role
    step: int
    error: str
    to: Role


@dataclass(slots=True)
class Usage:
    """Tokens and requests of one role for one question. `completion_tokens` are all that were written;
    `discarded_tokens` the part of them that is not in the kept text. `estimated`: the server has not given all counts.
    """

    calls: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    discarded_tokens: int = 0
    estimated: bool = False

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.cached_tokens + other.cached_tokens,
            self.completion_tokens + other.completion_tokens,
            self.discarded_tokens + other.discarded_tokens,
            self.estimated or other.estimated,
        )


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars per million tokens of one role; None: not known, which is not 0. `cached` is the price of prompt tokens
    found in a prefix cache.
    """

    prompt: float | None = None
    completion: float | None = None
    cached: float | None = None  # None: same as prompt

    def __post_init__(self) -> None:
        if not all(0.0 <= price < inf for price in (self.prompt, self.completion, self.cached) if price is not None):
            raise ValueError(f"a price must be a number from 0: {self}")

    def of(self, usage: Usage) -> float | None:
        """The cost of this usage in dollars, never negative; None: some of its tokens have no known price."""
        cached = min(usage.cached_tokens, usage.prompt_tokens)
        total = 0.0
        for tokens, price in (
            (usage.prompt_tokens - cached, self.prompt),
            (cached, self.prompt if self.cached is None else self.cached),
            (usage.completion_tokens, self.completion),
        ):
            if price is None and tokens > 0:
                return None
            total += tokens * (price or 0.0)
        return max(0.0, total / 1e6)


@dataclass(frozen=True, slots=True)
class Prices:
    """What each role costs."""

    weak: Price = Price()
    strong: Price = Price()
    prm: Price = Price()

    def of(self, usage: dict[Role, Usage]) -> float | None:
        """The total cost in dollars: weak, discarded, strong and PRM tokens, prompts included; None: a role that was
        used has no known price.
        """
        return self.total(price.of(usage[role]) for role, price in self.by_role.items())

    @property
    def by_role(self) -> dict[Role, Price]:
        return {Role.WEAK: self.weak, Role.STRONG: self.strong, Role.PRM: self.prm}

    @property
    def missing(self) -> tuple[str, ...]:
        """The keys of prices that are not known, such as `[strong.prices] completion`; a judge writes nothing."""
        return tuple(
            f"[{role}.prices] {key}"
            for role, price in self.by_role.items()
            for key, value in (("prompt", price.prompt), ("completion", price.completion))
            if value is None and (role is not Role.PRM or key == "prompt")
        )

    @staticmethod
    def total(costs: Iterable[float | None]) -> float | None:
        """The sum of some costs; None: one of them is not known."""
        total = 0.0
        for cost in costs:
            if cost is None:
                return None
            total += cost
        return total


@dataclass(frozen=True, slots=True)
class Budget:
    """Hard caps for one question; None is no cap. `max_cost` is in dollars and counts every role."""

    max_strong_tokens: int | None = None
    max_cost: float | None = None


@dataclass(frozen=True, slots=True)
class Trace:
    """A question with its decisions, usage, timings and stop reason: the record that everything else reads.

    `seconds` is wall-clock; `phases` the seconds that weak, strong and PRM were each busy (they overlap under
    optimistic drafting). `usage` has an entry for every role: what the solution is charged for by rule
    (docs/explanation/evaluation.md), whatever ran beside it. The steps carry the prompt tokens that they are charged
    for. `cost`, in dollars, is that of `usage`: the total cost; None: a role that was used has no known price.
    `measured` is what its requests really took, with drafts that were read ahead and never decided on and what the
    servers' caches held; it depends on timing. Without it (traces of earlier versions) `usage` was measured. `error`:
    what a server said when it refused to go on with a solution that was ended there.
    """

    question: Question
    policy: str
    parameter: float | None
    seed: int
    decisions: tuple[Decision, ...]
    stop_reason: StopReason
    usage: dict[Role, Usage]
    cost: float | None
    seconds: float
    phases: dict[Role, float]
    answer: str | None = None
    correct: bool | None = None
    fallbacks: tuple[Fallback, ...] = ()
    error: str | None = None
    measured: dict[Role, Usage] = field(default_factory=dict, repr=False)
    measured_cost: float | None = 0.0

    @property
    def failed(self) -> bool:
        """Whether a server refused the question, so that there is no answer to grade."""
        return self.error is not None and not self.decisions

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(decision.step for decision in self.decisions)

    @property
    def estimated(self) -> bool:
        """Whether some of its token counts are estimates."""
        return any(used.estimated for used in self.usage.values())

    @property
    def text(self) -> str:
        """The answer: what the models wrote as content, exactly, and what was inserted to close reasoning."""
        return "".join(step.inserted + step.text for step in self.steps if step.field == "content")

    @property
    def said(self) -> str:
        """The answer for graders: with the mark of reasoning that a template had opened before the text."""
        first = next((step for step in self.steps if step.field == "content"), None)
        return f"<think>{self.text}" if first is not None and first.reasoning else self.text

    @property
    def reasoning(self) -> str:
        """What the models wrote in fields of their own for reasoning."""
        return "".join(step.text for step in self.steps if step.field != "content")
