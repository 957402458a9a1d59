"""`trim steps`: how a text is cut into steps."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trim.errors import ConfigError
from trim.steps import MARKED, Separator

if TYPE_CHECKING:
    from trim.step_boundaries import CutStep
    from trim.steps import StepFormat

_PLACES = 8  # that are listed
_DESCRIPTION = """\
Cuts a text into steps as a model's solution would be: the steps with their
boundaries, what kept a step from ending at a separator, and the step that
has the final answer and so ends a solution.

examples:
  trim steps solution.md
  trim steps solution.md --separator sentence --json
"""


def register(steps: argparse.ArgumentParser) -> None:
    """Give the parser its description, options and `run`."""
    steps.description = _DESCRIPTION
    steps.add_argument("file", type=Path, metavar="FILE", help="a text in UTF-8; - for standard input")
    steps.add_argument("--config", type=Path, metavar="trim.toml", help="whose [generation] says how (default: none)")
    steps.add_argument("--separator", choices=[*map(str, Separator)], help="what ends a step (default: configured)")
    steps.add_argument(
        "--answer",
        metavar="PATTERN",
        help="what ends a solution: marked (a box, or #### 42) or a regular expression (default: as configured)",
    )
    steps.add_argument("--reasoning", choices=["steps", "one-step"], help="how reasoning is cut (default: configured)")
    steps.add_argument("--json", action="store_true", help="print the steps as JSON")
    steps.set_defaults(run=_steps)


async def _steps(args: argparse.Namespace) -> int:
    from trim.step_boundaries import cut_text

    form, text = _form(args), _text(args.file)
    steps = cut_text(form, text)
    last = next((number for number, step in enumerate(steps, 1) if step.answer is not None), None)
    if args.json:
        values = [asdict(step) | {"number": number} for number, step in enumerate(steps, 1)]
        print(json.dumps({"separator": form.separator.value, "steps": values, "ends_with": last}))
        return 0
    for number, step in enumerate(steps, 1):
        print(_shown(number, step, text))
    print(f"{len(steps)} step{'' if len(steps) == 1 else 's'}, cut at: {form.separator}")
    if last is None:
        print("no final answer: only the model or a limit ends this solution")
    else:
        behind = f"; {len(steps) - last} more would not be written" if last < len(steps) else ""
        print(
            f"final answer: {_printable(steps[last - 1].answer or '')} (step {last}, which ends the solution{behind})"
        )
    return 0


def _form(args: argparse.Namespace) -> StepFormat:
    from trim.config.loading import load_config
    from trim.config.resolution import resolve

    form = resolve(load_config(args.config)).step_format
    if args.separator is not None:
        form = replace(form, separator=Separator(args.separator))
    if args.reasoning is not None:
        form = replace(form, reasoning=args.reasoning)
    return replace(form, answer=args.answer or form.answer or MARKED)


def _text(path: Path) -> str:
    try:
        content = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    except ValueError:
        raise ConfigError(f"{path} is not a text in UTF-8") from None


def _shown(number: int, step: CutStep, text: str) -> str:
    """A step under a heading; `text` is the whole."""
    lines = step.text.splitlines()
    shown = [f"step {number}, from line {step.line}", *(f"  | {_printable(line)}" for line in lines)]
    held: dict[str, list[int]] = {}
    for one in step.held:
        held.setdefault(one.by, []).append(text.count("\n", 0, one.at - 1) + 1)
    for by, where in held.items():
        more = f" and {len(where) - _PLACES} more" if len(where) > _PLACES else ""
        shown.append(f"  no step ends at line {', '.join(map(str, where[:_PLACES]))}{more}: {by}")
    return "\n".join((*shown, ""))


def _printable(line: str) -> str:
    """Without what a terminal would act on."""
    return "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in line)
