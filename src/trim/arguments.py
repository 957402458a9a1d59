"""What the command line takes: commands, options, their help."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from trim import __version__
from trim.baselines import QUERY_LEVEL, STEP_LEVEL
from trim.commands import plan, policies, prm, record, report, serve, train
from trim.commands.evaluation import ORACLE
from trim.policies import NAMES

if TYPE_CHECKING:
    _Commands = argparse._SubParsersAction[argparse.ArgumentParser]

DEMO_SEED = 900_000
_RAW = argparse.RawDescriptionHelpFormatter

_OVERVIEW = """\
A weak model writes a solution step by step, a process reward model scores every step, and a policy decides which few
steps an expensive strong model rewrites. Without --config the tiny models in the package are used: no GPU, no network.

examples:
  trim demo                                         see it work
  trim solve "A juggler can juggle 32 balls. 50% are golf balls, and 75% of those are blue. How many are blue?"
  trim eval --task gsm_symbolic --questions 200 --out trim-eval
  trim plan --weak-solves 0.4 --strong-solves 0.8 --out plan    what would routing cost, what would it solve?
  trim config check trim.toml --probe               are the servers there, what can they do?
"""


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; `command` in what it returns says which command was given."""
    made = argparse.ArgumentParser(prog="trim", description=_OVERVIEW, formatter_class=_RAW)
    made.add_argument("--version", action="version", version=f"trim {__version__}")
    made.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    for add in (
        _add_demo,
        _add_solve,
        _add_eval,
        plan.register,
        policies.register,
        train.register,
        report.register,
        prm.register,
        record.register,
        serve.register,
        _add_config,
    ):
        add(commands)
    return made


def _add_demo(commands: _Commands) -> None:
    demo = commands.add_parser(
        "demo", help="one problem live, then a small evaluation and a report", formatter_class=_RAW
    )
    demo.add_argument("--questions", type=_count, default=60, help="questions of the small evaluation (default: 60)")
    demo.add_argument("--out", type=Path, default=Path("trim-demo"), help="folder for the report (default: trim-demo)")
    demo.set_defaults(command="demo", config=None)


def _add_solve(commands: _Commands) -> None:
    solve = commands.add_parser(
        "solve",
        help="solve one question",
        description="Solve one question; shows who wrote which step.\n\nexamples:\n"
        '  trim solve "A juggler can juggle 32 balls. 50% are golf balls, 75% of those blue. How many are blue?"\n'
        "  cat question.txt | trim solve - --policy threshold --parameter 0.8 --max-strong-tokens 100 --json",
        formatter_class=_RAW,
    )
    solve.add_argument("question", help="the question, or - to read it from standard input")
    solve.add_argument(
        "--policy",
        help=f"{', '.join(NAMES)}, pomdp, agg or seq (=FOLDER if not the shipped one), or a FILE.json of trim"
        " calibrate; default: the configured one or threshold",
    )
    solve.add_argument("--parameter", type=float, help="threshold: k, random: rate, in [0, 1] (0.5); saved ones: price")
    solve.add_argument("--max-strong-tokens", type=_amount, help="hard cap on the strong model's tokens")
    solve.add_argument("--max-cost", type=_money, help="cap on the cost of strong calls, in the unit of the prices")
    solve.add_argument("--seed", type=int, default=0)
    solve.add_argument("--json", action="store_true", help="print the trace as JSON")
    _config_option(solve)
    solve.set_defaults(command="solve")


def _add_eval(commands: _Commands) -> None:
    evaluate = commands.add_parser(
        "eval",
        help="run policies over questions and compare them",
        description="Run policies over questions; writes traces.jsonl, results.json, frontier.png and report.html.\n"
        "Kill it and start it again with --resume: nothing is lost, nothing done twice.\n\nexamples:\n"
        "  trim eval --task gsm_symbolic --questions 500 --out trim-eval\n"
        "  trim eval --task mine.jsonl --policies always-weak,always-strong,threshold \\\n"
        "            --parameters threshold=0.3,0.6 --config trim.toml --out mine",
        formatter_class=_RAW,
    )
    evaluate.add_argument(
        "--task",
        default="gsm_symbolic",
        help="gsm_symbolic, arithmetic_chain or string_rewriting (:easy, :medium or :hard behind it for one level), "
        "math500, aime, aime24, amc23, olympiadbench, minerva_math, gsm8k, or a JSONL file with question and answer",
    )
    evaluate.add_argument(
        "--policies",
        default="always-weak,always-strong,random,threshold",
        help=f"comma-separated, of {', '.join((*NAMES, ORACLE))}, and pomdp, agg or seq, with =FOLDER if "
        "not the shipped ones (default: the first four); "
        "threshold+2 retries a draft twice before it asks the strong model, and so does "
        "pomdp+2=FOLDER where that pays; pomdp+snapshot and pomdp+takeover change the belief and the actions; rivals: "
        + ", ".join((*STEP_LEVEL, *QUERY_LEVEL))
        + " (the last five as NAME=FOLDER)",
    )
    evaluate.add_argument(
        "--parameters", action="append", default=[], metavar="POLICY=A,B,...", help="parameters instead of the sweep"
    )
    evaluate.add_argument("--questions", type=_count, default=200)
    evaluate.add_argument("--seed", type=int, default=DEMO_SEED, help="of questions and sampling (default: 900000)")
    evaluate.add_argument(
        "--samples",
        type=_count,
        help="solutions of each question at each point, each with a seed of its own (default: 1, or as recorded)",
    )
    evaluate.add_argument("--out", type=Path, required=True, help="folder for the results")
    evaluate.add_argument("--resume", action="store_true", help="go on with a run that was interrupted")
    evaluate.add_argument("--score", action="store_true", help="score drafts also where no policy asks (for trim fit)")
    evaluate.add_argument("--concurrency", type=_count, default=64, help="questions at the same time (default: 64)")
    evaluate.add_argument("--engine", choices=("local", "ray"), default="local", help="where questions are solved")
    evaluate.add_argument(
        "--record",
        type=Path,
        metavar="DIR",
        help="keep every step and score in DIR and ask for none twice: many policies for the work of a few",
    )
    evaluate.add_argument("--replay", type=Path, metavar="DIR", help="no models: what trim record wrote for --config")
    evaluate.add_argument("--workers", type=_count, default=2, help="of --engine ray, a CPU each (default: 2)")
    evaluate.add_argument("--address", help="of a running Ray cluster (default: the environment's, else this machine)")
    evaluate.add_argument("--json", action="store_true", help="print results.json instead of a table")
    _config_option(evaluate)
    evaluate.set_defaults(command="eval")


def _add_config(commands: _Commands) -> None:
    config = commands.add_parser("config", help="check a configuration file")
    check = config.add_subparsers(required=True, metavar="check").add_parser("check", help="validate a file")
    check.add_argument("config", type=Path, metavar="trim.toml")
    check.add_argument("--probe", action="store_true", help="try the servers and say what they can do")
    check.set_defaults(command="check")


def _config_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", type=Path, metavar="trim.toml", help="models and limits (default: the embedded pair)"
    )


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def _amount(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def _money(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0")
    return value
