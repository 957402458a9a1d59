"""Whether two source trees solve the same questions identically: decisions, texts, tokens, costs, answers, by policy.

    python -m benchmarks.same_results OLD_TREE NEW_TREE --questions 200 --out DIR
    python -m benchmarks.same_results DIR/old DIR/new            compares two evaluations that are there already

Runs `trim eval` of both trees with every policy that needs no folder, on the shipped models, the same task and seed.
Prints one line per policy and the first differences, of which any gives exit code 1. Resumes where it was interrupted.

Each tree has a record, so that policies share steps and scores; with --live, drafts are read ahead as in production,
and it takes some 20 times as long. Usage and cost are counted by rule, the same for every order and concurrency: all of
both is compared. Not so with a tree, or an evaluation, from before that rule: its usage was measured, and is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

POLICIES = (
    "always-weak", "always-strong", "random", "random+2", "random+revise",
    "threshold", "threshold+2", "threshold+revise", "threshold+revise+2",
    "pomdp", "pomdp+snapshot", "pomdp+takeover", "pomdp+2", "pomdp+revise", "pomdp+revise+2", "agg", "seq", "oracle",
    "rsd", "rsd-clipped", "spec-reason", "glimp-router", "confidence", "take-over",
    "random-query", "oracle-query", "prm-cascade", "automix", "weak-sample",
)  # fmt: skip
OPTIONS = {"redo": "revise"}
"""What stands behind a policy's name: earlier word, today's."""
ACTIONS = {"RETRY": "RESAMPLE"}
"""The same of actions. A strong text that was written again had REGENERATE; today it has REVISE."""
COUNTS = ("calls", "prompt_tokens", "cached_tokens", "completion_tokens", "discarded_tokens")
"""What of each role's usage is compared."""
TOLERANCE = 1e-6
"""Of scores: they are single precision."""
SHOWN = 10

Key = tuple[str, float | None, str, int]
"""Policy, parameter, question, seed."""
Facts = dict[str, Any]
"""What two solutions are compared by, by name, in today's words."""


@dataclass
class Compared:
    """Summary of a policy's solutions."""

    points: set[float | None] = field(default_factory=set)
    traces: int = 0
    identical: int = 0


