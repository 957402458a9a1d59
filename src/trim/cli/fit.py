"""`trim fit KIND`: the kinds are commands of their own."""

from __future__ import annotations

import argparse

from trim.cli import fit_judge, fit_pomdp, fit_router
from trim.cli.options import RAW

_DESCRIPTION = """\
Fits a policy, a judge or a query-level router to traces that trim eval
recorded.

examples:
  trim fit pomdp runs --out fits/gsm
  trim fit judge runs --out judge.json
  trim fit router classifier outcomes --out routers/classifier
"""


def register(fit: argparse.ArgumentParser) -> None:
    """Give the parser its description, options and `run`."""
    fit.description = _DESCRIPTION
    kinds = fit.add_subparsers(required=True, metavar="KIND")
    for name, module, words in (
        ("pomdp", fit_pomdp, "the POMDP: step accuracies, repair, lengths, scores by state"),
        ("judge", fit_judge, "a judge from log-probabilities of the weak model's steps"),
        ("router", fit_router, "a query-level baseline: which questions go to the strong model"),
    ):
        module.register(kinds.add_parser(name, help=words, formatter_class=RAW))
