"""What a model says to its reader: its text without reasoning and without the tokens that end a turn."""

from __future__ import annotations

import re

from trim.text_search import matches

# Reasoning: from its opening to its closing mark. A template may have opened it before the text starts.
_OPEN = r"<(?:think|thinking|thought|reasoning)>|\[THINK\]|<\|channel\|>analysis<\|message\|>"
_MARKS = (  # opening and closing ones; each begins with one of two characters, so that the search skips all others
    r"<(?:(?P<ends>/)?(?:think|thinking|thought|reasoning)>|\|channel\|>(?:analysis|(?P<final>final))<\|message\|>)"
    r"|\[(?P<ends_>/)?THINK\]"
)
_REASONING = re.compile(_MARKS)  # a closing mark has a group
_LONGEST = 40  # characters of a mark at most
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
    for mark in matches(_REASONING, text, _LONGEST):
        opens = not mark.lastgroup
        if not inside and opens:
            kept.append(text[start : mark.start()])
        elif not inside:  # opened before the text starts
            kept.clear()
        inside, start = opens, mark.end()
    if not inside:
        kept.append(text[start:])
    parts = (_TOKEN.sub("", part) for part in _END.split("".join(kept)))
    return next((part for part in parts if part.strip() and part.strip() != "assistant"), "")


def reasons(text: str, *, reasoning: bool = False) -> bool:
    """Whether a text ends inside reasoning. `reasoning`: it begins there."""
    inside = reasoning
    for mark in matches(_REASONING, text, _LONGEST):
        inside = not mark.lastgroup  # it is no closing one
    return inside


def unmarked(text: str) -> str:
    """A text without the marks that open and close reasoning."""
    return _REASONING.sub("", text) if "<" in text or "[" in text else text


def unopened(text: str) -> str | None:
    """A text that begins with reasoning, without the mark that opens it; None: another text."""
    mark = re.match(rf"\s*(?:{_OPEN})\n?", text)
    return None if mark is None else text[mark.end() :]


def closing(text: str) -> str:
    """What closes the reasoning that was opened last in a text."""
    opened = [mark[0] for mark in matches(_REASONING, text, _LONGEST) if not mark.lastgroup]
    mark = opened[-1] if opened else "<think>"
    close = "<|channel|>final<|message|>" if mark.startswith("<|") else f"{mark[0]}/{mark[1:]}"
    return f"\n{close}\n\n"
