"""A first configuration: which of the models that were found is weak and which strong, and the file that says so."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from trim.config.model_names import PRESETS
from trim.errors import ConfigError


class Candidate(Protocol):
    """What a choice needs to know of a model, such as `trim.backends.discovery.FoundModel`."""

    @property
    def full_name(self) -> str: ...
    @property
    def weight(self) -> float: ...
    @property
    def scores(self) -> bool: ...


@dataclass(frozen=True)
class Choice:
    """The models of a configuration, as `KIND/MODEL[@URL]`; `judge` is None where the default one is to be taken."""

    weak: str
    strong: str
    judge: str | None = None


def by_size(models: Iterable[Candidate]) -> list[Candidate]:
    """Those that write, the smallest first; of unknown size last."""
    return sorted((model for model in models if not model.scores), key=lambda model: model.weight or float("inf"))


def suggested(
    models: Sequence[Candidate], *, weak: str | None = None, strong: str | None = None, judge: str | None = None
) -> Choice:
    """The smallest model as the weak one and the largest as the strong one, and a process reward model as the judge.

    Args:
        models: that were found.
        weak, strong, judge: what has been chosen already.

    Raises:
        ConfigError: there are not two models to tell apart by size; says what to name.
    """
    known = by_size(models)
    if weak is None or strong is None:
        weak, strong = _pair(known, weak, strong)
    prm = next((model.full_name for model in models if model.scores), None)
    return Choice(weak, strong, judge or prm)


def _pair(known: Sequence[Candidate], weak: str | None, strong: str | None) -> tuple[str, str]:
    free = [model for model in known if model.full_name not in (weak, strong)]
    if not free and weak is None and strong is None:
        raise ConfigError("no model was found: start a server, or name two models: --weak KIND/MODEL --strong ...")
    if weak is not None or strong is not None:
        if not free:
            missing = "strong" if strong is None else "weak"
            raise ConfigError(f"no other model was found: name one with --{missing} KIND/MODEL, or start a server")
        return weak or free[0].full_name, strong or free[-1].full_name
    if len(free) == 1:
        found = free[0].full_name
        raise ConfigError(f"one model was found, {found}, and TRIM needs two: start another server, or add --strong")
    small, large = free[0], free[-1]
    if not small.weight or not large.weight or small.weight == large.weight:
        names = ", ".join(model.full_name for model in free)
        raise ConfigError(
            f"which of these models is the weak one cannot be told by size: {names}: add --weak, --strong"
        )
    return small.full_name, large.full_name


def keys_in(environment: Mapping[str, str]) -> dict[str, str]:
    """The kinds of hosted servers whose key the environment holds, each with its variable's name."""
    return {
        kind: preset.api_key_env
        for kind, preset in PRESETS.items()
        if preset.api_key_env and environment.get(preset.api_key_env, "").strip()
    }


def document(choice: Choice, *, port: int | None = None) -> str:
    """The text of `trim.toml`, with a comment for what to change first.

    Args:
        choice: of the models.
        port: of the gateway, where its usual one is taken.
    """
    judge = (
        f"[prm]\nmodel = {_string(choice.judge)}\n"
        if choice.judge and "/" in choice.judge
        else f"[prm]\n{_judge(choice.judge)}\n"
        if choice.judge
        else "# [prm] names another judge than the one that fits these models: docs/how-to/your-judge.md\n"
    )
    serve = (
        f"\n# The gateway of `trim serve`; its usual port, 8080, is taken.\n[serve]\nport = {port}\n"
        if port is not None
        else ""
    )
    return f"""\
# Written by `trim init`. All keys: docs/reference/config.md
# To see what the servers can do: trim config check trim.toml --probe

# The weak model drafts every step.
[weak]
model = {_string(choice.weak)}
{_prices(choice.weak)}

# The strong model writes the steps whose draft is not kept.
[strong]
model = {_string(choice.strong)}
{_prices(choice.strong)}

# The judge scores every step.
{judge}
# A draft that scores below the parameter is rewritten: at 0 none, at 1 all. `trim calibrate` finds the parameter for
# a share of strong tokens, an accuracy or a cost.
[policy]
name = "threshold"
# parameter = 0.5    # without it: what fits the judge

# [budget]
# max_strong_tokens = 500    # hard cap per question
{serve}"""


def _judge(judge: str) -> str:
    key = "model" if judge in ("weak", "strong") else "backend"
    return f"{key} = {_string(judge)}"


def _prices(name: str) -> str:
    """A comment, or for models of this machine, whose price nobody states, an example of one."""
    preset = PRESETS.get(name.partition("/")[0])
    whose = "as its provider charges them" if preset and preset.base_url.startswith("https") else "in any unit"
    return f"# prices = {{ prompt = 0.1, completion = 0.4, cached = 0.01 }}    # per million tokens, {whose}"


def _string(text: str) -> str:
    """A TOML string."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
