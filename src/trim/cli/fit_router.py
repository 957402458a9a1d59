"""`trim fit router`: query-level routers from recorded outcomes of the weak and the strong model."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from datetime import date
from pathlib import Path

from trim.cli.options import config_option, named
from trim.cli.run_options import dry_run_option, preview_words, without_models
from trim.experiments.preview import Preview
from trim.experiments.recorded_runs import Recorded
from trim.policies.registry import saved_by

_DESCRIPTION = """\
Trains on the questions that always-weak and always-strong both answered.

example:
  trim eval --policies always-weak,always-strong,weak-sample,random \\
      --seed 700000 --out outcomes
  trim fit router classifier outcomes --out routers/classifier
  trim eval --out compare \\
      --policies always-weak,always-strong,classifier=routers/classifier
"""


def register(router: argparse.ArgumentParser) -> None:
    """Give the parser its description, options and `run`."""
    router.description = _DESCRIPTION
    kinds = saved_by("trim fit router")
    router.add_argument("kind", choices=kinds, metavar="KIND", help=f"one of {', '.join(kinds)}")
    router.add_argument("traces", nargs="+", type=Path, metavar="TRACES", help="folders of trim eval, or trace files")
    router.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the router")
    router.add_argument(
        "--embedder",
        default="hashed-ngrams",
        help="questions as vectors: hashed-ngrams (default), sentence-transformers:MODEL, or 'MODEL at http://.../v1'",
    )
    router.add_argument("--task", help="of the traces (default: the one that they were recorded on)")
    dry_run_option(router)
    config_option(router, "models of traces without a run.json")
    router.set_defaults(run=_fit)


def _preview(args: argparse.Namespace, questions: int) -> str:
    """What there is to do: a server is asked for vectors only where an embedder is one."""
    if " at http" not in args.embedder:
        return without_models(f"train {args.kind} on {questions:,} questions")
    price, embedder = "the price of the embedder", (f"embedder: {args.embedder}",)
    return preview_words(
        Preview("vectors", 1, questions, 1, 0, embedder, price, calls=questions, parts="one a question")
    )


async def _fit(args: argparse.Namespace) -> int:
    from trim.baselines.query_level import meta_verifier
    from trim.baselines.query_level.text_embedding import open_embedder
    from trim.baselines.query_level.trained_router import train
    from trim.baselines.query_level.training_examples import examples, needed
    from trim.experiments.folder_owner import owned
    from trim.policies.artifacts import Provenance

    with nullcontext() if args.dry_run else owned(args.out):
        recorded = Recorded.of(args.traces)
        models = recorded.models(named(args))
        rows = examples(recorded.traces())
        if args.dry_run:
            print(_preview(args, len(rows)))
            return 0
        provenance = Provenance(models, recorded.task(args.task), date.today().isoformat(), len(rows))
        if args.kind == meta_verifier.KIND:
            made = meta_verifier.MetaVerifier.fit(rows)
            made.save(args.out, provenance)
            gains = ", ".join(f"{votes}: {gain:+.2f}" for votes, gain in enumerate(made.gains))
            print(f"what a strong answer adds after so many votes, in correct answers: {gains}")
        else:
            train(args.kind, rows, open_embedder(args.embedder)).save(args.out, provenance)
    share = needed(rows).mean()
    print(f"{args.kind} from {len(rows)} questions, {share:.0%} of which need the strong model: {args.out}")
    print(f"use it: trim eval --policies always-weak,always-strong,{args.kind}={args.out} --seed OTHER --out DIR")
    return 0
