"""Model cards from the measured results: `README.md` in every model folder.

python -m recipes.evaluate generators && python -m recipes.evaluate scorers && python -m recipes.cards
"""

from __future__ import annotations

import json
from typing import Any

from safetensors import safe_open

from recipes import prm
from recipes.evaluate import RESULTS
from recipes.pretrain import RUNS, TARGET
from trim.tasks import FAMILIES
from trim.tasks.generated import LEVELS

_WHAT = {
    "weak": "The cheap model: its errors are genuine slips in arithmetic, copying or what to compute; they cascade.",
    "strong": "The expensive model: worth asking where the weak one slips.",
    "judge": "A causal model of its own seed and data. The likelihood scorer reads how likely it finds each step's "
    "tokens; `logistic.json` maps the least likely one to P(correct).",
    "prm": "The process reward model: two labels (bad, good) at the mark `<extra_0>` after each step. Its lower layers "
    "are a language model of its own seed and data, not the strong model's.",
    "prm-small": "A weaker process reward model, on a smaller trunk, for studies of how policies fare when scores are "
    "worse.",
}
_TEMPLATE = """\
---
license: apache-2.0
language: en
tags: [tiny, step-routing]
---

# TRIM embedded models: {name}

{what}

- Layout: {layout}, {parameters:.2f} M parameters, bfloat16, context 4096, head width 32, one token a digit.
- Trained from scratch on train-split problems of `gsm_symbolic`, `arithmetic_chain` and `string_rewriting`
  (reasoning-gym's problems): {tokens:.1f} M tokens, seed {seed}, two CPU cores. `python -m recipes.{recipe}`.
- Format: `{template}`.

## Figures

{figures}

## Limits

Solves or judges nothing but such problems, in their wording. Made for tests, demonstrations and studies of routing.
"""


def _generator_figures(name: str) -> str:
    found: dict[str, Any] = json.loads((RESULTS / "generators.json").read_text())
    lines = [
        f"{found['problems']} fresh test problems a task, {found['date']}, {found['hardware']}. Sampled: temperature "
        "0.7, top-p 0.8, top-k 20.",
        "",
        "| task | sampled | 95% interval | greedy | " + " | ".join(LEVELS) + " | steps right before the first error |",
        "|---" * (5 + len(LEVELS)) + "|",
    ]
    for task in FAMILIES:
        rows = found[task]
        usual = rows[f"{name}_sampled"]
        low, high = usual["interval"]
        levels = " | ".join(f"{rows[f'{name}_{level}']['accuracy']:.1%}" for level in LEVELS)
        lines.append(
            f"| {task} | {usual['accuracy']:.1%} | {low:.1%} to {high:.1%} | "
            f"{rows[f'{name}_greedy']['accuracy']:.1%} | {levels} | {usual['step_accuracy_before_first_error']:.1%} |"
        )
    if name == "strong":
        lines += ["", "Finishing a right beginning of the weak model, and its own beginning of the same length:", ""]
        for task in FAMILIES:
            after = found[task]["strong_after_weak"]
            lines.append(
                f"- {task}: {after['after_weak']:.1%} and {after['after_own']:.1%} of {after['problems']} problems"
            )
    return "\n".join(lines)


def _scorer_figures(name: str) -> str:
    found: dict[str, Any] = json.loads((RESULTS / "scorers.json").read_text())
    lines = [f"{found['problems']} fresh test problems a source, {found['date']}, {found['hardware']}.", ""]
    rows: dict[str, dict[str, Any]] = {
        f"{task} | {source}": row for task, sources in found[name].items() for source, row in sources.items()
    }
    columns = list(next(iter(rows.values())))
    lines.append("| task | solutions of | " + " | ".join(column.replace("_", " ") for column in columns) + " |")
    lines.append("|---" * (len(columns) + 2) + "|")
    for place, row in rows.items():
        lines.append(f"| {place} | " + " | ".join(str(row[column]) for column in columns) + " |")
    lines += ["", "Steps count up to the first error of a solution. first error f1 is ProcessBench's, at 0.5."]
    return "\n".join(lines)


def write(name: str) -> None:
    """Write the model card of one shipped model."""
    folder = TARGET / name
    config = json.loads((folder / "config.json").read_text())
    with safe_open(str(folder / "model.safetensors"), "pt") as file:
        parameters = sum(file.get_tensor(key).numel() for key in file.keys())  # noqa: SIM118 - not a dict
    reward = prm.RUNS.get(name)
    scorer = "likelihood" if name == "judge" else name
    trunk = RUNS[reward.trunk if reward else name]
    mark = "<extra_0>" if reward else "blank line"
    card = _TEMPLATE.format(
        name=name,
        what=_WHAT[name],
        layout=f"`{config['architectures'][0]}`, {config['hidden_size']} wide, {config['num_hidden_layers']} layers",
        parameters=parameters / 1e6,
        tokens=(trunk.tokens + (prm.tokens(name) if reward else 0)) / 1e6,
        seed=(reward or trunk).seed,
        recipe=f"prm {name}" if reward else f"pretrain {name}",
        template=f"<|user|>question<|assistant|>step, {mark}, step, {mark}, ...",
        figures=_scorer_figures(scorer) if reward or name == "judge" else _generator_figures(name),
    )
    (folder / "README.md").write_text(card)


if __name__ == "__main__":
    for model in _WHAT:
        if (TARGET / model).exists():
            write(model)
