"""From the chunks of one answer to counted steps. No I/O: whatever a server does to a text is understood here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from trim.backends.answer_counts import AnswerCounts, AnswerTotals, StepCount
from trim.backends.token_counts import TextCounter, TokenCounts
from trim.backends.token_logprobs import TokenLogprob, of_step
from trim.errors import BackendUnavailable
from trim.steps import Cutter, StepFormat
from trim.types import Field, Finish, Role, Step
from trim.visible_text import reasons


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of an answer; `counts` are of the whole request so far.

    `finish` is why the answer ended, see `trim.backends.response_stream.finish_reason`; `stop` the stop string that it
    ended at; `told` whether the server says at all which stop string that was. `refusal` is text that stands in place
    of an answer, `reasoning` text that came before `text` in the field `reasoning_field`.
    """

    text: str = ""
    refusal: str = ""
    reasoning: str = ""
    reasoning_field: Field = "reasoning_content"
    counts: TokenCounts = TokenCounts()
    finish: str | None = None
    stop: str | None = None
    told: bool = False
    logprobs: tuple[TokenLogprob, ...] | None = None

    @property
    def length(self) -> int:
        """Characters of its texts."""
        return len(self.text) + len(self.reasoning) + len(self.refusal)


@dataclass(frozen=True, slots=True)
class Terms:
    """What one request was about.

    `prompt`: the text that was sent, for counting it. `limit`: steps wanted. `max_step_tokens`: after so many tokens a
    step is cut off. `stop`: a stop string was sent. `counter`: estimates tokens that the server does not count.
    `max_tokens`: completion tokens asked for at most. `stop_is_kept`: the server is known to leave the stop string in
    the text. `reasoning`: the answer begins inside reasoning.
    """

    server: str
    role: Role
    form: StepFormat
    prompt: str
    limit: int | None
    max_step_tokens: int
    stop: bool
    counter: TextCounter = field(default_factory=TextCounter)
    max_tokens: int | None = None
    stop_is_kept: bool = False
    reasoning: bool = False


@dataclass(frozen=True, slots=True)
class _Piece:
    """The text of a step; `reasoning`: it begins inside that."""

    text: str
    field: Field = "content"
    reasoning: bool = False


@dataclass(frozen=True, slots=True)
class Begun:
    """A step that a server has ended at a stop string where it is not complete: after a heading, in a block of code.
    `text` is all of it so far; tokens are of the requests that wrote it, the prompt of the first one.
    """

    text: str = ""
    tokens: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    estimated: bool = False
    logprobs: tuple[TokenLogprob, ...] = ()
    field: Field = "content"
    reasoning: bool = False

    def step(self, role: Role, finish: Finish) -> Step:
        """The step, which ends here."""
        told = of_step(self.logprobs)
        return Step(
            self.text,
            role,
            self.tokens,
            finish,
            self.prompt_tokens,
            self.cached_tokens,
            told.mean,
            estimated=self.estimated,
            field=self.field,
            reasoning=self.reasoning,
            least_logprob=told.least,
            mean_entropy=told.mean_entropy,
            most_entropy=told.most_entropy,
            uncertain=told.uncertain,
        )


