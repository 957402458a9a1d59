"""`trim train agg|seq`: learn a policy from a simulator, the embedded pair or configured servers."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from trim.atomic import write_json
from trim.cli.options import Commands
from trim.config.factory import open_backends
from trim.config.loading import load_config
from trim.errors import ConfigError, MissingExtra
from trim.experiments.recording import RecordSettings, open_recording
from trim.policies.registry import saved_by
from trim.training.trackers import TRACKERS, tracked
from trim.types import Action, Role

if TYPE_CHECKING:
    from trim.config.settings import Config
    from trim.policies.artifacts import Models
    from trim.policies.learned.features import PriceRange
    from trim.training.episodes import Source
    from trim.training.ppo import PpoSettings, UpdateMetrics

_SEED = 0
_SIMULATED = {"episodes": 50_000, "batch": 256, "questions": 50_000, "validation": 400}
_REAL = {"episodes": 6_000, "batch": 128, "questions": 2_000, "validation": 100}
_OLD_SETTINGS = {
    "episodes": "total_episodes",
    "batch": "episodes_per_update",
    "epochs": "update_epochs",
    "minibatch": "minibatch_size",
    "rate": "learning_rate",
    "clip": "clip_coef",
    "decay": "gae_lambda",
    "entropy": "ent_coef",
    "last_entropy": "final_ent_coef",
    "critic": "vf_coef",
    "most_gradient": "max_grad_norm",
}
"""Names that version 0.1 wrote into training.json, and today's, so that its trainings can be resumed."""

_DESCRIPTION = """\
Trains by PPO on solutions that the policy routes itself, and writes policy.json and arrays.npz (the best on held-out
questions), metrics.jsonl, curves.png and a checkpoint. One network serves every price in the range. Kill it and start
it again with --resume: the result is that of a run that was never killed. Needs the train extra.

sources:
  simulate   simulated models: the textbook pair, or what `trim fit pomdp` measured (--from DIR). Minutes.
  embedded   the shipped pair (--task)
  config     the models of --config

examples:
  trim train agg --source simulate --out policies/agg
  trim train seq --source embedded --task gsm_symbolic --out policies/seq
  trim train agg --source embedded --start policies/agg --out policies/agg-embedded     after the simulator
  trim eval --policies always-weak,always-strong,threshold,agg=policies/agg-embedded --out compare
"""


def register(commands: Commands) -> None:
    """Add the command."""
    raw = argparse.RawDescriptionHelpFormatter
    train = commands.add_parser("train", help="learn a policy", description=_DESCRIPTION, formatter_class=raw)
    train.add_argument(
        "kind", choices=saved_by("trim train"), help="agg reads a few figures, seq the scores of all steps"
    )
    train.add_argument("--source", choices=("simulate", "embedded", "config"), default="simulate")
    train.add_argument("--from", dest="fit", type=Path, metavar="DIR", help="simulate: what `trim fit pomdp` wrote")
    train.add_argument("--config", type=Path, metavar="trim.toml", help="config: models and limits")
    train.add_argument("--task", default="gsm_symbolic", help="a family, or a JSONL file (default: gsm_symbolic)")
    train.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the policy")
    train.add_argument("--resume", action="store_true", help="go on with a training that was interrupted")
    train.add_argument("--start", type=Path, metavar="DIR", help="begin with the network of another training")
    train.add_argument(
        "--price", type=_prices, metavar="LO:HI", help="of a strong token (default: a step costs 0.002 to 0.5 answers)"
    )
    train.add_argument(
        "--actions",
        type=_actions,
        default=(Action.CONTINUE, Action.REGENERATE),
        metavar="A,B,...",
        help="of CONTINUE, REGENERATE, RESAMPLE, TAKE_OVER (default: the first two)",
    )
    train.add_argument(
        "--weak-price", type=float, default=0.0, metavar="X", help="of a weak token, in strong tokens (default: 0)"
    )
    train.add_argument("--episodes", type=int, help="solutions to learn from (default: 50000 simulated, 6000 real)")
    train.add_argument("--batch", type=int, help="solutions an update (default: 256 simulated, 128 real)")
    train.add_argument("--questions", type=int, help="distinct ones (default: 50000 simulated, 2000 real)")
    train.add_argument("--validation", type=int, help="held-out questions (default: 400 simulated, 100 real)")
    train.add_argument(
        "--record",
        type=Path,
        metavar="DIR",
        help="keep every step and score in DIR and ask for none twice: further trainings with the same seed and "
        "questions share them",
    )
    train.add_argument("--concurrency", type=int, default=64, help="questions at the same time (default: 64)")
    train.add_argument("--seed", type=int, default=_SEED)
    train.add_argument(
        "--track",
        choices=TRACKERS,
        help="log there too; needs the package of that name",
    )
    train.add_argument("--json", action="store_true", help="print what was reached as JSON")
    train.set_defaults(run=_train, command="train")


