"""Control tokens: text of users and models is kept from turning into them.

A control token inside such a text would reach the model as that token, so that a question could open a turn of its own
or forge a step mark. It is broken by a space after its first character: `<|im_end|>` becomes `< |im_end|>`, which
everybody can still read. A zero-width character would not do: normalisers of some tokenizers remove it again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import TypeAlias

from trim.text_search import PART, matches

_BREAKS = " ·•"  # what is put into a token: the first of these that is in none
# Left out of the wildcards below, so that a break put into a token never completes another.
_NO = r"\s·•\u2460-\u24ff"
_TURNS = (  # marks that open or close something in the common model families
    rf"<[|｜][^|｜<>{_NO}]{{1,60}}[|｜]>",  # <|im_end|>, <｜User｜> (DeepSeek, with full-width bars)
    rf"<｜[^｜<>{_NO}](?:[^｜<>{_NO}]| ){{1,60}}｜>",  # a normaliser may fill the spaces of <｜end of sentence｜>
    r"<\|(?:turn|channel|think|tool|tool_call|tool_response|image|audio|video)>",  # Gemma 4, with the next line
    r"<(?:turn|channel|tool|tool_call|tool_response|image|audio|video)\|>",
    rf"\[[|｜][^|｜\[\]{_NO}]{{1,60}}[|｜]\]",  # [|endofturn|]
    r"</?s>|<(?i:pad|bos|eos|unk|mask|sop|eop|cls|sep)(?:_TOKEN)?>|\[(?:PAD|BOS|EOS|UNK|CLS|SEP)\]",
    r"<(?:extra_|extra_id_|unused|SPECIAL_|special_|reserved_)\d{1,20}>|\[UNUSED_TOKEN_\d{1,20}\]",
    r"<(?:start|end)_of_[a-z]{1,20}>|\[[gs]?MASK\]|<seed:[a-z_:]{1,40}>",
    r"<</?SYS>>|\[/?(?:INST|SYS|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_RESULTS|TOOL_CONTENT|MODEL_SETTINGS)\]",
    r"\[(?:TOOL_CALLS|CALL_ID|ARGS|IMG|IMG_BREAK|IMG_END|AUDIO|BEGIN_AUDIO|PREFIX|MIDDLE|SUFFIX)\]",
)
_CONTENT = (  # marks inside an answer, which servers show as the model wrote them
    r"</?(?:think|thinking|reasoning|tool_call|tool_calls|tool_response|tools|function_call)>",
    r"\[/?THINK\]",
)
_IN_TEMPLATES = re.compile(  # what a mark in a template's own text looks like
    r"(?<!<)<[/|｜]?[A-Za-z_][^<>\s]{0,60}>|\[[/|]?[A-Za-z_][A-Z_|a-z]{2,40}\]|\[gMASK\]"
)
_MARKUP = re.compile(  # added tokens of some tokenizers (Gemma's) that are ordinary text all the same
    r"</?(?:a|b|blockquote|br|caption|code|div|em|h[1-6]|i|img|li|ol|p|pre|span|strong|sub|sup|table|tbody|td|tfoot|th|"
    r"thead|tr|u|ul)>"
)

_LONGEST = 200  # characters of a token of the common model families at most

_Tree: TypeAlias = dict[str, "_Tree"]


def neutralise(text: str, also: Iterable[str] = (), *, common: bool = True, content: bool = True) -> str:
    """The text with every control token broken, so that none of them is in it. Linear in the text's length.

    `<extra_0>` becomes `< extra_0>`; a token of one character becomes U+FFFD, one of white space a space. Where a token
    has a space in it another character is used in place of the space.

    Args:
        text: written by a user or a model.
        also: further tokens to break, such as a PRM's step mark or the special tokens of a tokenizer file.
        common: break the control tokens of the common model families.
        content: of these, break also the marks that stand inside answers, such as `<think>`.
    """
    rules = _rules(tuple(dict.fromkeys(also)), common, content)
    if rules.singles is not None:
        parts = (text[start : start + PART] for start in range(0, len(text), PART))
        text = "".join(rules.singles.sub(rules.single, part) for part in parts)
    if rules.tokens is None:
        return text
    pieces, begin = [], 0
    for found in matches(rules.tokens, text, rules.longest):
        pieces.append(text[begin : found.end()])
        begin = found.end()
    return rules.mark.join((*pieces, text[begin:]))


@dataclass(frozen=True, slots=True)
class _Rules:
    """How control tokens are broken.

    `singles`: tokens of one character, in place of which `single` is put. `tokens`: the first character of a longer
    one, behind which `mark` is put; `longest`: characters of such a token at most.
    """

    singles: re.Pattern[str] | None
    single: str
    tokens: re.Pattern[str] | None
    mark: str
    longest: int


@lru_cache(maxsize=64)
def _rules(also: tuple[str, ...], common: bool, content: bool) -> _Rules:
    """The rules for these tokens.

    A look-ahead finds every token's beginning, those of overlapping tokens included, so each token that was in the text
    has a break in it; and a break makes no token, because it is in none.
    """
    longer = [token for token in also if len(token) > 1]
    characters = set(chain.from_iterable(also))
    unused = chain(_BREAKS, map(chr, range(0x2460, 0x2500)))
    mark = next((char for char in unused if char not in characters), "\ufffd")
    single = {token for token in also if len(token) == 1}
    visible = any(not char.isspace() for char in single) and "\ufffd" not in characters
    singles = re.compile(_class(single)) if single else None
    patterns = [*(_TURNS if common else ()), *(_CONTENT if common and content else ())]
    firsts = {token[0] for token in longer} | (set("<[") if patterns else set())
    if longer:
        patterns.insert(0, _alternatives(longer))
    # The character comes first and what it must begin is looked at from behind it: so the search skips all others.
    begins = f"{_class(firsts)}(?<=(?=(?:{'|'.join(patterns)})).)" if patterns else ""
    tokens = re.compile(begins, re.DOTALL) if begins else None
    return _Rules(singles, "\ufffd" if visible else mark, tokens, mark, max(_LONGEST, *map(len, longer), 0))


def _class(characters: Iterable[str]) -> str:
    return "[" + "".join(map(re.escape, sorted(characters))) + "]"


def _alternatives(tokens: Iterable[str]) -> str:
    """A pattern that matches any of these texts, as a tree of common beginnings: a text of nothing but `<` takes no
    longer with the thousands of tokens that some tokenizers have.
    """
    tree: _Tree = {}
    for token in tokens:
        node = tree
        for char in token:
            node = node.setdefault(char, {})
        node[""] = {}

    def pattern(node: _Tree, space: str) -> str:
        if "" in node:  # a shorter token is as good as a longer one: only its beginning is looked for
            return ""
        branches = [
            (space if char == "▁" else re.escape(char)) + pattern(below, "[▁ ]") for char, below in node.items()
        ]
        return branches[0] if len(branches) == 1 else f"(?:{'|'.join(branches)})"

    return pattern(tree, "▁")  # inside a token a normaliser may fill a space


def in_template(literals: Iterable[str]) -> tuple[str, ...]:
    """What looks like a control token in a template's own text."""
    found = (match[0] for text in literals for match in _IN_TEMPLATES.finditer(text))
    return tuple(token for token in dict.fromkeys(found) if not _MARKUP.fullmatch(token))


def is_control(token: str) -> bool:
    """Whether a token that a tokenizer adds without calling it special stands for something else than its own text.

    Runs of white space, words and HTML tags don't.
    """
    return not (token.isspace() or all(char.isalnum() for char in token) or _MARKUP.fullmatch(token))
