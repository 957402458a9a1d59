"""Fits the generic judge: P(step is correct) from what a weak model's server tells with each draft.

    python -m recipes.real.generic_judge [--out FILE]

Reads `step_features.csv` (see `recipes.real.step_features`) and no model. Prints how good each choice of features is by
five-fold cross-validation in which all rows of a solution are in one fold, whoever read it, and how good coefficients
are for a model that they were not fitted on; fits on all rows, and writes the coefficients with these figures.
"""

from __future__ import annotations

import argparse
import datetime
import json
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import blake2b
from itertools import groupby
from pathlib import Path

import numpy as np

from recipes.real.step_features import Row, load
from trim.backends.token_logprobs import TOP
from trim.metrics.judge_quality import Judged, Quality, quality
from trim.scoring.fitted import GENERIC, SHIPPED
from trim.scoring.fitted_model import Coefficient, FittedModel, Measured, Regression, quantiles_of
from trim.scoring.logistic_fit import fit_regression
from trim.scoring.step_features import FEATURES
from trim.stats import FloatArray
from trim.types import Finish, Role, Step

PLAIN = ("logprob", "least_logprob", "log_tokens", "log_position")
CHOSEN = (*PLAIN, "mean_entropy", "most_entropy")
COMPARED = {
    "mean log-probability": ("logprob",),
    "least log-probability": ("least_logprob",),
    "both": ("logprob", "least_logprob"),
    "length and position": ("log_tokens", "log_position"),
    "these": PLAIN,
    "mean entropy": ("mean_entropy",),
    "most entropy": ("most_entropy",),
    "uncertain tokens": ("uncertain",),
    "these, mean and most entropy": CHOSEN,
    "and uncertain tokens": (*CHOSEN, "uncertain"),
    "and last step": (*CHOSEN, "last"),
}
_FOLDS = 5
_RIDGE = 0.02
_DATE = datetime.date(2026, 11, 30)


def values(rows: Sequence[Row], features: Sequence[str]) -> FloatArray:
    """The features of steps, [rows, features]: computed as they are for drafts."""
    return np.array([[FEATURES[name](_step(row), row.index) for name in features] for row in rows], float)


def _step(row: Row) -> Step:
    return Step(
        "",
        Role.WEAK,
        row.tokens,
        Finish.EOS if row.last else Finish.SEPARATOR,
        logprob=row.mean,
        least_logprob=row.least,
        mean_entropy=row.mean_top5,
        most_entropy=row.most_top5,
        uncertain=row.uncertain_top5,
    )


def fitted(rows: Sequence[Row], features: Sequence[str]) -> Regression:
    """Coefficients for these rows; the ranges leave out the outermost half percent of both ends."""
    x, labels = values(rows, features), [row.correct for row in rows]
    low, high = np.quantile(x, 0.005, axis=0), np.quantile(x, 0.995, axis=0)
    weights, intercept = fit_regression(np.clip(x, low, high), labels, ridge=_RIDGE)
    numbers = zip(features, *(np.round(each, 4).tolist() for each in (weights, low, high)), strict=True)
    return Regression(round(intercept, 4), tuple(Coefficient(*each) for each in numbers))


def scores(model: Regression, rows: Sequence[Row]) -> list[float]:
    """What the judge says of rows."""
    return [model.score(_step(row), row.index) or 0.0 for row in rows]


def measured(rows: Sequence[Row], scored: Sequence[float]) -> Quality:
    """Figures; the interval is over solutions, so that readers of one solution do not count twice."""
    each = sorted(zip(rows, scored, strict=True), key=lambda pair: (pair[0].model, pair[0].solution, pair[0].index))
    judged = []
    for _, group in groupby(each, key=lambda pair: (pair[0].model, pair[0].solution)):
        steps = list(group)
        wrong = next((row.index for row, _ in steps if not row.correct), -1)
        judged.append(Judged(tuple(score for _, score in steps), wrong))
    return quality(judged)


def crossed(rows: Sequence[Row], features: Sequence[str]) -> list[float]:
    """Each row's score by coefficients that were fitted without its solution."""
    found = dict[Row, float]()
    for fold in range(_FOLDS):
        inside = [row for row in rows if _fold(row.solution) == fold]
        model = fitted([row for row in rows if _fold(row.solution) != fold], features)
        found |= dict(zip(inside, scores(model, inside), strict=True))
    return [found[row] for row in rows]


def transferred(rows: Sequence[Row], reader: str, features: Sequence[str]) -> tuple[list[Row], list[float]]:
    """The rows of one model, scored by coefficients of the other models and of other solutions."""
    own = [row for row in rows if row.model == reader]
    found = dict[Row, float]()
    for fold in range(_FOLDS):
        inside = [row for row in own if _fold(row.solution) == fold]
        others = [row for row in rows if row.model != reader and _fold(row.solution) != fold]
        found |= dict(zip(inside, scores(fitted(others, features), inside), strict=True))
    return own, [found[row] for row in own]


def _fold(solution: str) -> int:
    return blake2b(solution.encode(), digest_size=4).digest()[0] % _FOLDS


def generic(rows: Sequence[Row]) -> FittedModel:
    """The judge with its figures."""
    readers = sorted({row.model for row in rows})
    model = fitted(rows, CHOSEN)
    data = f"ProcessBench by {' and '.join(readers)}, five-fold by solution"
    figures = [
        _figures(data, rows, crossed(rows, CHOSEN)),
        _figures(f"{data}, without entropy", rows, crossed(rows, PLAIN)),
    ]
    for reader in readers if len(readers) > 1 else ():
        own, scored = transferred(rows, reader, CHOSEN)
        figures.append(_figures(f"ProcessBench by {reader}, fitted on the others", own, scored))
    return FittedModel(
        name=GENERIC,
        models=(*readers, "*"),
        regression=model,
        base=round(float(np.mean([row.correct for row in rows])), 4),
        quantiles=quantiles_of(scores(model, rows)),
        measured=tuple(figures),
        date=_DATE.isoformat(),
        without_entropy=fitted(rows, PLAIN),
        top_logprobs=TOP,
        command="python -m recipes.real.generic_judge",
    )


def _figures(data: str, rows: Sequence[Row], scored: Sequence[float]) -> Measured:
    found = measured(rows, scored)
    wrong = sum(not row.correct for row in rows)
    numbers = (found.auroc.value, found.auroc.low, found.auroc.high, found.calibration_error)
    return Measured(data, len(rows), wrong, *(round(float(number), 3) for number in numbers))


def main() -> None:
    """Compare, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=SHIPPED / f"{GENERIC}.json")
    args = parser.parse_args()
    rows = load()
    readers = sorted({row.model for row in rows})
    for reader in readers:
        own = [row for row in rows if row.model == reader]
        print(f"{reader}: {len(own)} steps of {len({row.solution for row in own})} solutions")
        for words, features in COMPARED.items():
            print(f"  {words:28} {_figures('', own, crossed(own, features))}")
        if len(readers) > 1:
            print(f"  {'by the other models':28} {_figures('', *transferred(rows, reader, CHOSEN))}")
        for name in ("mean_entropy", "mean_top20", "mean_top5", "most_entropy", "most_top20", "most_top5"):
            plain = [float(np.exp(-asdict(row)[name])) for row in own]
            print(f"  {name:28} {measured(own, plain).auroc}")
    judge = generic(rows)
    judge.save(args.out)
    print(json.dumps(asdict(judge), indent=2))


if __name__ == "__main__":
    main()
