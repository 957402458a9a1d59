r"""One spelling for answers that can be written in many: `\dfrac{70{,}000}{3}.` and `**70 000/3**` say the same.

A text is rewritten once, by `plain`; whatever compares answers or looks for numbers in them reads the rewritten text.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction

from trim.visible_text import visible

_SIGNS = str.maketrans(
    dict.fromkeys("−–—‒﹣", "-")
    | dict.fromkeys("\u00a0\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000\t\r\n", " ")
    | dict.fromkeys("\u200b\u200c\u200d\u200e\u200f\u2060\ufeff€£¥₹")
    | {"×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "÷": "/", "∕": "/", "⁄": "/", "∗": "*", "°": r"^\circ "}
    | {"π": r"\pi ", "∞": r"\infty ", "√": r"\sqrt ", "≤": r"\le ", "⩽": r"\le ", "≥": r"\ge ", "⩾": r"\ge "}
    | {"∪": r"\cup ", "∈": r"\in ", "±": r"\pm ", "≈": r"\approx "}
)
_RAISED = re.compile(r"[⁺⁻⁰¹²³⁴-⁹]+")
_FRACTION_SIGN = re.compile(r"[¼-¾⅐-⅞]")
_FRAC = r"\\frac\s*(\{[^{}]*\}|\d)\s*(\{[^{}]*\}|\d)"
_TEXT = r"\\(?:mbox|text(?:rm|bf|it|sf|tt|normal)?|math(?:rm|bf|sf|it)|operatorname|bold(?:symbol)?)"
_REWRITES = [
    (re.compile(pattern), new)
    for pattern, new in (
        (r"\\(?:left|right|[bB]igg?[lr]?)(?![A-Za-z])\.?", ""),
        (r"\\(?:displaystyle|textstyle)(?![A-Za-z])", ""),
        (r"(?<!\\)\\[()\[\]]|\\?\$", ""),  # marks of formulas, and dollars
        (r"\\\\\s*\[[^\]]*\]", r"\\\\ "),  # the space between two rows
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\frac\s*(\d)\s*(\d)", r"\\frac{\1}{\2}"),
        (rf"{_TEXT}\s*(?=\{{)", r"\\text"),
        (r"\\text\{\s*([-+*/^=eE]*)\s*\}", r"\1"),
        (r"\\(?:leq|leqslant)(?![A-Za-z])", r"\\le "),
        (r"\\(?:geq|geqslant)(?![A-Za-z])", r"\\ge "),
        (r"\\lt(?![A-Za-z])", "<"),
        (r"\\gt(?![A-Za-z])", ">"),
        (r"\\varnothing(?![A-Za-z])", r"\\emptyset "),
        (r"\^\s*(?:\\circ(?![A-Za-z])|\{\s*\\circ\s*\})|\\degree(?![A-Za-z])", ""),
        (r"\\text\{\s*(?:per ?cent|pct\.?)\s*\}|\s*\bper ?cent\b|\s*\\%", "%"),
        (r"(?<=\d)\s*(?:\{,\}|,?\\!|\\[,;: ]|~)\s*(?=\d{3}(?!\d))", ","),  # thousands, whichever sign parts them
        (r"\\!", ""),
        (r"(?<!\\)\\[,;:> ]|\\q?quad(?![A-Za-z])|~", " "),
        (r"\b(?:np|math)\.(?=[a-z])", r"\\"),  # references of Minerva are Python in places
        (r"\s+", " "),
    )
]

_DIGITS = r"(?:\d{1,3}(?:[, ]\d{3})+(?!\d)|\d+)"
_DECIMAL = rf"(?:{_DIGITS}(?:\.\d*)?|\.\d+)"
_POWER = re.compile(  # of a text without braces
    rf"(?:({_DECIMAL}) ?(?:\\times|\\cdot|\*|[xX]) ?|(?={_DECIMAL}))10 ?(?:\^|\*\*) ?\(?([-+]?\d+)\)?"
    rf"|({_DECIMAL}) ?[eE]([-+]?\d+)"
)
_RATIO = re.compile(rf"(?:({_DIGITS})(?: (?=\d)|(?=\\)| (?=\\)))?(?:{_FRAC}|({_DECIMAL}) ?/ ?(-?{_DECIMAL}))")
_REPEATING = re.compile(r"(\d*)\.(\d*)\\(?:overline|bar|dot) ?\{?(\d+)\}?")
_IN_BASE = re.compile(r"([0-9][0-9A-Z]*) ?_ ?(?:(\d\d?)|\{(?:\\text\{)? ?(?:base ?)?\}? ?(\d\d?)\}?\})")
_NUMBERS = re.compile(
    r"(?<![\d.A-Za-z^_])(?<![A-Za-z]\^\{)(?:(?<![\d)}%])(?<![\d)}%] )[-+] ?)?"
    rf"(?:(?:{_DIGITS} ?)?\\frac ?(?:\{{[-+]?{_DECIMAL}\}}|\d) ?(?:\{{{_DECIMAL}\}}|\d)|\d+ \d+/\d+"
    rf"|\d*\.\d*\\(?:overline|bar|dot) ?\{{?\d+\}}?|{_DECIMAL} ?(?:\\times|\\cdot|\*|[xX]) ?10 ?\^ ?\{{?[-+]?\d+\}}?"
    rf"|10 ?\^ ?\{{?[-+]?\d+\}}?|{_DECIMAL}[eE][-+]?\d+|{_DECIMAL}(?: ?/ ?{_DECIMAL})?) ?%?"
)
_SCALE = (
    r"(?:hundred|thousand|million|billion|trillion|dozen|score|half|pi|or|and|to|mod|modulo|sqrt|log|a\.?m|p\.?m)\b"
)
_WORD = rf"(?!\s*(?:{_SCALE}))(?:[A-Za-z]{{3,}}|[cmk]m|kg|ft|in|lb|oz|hr|mi|m[lL]|sq|of)\.?"
_IN_TEXT = r"\\text\{(?:[^{}]|\{[^{}]*\})*\}(?:\s*\^\s*\{?-?\d\}?)?"
_UNIT = re.compile(  # behind a number: in \text, or in words with a space before them
    rf"(?:\s*(?!\\text\{{\s*{_SCALE}){_IN_TEXT}(?:(?:\s|/|\\cdot)*{_IN_TEXT})*"
    rf"|\s{_WORD}(?:(?: |/| / ){_WORD})*(?:\s?\^\s?\{{?-?\d\}}?)?)$"
)
_LONGEST = 400  # digits that a number may have, its exponent worked out


def plain(text: str) -> str:
    """The same answer in one spelling: ASCII signs, few LaTeX commands, no markup around it and no full stop behind.

    Thousands may still be parted by a comma: whether `1,234` is one number or two, only the whole answer can say.
    """
    text = unicodedata.normalize("NFC", visible(text))
    text = _RAISED.sub(lambda found: "^{" + _spelt(found[0]) + "}", text)
    text = _FRACTION_SIGN.sub(lambda found: "\\frac{" + _spelt(found[0]).replace("⁄", "}{") + "}", text)
    text = "".join(chr(ord(char) - 0xFEE0) if "！" <= char <= "～" else char for char in text).translate(_SIGNS)
    for pattern, new in _REWRITES:
        text = pattern.sub(new, text)
    before = None
    while before != text:
        before = text
        text = text.strip(" `*_").rstrip(".,;:")
        if (inner := re.fullmatch(r"(?:\\text)?\{([^{}]*)\}", text)) is not None:
            text = inner[1]
    return text


def _spelt(sign: str) -> str:
    """What a sign such as ½ or ² says in plain digits."""
    return unicodedata.normalize("NFKC", sign)


def without_unit(text: str) -> str:
    """A plain text without what is behind its number or formula in words."""
    return _UNIT.sub("", text).strip() or text


@dataclass(frozen=True)
class Number:
    """A number as it was written.

    Args:
        value: exact; of a number with a base, of its digits read in that base.
        unit: of its last digit, if it is a decimal; 0 if it is whole or a fraction.
        percent: whether a percent sign is behind it.
        base: 0 if none is named.
        digits: all that stands before the base.
    """

    value: Fraction
    unit: Fraction = Fraction(0)
    percent: bool = False
    base: int = 0
    digits: str = ""

    def equals(self, reference: Number) -> bool:
        """Whether this answer is the reference.

        Whole numbers and fractions must be exact, but for the rounding of a division (a millionth). A decimal is
        right if it rounds to the reference at the reference's last digit and is not further off than 0.2%: 1.602e-19
        is 1.6e-19, 4.52 is not 4.5.
        """
        if self.base or reference.base:
            return self._same_digits(reference)
        if self.percent is not reference.percent:  # 50% is 0.5, and also the 50 that "how many percent?" asks for
            scale = Fraction(100) if self.percent else Fraction(1, 100)
            return self._near(reference) or self._near(Number(reference.value * scale, reference.unit * scale))
        return self._near(reference)

    def _same_digits(self, reference: Number) -> bool:
        if not self.base:  # the question names the base
            return str(self.value) == reference.digits
        return (self.base, self.value) == (reference.base or 10, reference.value)

    def _near(self, reference: Number) -> bool:
        off = abs(self.value - reference.value)
        if off == 0 or reference.value == 0:
            return off == 0
        relative = off / abs(reference.value)
        if self.value.denominator > 1 and relative <= Fraction(1, 10**6):
            return True
        return 2 * off <= reference.unit and relative <= Fraction(1, 500)


def number(text: str) -> Number | None:
    """The number that a text is, with or without a unit; None if it is anything else."""
    text = plain(text)
    if len(text) > _LONGEST:
        return None
    if (based := _IN_BASE.fullmatch(text)) is not None:
        return _in_base(based[1], int(based[2] or based[3]))
    text = without_unit(text)
    percent = text.endswith("%")
    text = text.rstrip("% ").strip()
    sign = -1 if text.startswith("-") else 1
    text = text.removeprefix("-" if sign < 0 else "+").strip()
    try:
        found = _unsigned(text)
    except (ValueError, ZeroDivisionError):
        return None
    return None if found is None else Number(sign * found[0], found[1], percent)


def last_number(text: str) -> str | None:
    """The last number in a text, without thousands separators; None if there is none."""
    found = [match[0] for match in _NUMBERS.finditer(without_unit(plain(text[:_LONGEST])))]
    return re.sub(r"(?<=\d)[, ](?=\d{3}(?!\d))", "", found[-1]).replace("- ", "-").strip("+ ") if found else None


def _in_base(digits: str, base: int) -> Number:
    """A number in a base; the value is that of its places, even if the base does not have such digits."""
    value = sum(int(digit, 36) * base**place for place, digit in enumerate(reversed(digits)))
    return Number(Fraction(value), base=base, digits=digits.lstrip("0"))


def _unsigned(text: str) -> tuple[Fraction, Fraction] | None:
    """The value of a number and the unit of its last digit."""
    if re.fullmatch(_DECIMAL, text):
        return _decimal(text)
    if (ratio := _RATIO.fullmatch(text)) is not None:
        whole, top, bottom, left, right = ratio.groups()
        above, below = (_decimal(part.strip("{} ")) for part in (top or left, bottom or right))
        return (_decimal(whole)[0] if whole else 0) + above[0] / below[0], Fraction(0)
    if (power := _POWER.fullmatch(re.sub("[{} ]", "", text))) is not None:
        mantissa, exponent = (power[1] or "1", power[2]) if power[2] else (power[3], power[4])
        if abs(int(exponent)) > _LONGEST:
            return None
        scale = Fraction(10) ** int(exponent)
        value, unit = _decimal(mantissa)
        return value * scale, (unit or 1) * scale if power[1] or power[3] else Fraction(0)
    if (repeating := _REPEATING.fullmatch(text)) is not None:
        whole, once, again = repeating.groups()
        nines = (10 ** len(again) - 1) * 10 ** len(once)
        return Fraction(int((whole + once) or 0)) / 10 ** len(once) + Fraction(int(again), nines), Fraction(0)
    return None


def _decimal(text: str) -> tuple[Fraction, Fraction]:
    """The value of a decimal and the unit of its last digit.

    Raises:
        ValueError: it is anything else.
    """
    if re.fullmatch(rf"[-+]?{_DECIMAL}", text) is None:
        raise ValueError(text)
    digits = text.replace(",", "").replace(" ", "").removesuffix(".")
    _, point, places = digits.partition(".")
    return Fraction(digits), Fraction(1, 10 ** len(places)) if point else Fraction(0)
