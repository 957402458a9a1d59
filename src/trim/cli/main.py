"""The command line: finds the command, runs it, and turns errors into one sentence and an exit code.

Each command is a module of `trim.cli` whose `register` gives its parser a description, options and `run`. Only the one
that was asked for is imported.
"""

from __future__ import annotations

import argparse
import asyncio
import difflib
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from trim import __version__
from trim.cli.options import RAW
from trim.cli.renamed import refuse_renamed
from trim.errors import BackendError, ConfigError, TrimError

_OVERVIEW = """\
A weak model writes a solution step by step, a process reward model scores
every step, and a policy decides which few steps an expensive strong model
rewrites. Without --config the tiny models in the package are used: no GPU,
no network.

examples:
  trim demo                                  see it work
  trim solve "A loaf of sourdough at the bakery costs \\$8. \\
biscuits cost \\$5 each. How much more do 10 loaves of sourdough cost than \\
10 biscuits?"
  trim eval --task gsm_symbolic --questions 200 --out trim-eval
  trim plan --weak-solves 0.4 --strong-solves 0.8 --out plan
                                             what would routing cost and solve?
  trim config check trim.toml --probe        what can the servers do?
"""
COMMANDS = {
    "demo": ("demo", "one problem live, then a small evaluation and a report"),
    "solve": ("solve", "solve one question"),
    "eval": ("evaluate", "run policies over questions and compare them"),
    "plan": ("plan", "predict what routing would cost and solve, before any run"),
    "fit": ("fit", "fit a policy or a query-level router to recorded traces"),
    "explain": ("explain", "why a fitted policy keeps or rewrites a draft"),
    "calibrate": ("calibrate", "turn a wanted share, accuracy or cost into a policy's parameter"),
    "train": ("train", "learn a policy by reinforcement learning"),
    "report": ("report", "make a run's report again, or compare two runs"),
    "eval-prm": ("eval_prm", "how good a process reward model is"),
    "record": ("record", "record solutions and continuations, to evaluate without models"),
    "serve": ("serve", "an OpenAI-compatible server"),
    "key": ("key", "make an API key for trim serve"),
    "config": ("config_check", "check a configuration file"),
}
"""Module and help of each command."""


def parser(command: str | None = None) -> argparse.ArgumentParser:
    """The parser of the command line; `run` in what it returns is what the command does.

    Args:
        command: the only one whose options are wanted; None: all of them.
    """
    made = argparse.ArgumentParser(prog="trim", description=_OVERVIEW, formatter_class=RAW)
    made.add_argument("--version", action="version", version=f"trim {__version__}")
    made.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    for name, (module, words) in COMMANDS.items():
        if command in (None, name):
            import_module(f"trim.cli.{module}").register(commands.add_parser(name, help=words, formatter_class=RAW))
        else:
            commands.add_parser(name, help=words)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit code: 0, 2 for anything that the user can correct, 130 for Ctrl-C."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    args = argparse.Namespace(debug=False)
    try:
        refuse_renamed(arguments)
        command = next((argument for argument in arguments if not argument.startswith("-")), "")
        if command and command not in COMMANDS:
            near = difflib.get_close_matches(command, COMMANDS, 1)
            hint = f"did you mean {near[0]}? There are" if near else "there are"
            raise ConfigError(f"there is no command {command!r}; {hint} {', '.join(COMMANDS)}")
        args = parser(command).parse_args(arguments)
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
    return f"; continue with: --out {args.out} --resume" if getattr(args, "resumable", False) else ""


if __name__ == "__main__":
    sys.exit(main())