def _prices(text: str) -> PriceRange:
    from trim.policies.learned.features import PriceRange

    low, _, high = text.partition(":")
    try:
        return PriceRange(float(low), float(high or low))
    except (ValueError, ConfigError):
        raise argparse.ArgumentTypeError(f"{text!r} is no range of prices such as 1e-4:1e-2") from None


def _actions(text: str) -> tuple[Action, ...]:
    try:
        found = tuple(Action(part.strip().upper().replace("-", "_")) for part in text.split(","))
    except ValueError:
        found = ()
    if Action.CONTINUE not in found or len(found) < 2 or len(set(found)) < len(found):
        raise argparse.ArgumentTypeError(f"{text!r}: name CONTINUE and others of {', '.join(Action)}")
    return tuple(action for action in Action if action in found)


@dataclass(frozen=True)
class _Opened:
    """A source, whose models they are, and the name of its task."""

    source: Source
    models: Models
    task: str


@asynccontextmanager
async def _open(args: argparse.Namespace) -> AsyncIterator[_Opened]:
    """The source that was asked for."""
    from trim.policies.artifacts import Models

    if args.source == "simulate":
        if args.record:
            raise ConfigError("--record goes with models: simulated ones cost nothing")
        from trim.policies.pomdp import PomdpPolicy
        from trim.training.simulated_source import simulated, textbook

        model, models = textbook(), Models("textbook weak", "textbook strong", "textbook PRM")
        if args.fit:
            from trim.policies.artifacts import Artifact

            model = PomdpPolicy.load(args.fit).model
            models = Artifact.load(args.fit, kind="pomdp").provenance.models
        source = simulated(model, args.actions, questions=args.questions, validation=args.validation, seed=args.seed)
        yield _Opened(source, models, "simulated")
        return
    if args.fit:
        raise ConfigError(f"--from goes with --source simulate, not {args.source}")
    if (args.source == "config") is not (args.config is not None):
        raise ConfigError("--source config needs --config trim.toml, and only it has one")
    config = load_config(args.config)
    async with _real(args, config) as source:
        yield _Opened(source, Models(**config.names()), args.task)


@asynccontextmanager
async def _real(args: argparse.Namespace, config: Config) -> AsyncIterator[Source]:
    """Questions for open models. Those of a family are of the split that neither the models nor any test have seen."""
    from trim.tasks import load_task
    from trim.training.episodes import Source

    task = load_task(args.task, "validation")
    try:
        drawn = task.questions(args.questions + args.validation, args.seed)
        if args.record:
            count = args.questions + args.validation
            about = RecordSettings(f"training on {args.task}", count, args.seed, config.names())
            models = open_recording(config, args.record, about)
        else:
            models = open_backends(config)
        async with models as backends:
            yield Source(task, drawn[args.validation :], drawn[: args.validation], backends.router, args.concurrency)
    finally:
        task.close()


async def _train(args: argparse.Namespace) -> int:
    if find_spec("torch") is None:
        raise MissingExtra("torch", "train")
    from trim.policies.artifacts import Provenance
    from trim.training.ppo import train

    _complete(args)
    async with _open(args) as opened:
        alone = await _strong_alone(opened.source)
        settings = _settings(args, alone)
        _prepare(args, settings, opened)
        provenance = Provenance(opened.models, opened.task, date.today().isoformat(), args.questions)
        start = args.start / "checkpoint.npz" if args.start else None
        with tracked(args.track, args.out, asdict(settings)) as log, _watching(settings.updates, alone) as show:

            def report(row: UpdateMetrics) -> None:
                log(row)
                show(row)

            await train(opened.source, settings, args.out, provenance, start=start, report=report)
    _conclude(args, alone)
    return 0


