"""What a model says to its reader: its text without reasoning and without the tokens that end a turn."""

from __future__ import annotations

import re

# Reasoning: from its opening to its closing mark. A template may have opened it before the text starts.
_OPEN = r"<(?:think|thinking|thought|reasoning)>|\[THINK\]|<\|channel\|>analysis<\|message\|>"
_CLOSE = r"</(?:think|thinking|thought|reasoning)>|\[/THINK\]|<\|channel\|>final<\|message\|>"
_REASONING = re.compile(rf"({_OPEN})|({_CLOSE})")
_END = re.compile(
    r"<[|｜](?:im_end|end|endoftext|end_of_text|eo[tm]_id|end[_▁]of[_▁](?:turn|sentence)|eos)[|｜]>"
    r"|</s>|<eos>|<end_of_turn>|\[EOS\]"
)
_TOKEN = re.compile(r"<[|｜][^<>|｜\s]{1,40}[|｜]>|<(?:s|bos|pad|unk|start_of_turn)>|\[/?INST\]")


def visible(text: str, *, reasoning: bool = False) -> str:
    """What a model says to its reader: no reasoning, and nothing from the token on that ends its turn.

    Args:
        text: what a model wrote.
        reasoning: it begins inside reasoning that was opened before.
    """
    kept, start, inside = [], 0, reasoning
    for mark in _REASONING.finditer(text):
        if not inside and mark[1]:
            kept.append(text[start : mark.start()])
        elif not inside:  # opened before the text starts
            kept.clear()
        inside, start = bool(mark[1]), mark.end()
    if not inside:
        kept.append(text[start:])
    parts = (_TOKEN.sub("", part) for part in _END.split("".join(kept)))
    return next((part for part in parts if part.strip() and part.strip() != "assistant"), "")


def reasons(text: str) -> bool:
    """Whether a text ends inside reasoning."""
    marks = list(_REASONING.finditer(text))
    return bool(marks) and marks[-1][1] is not None
