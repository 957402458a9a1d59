"""`trim fit KIND`: the kinds are commands of their own."""

from __future__ import annotations

import argparse

from trim.cli import fit_pomdp, fit_router
from trim.cli.options import RAW


def register(fit: argparse.ArgumentParser) -> None:
    """Give the parser its description, options and `run`."""
    kinds = fit.add_subparsers(required=True, metavar="KIND")
    for name, module, words in (
        ("pomdp", fit_pomdp, "the POMDP: step accuracies, repair, lengths, scores by state"),
        ("router", fit_router, "a query-level baseline: which questions go to the strong model"),
    ):
        module.register(kinds.add_parser(name, help=words, formatter_class=RAW))