def main() -> None:
    """Run, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path, help="a source tree, or the folder of an evaluation")
    parser.add_argument("new", type=Path, help="the same")
    parser.add_argument("--old-python", default=sys.executable, help="interpreter for the old tree (default: this one)")
    parser.add_argument("--new-python", default=sys.executable)
    parser.add_argument("--task", default="gsm_symbolic")
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--seed", type=int, default=900_000)
    parser.add_argument("--policies", default=",".join(POLICIES), help="comma-separated (default: all)")
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--live", action="store_true", help="no record: drafts are read ahead, as in production")
    parser.add_argument("--out", type=Path, default=Path("same-results"), help="old/ and new/ are written there")
    args = parser.parse_args()
    runs = {args.out / "old": (args.old, args.old_python), args.out / "new": (args.new, args.new_python)}
    evaluate({out: command(*tree, out, args) for out, tree in runs.items() if not is_run(tree[0])})
    old, new = (tree if is_run(tree) else out for out, (tree, _) in runs.items())
    compared, differences = compare(read(old), read(new))
    print(table(compared))
    print(*differences[:SHOWN], sep="\n")
    if len(differences) > SHOWN:
        print(f"... and {len(differences) - SHOWN} more")
    sys.exit(bool(differences))


def is_run(path: Path) -> bool:
    """Whether the folder is an evaluation that is there already."""
    return (path / "traces.jsonl").exists()


def command(tree: Path, python: str, out: Path, args: argparse.Namespace) -> tuple[list[str], dict[str, str]]:
    """The `trim eval` of a tree, and the environment that it needs.

    Raises:
        SystemExit: the tree has no sources of TRIM, or the interpreter takes another copy.
    """
    package = (tree / "src" / "trim").resolve()
    environment = os.environ | {"PYTHONPATH": str(package.parent)}
    if not package.is_dir():
        sys.exit(f"{tree} is neither a source tree with src/trim nor the folder of an evaluation")
    asked = [python, "-P", "-c", "import trim; print(trim.__file__)"]
    found = subprocess.run(asked, check=False, env=environment, capture_output=True, text=True)
    if found.stdout.strip() != str(package / "__init__.py"):
        sys.exit(f"{python} does not import trim from {package}: {found.stdout or found.stderr}")
    policies = args.policies
    if "REVISE" not in (package / "types.py").read_text():
        for earlier, today in OPTIONS.items():
            policies = policies.replace(f"+{today}", f"+{earlier}")
    module = "trim.cli" if (package / "cli.py").exists() else "trim"
    options = ["--task", args.task, "--policies", policies, "--questions", args.questions, "--seed", args.seed]
    options += ["--concurrency", args.concurrency, "--out", out.resolve(), *(["--resume"] if is_run(out) else [])]
    if not args.live:
        options += ["--record", out.resolve().with_name(f"{out.name}-record")]
    return [python, "-P", "-m", module, "eval", *map(str, options)], environment


def evaluate(commands: Mapping[Path, tuple[list[str], dict[str, str]]]) -> None:
    """Run both in parallel; their output goes into a log beside each folder.

    Raises:
        SystemExit: one of them failed.
    """
    with ExitStack() as stack:
        running = {}
        for out, (words, environment) in commands.items():
            out.parent.mkdir(parents=True, exist_ok=True)
            log = stack.enter_context(out.with_suffix(".log").open("w"))
            running[out] = subprocess.Popen(words, env=environment, stdout=log, stderr=subprocess.STDOUT)
        failed = [out for out, process in running.items() if process.wait()]
    for out in failed:
        print(out.with_suffix(".log").read_text()[-2000:], file=sys.stderr)
    if failed:
        sys.exit(f"trim eval failed: {', '.join(map(str, failed))}")


def read(folder: Path) -> dict[Key, Facts]:
    """The solutions of an evaluation, a folder that holds traces.jsonl."""
    found: dict[Key, Facts] = {}
    with (folder / "traces.jsonl").open() as lines:
        for line in map(json.loads, lines):
            question = line["question"]["id"] if line["schema"] > 1 else line["question_id"]
            found[policy_today(line["policy"]), line["parameter"], question, line["seed"]] = facts(line)
    return found


def policy_today(name: str) -> str:
    """A policy's name with today's options."""
    return "+".join(OPTIONS.get(part, part) for part in name.split("+"))


def facts(line: dict[str, Any]) -> Facts:
    """What a trace is compared by."""
    kept = [flat(decision) for decision in line["decisions" if line["schema"] > 1 else "steps"]]
    rejected = [flat(draft) for decision in kept for draft in decision["rejected"]]
    for draft in rejected:
        if line["schema"] == 1 and draft["role"] == "strong" and draft["action"] == "REGENERATE":
            draft["action"] = "REVISE"
    found: Facts = {
        f"{name} of kept steps": [decision[name] for decision in kept]
        for name in ("action", "forced", "role", "text", "tokens", "score", "kept_score")
    }
    found |= {
        f"{name} of rejected steps": [draft[name] for draft in rejected]
        for name in ("action", "role", "text", "tokens", "score")
    }
    found |= {name: line[name] for name in ("stop_reason", "answer", "correct", "fallbacks")}
    found["strong completion tokens"] = line["usage"]["strong"]["completion_tokens"]
    if not line.get("measured"):  # from before the rule
        return found
    usage = {role: {name: used[name] for name in COUNTS} for role, used in line["usage"].items()}
    return found | {"usage": usage, "cost": line["cost"]}


def flat(step: dict[str, Any]) -> dict[str, Any]:
    """A decision or draft with its step's fields beside its own, in today's words: schema 1 had them so."""
    found: dict[str, Any] = step | step.get("step", {})
    found["role"] = found.get("role", found.get("author"))
    found["text"] = found["text"].strip()  # schemas 1 and 2 left the white space around a step out
    found["action"] = ACTIONS.get(found["action"], found["action"])
    return found


def compare(old: Mapping[Key, Facts], new: Mapping[Key, Facts]) -> tuple[dict[str, Compared], list[str]]:
    """A summary of each policy, and a sentence for every difference."""
    compared: dict[str, Compared] = {}
    differences: list[str] = []
    for key in dict.fromkeys([*old, *new]):
        policy, parameter, question, _ = key
        result = compared.setdefault(policy, Compared())
        result.points.add(parameter)
        result.traces += 1
        found = list(differing(old.get(key), new.get(key)))
        result.identical += not found
        differences += [f"{policy} {parameter}, {question}: {difference}" for difference in found[:1]]
    return compared, differences


def differing(old: Facts | None, new: Facts | None) -> Iterator[str]:
    """In what two solutions differ, the first first."""
    if old is None or new is None:
        yield f"only {'the new' if old is None else 'the old'} tree has it"
        return
    for name, value in old.items():
        if name in new and not same(value, new[name]):
            yield f"{name}: {json.dumps(value)} -> {json.dumps(new[name])}"


def same(old: Any, new: Any) -> bool:
    """Equal, numbers within the tolerance of scores."""
    if isinstance(old, float) and isinstance(new, float):
        return abs(old - new) <= TOLERANCE
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(same, old, new))
    return bool(old == new)


def table(compared: Mapping[str, Compared]) -> str:
    """A line a policy, and their sum."""
    rows = [(name, len(c.points), c.traces, c.identical, c.traces - c.identical) for name, c in compared.items()]
    total = ("all", *(sum(column) for column in list(zip(*rows, strict=True))[1:])) if rows else ("all", 0, 0, 0, 0)
    head: Sequence[object] = ("policy", "points", "traces", "identical", "differing")
    return "\n".join(f"{a:<20}" + "".join(f"{b:>11}" for b in rest) for a, *rest in (head, *rows, total))


if __name__ == "__main__":
    main()
