"""What a judge is called in `[prm]` and `--judge`: its kind, a role whose model judges, or a model's name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

from trim.config.model_names import IN_PROCESS, PRESETS, is_model_name, nearly_named, parse, settings_at, settings_of
from trim.errors import ConfigError
from trim.plugins import SCORERS, is_reference
from trim.scoring.registry import JUDGES
from trim.types import Role

AUTO = "auto"
"""As `[prm] backend`: what fits the models, or what `model` names."""

ASKED = "yes-no"
"""How a model that is no PRM judges, unless `[prm] backend` says otherwise."""

ASKING = ("yes-no", "grade", "typed")
"""Judges that any chat model can be: without a model of their own the strong one."""
FITTED = "fitted"
"""A judge that needs nothing but the log-probabilities of drafts; its `model` is a shipped one's name or a file."""

ROLES = (Role.WEAK.value, Role.STRONG.value)
"""As `[prm] model` without an address: the model of that role judges."""

_PRM = re.compile(r"prm|reward", re.IGNORECASE)


def judge_table(text: str) -> dict[str, str]:
    """The table `[prm]` that `--judge TEXT` stands for.

    Args:
        text: a judge's kind (`likelihood`); `strong` or `weak`, whose model is asked; a model's name: a PRM where vLLM
            serves it and it is called one, else a model that is asked; the file of a fitted judge (`judge.json`); or a
            class of the user's own.

    Raises:
        ConfigError: it is none of these.
    """
    if text in ROLES:
        return {"model": text}
    if text.endswith(".json"):
        return {"backend": FITTED, "model": text}
    kind = re.split("[:/]", text)[0]
    if text in (AUTO, *JUDGES) or text in SCORERS.names() or (is_reference(text) and kind not in PRESETS):
        return {"backend": text}
    if is_model_name(text) or kind in PRESETS:
        settings_of(text, Role.PRM.value)
        return {"model": text}
    known = [*ROLES, *JUDGES]
    if near := difflib.get_close_matches(text, known, 1):
        hint = f"did you mean {near[0]!r}?"
    elif name := nearly_named(text):
        hint = f"did you mean {name!r}?"
    else:
        hint = f"there are {', '.join(known)}, or a model's name, KIND/MODEL@URL"
    raise ConfigError(f"judge {text!r} is not known: {hint}")


def completed_judge(table: Mapping[str, object]) -> dict[str, object]:
    """A table `[prm]` with what its model's name stands for; what it says itself stays.

    Raises:
        ConfigError: the name cannot be right, or is that of a model that cannot be a judge.
    """
    backend, model, url = table.get("backend"), table.get("model"), str(table.get("base_url") or "")
    backend = None if backend in ("", AUTO) else backend
    if isinstance(backend, str) and backend in PRESETS and backend not in JUDGES:  # a kind of server, not of judge
        model, backend = f"{backend}/{model or ''}", None
    elif not isinstance(model, str) or (backend and url) or not is_model_name(model):
        near = nearly_named(model) if isinstance(model, str) and not backend else ""
        if near:
            raise ConfigError(f"{model!r}: did you mean {near!r}?")
        return dict(table)
    name = parse(str(model))
    found = settings_at(name, url)
    found.pop("continuation", None)
    if name.kind == "gguf":
        if backend and backend not in ASKING:
            raise ConfigError(f"{model!r}: a GGUF file can be asked ({', '.join(ASKING)}), not judge as {backend!r}")
        found["backend"] = ASKED
    if name.kind not in IN_PROCESS:
        is_prm = backend == "vllm" or (not backend and name.kind == "vllm" and _PRM.search(name.model))
        found["backend"] = "vllm" if is_prm else ASKED
        if is_prm:  # its API stands beside `/v1`
            found["base_url"] = found["base_url"].removesuffix("/v1")
    said = {key: value for key, value in table.items() if key not in ("backend", "model") and value != ""}
    return {**found, **said, **({"backend": backend} if backend else {})}


def judging_role(backend: str, model: str, base_url: str, *, served: bool, told: bool) -> Role | None:
    """The role whose model judges; None: the judge has a model of its own, or none.

    Args:
        backend, model, base_url: of `[prm]`, as far as it says.
        served: whether the weak or the strong model is anything else than a shipped one or the user's own class.
        told: whether the weak model's server gives log-probabilities with its drafts.
    """
    family = JUDGES.get(backend)
    if base_url or backend == "embedded" or (backend != AUTO and family is None):
        return None
    if model:
        return Role(model) if model in ROLES else None
    if family is None:  # nothing is said
        return Role.STRONG if served and not told else None
    if family.name in ASKING:  # no model is named
        return Role.STRONG if served else None
    return Role(family.local) if family.local in ROLES else None


def judge_kind(backend: str, model: str, role: Role | None, *, served: bool, told: bool) -> str:
    """`[prm] backend`, or where it says nothing what follows from whose model judges.

    Args:
        backend, model: of `[prm]`.
        role: that judges, if one does.
        served: whether that model is anything else than a shipped one.
        told: whether the weak model's server gives log-probabilities with its drafts.
    """
    if backend != AUTO:
        return backend
    if role is None:
        return FITTED if model.endswith(".json") or (told and not model) else "embedded"
    return ASKED if served else "likelihood"