def _complete(args: argparse.Namespace) -> None:
    """Defaults that depend on the source, and limits of numbers."""
    for name, value in (_SIMULATED if args.source == "simulate" else _REAL).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    for name in (*_REAL, "concurrency"):
        if getattr(args, name) < 1:
            raise ConfigError(f"--{name} must be at least 1, not {getattr(args, name)}")
    if not 0 <= args.weak_price < math.inf:
        raise ConfigError(f"--weak-price must be a number from 0, not {args.weak_price}")


@dataclass(frozen=True)
class _Alone:
    """The strong model alone on the validation questions: share of right answers, tokens a question and a step."""

    accuracy: float
    tokens: float
    step_tokens: float


async def _strong_alone(source: Source) -> _Alone:
    from trim.policies import AlwaysStrong
    from trim.training.episodes import solve

    traces = await solve(source, [(AlwaysStrong(), question) for question in source.validation], seed=0)
    tokens = sum(trace.usage[Role.STRONG].completion_tokens for trace in traces)
    steps = sum(len(trace.steps) for trace in traces)
    right = sum(bool(trace.correct) for trace in traces)
    return _Alone(right / len(traces), max(tokens / len(traces), 1.0), max(tokens / max(steps, 1), 1.0))


def _settings(args: argparse.Namespace, alone: _Alone) -> PpoSettings:
    from trim.training.ppo import PpoSettings
    from trim.training.simulated_source import price_range

    return PpoSettings(
        args.kind,
        args.price or price_range(alone.step_tokens),
        args.actions,
        args.weak_price,
        total_episodes=args.episodes,
        episodes_per_update=args.batch,
        seed=args.seed,
    )


def _prepare(args: argparse.Namespace, settings: PpoSettings, opened: _Opened) -> None:
    """Make the folder, or see that what is in it is the same training."""
    path = args.out / "training.json"
    mine = {
        "settings": asdict(settings),
        "source": args.source,
        "task": opened.task,
        "models": asdict(opened.models),
        "questions": args.questions,
        "validation": args.validation,
        "start": str(args.start) if args.start else None,
    }
    mine = json.loads(json.dumps(mine))
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        theirs = json.loads(path.read_text()) if path.exists() else None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    if theirs is not None and "settings" in theirs:
        theirs["settings"] = {_OLD_SETTINGS.get(name, name): value for name, value in theirs["settings"].items()}
    if theirs is not None and not args.resume:
        raise ConfigError(f"{args.out} holds a training already: --resume goes on with it, or choose another --out")
    if theirs not in (None, mine):
        different = [name for name in mine if theirs.get(name) != mine[name]]
        raise ConfigError(f"{args.out} holds another training: {', '.join(different)} differ; choose another --out")
    write_json(path, mine)


@contextmanager
def _watching(updates: int, alone: _Alone) -> Iterator[Callable[[UpdateMetrics], None]]:
    """A progress bar with what the newest update was like."""
    from trim.reporting.console import progress

    with progress(updates) as advance:

        def report(row: UpdateMetrics) -> None:
            share = row.strong_tokens / alone.tokens
            advance(f"reward {row.reward:.3f}, {row.accuracy:.0%} right, strong share {share:.0%}")

        yield report


def _conclude(args: argparse.Namespace, alone: _Alone) -> None:
    """Draw the curves and say what was reached."""
    from trim.reporting.frontier_plot import save
    from trim.reporting.training_plots import best, curves, read_metrics

    rows = read_metrics(args.out / "metrics.jsonl")
    save(curves(rows, alone.tokens), args.out / "curves.png")
    reached = best(rows)
    if args.json:
        print(json.dumps({"strong_alone": asdict(alone), **reached}))
        return
    print(f"best after {reached['episodes']} episodes, on {args.validation} held-out questions:")
    checked = reached["validation"]
    for price, accuracy, tokens in zip(checked["prices"], checked["accuracy"], checked["strong_tokens"], strict=True):
        print(f"  price {price:<8.2g} {accuracy:6.1%} right with {tokens / alone.tokens:6.1%} of the strong tokens")
    print(f"Use it: trim eval --policies always-weak,always-strong,threshold,{args.kind}={args.out} --out compare")
    print(f"Look at it: {(args.out / 'curves.png').resolve()}")
