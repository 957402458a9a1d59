"""A configuration from a TOML file and the environment. What is wrong is said in one sentence, with file and line.

`TRIM_WEAK__BASE_URL` overrides `base_url` in `[weak]`, `TRIM_WEAK__PRICES__PROMPT` what stands in `[weak.prices]`, with
a file or without one. Values are written as in TOML; strings need no quotes.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trim.config.judge_names import judge_table
from trim.config.model_names import address_in, generator_table, is_model_name, located, settings_of
from trim.errors import ConfigError

if TYPE_CHECKING:
    from trim.config.settings import Config
    from trim.config.validation import KeyPath

logger = logging.getLogger("trim.config")

RENAMED: dict[KeyPath, str] = {
    ("serve", "strong_share"): "target_strong_share",
    ("serve", "failures"): "breaker_failures",
    ("serve", "cooldown"): "breaker_cooldown",
}
"""Keys of earlier versions; they are still read."""

_LARGEST = 1_000_000
"""Bytes that a file may have."""

_OVERRIDE = re.compile(r"TRIM_(?P<path>\w*__\w*)")


_OF_THE_RUN = {"weak": ("system", "timeout", "first_timeout", "retries", "on_error"), "prm": ("on_error",)}
_OF_THE_RUN["strong"] = _OF_THE_RUN["weak"]
"""Keys of a table that stay when another model takes the place of its model; the others are about that one."""


def load_config(
    path: Path | None, environment: Mapping[str, str] | None = None, models: Mapping[str, str | None] | None = None
) -> Config:
    """Read a configuration; without a file it is the embedded pair.

        >>> load_config(None, models={"weak": "ollama/qwen2.5:0.5b", "strong": "openai/gpt-4.1-mini"}).weak.base_url
        'http://127.0.0.1:11434/v1'

    Args:
        path: a TOML file in UTF-8, or None.
        environment: variables that override the file; None: those of this process.
        models: names (`KIND/MODEL[@URL]`) of models in place of those of the file and the environment, by `weak`,
            `strong` and `judge`; for a judge also its kind, or `strong` or `weak`. None: as the file says.

    Raises:
        ConfigError: the file cannot be read, or a table, a key or a value is wrong; says where and what is allowed.
    """
    from pydantic import TypeAdapter, ValidationError

    from trim.config.settings import Config
    from trim.config.validation import sentence

    source = _Source.read(path)
    values = source.values()
    _rename(values, source)
    environment = os.environ if environment is None else environment
    overrides = _overrides(environment)
    _apply(overrides, values)
    _name({role: name and located(name, environment) for role, name in (models or {}).items()}, values)
    _locate(values, environment)
    try:
        return TypeAdapter(Config).validate_python(values)
    except ValidationError as error:
        problems = (sentence(problem, Config) for problem in error.errors())
        found = [(*_place(key, source, overrides), words) for key, words in problems]
    _, where, words = min(found)
    raise ConfigError(f"{where}: {words}" if where else words)


@dataclass(frozen=True)
class _Source:
    """A TOML text; `name` is what errors call it, empty where there is none."""

    name: str
    text: str

    @classmethod
    def read(cls, path: Path | None) -> _Source:
        """The text of a file, with or without a byte order mark and with any line ends."""
        if path is None:
            return cls("", "")
        try:
            with path.open("rb") as file:
                content = file.read(_LARGEST + 1)
        except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
            raise ConfigError(f"{path}: {error.strerror if isinstance(error, OSError) else error}") from None
        if len(content) > _LARGEST:
            raise ConfigError(f"{path} is larger than {_LARGEST:,} bytes: it is not a configuration")
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            hint = "looks like UTF-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else f"byte {error.start} is wrong"
            raise ConfigError(f"{path} is not UTF-8 text ({hint}): save it as UTF-8") from None
        if "\0" in text:
            raise ConfigError(f"{path} is not UTF-8 text (it has zero bytes): save it as UTF-8")
        return cls(str(path), text.replace("\r\n", "\n"))

    def values(self) -> dict[str, Any]:
        """What it says."""
        try:
            return tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            words = str(error)
            place = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)", words)
            line = (place and place[1]) or len(self.text.rstrip("\n").split("\n"))
            raise ConfigError(
                f"{self.name}:{line}: not valid TOML: {words[: place.start()] if place else words}"
            ) from None
        except RecursionError:
            raise ConfigError(f"{self.name}: not valid TOML: nested too deeply") from None
        except ValueError as error:  # a number of thousands of digits
            raise ConfigError(f"{self.name}: not valid TOML: {error}") from None

    def line_of(self, key: KeyPath) -> int | None:
        """The line on which a key is set; where it is not set, that of the innermost table around it.

        It is the last line with a name of the key's, or an escape, in it before which the file parses and does not set
        the key yet: what stops within a statement does not parse, and after the statement the key is set.
        """
        values = self.values()
        while key and not _has(values, key):
            key = key[:-1]
        lines = self.text.split("\n") if key else []
        for number in range(len(lines), 0, -1):
            if any(part in lines[number - 1] for part in (*key, "\\")):
                with suppress(tomllib.TOMLDecodeError):
                    if not _has(tomllib.loads("\n".join(lines[: number - 1])), key):
                        return number
        return None


_Overrides = Mapping["KeyPath", tuple[str, object]]
"""The keys that environment variables set: the variable's name and the value."""


