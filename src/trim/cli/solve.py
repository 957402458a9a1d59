"""`trim solve`: one question, step by step."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import replace

from trim.cli.options import amount, config_option, configured, money, say_judge
from trim.config.factory import open_backends
from trim.config.policy import open_policy
from trim.errors import ConfigError
from trim.policies.registry import Level, Need, PolicyFamily, listing
from trim.types import Question

_DESCRIPTION = """\
Solve one question; shows who wrote which step.

examples:
  trim solve "A loaf of sourdough at the bakery costs \\$8. \\
biscuits cost \\$5 each. How much more do 10 loaves of sourdough cost than \\
10 biscuits?"
  cat question.txt | trim solve - --policy threshold --parameter 0.8 \\
      --max-strong-tokens 100 --json
  trim solve --weak ollama/qwen2.5:0.5b --strong ollama/qwen2.5:7b \\
      --judge strong "Tom has 3 boxes of 12 pens. How many pens?"
"""


def _solves(family: PolicyFamily) -> bool:
    """Whether a policy can decide about the steps of any question."""
    return family.level is Level.STEP and Need.STEP_LABELS not in family.needs


def register(solve: argparse.ArgumentParser) -> None:
    """Give the parser its description, options and `run`."""
    solve.description = _DESCRIPTION
    solve.add_argument("question", help="the question, or - to read it from standard input")
    solve.add_argument(
        "--policy",
        help=f"{listing(_solves)}; FILE.py:CLASS or MODULE:CLASS; FILE.json of trim"
        " calibrate (default: the configured one or threshold)",
    )
    solve.add_argument("--parameter", type=float, help="of the policy (default: the configured or its own)")
    solve.add_argument("--max-strong-tokens", type=amount, help="hard cap on the strong model's tokens")
    solve.add_argument("--max-cost", type=money, help="cap on the cost of the question, in dollars")
    solve.add_argument("--seed", type=int, default=0)
    solve.add_argument("--json", action="store_true", help="print the trace as JSON")
    config_option(solve)
    solve.set_defaults(run=_solve)


async def _solve(args: argparse.Namespace) -> int:
    from trim.reporting.console import console, live, summary
    from trim.tasks.final_answers import final_answer
    from trim.tasks.shipped_questions import note_on
    from trim.traces import to_json

    question = _question(args.question)
    config = configured(args)
    policy = open_policy(config, args.policy, args.parameter)
    caps = {"max_strong_tokens": args.max_strong_tokens, "max_cost": args.max_cost}
    given = {name: cap for name, cap in caps.items() if cap is not None}
    async with open_backends(config) as backends:
        if note := note_on(question.text, (backends.weak.identity, backends.strong.identity)):
            print(f"trim: {note}", file=sys.stderr)
        router = backends.router(policy, budget=replace(backends.spec.budget, **given))
        if args.json:
            trace = await router.route(question, seed=args.seed)
            print(json.dumps(to_json(replace(trace, answer=final_answer(trace.said)))))
        else:
            screen = console()
            trace = await live(screen, router.stream(question, seed=args.seed))
            missing = backends.spec.prices.missing
            screen.print(summary(replace(trace, answer=final_answer(trace.said)), missing[0] if missing else ""))
    if policy.uses_scores:
        say_judge(config)
    return 0


def _question(text: str) -> Question:
    """What was asked: the argument, or standard input where that is a dash."""
    if text == "-":
        text = os.fsdecode(sys.stdin.buffer.read())
    if not text.strip():
        raise ConfigError("the question is empty")
    try:
        text = os.fsencode(text).decode()  # a locale without UTF-8 has read the bytes in another way
    except UnicodeError:
        raise ConfigError("the question is not valid UTF-8 text") from None
    return Question(text.strip())
