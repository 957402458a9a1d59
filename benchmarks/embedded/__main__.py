"""The full comparison on the shipped models: every policy and baseline, on questions that nothing was trained on.

    python -m benchmarks.embedded                       2,000 questions; the first judge takes about an hour on one core
    python -m benchmarks.embedded --questions 60 --out small

Outcomes of both models on other questions, the query-level routers trained on them, one evaluation. Then the same
questions with another judge, the likelihood of a step under a causal model: a plan is fitted to its scores on other
questions and evaluated beside the threshold and the cascade. A model's output is never requested twice. Resumes
where it was interrupted. Writes results.json and frontier.png, likelihood.json and likelihood.png, and README.md (the
one-page reading) into the folder of this file, or into --out; traces stay in --work.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import time
from datetime import date
from pathlib import Path
from typing import Any

from trim.cli.main import main as trim
from trim.cli.options import DEMO_SEED
from trim.experiments.run import Run, Settings
from trim.policies.registry import FAMILIES, Level, saved_by
from trim.tasks import load_task
from trim.traces import TraceWriter, read_traces

HERE = Path(__file__).parent
COMMON = ("--task", "gsm_symbolic", "--resume", "--json")
TRAINED = saved_by("trim fit router")
QUERY_LEVEL = tuple(name for name, f in FAMILIES.items() if f.level is Level.QUERY and f.baseline)
STEP_LEVEL = tuple(name for name, f in FAMILIES.items() if f.level is Level.STEP and f.baseline and name != "oracle")
READ_QUESTIONS = ["similarity", "factorisation", "classifier"]  # and nothing else; smoothie reads answers
LIKELIHOOD = HERE / "likelihood.toml"
BY_LIKELIHOOD = ("threshold", "threshold+4", "threshold+8", "pomdp", "pomdp+4")
OWN = ("threshold", "threshold+4", "pomdp", "pomdp+4", "agg", "seq")
PARAMETERS = {
    "threshold": "0.02,0.05,0.1,0.2,0.35,0.5,0.65,0.8,0.9,0.95,0.98,1",
    "random": "0.1,0.2,0.35,0.5,0.65,0.8,0.9,1",
    "take-over": "0.05,0.2,0.5,0.8,0.95,1",
    "spec-reason": "1,3,5,7,9",
}


def run(*arguments: str) -> None:
    """A trim command; stops where it fails."""
    if code := trim(arguments):
        raise SystemExit(code)


def evaluate(args: argparse.Namespace, also: list[str]) -> Path:
    """Train the baselines, run everything; the folder of the run."""
    work: Path = args.work
    outcomes, routers, out = work / "outcomes", work / "routers", work / "run"
    trained = str(max(40, args.questions // 4))
    policies = "always-weak,always-strong,weak-sample,random"
    run("eval", *COMMON, "--policies", policies, "--parameters", "random=0.5", "--seed", "700000",
        "--questions", trained, "--record", str(work / "record-outcomes"), "--out", str(outcomes))  # fmt: skip
    unseen = leave_out(outcomes, args.questions, work / "outcomes-unseen")
    for kind in TRAINED:
        if not (routers / kind).exists():  # a run keeps to its fits
            run("fit", "router", kind, str(unseen), "--out", str(routers / kind))
    plain = [name for name in QUERY_LEVEL if name not in TRAINED]
    names = ["always-weak", "always-strong", "random", *OWN, *also, "oracle", *STEP_LEVEL, *plain]
    names += [f"{kind}={routers / kind}" for kind in TRAINED]
    parameters = [text for name, values in PARAMETERS.items() for text in ("--parameters", f"{name}={values}")]
    run("eval", *COMMON, "--policies", ",".join(names), *parameters, "--questions", str(args.questions),
        "--record", str(work / "record"), "--out", str(out))  # fmt: skip
    return out


def evaluate_by_likelihood(args: argparse.Namespace) -> Path:
    """Fit a plan to the other judge's scores, run what reads scores; the folder of the run."""
    work: Path = args.work / "likelihood"
    scored, plan, out = work / "scored", work / "plan", work / "run"
    common = (*COMMON, "--config", str(LIKELIHOOD))
    parameters = ("--parameters", "random+revise+3=0.7", "--score", "--seed", "600000")
    run("eval", *common, "--policies", "random+revise+3", *parameters, "--questions", str(max(600, args.questions)),
        "--out", str(scored))  # fmt: skip
    if not plan.exists():
        run("fit", "pomdp", str(leave_out(scored, args.questions, work / "unseen")), "--out", str(plan))
    own = [f"{name}={plan}" if name.startswith("pomdp") else name for name in BY_LIKELIHOOD]
    names = ["always-weak", "always-strong", *own, "prm-cascade"]
    run("eval", *common, "--policies", ",".join(names), "--parameters", f"threshold={PARAMETERS['threshold']}",
        "--questions", str(args.questions), "--record", str(work / "record"), "--out", str(out))  # fmt: skip
    return out


def leave_out(outcomes: Path, questions: int, out: Path) -> Path:
    """The outcomes without the evaluation's questions: among thousands of word problems a few come twice."""
    asked = {question.text for question in load_task("gsm_symbolic").questions(questions, DEMO_SEED)}
    out.mkdir(parents=True, exist_ok=True)
    shutil.copy(outcomes / "run.json", out)
    (out / "traces.jsonl").unlink(missing_ok=True)
    with TraceWriter(out / "traces.jsonl") as writer:
        for trace in read_traces(outcomes / "traces.jsonl"):
            if trace.question.text not in asked:
                writer.append(trace)
    return out


