"""What a run's results depend on, besides task, questions, seed and models; and whether it is still the same."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

from trim import __version__
from trim.backends.told_template import told_template
from trim.config.factory import Backends
from trim.config.judge_notes import judge_note
from trim.config.resolution import resolve
from trim.config.settings import Config
from trim.config.specs import BackendSpec
from trim.errors import ConfigError
from trim.tasks import file_of

Conditions = dict[str, object]
"""JSON values, in tables."""

_HARMLESS = (
    *("backend", "model", "base_url", "api_key_env", "timeout", "first_timeout", "retries", "role", "api_key"),
    *("slots", "threads", "headers"),
)
"""Of a model's settings: what its identity says already, and what changes no result."""

_TOLD = "server_template"
_TABLE = "conditions."
_VERSION, _POLICIES = f"{_TABLE}trim", f"{_TABLE}policies."


def conditions(config: Config, task: str, policies: Iterable[str] = ()) -> Conditions:
    """Prompts, templates, prices, the content of the files behind them, and TRIM's version. What follows an error is no
    part of them: a run that broke off may go on with another `on_error`, and traces mark every fallback.

    Args:
        config: the run's.
        task: by name or file.
        policies: as they were asked for; of those that are files of the user's own the content counts.
    """
    spec = resolve(config)
    own = {name: digest for name in policies if (digest := _of_file(name))}
    return asked_for(config, task) | {
        "lookahead": spec.limits.lookahead,
        "prices": asdict(spec.prices),
        "policies": own,
        "judge": judge_note(config).conditions(),
    }


def asked_for(config: Config, task: str) -> Conditions:
    """The part of them that decides what models are asked for."""
    spec, file = resolve(config), file_of(task)
    return {
        "trim": __version__,
        "task_file": None if file is None else _digest(file),
        "weak": _model(spec.weak),
        "strong": _model(spec.strong),
        "prm": _model(spec.judge),
    }


def of_record(config: Config, task: str) -> Conditions:
    """All that decides what a record holds: no prices, no limits."""
    spec = resolve(config)
    separator = {"separator": spec.step_format.separator.value}
    return asked_for(config, task) | {"sampling": asdict(spec.sampling) | separator}


async def with_templates(conditions: Conditions, backends: Backends) -> Conditions:
    """The same with the chat templates that servers have told, as `weak.server_template` and so on."""
    told = {"weak": await told_template(backends.weak), "strong": await told_template(backends.strong)}
    found = dict(conditions)
    for role, template in told.items():
        if template is not None and isinstance(table := found.get(role), dict):
            found[role] = table | {_TOLD: template}
    return found


def with_earlier_templates(now: Conditions, earlier: Mapping[str, object]) -> Conditions:
    """The same with templates of an earlier part of the run, where the server has told none: it may not be there."""
    found = dict(now)
    for role in ("weak", "strong"):
        mine, theirs = found.get(role), earlier.get(role)
        if isinstance(mine, dict) and isinstance(theirs, dict) and _TOLD in theirs and _TOLD not in mine:
            found[role] = mine | {_TOLD: theirs[_TOLD]}
    return found


def differences(earlier: Mapping[str, object], now: Mapping[str, object]) -> dict[str, str]:
    """What is not the same, as `20.0 -> 15.0`, by key, such as `prices.strong.completion`.

    Args:
        earlier: what the `run.json` of a folder says. Where an earlier version of TRIM wrote it, its conditions are not
            known and not compared, but that version is.
        now: the same of now, as JSON values. Policies and templates of servers that only one of them has are no
            difference.
    """
    old, new = _flat(earlier), _flat(now)
    known = _VERSION in old and _VERSION in new
    found = {}
    for key in {**new, **old}:
        if key.startswith(_TABLE) and not known and key != _VERSION:
            continue
        if (key.startswith(_POLICIES) or f".{_TOLD}." in key) and not (key in old and key in new):
            continue
        if old.get(key) != new.get(key) and (key != _VERSION or _VERSION in new):
            found[key.removeprefix(_TABLE)] = f"{_shown(old.get(key))} -> {_shown(new.get(key))}"
    return found


def check_same(folder: Path, different: Mapping[str, str], accepted: Collection[str], said: str) -> list[str]:
    """See that all differences were accepted, by their keys or by the tables around them; returns them in words.

    Raises:
        ConfigError: others are there; names them.
    """
    refused = [key for key in different if not any(f"{key}.".startswith(f"{prefix}.") for prefix in accepted)]
    if refused:
        raise ConfigError(
            f"{folder} {said}: {'; '.join(f'{key} {different[key]}' for key in refused)}: choose another folder, or if "
            f"that is harmless: --accept {','.join(refused)}"
        )
    return [f"{key} {words}" for key, words in different.items()]


def _flat(values: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Keys with those of the tables around them, joined by dots."""
    found: dict[str, object] = {}
    for key, value in values.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def _shown(value: object) -> str:
    text = "none" if value in (None, "") else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _model(model: BackendSpec) -> Conditions:
    """How a model is asked, with the content of files in place of their names."""
    values = {key: value for key, value in vars(model).items() if key not in _HARMLESS}
    return {key: _content(value) for key, value in values.items()} | {"own": _of_file(model.backend)}


def _content(value: object) -> object:
    """Of a file or folder of a template or tokenizer its digest, of a text the text."""
    path = Path(str(value)).expanduser() if value else None
    try:
        if path is not None and path.is_dir():
            files = [file for file in sorted(path.iterdir()) if file.suffix in (".json", ".jinja")]
            return ", ".join(f"{file.name} {_digest(file)}" for file in files)
        if path is not None and path.is_file():
            return f"{path.name} {_digest(path)}"
    except OSError:  # a long prompt is no path
        pass
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _of_file(reference: str) -> str | None:
    """The digest of the file in `FILE.py:NAME`, of a `FILE.json`, or None."""
    path = Path(reference.partition(".py:")[0] + ".py" if ".py:" in reference else reference).expanduser()
    return _digest(path) if path.suffix in (".py", ".json") and path.is_file() else None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256 {hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"
