"""`trim fit judge`: a judge from the log-probabilities of the weak model's own steps."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from trim.errors import ConfigError

if TYPE_CHECKING:
    from trim.config.settings import Config
    from trim.experiments.judge_examples import Examples
    from trim.experiments.judge_fit import JudgeFit
    from trim.experiments.recorded_runs import Recorded

_DESCRIPTION = """\
Learns to tell right steps of your weak model from wrong ones by what its
server tells with them: log-probabilities, entropies, length, position. It
needs no further call when it judges. Labels: steps that people labelled, the
task's rule, final answers, or the strong model's answers where there are
none. A judge that is a coin on questions left out is not written.

examples:
  trim eval --task mine.jsonl --policies always-weak --samples 4 --out mine
  trim fit judge mine --out judge.json
  trim serve --judge judge.json
"""


def register(judge: argparse.ArgumentParser) -> None:
    """Give the parser its description, options and `run`."""
    judge.description = _DESCRIPTION
    judge.add_argument(
        "data",
        nargs="+",
        type=Path,
        metavar="DATA",
        help="folders of trim eval or trace files; or one file in ProcessBench's format, which the weak model reads",
    )
    judge.add_argument("--out", type=Path, required=True, metavar="FILE.json", help="for the judge")
    judge.add_argument(
        "--steps", type=Path, metavar="FILE.jsonl", help="labels by people, in ProcessBench's format, for these traces"
    )
    judge.add_argument(
        "--labels",
        choices=("people", "rule", "answer", "agreement"),
        help="who says what is right (default: the first of these that there is)",
    )
    judge.add_argument("--task", help="of the traces (default: the one that they were recorded on)")
    judge.add_argument("--config", type=Path, metavar="trim.toml", help="models of traces without a run.json")
    judge.add_argument("--force", action="store_true", help="write it even if it is a coin")
    judge.add_argument("--json", action="store_true", help="print the figures as JSON")
    judge.set_defaults(run=_fit)


async def _fit(args: argparse.Namespace) -> int:
    from trim.config.loading import load_config
    from trim.experiments.judge_examples import shares
    from trim.experiments.judge_fit import fit_judge
    from trim.experiments.recorded_runs import Recorded

    if args.out.suffix != ".json":
        raise ConfigError(f"--out {args.out}: a judge is a file that ends in .json")
    config = load_config(args.config) if args.config else None
    if len(args.data) == 1 and args.data[0].suffix == ".jsonl" and args.data[0].name != "traces.jsonl":
        examples, weak, source = await _read(args.data[0], config or load_config(None))
    else:
        recorded = Recorded.of(args.data)
        weak, source = recorded.models(config).weak, recorded.task(args.task)
        examples = _examples(recorded, args)
    words = {"people": "people", "rule": "a rule", "answer": "final answers", "agreement": "the strong model"}
    model = _model(weak)
    made = fit_judge(
        examples,
        name=args.out.stem,
        models=(model,),
        data=f"{Path(source).stem} by {model}, labels by {words[examples.labels]}, five-fold by question",
        date=date.today().isoformat(),
        command="trim fit judge",
    )
    if args.json:
        print(json.dumps(_as_json(made), indent=1))
    else:
        print(shares(examples))
        _print(made)
    if made.quality.is_coin and not args.force:
        raise ConfigError(
            f"on questions left out this judge is a coin ({made.quality}), so {args.out} was not written: record more "
            "questions or samples, take another judge (docs/how-to/your-judge.md), or write it with --force"
        )
    made.judge.save(args.out)
    print(f"wrote {args.out}; use it: --judge {args.out}", file=sys.stderr if args.json else sys.stdout)
    return 0


def _examples(recorded: Recorded, args: argparse.Namespace) -> Examples:
    """Labelled steps of traces."""
    from trim.experiments.judge_examples import from_traces
    from trim.experiments.labelled_solutions import read_processbench

    labelled = read_processbench(args.steps) if args.steps else []
    opened = recorded.load_task(args.task)
    try:
        return from_traces(recorded.traces(), opened, labelled, args.labels)
    finally:
        opened.close()


async def _read(path: Path, config: Config) -> tuple[Examples, str, str]:
    """Labelled steps of solutions in a file, read by the weak model; that model's name, and the file's."""
    from trim.config.specs import identities
    from trim.experiments.judge_examples import from_texts
    from trim.experiments.judge_reading import read_logprobs
    from trim.experiments.labelled_solutions import read_processbench

    solutions = read_processbench(path)
    return from_texts(solutions, await read_logprobs(config, solutions)), identities(config)["weak"], str(path)


def _model(identity: str) -> str:
    """The model's name in what results call it, without its kind, address and fingerprint."""
    return identity.partition(":")[2].partition(" at ")[0].partition("@")[0] or identity


def _print(made: JudgeFit) -> None:
    print(f"questions left out: {made.quality}")
    for words, quality in made.compared.items():
        print(f"  {words}: {quality}")
    if made.equations_pay is not None:
        print("false equations in a step " + ("pay: they are used" if made.equations_pay else "do not pay: left out"))
    features = ", ".join(sorted(made.judge.regression.features))
    print(f"uses {features}")
    print(f"{made.judge.score_at(0.2):.2f} is the threshold below which a fifth of the steps lie")


def _as_json(made: JudgeFit) -> dict[str, object]:
    return {
        "quality": asdict(made.quality),
        "compared": {words: asdict(quality) for words, quality in made.compared.items()},
        "equations_pay": made.equations_pay,
        "features": sorted(made.judge.regression.features),
        "threshold": made.judge.score_at(0.2),
    }