class Assembler:
    """Takes the chunks of one answer, gives its steps.

    `done`: nothing more is wanted, the stream can be closed. `unfinished`: the server ended the answer before its step
    was complete, at a stop string or at its own token limit, so that another request has to go on from there.

    Args:
        terms: what the request was about.
        begun: the step that it goes on with.
    """

    def __init__(self, terms: Terms, begun: Begun | None = None) -> None:
        self.unfinished: Begun | None = None
        self._begun = begun
        self.done = False
        self.given = 0  # steps
        self._terms = terms
        self._cutter = Cutter(terms.form, reasoning=terms.reasoning)
        self._field: Field = "content"  # that the newest text came in
        self._inside = terms.reasoning  # what is behind the last piece of content begins inside reasoning
        self._thought: list[_Piece] = []  # the newest reasoning, as long as nothing but white space has followed
        self._last = Chunk()  # what was said of the end
        self._counts = AnswerCounts(terms.server, terms.counter, terms.prompt, terms.max_tokens)
        self._logprobs: list[TokenLogprob] = []
        self._silent = 0  # of these, the newest, whose tokens have no text: that of the end, a hidden stop string
        self._refusal = ""
        self._held: list[_Piece] = []  # a finished step that waits for the count at the end of the answer
        if begun is not None:
            self._cutter.feed(begun.text)

    @property
    def length(self) -> int:
        """Characters of the step that is not complete."""
        return self._cutter.length

    @property
    def finished(self) -> bool:
        """Whether the server has said why the answer ended."""
        return self._last.finish is not None

    @property
    def stop_was_kept(self) -> bool:
        """Whether the server has ended the answer at the stop string and left it in the text."""
        return self._terms.stop and self.given > 0 and self._last.finish == "stop" and not self._last.told

    @property
    def stop_was_untold(self) -> bool:
        """Whether the answer has ended at the stop string or of itself, and the server has not said which."""
        return self._terms.stop and self._last.finish == "stop" and not self._last.told

    @property
    def pending_tokens(self) -> int:
        """Tokens read that belong to no step yet."""
        return self._counts.pending

    @property
    def totals(self) -> AnswerTotals:
        """Tokens of the whole request so far."""
        return self._counts.totals

    @property
    def is_counted(self) -> bool:
        """Whether the server counts the tokens of this answer at all."""
        return self._counts.is_counted

    def learn_prompt(self) -> None:
        """The prompt was sent as text: its tokens tell how long those of this model are."""
        self._counts.learn_prompt()

    def correct(self, tokens: int) -> None:
        """A finished step has so many tokens more than was thought."""
        self._counts.correct(tokens)

    def feed(self, chunk: Chunk) -> list[Step]:
        """The steps that this chunk finishes.

        Raises:
            BadResponse: the answer is far longer than what was asked for. What was read of it is counted.
        """
        if chunk.finish is not None:
            self._last = chunk
        self._hear(chunk)
        self._refusal += chunk.refusal
        pieces = [*self._held, *self._read(chunk.reasoning, chunk.reasoning_field), *self._read(chunk.text, "content")]
        self._held = pieces if self._may_wait(pieces, chunk) else []
        steps = self._counted(chunk, pieces)
        self._counts.check_size()
        if steps and self._terms.limit is not None and self.given >= self._terms.limit:
            self.done = True
        if not self.done and not steps and self._too_long():
            self.done = True
            steps.append(self._step(self._rest(), self._counts.cut(), Finish.LENGTH))
        return steps

    def end(self) -> list[Step]:
        """The steps that were still open when the answer ended.

        Raises:
            BackendUnavailable: the server gave up.
        """
        self.done = True
        reason, last, terms = self._last.finish, self._rest(), self._terms
        rest = last.text
        self._counts.learn()
        if 0 < self._silent < len(self._logprobs):
            del self._logprobs[-self._silent :]
        pieces, self._held = self._held, []
        steps = self._counted(Chunk(), pieces)
        if terms.limit is not None and self.given >= terms.limit:
            return steps
        if self._refusal:
            if rest:
                steps.append(self._step(last, StepCount(0, estimated=True), Finish.SEPARATOR))
            steps.append(self._step(_Piece(self._refusal), self._counts.end(token=True), Finish.REFUSAL))
        elif reason == "length":
            steps += self._at_limit(last)
        elif reason == "content_filter":
            steps.append(self._step(last, self._counts.end(token=False), Finish.CONTENT_FILTER))
        elif reason == "stop":
            finish, count = self._why(rest), self._counts.end(token=True)
            if finish is not Finish.SEPARATOR:
                steps.append(self._step(last, count, finish))
                return steps
            stop = terms.form.stop or ""
            stop = "" if rest.endswith(stop) else stop  # some servers take it away
            if whole := self._cutter.feed(stop):
                steps.append(self._step(replace(last, text=whole[0]), count, finish))
            else:
                self.unfinished = self._written(replace(last, text=rest + stop), count)
        else:
            raise BackendUnavailable(terms.server, f"gave up in the middle of an answer (finish_reason {reason!r})")
        return steps

    def _at_limit(self, last: _Piece) -> list[Step]:
        """The step that the request's token limit has cut, if it is at its own limit; else another request goes on."""
        new = last.text
        if self._begun is not None and not self.given:
            new = new[len(self._begun.text) :]
        begun = self._written(last, self._counts.end(token=False, cut=True))
        if new and begun.tokens < self._terms.max_step_tokens:
            self.unfinished = begun
            return []
        self.given += bool(last.text)
        return [begun.step(self._terms.role, Finish.LENGTH)] if last.text else []

    def _why(self, rest: str) -> Finish:
        """Separator or end of the solution: a finish_reason "stop" can mean either."""
        if not self._terms.stop or self.given:  # given: the stop string was kept in the text and has been seen
            return Finish.EOS
        if self._last.told:
            return Finish.SEPARATOR if self._last.stop == self._terms.form.stop else Finish.EOS
        if self._terms.stop_is_kept:
            return Finish.EOS
        # Not told, not kept. Asking for a step after the last one costs one request; ending too early, the answer.
        answers = StepFormat().has_answer(rest, reasoning=self._terms.reasoning)
        return Finish.SEPARATOR if rest.strip() and not answers else Finish.EOS

    # Text ------------------------------------------------------------------------------------------------------

    def _read(self, text: str, field: Field) -> list[_Piece]:
        """The steps that text in this field completes. The change to another field ends a step."""
        if not text:
            return []
        pieces: list[_Piece] = []
        if field != self._field and (self._cutter.length or self._thought):
            pieces = [self._rest()]
            self._thought = []
        if field != self._field:
            self._field, self._cutter = field, Cutter(self._terms.form, reasoning=field != "content" or self._inside)
        pieces += map(self._piece, self._cutter.feed(text))
        if field != "content":
            # White space at the end of reasoning belongs to its last step, which therefore waits for what follows.
            pieces = [*self._thought, *pieces]
            self._thought = [] if self._cutter.rest().strip() else pieces[-1:]
            pieces = pieces[: len(pieces) - len(self._thought)]
        return pieces

    def _piece(self, text: str) -> _Piece:
        """The next step's text."""
        if self._field != "content":
            return _Piece(text, self._field, reasoning=True)
        began, self._inside = self._inside, reasons(text, reasoning=self._inside)
        return _Piece(text, "content", began)

    def _rest(self) -> _Piece:
        """The text of the step that is not complete."""
        waiting = "".join(piece.text for piece in self._thought)
        return _Piece(waiting + self._cutter.rest(), self._field, self._field != "content" or self._inside)

    # Counting ---------------------------------------------------------------------------------------------------

    def _may_wait(self, texts: list[_Piece], chunk: Chunk) -> bool:
        """Whether these are a single step with which the request ends by itself: its count comes with the end."""
        counted = chunk.counts.completion or chunk.logprobs
        return bool(self._terms.stop and self._terms.limit == 1 and len(texts) == 1 and not counted)

    def _counted(self, chunk: Chunk, pieces: list[_Piece]) -> list[Step]:
        """The steps of these texts, none while they wait."""
        texts = [piece.text for piece in pieces]
        new, rest = texts, self._rest().text + self._refusal
        if self._held:
            rest, texts, new = "".join(texts) + rest, [], []
        if self._begun is not None and not self.given:  # the request has not written what was there before
            first, *others = *texts, rest
            *new, rest = first[len(self._begun.text) :], *others
        text = chunk.reasoning + chunk.text + chunk.refusal
        counts = self._counts.read(chunk.counts, text, new, rest, len(chunk.logprobs or ()))
        wanted = len(texts) if self._terms.limit is None else self._terms.limit - self.given
        for count in counts[wanted:]:
            self._counts.put_back(count)
        return [self._step(*each, Finish.SEPARATOR) for each in zip(pieces[:wanted], counts, strict=False)]

    def _hear(self, chunk: Chunk) -> None:
        """Keep the log-probabilities of a chunk."""
        logprobs = chunk.logprobs or ()
        self._logprobs += logprobs
        self._silent = 0 if chunk.text or chunk.reasoning else self._silent + len(logprobs)

    def _too_long(self) -> bool:
        if self.finished:
            return False
        most = self._terms.max_step_tokens
        # With a stop string the request itself had this limit, and an estimate may be above it.
        return self._counts.at_least(2 * most if self._terms.stop else most)

    def _step(self, piece: _Piece, count: StepCount, finish: Finish) -> Step:
        step = self._written(piece, count).step(self._terms.role, finish)
        self.given += 1
        return step

    def _written(self, piece: _Piece, count: StepCount) -> Begun:
        """The next step, the first one with what earlier requests have written of it, and with the prompt."""
        logprobs, self._logprobs = self._logprobs[: count.tokens], self._logprobs[count.tokens :]
        if self.given:
            return Begun(
                piece.text,
                count.tokens,
                estimated=count.estimated,
                logprobs=tuple(logprobs),
                field=piece.field,
                reasoning=piece.reasoning,
            )
        begun = self._begun
        if begun is None:
            prompt, cached = self._counts.prompt
            begun = Begun("", 0, prompt, cached, not self._counts.prompt_is_exact)
        return replace(
            begun,
            text=piece.text,
            field=piece.field,
            reasoning=begun.reasoning if self._begun is not None else piece.reasoning,
            tokens=begun.tokens + count.tokens,
            estimated=begun.estimated or count.estimated,
            logprobs=(*begun.logprobs, *logprobs),
        )
