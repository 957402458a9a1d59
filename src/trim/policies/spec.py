"""How a policy is asked for: `family[+option...][=folder]`.

`threshold`, `threshold+2` (up to two resamples before the strong model is asked), `threshold+revise` (what the strong
model writes may be revised), `pomdp+snapshot=fits/gsm`, or a policy of your own: `FILE.py:CLASS`, `MODULE:CLASS`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache

from trim.plugins import is_reference

REVISE, MAX_REVISIONS = "revise", 2
"""The option of policies that look at the strong model's text too, and how often they may have it revised."""

_EARLIER = {"redo": REVISE}
"""Options that earlier versions called otherwise."""


@dataclass(frozen=True)
class PolicySpec:
    """What a policy was asked for as.

    `resamples` is the option that is a number; the others are words, such as `snapshot` and `takeover` of pomdp.
    """

    family: str
    resamples: int = 0
    options: tuple[str, ...] = ()
    folder: str = ""

    @classmethod
    def parse(cls, text: str) -> PolicySpec:
        """Read it. Whether there is such a policy is up to `trim.policies.registry`."""
        text = text.strip()
        if is_reference(text):
            return cls(text)
        name, _, folder = text.partition("=")
        family, *options = name.split("+")
        resamples = [int(option) for option in options if option.isdecimal()]
        words = tuple(_today(option) for option in options if not option.isdecimal())
        return cls(family, sum(resamples), words, folder)

    @property
    def max_revisions(self) -> int:
        """How often the strong model's own text may be revised."""
        return MAX_REVISIONS if REVISE in self.options else 0

    @property
    def unordered(self) -> PolicySpec:
        """The same for every order of the options and any folder: equal where the policies are the same."""
        return PolicySpec(self.family, self.resamples, tuple(sorted(set(self.options))))

    @property
    def name(self) -> str:
        """What results call it: all but the folder."""
        return "+".join([self.family, *self.options, *([str(self.resamples)] if self.resamples else [])])


def _today(option: str) -> str:
    if option in _EARLIER:
        _note(option)
    return _EARLIER.get(option, option)


@cache
def _note(option: str) -> None:
    """Say once how an option is called today."""
    logging.getLogger(__name__).warning("trim: the option +%s is called +%s now", option, _EARLIER[option])
