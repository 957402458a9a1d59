"""Trace lines of schema 1, as written before the first release, in the terms of the present schema."""

from __future__ import annotations

from typing import Any

_STEP = ("text", "tokens", "finish", "prompt_tokens", "cached_tokens", "logprob", "entropy")
_SAME = (
    "parameter",
    "seed",
    "stop_reason",
    "cost",
    "seconds",
    "phases",
    "answer",
    "correct",
    "fallbacks",
    "separator",
)


def translated(line: dict[str, Any]) -> dict[str, Any]:
    """The same line in schema 2.

    Raises:
        KeyError, TypeError, AttributeError: it is not a line of schema 1.
    """
    return {key: line[key] for key in _SAME} | {
        "question": {
            "text": line["question"],
            "reference": line["reference"],
            "id": line["question_id"],
            "reference_steps": line.get("reference_steps", []),
            "messages": line.get("messages", []),
        },
        "policy": line["policy"].replace("+redo", "+revise"),
        "decisions": [_decision(step) for step in line["steps"]],
        "usage": {
            role: {key: value for key, value in used.items() if key != "tokens"} for role, used in line["usage"].items()
        },
    }


def _decision(values: dict[str, Any]) -> dict[str, Any]:
    kept = {key: values[key] for key in ("action", "score", "kept_score", "forced")}
    rejected = [
        {"step": _step(draft), "score": draft["score"], "action": _rejection(draft)} for draft in values["rejected"]
    ]
    return kept | {"step": _step(values), "rejected": rejected, "attempt": values.get("attempt", 0)}


def _step(values: dict[str, Any]) -> dict[str, Any]:
    return {key: values[key] for key in _STEP if key in values} | {"role": values["author"]}


def _rejection(draft: dict[str, Any]) -> str:
    """Another weak draft was RETRY then; the strong model's text written once more was REGENERATE, like the first."""
    if draft["author"] == "strong" and draft["action"] == "REGENERATE":
        return "REVISE"
    return "RESAMPLE" if draft["action"] == "RETRY" else str(draft["action"])