def _has(values: object, key: KeyPath) -> bool:
    for name in key:
        if not isinstance(values, dict) or name not in values:
            return False
        values = values[name]
    return True


def _rename(values: dict[str, Any], source: _Source) -> None:
    """Give keys of earlier versions their names of today, and say so."""
    for key, name in RENAMED.items():
        if not _has(values, key):
            continue
        (table, old), where = key, f"{source.name}:{source.line_of(key)}"
        if name in values[table]:
            raise ConfigError(f"{where}: [{table}] {old} is the old name of {name}: leave it out")
        values[table][name] = values[table].pop(old)
        logger.warning("%s: [%s] %s is now called %s; the old name still works", where, table, old, name)


def _overrides(environment: Mapping[str, str]) -> _Overrides:
    """The keys that environment variables with a double underscore in their names set."""
    given = [name for name in sorted(environment) if _OVERRIDE.fullmatch(name)]
    if not given:
        return {}
    from trim.config.reference import variable
    from trim.config.settings import Config
    from trim.config.validation import fields, key_paths, scalar_of

    known = {variable(key): key for key in key_paths(Config)}
    renamed = {variable(old): (old[0], new) for old, new in RENAMED.items()}
    found: dict[KeyPath, tuple[str, object]] = {}
    for name in given:
        key = known.get(name) or renamed.get(name)
        if key is None:
            inside = [other for other in known if other.startswith(f"{name}__")]
            near = inside or difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            table = name.removeprefix("TRIM_").partition("__")[0].lower()
            tables = list(dict.fromkeys(key[0] for key in known.values()))
            if not difflib.get_close_matches(table, tables, 1):
                raise ConfigError(
                    f"{name}: there is no table [{table}] in the configuration; there are {', '.join(tables)}"
                )
            raise ConfigError(f"{name}: there is no such key in the configuration{hint}")
        if name in renamed:
            logger.warning("%s is now called %s; the old name still works", name, variable(key))
        text = environment[name]
        found[key] = name, text if scalar_of(fields(Config)[key]) is str else _toml(text)
    return found


def _toml(text: str) -> object:
    """The TOML value that a text stands for; any other text stays as it is and is refused when the key is checked."""
    try:
        values = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return values["value"] if len(values) == 1 else text


def _apply(overrides: _Overrides, values: dict[str, Any]) -> None:
    """Put what the environment says over what a file says.

    A table that the file does not have is the default one, prices of the embedded models included, unless another
    model takes their place.
    """
    if not overrides:
        return
    from trim.config.settings import Config

    for table in {key[0] for key in overrides} - set(values):
        _, model = overrides.get((table, "model"), ("", ""))
        is_other = (table, "backend") in overrides or is_model_name(str(model))
        values[table] = {} if is_other else asdict(getattr(Config(), table))
        if table in ("weak", "strong"):
            values[table].pop("backend", None)  # which says that `model` is a folder
    for key, (_, value) in overrides.items():
        here: Any = values
        for name in key[:-1]:
            here = here.setdefault(name, {})
            if not isinstance(here, dict):  # the file is wrong there, which is said when it is checked
                break
        else:
            here[key[-1]] = value


def _name(models: Mapping[str, str | None], values: dict[str, Any]) -> None:
    """Put models that were named in place of those in the tables."""
    if unknown := models.keys() - {"weak", "strong", "judge"}:
        raise ConfigError(f"models: there is no role {min(unknown)!r}; there are weak, strong and judge")
    for role, name in models.items():
        if name is None:
            continue
        table = "prm" if role == "judge" else role
        here = values.get(table, {})
        if isinstance(here, dict):  # else the file is wrong there, which is said when it is checked
            said = {key: here[key] for key in _OF_THE_RUN[table] if key in here}
            values[table] = said | (judge_table(name) if role == "judge" else generator_table(name, role))


def _locate(values: dict[str, Any], environment: Mapping[str, str]) -> None:
    """Complete names without an address where the environment has it."""
    for role in ("weak", "strong", "prm"):
        table = values.get(role)
        if not isinstance(table, dict) or table.get("base_url"):
            continue
        kind = str(table.get("backend"))
        if address := address_in(kind, environment):
            table["base_url"] = settings_of(f"{kind}/default@{address}", role)["base_url"]
        if role != "prm" and "backend" in table:
            continue
        if is_model_name(name := str(table.get("model", ""))):
            table["model"] = located(name, environment)


def _place(key: KeyPath, source: _Source, overrides: _Overrides) -> tuple[float, str]:
    """For sorting, the line that a key stands on, and how to say where that is."""
    if key in overrides:
        return 0, overrides[key][0]
    old = next((old for old, new in RENAMED.items() if (*old[:-1], new) == key and _has(source.values(), old)), key)
    line = source.line_of(old)
    if not source.name:
        return float("inf"), ""
    return (float("inf"), source.name) if line is None else (line, f"{source.name}:{line}")
