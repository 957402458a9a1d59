r"""What belongs together in a text: fenced code, LaTeX displays, Markdown tables, headings. Read line by line."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass, field

from trim.answer_marks import behind_mark

_WORD = re.compile(r"[^\W_]")
_ITEMS = r"[ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)*"  # list items may begin on the line of what they contain
_QUOTE = re.compile(r"(?:[ \t]*>)+ ?")
_FENCE = re.compile(_ITEMS + r"(?P<marks>`{3,}(?=[^`]*\Z)|~{3,})")
_CLOSING = re.compile(r"(?P<indent>[ \t]*)(?P<marks>`{3,}|~{3,})\s*\Z")
# Escapes come first, so that the `\\[2pt]` of a matrix opens nothing.
_MARK = re.compile(
    r"\\[\\$`]|(?P<open>\\\[)|(?P<close>\\\])|(?P<dollars>\$\$)|(?P<code>`+)"
    r"|\\begin\{(?P<begin>[^\s{}]*)\}|\\end\{(?P<end>[^\s{}]*)\}"
)
_DEEPEST = 100  # displays inside each other that are told apart
_BACKTICKS = re.compile("(?P<code>`+)")
_ROW = frozenset("|:- \t\r\n")  # of the line below a table's head

_LABEL = r"(?:step|part|case|phase|stage|section|question|problem|example)\b\s*#?\w{0,5}"
_ATX = re.compile(r"[ \t]{0,3}(#{1,6})(?:[ \t]+(?P<title>.*))?\s*\Z")
_BARE_LABEL = re.compile(rf"(?i)\s*(?:{_LABEL}\s*[:.)-]?|\d{{1,3}}[.)]|[-*+])\s*\Z")
_BOLD = re.compile(r"\s*(?P<mark>\*\*|__)(?P<title>[^*\n]{1,200})(?P=mark)\s*:?\s*\Z")
_BOLD_LABEL = re.compile(rf"(?i)\s*(?:{_LABEL}\s*(?:[:.)(-]|\Z)|\d{{1,3}}\s*[.):])")
_BOLD_TITLE = re.compile(r"(?i)(?!.*\b(?:is|are)\b)[^\d=\\:]*[^\W\d_][^\d=\\:]*(?<![.!?]):?\s*\Z")


def has_word(text: str) -> bool:
    """Whether there is a letter or a digit."""
    return _WORD.search(text) is not None


def is_heading(line: str) -> bool:
    """Whether a line only announces what follows: `### Solution`, `**Step 2: Add**`, `Step 2:`, `1.`"""
    if (atx := _ATX.match(line)) is not None:
        return len(atx[1]) < 4 or behind_mark(f"{atx['title'] or ''}\nx") in (None, "", "x")  # not GSM8K's `#### 42`
    if (bold := _BOLD.match(line)) is not None:
        return bool(_BOLD_LABEL.match(bold["title"]) or _BOLD_TITLE.match(bold["title"]))
    return _BARE_LABEL.match(line) is not None


@dataclass(slots=True)
class _Fence:
    char: str
    length: int
    indent: int
    quoted: bool

    def closed_by(self, line: str) -> bool:
        found = _CLOSING.match(line)
        if found is None or found["marks"][0] != self.char or len(found["marks"]) < self.length:
            return False
        return len(found["indent"].expandtabs(4)) < self.indent + 4


@dataclass(slots=True)
class Structure:
    """What is open at the end of the lines read so far."""

    _fence: _Fence | None = None
    _displays: list[str] = field(default_factory=list)
    _table: bool = False
    _head: bool = False  # the newest line may be a table's head

    @property
    def open(self) -> bool:
        """Whether code or a display goes on."""
        return self._fence is not None or bool(self._displays)

    @property
    def kind(self) -> str:
        """What goes on, in words; empty: nothing."""
        return "code block" if self._fence is not None else "LaTeX display" if self._displays else ""

    @property
    def in_table(self) -> bool:
        """Whether the newest line is a row of a table, below its head."""
        return self._table

    @property
    def may_be_table(self) -> bool:
        """Whether the next line may go on with a table."""
        return self._table or self._head

    def continues(self, line: str) -> bool:
        """Whether the next line belongs to the table that the newest one is of."""
        return (self._table and "|" in line) or (self._head and _is_rule(line))

    def displays(self) -> Displays:
        """The open displays, to be read on within a line."""
        return Displays([*self._displays])

    def read(self, line: str) -> None:
        """Read the next line."""
        if self._fence is not None:
            inside = line
            if self._fence.quoted:
                quote = _QUOTE.match(line)
                if quote is None:  # the quotation has ended, and the code in it
                    self._fence = None
                    self.read(line)
                    return
                inside = line[quote.end() :]
            if self._fence.closed_by(inside):
                self._fence = None
            return
        quote = _QUOTE.match(line)
        start = quote.end() if quote else 0
        if (fence := _FENCE.match(line, start)) is not None:
            marks = fence["marks"]
            indent = len(line[start : fence.start("marks")].expandtabs(4))
            self._fence = _Fence(marks[0], len(marks), indent, quote is not None)
            self._table = self._head = False
            return
        table = self.continues(line)
        self._displays = Displays(self._displays).read(line, whole=True).open
        self._table = table and not self._displays
        self._head = "|" in line and not table and not self._displays


def _is_rule(line: str) -> bool:
    """Whether this is the line below a table's head: `|---|:-:|`."""
    return "|" in line and "-" in line and _ROW.issuperset(line)


@dataclass(slots=True)
class Displays:
    """The LaTeX displays that are open within a line. Inline code opens none."""

    open: list[str]
    code: int = 0  # backticks that inline code began with; 0: none has begun

    def read(self, text: str, *, whole: bool = False) -> Displays:
        """Read on in a line; `whole`: to its end, so that backticks without a partner are just backticks."""
        runs = _runs(text) if whole and "`" in text else {}
        at = 0
        while (found := (_BACKTICKS if self.code else _MARK).search(text, at)) is not None:
            at, kind = found.end(), found.lastgroup
            if kind is not None and kind != "code":
                self._mark(kind, found)
            elif kind is None or self.open:
                continue
            elif whole:
                partners = runs.get(len(found["code"]), [])
                next_ = bisect_left(partners, at)
                at = partners[next_] + len(found["code"]) if next_ < len(partners) else at
            elif not self.code or len(found["code"]) == self.code:
                self.code = 0 if self.code else len(found["code"])
        return self

    def _mark(self, kind: str, found: re.Match[str]) -> None:
        opened = {"open": "[", "begin": found["begin"]}.get(kind)
        if kind == "dollars" and "$" not in self.open:
            opened = "$"
        if opened is not None:
            if len(self.open) < _DEEPEST:  # so that a text of nothing but marks takes no longer than others
                self.open.append(opened)
        else:
            name = {"close": "[", "dollars": "$"}.get(kind) or found["end"]
            if name in self.open:  # what was opened inside and not closed ends with it
                while self.open.pop() != name:
                    pass


def _runs(text: str) -> dict[int, list[int]]:
    """Where the runs of backticks begin, by their length."""
    found: dict[int, list[int]] = {}
    for run in _BACKTICKS.finditer(text):
        found.setdefault(len(run[0]), []).append(run.start())
    return found
