"""Options that several commands share."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trim.config.settings import Config

RAW = argparse.RawDescriptionHelpFormatter
DEMO_SEED = 900_000
DEFAULT = Path("trim.toml")
"""The configuration where `--config` names none, if there is such a file; `trim init` writes it."""
_EXAMPLES = {"weak": "ollama/qwen2.5:1.5b", "strong": "openai/gpt-4.1-mini"}


_CONFIG = "models and limits (default: ./trim.toml if there is one, else the embedded pair)"


def config_option(parser: argparse.ArgumentParser, words: str = _CONFIG) -> None:
    """Add `--config`, a file of models and limits, and the models that may be named without one; see `configured`.

    Args:
        parser: of a command.
        words: the help of `--config`.
    """
    parser.add_argument("--config", type=Path, metavar="trim.toml", help=words)
    for role in ("weak", "strong"):
        parser.add_argument(
            f"--{role}",
            metavar="MODEL",
            help=f"the {role} model, in place of the configured one: KIND/MODEL or KIND/MODEL@URL, such as"
            f" {_EXAMPLES[role]}",
        )
    judge_option(parser)


def judge_option(parser: argparse.ArgumentParser) -> None:
    """Add `--judge`, what scores steps."""
    parser.add_argument(
        "--judge",
        metavar="JUDGE",
        help="what scores steps, in place of the configured one: strong or weak (that model is asked), a judge of"
        " docs/how-to/your-judge.md, or KIND/MODEL@URL, such as vllm/my-prm@http://gpu:8003",
    )


def config_path(args: argparse.Namespace) -> Path | None:
    """The file of `--config`, or `trim.toml` in the current folder, of which a line on standard error tells; None:
    neither.
    """
    path: Path | None = args.config
    if path is None and DEFAULT.is_file():
        print(f"using ./{DEFAULT} (--config names another file)", file=sys.stderr)
        return DEFAULT
    return path


def configured(args: argparse.Namespace) -> Config:
    """The configuration that a command's `--config` and models give.

    Raises:
        ConfigError: a file, a key or a name is wrong.
    """
    from trim.config.loading import load_config

    given = vars(args)
    return load_config(config_path(args), models={role: given.get(role) for role in ("weak", "strong", "judge")})


def named(args: argparse.Namespace) -> Config | None:
    """The same for a command that needs none: None where neither a file nor a model is named.

    Raises:
        ConfigError: a file, a key or a name is wrong.
    """
    given = vars(args)
    return configured(args) if any(given.get(key) for key in ("config", "weak", "strong", "judge")) else None


def say_judge(config: Config) -> None:
    """Say on standard error which judge scores steps, how good it is known to be and what it takes; the shipped one
    for the shipped models and classes of the user's own need no word.
    """
    from trim.config.judge_notes import judge_note
    from trim.config.judges import judge_for
    from trim.scoring.registry import JUDGES

    if judge_for(config).backend in JUDGES.keys() - {"embedded"}:
        print(judge_note(config), file=sys.stderr)


def accept_option(parser: argparse.ArgumentParser) -> None:
    """Add `--accept`, for going on with a folder under conditions that differ."""
    parser.add_argument(
        "--accept",
        type=_names,
        default=(),
        metavar="KEY,...",
        help="go on although these keys of the folder's run.json differ, such as trim,prices,weak.system; the run notes"
        " it",
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in map(str.strip, text.split(",")) if name)


def count(text: str) -> int:
    """A whole number from 1."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def amount(text: str) -> int:
    """A whole number from 0."""
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def money(text: str) -> float:
    """A number from 0."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0")
    return value
