"""What the validation of settings found wrong, as one sentence: where, what, and what is allowed instead."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import cache
from typing import Annotated, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from trim.redaction import redacted

KeyPath = tuple[str, ...]
"""A key with its tables: `("weak", "prices", "prompt")`."""

_KINDS = {int: "a whole number", float: "a number", str: "a string", bool: "true or false", tuple: "a list of strings"}
_SHOWN = 60  # characters of a wrong value


def broken_rule(words: str, *keys: str) -> PydanticCustomError:
    """An error about settings that don't fit each other; `keys` says which one to look at."""
    return PydanticCustomError("rule", "{words}", {"words": words, "keys": keys})


@cache
def fields(kind: type) -> Mapping[KeyPath, FieldInfo]:
    """The keys of a table of settings and of the tables in it, those tables included, in the order in which they stand
    there.
    """
    found: dict[KeyPath, FieldInfo] = {}
    own: Mapping[str, FieldInfo] = vars(kind)["__pydantic_fields__"]
    for name, field in own.items():
        found[name,] = field
        if (table := table_of(field)) is not None:
            found |= {(name, *path): inner for path, inner in fields(table).items()}
    return found


def table_of(field: FieldInfo) -> type | None:
    """The table that stands under this key; None: a value does."""
    kind = field.annotation
    return kind if isinstance(kind, type) and is_dataclass(kind) else None


def scalar_of(field: FieldInfo) -> type:
    """The type of a value, with None left out; of a choice, that of its alternatives; of a list, tuple."""
    if choices := choices_of(field):
        return type(choices[0])
    if get_origin(field.annotation) is tuple:
        return tuple
    kinds = [get_args(kind)[0] if get_origin(kind) is Annotated else kind for kind in get_args(field.annotation)]
    return next(kind for kind in _KINDS if kind in (field.annotation, *kinds))


def choices_of(field: FieldInfo) -> tuple[str, ...]:
    """The alternatives of a key that has some."""
    return get_args(field.annotation) if get_origin(field.annotation) is Literal else ()


def allowed(field: FieldInfo) -> str:
    """What a key accepts: `a number above 0`, `a whole number in [0, 65535]`, `one of 'a', 'b'`."""
    if choices := choices_of(field):
        return f"one of {', '.join(map(repr, choices))}"
    bounds: dict[str, float] = {}
    for entry in field.metadata:
        bounds |= {name: getattr(entry, name) for name in ("gt", "ge", "lt", "le") if hasattr(entry, name)}
    kind = _KINDS[scalar_of(field)]
    if any(vars(entry).get("allow_inf_nan") is False for entry in field.metadata if hasattr(entry, "__dict__")):
        kind = "a finite number"
    low, high = bounds.get("ge", bounds.get("gt")), bounds.get("le")
    if low is not None and high is not None:
        return f"{kind} in {'[' if 'ge' in bounds else '('}{low:g}, {high:.12g}]"
    if low is not None:
        return f"{kind} {'of at least' if 'ge' in bounds else 'above'} {low:g}"
    return kind


def sentence(error: ErrorDetails, kind: type) -> tuple[KeyPath, str]:
    """The key that is wrong, and what to say of it. `kind`: the table of settings that was validated."""
    path = tuple(part for part in error["loc"] if isinstance(part, str))  # without the places in lists
    if error["type"] == "rule":
        path += tuple(error["ctx"]["keys"])
        return path, f"{named(path)}: {error['ctx']['words']}"
    if error["type"] == "unexpected_keyword_argument":
        return path, unknown(path, kind, is_table=isinstance(error["input"], dict))
    field = fields(kind).get(path)
    if field is None:  # a positional argument in Python
        return path, f"{kind.__name__}: {error['msg']}"
    value = shown(error["input"])
    if table_of(field) is not None:
        return path, f"{path[-1]} = {value} must be a table: [{'.'.join(path)}]"
    near = difflib.get_close_matches(str(error["input"]), choices_of(field), 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return path, f"{named(path)} = {value} must be {allowed(field)}{hint}"


def unknown(path: KeyPath, kind: type, *, is_table: bool) -> str:
    """What to say of a key or table that does not exist."""
    *outer, name = path
    known = [key[-1] for key in fields(kind) if key[:-1] == tuple(outer)]
    if is_table:
        what = f"unknown table [{'.'.join((*outer, name))}]" if name.isidentifier() else f"unknown table {shown(name)}"
    else:
        what = f"[{'.'.join(outer)}] unknown key {shown(name)}" if outer else f"unknown key {shown(name)}"
    if near := difflib.get_close_matches(name, known, 1):
        return f"{what}; did you mean {near[0]!r}?"
    if elsewhere := [named(other) for other in key_paths(kind) if other[-1] == name]:
        return f"{what}; did you mean {' or '.join(elsewhere)}?"
    return f"{what}; there are {', '.join(known)}"


def key_paths(kind: type) -> list[KeyPath]:
    """Every key of a table of settings and of the tables in it."""
    return [path for path, field in fields(kind).items() if table_of(field) is None]


def named(path: KeyPath) -> str:
    """`[weak.prices] prompt`."""
    return f"[{'.'.join(path[:-1])}] {path[-1]}" if len(path) > 1 else path[-1]


def shown(value: object) -> str:
    """A value on one line, cut where it is long."""
    text = {True: "true", False: "false"}[value] if isinstance(value, bool) else redacted(repr(value))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
