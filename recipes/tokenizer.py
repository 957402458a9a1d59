"""The tokenizer that all shipped models share: byte-level BPE, single digits, one token for a blank line.

python -m recipes.tokenizer            # writes runs/tokenizer.json, seconds
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from trim.tasks.gsm_symbolic import FAMILY

PATH = Path("runs/tokenizer.json")
PAD, USER, ASSISTANT, END, MARK = SPECIALS = ("<pad>", "<|user|>", "<|assistant|>", "<|end|>", "<extra_0>")
BLANK = "\n\n"
VOCABULARY = 2048
_SEED = 77
# The pre-tokenizer of Qwen2 (one token a digit), which vLLM, transformers and llama.cpp all know by name.
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _texts(problems: int) -> Iterator[str]:
    """Training questions and steps without their digits, so that no merge joins digits."""
    for question in islice(FAMILY.stream(_SEED, "train"), problems):
        for text in (question.text, *question.reference_steps):
            yield re.sub(r"\d", "", text)


def train(problems: int = 25_000) -> Tokenizer:
    """A tokenizer of exactly `VOCABULARY` entries."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 1,
        special_tokens=list(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        min_frequency=20,
    )
    tokenizer.train_from_iterator(_texts(problems), trainer)
    tokenizer.add_tokens([AddedToken(BLANK, normalized=False, special=False)])
    missing = VOCABULARY - tokenizer.get_vocab_size()
    tokenizer.add_special_tokens([AddedToken(f"<unused{i}>", special=True) for i in range(missing)])
    return tokenizer


class Encoder:
    """Token ids of questions and solutions in the chat format of the shipped models."""

    def __init__(self, path: Path = PATH) -> None:
        self.tokenizer = Tokenizer.from_file(str(path))
        self.pad, self.user, self.assistant, self.end, self.mark = map(self.id, SPECIALS)
        self.blank = self.id(BLANK)

    def id(self, token: str) -> int:
        """The id of one token."""
        found = self.tokenizer.token_to_id(token)
        assert found is not None, token
        return int(found)

    def encode(self, text: str) -> list[int]:
        """Ids of plain text."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: list[int]) -> str:
        """Text of ids, without special tokens."""
        return str(self.tokenizer.decode(ids))

    def prompt(self, question: str) -> list[int]:
        """Token ids of `<|user|>question<|assistant|>`."""
        return [self.user, *self.encode(question), self.assistant]

    def solution(self, steps: tuple[str, ...] | list[str]) -> list[int]:
        """Steps joined by blank lines, then `<|end|>`."""
        return [*self.encode(BLANK.join(steps)), self.end]


if __name__ == "__main__":
    PATH.parent.mkdir(exist_ok=True)
    train().save(str(PATH))
    print(f"{PATH}: {Tokenizer.from_file(str(PATH)).get_vocab_size()} tokens")