def reading(results: dict[str, Any], by_likelihood: dict[str, Any], minutes: float) -> str:
    """The one-page summary; every figure comes from the two files of results."""
    points = {(p["policy"], p["parameter"]): p for p in results["operating_points"]}
    weak, strong = points["always-weak", None], points["always-strong", None]
    summaries = {s["policy"]: s for s in results["summary"]}
    summaries |= {f"{s['policy']} (likelihood)": s for s in by_likelihood["summary"]}
    rows = [
        "| policy | CPT50 | CPT80 | CPT95 (interval) | APGR | delta-IBC | best | right at 20% | $ per 1,000 right |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, s in sorted(summaries.items(), key=lambda item: (item[1]["cpt95"] is None, item[1]["cpt95"] or 0)):
        low, high = s["cpt95_interval"]
        cost = s["cost_per_correct"]
        rows.append(
            f"| {name} | {percent(s['cpt50'])} | {percent(s['cpt80'])} | {percent(s['cpt95'])} ({percent(low)} to "
            f"{percent(high)}) | {s['apgr']:.2f} | {number(s['delta_ibc'])} | {number(s['delta_ibc_best'])} | "
            f"{percent(s['budgeted_accuracy']['20'])} | {'' if cost is None else f'{1000 * cost:.4f}'} |"
        )
    baselines = (*QUERY_LEVEL, *STEP_LEVEL, "oracle", "random")
    step = best(summaries, [name for name in summaries if name.split()[0] not in baselines])
    routers = [name for name in QUERY_LEVEL if name not in ("oracle-query", "random-query")]
    query = best(summaries, [name for name in summaries if name.split()[0] in routers])
    oracle = summaries["oracle"]["cpt95"]
    words = [
        f"The weak model alone answers {weak['accuracy']:.1%}, the strong model alone {strong['accuracy']:.1%} with "
        f"{strong['strong_tokens']:.1f} tokens per question.",
    ]
    if step and query:
        ratio = summaries[step]["cpt95"] / summaries[query]["cpt95"]
        words.append(
            f"TRIM's best here, {step}, recovers 95% of the gap with {percent(summaries[step]['cpt95'])} of those "
            f"tokens: {ratio:.2f} times what the best query-level router needs ({query}, "
            f"{percent(summaries[query]['cpt95'])})"
            + (f", {summaries[step]['cpt95'] / oracle:.2f} times the oracle's {percent(oracle)}." if oracle else ".")
        )
    words_only = best(summaries, READ_QUESTIONS)
    if step and words_only:
        words.append(
            f"The cascade reads the same scores as TRIM does; of the routers that read the question alone the best, "
            f"{words_only}, needs {percent(summaries[words_only]['cpt95'])}."
        )
    own = best(summaries, [name for name in OWN if name in summaries])
    cascade = best(summaries, ["prm-cascade"])
    if own and cascade:
        words.append(
            f"With the process reward model alone: {own} {percent(summaries[own]['cpt95'])}, the cascade "
            f"{percent(summaries[cascade]['cpt95'])}."
        )
    head = (
        f"# Every policy on the shipped models\n\n`python -m benchmarks.embedded --questions {results['questions']}`, "
        f"{date.today().isoformat()}, {platform.machine()}, {minutes:.0f} minutes in this run. gsm_symbolic, "
        f"{results['questions']} questions, seed {results['seed']}. Models: "
        + ", ".join(f"{role} {name}" for role, name in results["models"].items())
        + "."
    )
    tail = (
        "CPT: strong share at which so much of the gap is recovered, none: not reached. Intervals are of a paired "
        "bootstrap over questions. [What the figures are](../../docs/explanation/evaluation.md). Every baseline runs "
        "through the same Router or over the same whole solutions; trained ones were trained on other questions. "
        "(likelihood): steps "
        "are judged by the least likely of their tokens under the judge, a causal model, in place of the process "
        "reward model; that plan was fitted on other questions too."
    )
    pictures = "![Frontier](frontier.png)\n\n![Frontier with the likelihood as judge](likelihood.png)"
    return "\n\n".join([head, " ".join(words), pictures, "\n".join(rows), tail]) + "\n"


def best(summaries: dict[str, Any], names: list[str]) -> str | None:
    """The policy among these with the smallest CPT95."""
    reached = [name for name in names if summaries.get(name, {}).get("cpt95") is not None]
    return min(reached, key=lambda name: float(summaries[name]["cpt95"]), default=None)


def percent(value: float | None) -> str:
    """`12.3%`."""
    return "none" if value is None else f"{value:.1%}"


def number(value: float | None) -> str:
    """`5.67`."""
    return "none" if value is None else f"{value:.2f}"


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=2_000)
    parser.add_argument(
        "--also", action="append", default=[], metavar="POLICY=FOLDER", help="more, such as pomdp+2=FOLDER"
    )
    parser.add_argument("--work", type=Path, default=Path("trim-embedded"), help="traces and routers")
    parser.add_argument("--out", type=Path, default=HERE)
    args = parser.parse_args()
    started = time.monotonic()
    folder, second = evaluate(args, args.also), evaluate_by_likelihood(args)
    args.out.mkdir(parents=True, exist_ok=True)
    for run_folder, json_name, picture in (
        (folder, "results.json", "frontier.png"),
        (second, "likelihood.json", "likelihood.png"),
    ):
        shutil.copy(run_folder / "frontier.png", args.out / picture)
        finished = Run(run_folder, Settings.read(run_folder), resume=True)
        shutil.copy(finished.write_results(), args.out / json_name)
    results, by_likelihood = (json.loads((args.out / name).read_text()) for name in ("results.json", "likelihood.json"))
    (args.out / "README.md").write_text(reading(results, by_likelihood, (time.monotonic() - started) / 60))
    print(f"Read {args.out / 'README.md'}; look at {folder / 'report.html'}")


if __name__ == "__main__":
    main()
