"""The command line: what `trim COMMAND` does is in `trim.cli`."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

from trim import __version__
from trim.cli import config_check as check
from trim.cli import demo, evaluate, plan, policies, record, report, serve, solve, train
from trim.cli import eval_prm as prm
from trim.cli.options import RAW
from trim.errors import BackendError, TrimError

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
    """The parser of the whole command line; `run` in what it returns is what the command does."""
    made = argparse.ArgumentParser(prog="trim", description=_OVERVIEW, formatter_class=RAW)
    made.add_argument("--version", action="version", version=f"trim {__version__}")
    made.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    for add in (
        demo.register,
        solve.register,
        evaluate.register,
        plan.register,
        policies.register,
        train.register,
        report.register,
        prm.register,
        record.register,
        serve.register,
        check.register,
    ):
        add(commands)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit code: 0, 2 for anything that the user can mend, 130 for Ctrl-C."""
    args = parser().parse_args(argv)
    try:
        return int(asyncio.run(args.run(args)))
    except TrimError as error:
        if args.debug:
            raise
        print(f"trim: {error}{_hint(args) if isinstance(error, BackendError) else ''}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"trim: interrupted{_hint(args)}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _hint(args: argparse.Namespace) -> str:
    """How to go on after an evaluation broke off."""
    resumable = getattr(args, "command", None) in ("eval", "plan", "train")
    return f"; go on with: --out {args.out} --resume" if resumable else ""


if __name__ == "__main__":
    sys.exit(main())
