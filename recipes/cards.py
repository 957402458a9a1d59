"""Model cards from the measured results: `README.md` in every model folder.

python -m recipes.evaluate generators && python -m recipes.evaluate scorers && python -m recipes.cards
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open

from recipes.pretrain import RUNS, TARGET
from recipes.prm import Settings

_RESULTS = Path("recipes/results")
_WHAT = {
    "weak": "The cheap model: its errors are genuine slips in arithmetic or in what to compute, and they cascade.",
    "strong": "The expensive model: worth asking where the weak one slips.",
    "judge": "A causal model of its own seed and data. The likelihood scorer reads how likely it finds each step's "
    "tokens; `logistic.json` maps the least likely one to P(correct). The default scorer of the embedded world.",
    "prm": "A process reward model: two labels (bad, good) at the mark `<extra_0>` after each step. Trained on top of "
    "the judge's layers; weaker than the likelihood scorer, and shipped for vLLM's pooling and for robustness studies.",
}
_TEMPLATE = """\
---
license: apache-2.0
language: en
tags: [tiny, step-routing, gsm-symbolic]
---

# TRIM embedded models: {name}

{what}

- Layout: {layout}, {parameters:.2f} M parameters, bfloat16, context 4096, head width 32, one token a digit.
- Trained from scratch on train-split problems of `gsm_symbolic` (reasoning-gym's GSM8K templates with fresh names and
  numbers): {tokens:.1f} M tokens, seed {seed}, CPU only. `python -m recipes.{recipe}`.
- Format: `{template}`.

## Figures

{figures}

## Limits

Solves or judges nothing but such word problems, in their templates' wording. Made for tests, demonstrations and studies
of routing.
"""


def _generator_figures(name: str) -> str:
    found: dict[str, Any] = json.loads((_RESULTS / "generators.json").read_text())
    lines = [f"{found['problems']} fresh test problems, {found['date']}, {found['hardware']}:", ""]
    for mode, words in (("sampled", "temperature 0.7, top-p 0.8, top-k 20"), ("greedy", "greedy")):
        row = found[f"{name}_{mode}"]
        low, high = row["interval"]
        lines.append(
            f"- {words}: {row['accuracy']:.1%} of problems ({low:.1%} to {high:.1%}), "
            f"{row['step_accuracy_before_first_error']:.1%} of steps before the first error"
        )
    if name == "strong":
        after = found["strong_after_weak"]
        lines.append(
            f"- continuing right steps of the weak model: {after['continuing']:.1%}; on its own, same "
            f"{after['problems']} problems: {after['alone']:.1%}"
        )
    return "\n".join(lines)


def _scorer_figures(method: str) -> str:
    found: dict[str, Any] = json.loads((_RESULTS / "scorers.json").read_text())
    lines = [f"{found['problems']} fresh test problems a source, {found['date']}, {found['hardware']}:", ""]
    rows = found[method]
    columns = list(next(iter(rows.values())))
    lines.append("| solutions of | " + " | ".join(column.replace("_", " ") for column in columns) + " |")
    lines.append("|---" * (len(columns) + 1) + "|")
    for source, row in rows.items():
        lines.append(f"| {source} | " + " | ".join(str(row[column]) for column in columns) + " |")
    return "\n".join(lines)


def write(name: str) -> None:
    """Write one card."""
    folder = TARGET / name
    config = json.loads((folder / "config.json").read_text())
    with safe_open(str(folder / "model.safetensors"), "pt") as file:
        parameters = sum(file.get_tensor(key).numel() for key in file.keys())  # noqa: SIM118 - not a dict
    run = None if name == "prm" else RUNS[name]
    mark = "<extra_0>" if name == "prm" else "blank line"
    card = _TEMPLATE.format(
        name=name,
        what=_WHAT[name],
        layout=f"`{config['architectures'][0]}`, {config['hidden_size']} wide, {config['num_hidden_layers']} layers",
        parameters=parameters / 1e6,
        tokens=(run.tokens + run.again if run else Settings().tokens) / 1e6,
        seed=run.seed if run else Settings().seed,
        recipe=f"pretrain {name}" if run else "prm",
        template=f"<|user|>question<|assistant|>step, {mark}, step, {mark}, ...",
        figures=_generator_figures(name)
        if name in ("weak", "strong")
        else _scorer_figures("prm" if name == "prm" else "likelihood"),
    )
    (folder / "README.md").write_text(card)


if __name__ == "__main__":
    for model in ("weak", "strong", "judge", "prm"):
        write(model)
