"""`trim fit router`: query-level routers from recorded outcomes of the weak and the strong model."""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path

from trim.config.loading import load_config
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
    router.add_argument("--config", type=Path, metavar="trim.toml", help="models of traces without a run.json")
    router.set_defaults(run=_fit)


async def _fit(args: argparse.Namespace) -> int:
    from trim.baselines.query_level import meta_verifier
    from trim.baselines.query_level.text_embedding import open_embedder
    from trim.baselines.query_level.trained_router import train
    from trim.baselines.query_level.training_examples import examples, needed
    from trim.experiments.folder_owner import owned
    from trim.policies.artifacts import Provenance

    with owned(args.out):
        recorded = Recorded.of(args.traces)
        models = recorded.models(load_config(args.config) if args.config else None)
        rows = examples(recorded.traces())
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
