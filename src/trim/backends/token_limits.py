"""How many completion tokens to ask a model for: what fits, as far as its server has said what that is."""

from __future__ import annotations

from trim.backends.token_counts import TextCounter
from trim.errors import InputTooLong, OutputTooLong

_SURE = 0.8  # of an estimated count


class TokenLimits:
    """What is known of a model's limits, in tokens; what its server says when it refuses a request is remembered.

    Args:
        server: how errors call it.
        counter: counts prompts.
        context: tokens that the model can read and write together; None: not known.
        exact: the counter has the model's own tokenizer and does not estimate.
    """

    def __init__(self, server: str, counter: TextCounter, context: int | None, *, exact: bool) -> None:
        self._server = server
        self._counter = counter
        self._context = context
        self._completion: int | None = None  # tokens that the model may write
        self._exact = exact

    @property
    def context(self) -> int | None:
        """Tokens that the model can read and write together, as far as that is known."""
        return self._context

    def learn(self, context: int) -> None:
        """The server says how many tokens that is, unless it is known."""
        if self._context is None:
            self._context = context

    def fitting(self, prompt: str, wanted: int) -> int:
        """`wanted`, or fewer completion tokens if no more fit into the context after the prompt.

        Raises:
            InputTooLong: none fits.
        """
        wanted = wanted if self._completion is None else min(wanted, self._completion)
        if self._context is None:
            return wanted
        if self._exact and self._counter.far_exceeds(prompt, self._context):
            words = f"the prompt has far more tokens than the context {self._context}"
            raise InputTooLong(self._server, words, limit=self._context)
        used = self._counter.count(prompt)
        if used >= self._context and self._exact:
            words = f"the prompt has {used} tokens, the context {self._context}"
            raise InputTooLong(self._server, words, limit=self._context, prompt=used)
        if not self._exact:
            used = int(used * _SURE)  # servers refuse what is too much, but nothing makes up for what is too little
        return max(1, min(wanted, self._context - used))

    def fewer(self, refusal: InputTooLong | OutputTooLong, prompt: str, asked: int) -> int | None:
        """Completion tokens to ask for after the server refused to write `asked`; None: it would refuse again. Servers
        say that the input is too long also when only prompt and completion together are.
        """
        if isinstance(refusal, OutputTooLong):
            self._completion = refusal.limit or self._completion
            left = refusal.limit or asked // 4
        elif (context := refusal.limit or self._context) is None:
            left = asked // 4
        else:
            self._context = context
            used = self._counter.count(prompt) if refusal.prompt is None else refusal.prompt
            left = context - used
            if refusal.prompt is None and not self._exact:
                left = max(1, left // 2)  # an estimate rules nothing out, and may be too low
        return left if 0 < left < asked else None
