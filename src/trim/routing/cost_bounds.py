"""How many tokens a call may have at most, before a server has counted any: what reservations of money are made from.

A text has at most a token for each of its bytes, and a template puts a few around each message.
"""

from __future__ import annotations

from collections.abc import Iterable

from trim.backends.token_counts import size
from trim.types import Price, Question, Usage

AROUND = 64  # tokens that a template puts around a message, at most
BETWEEN = 4  # tokens between two steps, such as a mark, at most
ASKED = 2_048  # tokens of the words in which a model is asked to continue or to judge, at most


def most_tokens(question: Question) -> int:
    """Tokens of a question with its conversation at most, whatever a template puts around it."""
    texts = [question.text, *(message.text for message in question.messages)]
    return sum(map(size, texts)) + AROUND * (1 + len(texts))


def most_of_steps(texts: Iterable[str]) -> int:
    """Tokens of steps at most, with what stands between them."""
    return sum(size(text) + BETWEEN for text in texts)


def cost_of(price: Price, *, prompt: float = 0, completion: float = 0) -> float:
    """Of tokens of one role, none of them cached; where a price is not known its tokens count nothing."""
    return price.of(Usage(prompt_tokens=int(prompt), completion_tokens=int(completion))) or 0.0
