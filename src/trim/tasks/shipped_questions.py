"""Whether a question is of a kind that the shipped models were made for.

They know three kinds of problems, written from templates. A question is one of them if nearly all pairs of neighbouring
words in it occur there: numbers count as one word, and so do names. `python -m benchmarks.shipped_questions` collects
the pairs and measures the share of questions, of these kinds and of others, that are told apart.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache
from importlib.resources import files
from io import BytesIO
from itertools import pairwise
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

BITS = 1 << 17
UNKNOWN_PAIRS = 0.1
"""A question with a larger share of pairs that are not known is of another kind."""
FOREIGN = (
    "the shipped models know three kinds of problems only (word problems like those of gsm_symbolic, arithmetic "
    "chains, string rewriting), and this question is none of them: do not trust the answer"
)
_LONGEST = 20_000  # characters that are looked at; none of the questions has a tenth of that
_WORDS = re.compile(r"[A-Za-z]+|\d+|[^\sA-Za-z\d]")


def pairs(text: str) -> list[int]:
    """The pairs of neighbouring words of a question, each as its place in the table."""
    words = ["0" if word.isdigit() else "A" if word[0].isupper() else word for word in _WORDS.findall(text)]
    return [crc32(f"{one} {other}".encode("utf-8", "backslashreplace")) % BITS for one, other in pairwise(words)]


def unknown_share(text: str, known: NDArray[np.bool_]) -> float:
    """The share of a question's pairs that are not in the table; 1 for a question without any."""
    found = pairs(text)
    return 1.0 if not found else 1.0 - float(known[found].mean())


def is_foreign(text: str) -> bool:
    """Whether the shipped models were not made for this question."""
    return unknown_share(text[:_LONGEST], _known()) > UNKNOWN_PAIRS


def note_on(text: str, identities: Collection[str]) -> str:
    """What to say of a question to models of these identities; empty: nothing, or none of them is a shipped one."""
    shipped = any(name.startswith(("embedded:weak@", "embedded:strong@")) for name in identities)
    return FOREIGN if shipped and is_foreign(text) else ""


@cache
def _known() -> NDArray[np.bool_]:
    packed = (files("trim.tasks") / "shipped_questions.npz").read_bytes()
    with np.load(BytesIO(packed), allow_pickle=False) as stored:
        return np.unpackbits(stored["pairs"]).astype(bool)
