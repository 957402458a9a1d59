"""The command line: finds the command, runs it, and turns errors into one sentence and an exit code.

Each command is a module of `trim.cli` whose `register` gives its parser a description, options and `run`. Only the one
that was asked for is imported. This module itself imports nothing of weight at its top: Ctrl-C during imports is
answered as at any other moment.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from types import FrameType, TracebackType

_OVERVIEW = """\
A weak model writes a solution step by step, a process reward model scores
every step, and a policy decides which few steps an expensive strong model
rewrites. Without a trim.toml, which trim init writes for your models, the
tiny models in the package are used: no GPU, no network.

examples:
  trim demo                                  see it work
  trim init                                  set it up for your own models
  trim solve "A loaf of sourdough at the bakery costs \\$8. \\
biscuits cost \\$5 each. How much more do 10 loaves of sourdough cost than \\
10 biscuits?"
  trim eval --task gsm_symbolic --questions 200 --out trim-eval
  trim plan --weak-solves 0.4 --strong-solves 0.8 --out plan
                                             what would routing cost and solve?
  trim config check trim.toml --probe        what can the servers do?
"""
_LONGEST = 1_000  # characters of an error
_AGAIN = 0.02  # seconds
COMMANDS = {
    "demo": ("demo", "one problem live, then a small evaluation and a report"),
    "solve": ("solve", "solve one question"),
    "eval": ("evaluate", "run policies over questions and compare them"),
    "plan": ("plan", "predict what routing would cost and solve, before any run"),
    "fit": ("fit", "fit a policy, a judge or a query-level router to recorded traces"),
    "steps": ("steps", "how a text is cut into steps"),
    "explain": ("explain", "why a fitted policy keeps or rewrites a draft"),
    "calibrate": ("calibrate", "turn a wanted share, accuracy or cost into a policy's parameter"),
    "train": ("train", "learn a policy by reinforcement learning"),
    "report": ("report", "make a run's report again, or compare two runs"),
    "eval-prm": ("eval_prm", "how good a process reward model is"),
    "record": ("record", "record solutions and continuations, to evaluate without models"),
    "init": ("init", "find models on this machine and write a trim.toml"),
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
    import argparse
    from importlib import import_module

    from trim import __version__
    from trim.cli.options import RAW

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
    """Run a command; the exit code.

    It is 0, 2 for anything that the user can correct, 130 for Ctrl-C and 143 for SIGTERM; what no longer reads the
    output, as `trim ... | head`, is no error.

    Args:
        argv: arguments, in a process of somebody else's; None: those of this process, which is ours alone.
    """
    own = argv is None
    invocation = _Invocation(sys.argv[1:] if argv is None else list(argv))
    try:
        if own:
            _make_streams_robust()
            _say_what_is_loaded()
            signal.signal(signal.SIGTERM, invocation.terminate)
            sys.unraisablehook = invocation.unraisable
            sys.excepthook = _print_traceback
        try:
            return invocation.answer()
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except KeyboardInterrupt:
        code = invocation.interrupted()
        if own:
            sys.stderr.flush()
            os._exit(code)  # all is closed; Python itself would kill the process if it was interrupted in an `exec`
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return invocation.failed(error)
    finally:
        if own:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # from here on Ctrl-C has nothing to say


class _Invocation:
    """One call of the command line: its arguments, and what is said when it ends early."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.arguments = arguments
        self.debug = False
        self.resume_hint = ""
        self.terminated = False

    def answer(self) -> int:
        """Run the command, and turn errors of TRIM into one sentence."""
        import asyncio

        from trim.errors import BackendError, SpendReached, TrimError

        try:
            args = self._parse()
            return int(asyncio.run(args.run(args)))
        except TrimError as error:
            if self.debug:
                raise
            return self._say(str(error), resumable=isinstance(error, BackendError | SpendReached))

    def _parse(self) -> argparse.Namespace:
        from trim.cli.renamed import refuse_renamed

        refuse_renamed(self.arguments)
        command = next((argument for argument in self.arguments if not argument.startswith("-")), "")
        if command and command not in COMMANDS:
            import difflib

            from trim.errors import ConfigError

            near = difflib.get_close_matches(command, COMMANDS, 1)
            hint = f"did you mean {near[0]}? There are" if near else "there are"
            raise ConfigError(f"there is no command {command!r}; {hint} {', '.join(COMMANDS)}")
        args = parser(command).parse_args(self.arguments)
        self.debug = args.debug
        if vars(args).get("resumable"):
            self.resume_hint = f"; continue with: --out {args.out} --resume"
        return args

    def failed(self, error: OSError) -> int:
        """A disk that is full, a file or folder that cannot be written: said once, whoever met it."""
        if self.debug:
            raise error
        place = "" if error.filename is None else f"{error.filename}: "
        return self._say(f"{place}{error.strerror or error}", resumable=True)

    def terminate(self, number: int, frame: FrameType | None) -> None:
        """Answer SIGTERM as Ctrl-C: what is open is closed. See `signal.signal`."""
        self.terminated = True
        handler = signal.getsignal(signal.SIGINT)  # the event loop's, while one runs
        if not callable(handler):  # SIGINT is ignored, as in background jobs of scripts
            raise KeyboardInterrupt
        handler(number, frame)

    def unraisable(self, what: sys.UnraisableHookArgs) -> None:
        """Repeat an interruption that Python dropped, as in a finaliser or a callback of the import system."""
        if not issubclass(what.exc_type, KeyboardInterrupt):
            sys.__unraisablehook__(what)
            return
        import threading

        number = signal.SIGTERM if self.terminated else signal.SIGINT
        again = threading.Timer(_AGAIN, os.kill, [os.getpid(), number])  # a real signal also ends a wait
        again.daemon = True
        again.start()

    def interrupted(self) -> int:
        """The end after Ctrl-C or SIGTERM."""
        self._say("terminated" if self.terminated else "interrupted", resumable=True)
        return 128 + (signal.SIGTERM if self.terminated else signal.SIGINT)

    def _say(self, sentence: str, *, resumable: bool) -> int:
        line = " ".join(sentence.splitlines())
        line = line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
        print(f"trim: {line}{self.resume_hint if resumable else ''}", file=sys.stderr)
        return 2


def _print_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What `--debug` shows: the traceback and its causes, without secrets."""
    import traceback

    from trim.redaction import redacted

    sys.stderr.write(redacted("".join(traceback.format_exception(kind, error, trace))))


def _make_streams_robust() -> None:
    """Characters that a terminal, pipe or file cannot take are written as escapes: no output is worth a crash."""
    import io

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _say_what_is_loaded() -> None:
    """Downloads, and models that are served in this process, are announced on standard error."""
    import logging

    from trim.redaction import RedactingFormatter

    told = logging.getLogger("trim.local")
    handler = logging.StreamHandler()
    handler.setFormatter(RedactingFormatter("%(message)s"))
    told.addHandler(handler)
    told.setLevel(logging.INFO)
    told.propagate = False  # the gateway's log has handlers of its own


if __name__ == "__main__":
    sys.exit(main())
