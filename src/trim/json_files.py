"""JSON from files that may be damaged or made up: whatever is wrong with it is a `ValueError` of one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

_LARGEST_FILE = 64_000_000  # bytes
_LARGEST_NUMBER = 1 << 63


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, _ in pairs if sum(other == key for other, _ in pairs) > 1)
        raise ValueError(f"it names {twice[:60]!r} twice")
    return found


def _whole(text: str) -> int:
    if len(text) > 20 or not -_LARGEST_NUMBER <= (value := int(text)) < _LARGEST_NUMBER:
        raise ValueError(f"it has a number that is too large: {text[:20]}")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if value - value != 0:
        raise ValueError(f"it has a number that is not finite: {text[:20]}")
    return value


def read_json(path: Path) -> Any:
    """The value in a file; see `parse_json`.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not JSON in UTF-8, or larger than anything that TRIM writes.
    """
    with path.open("rb") as file:
        content = file.read(_LARGEST_FILE + 1)
    if len(content) > _LARGEST_FILE:
        raise ValueError(f"it is larger than {_LARGEST_FILE:,} bytes")
    try:
        return parse_json(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8: byte {error.start} is wrong") from None


def parse_json(text: str | bytes, *, whole: Callable[[str], int] = _whole) -> Any:
    """The value of a text.

    Args:
        text: JSON.
        whole: reads whole numbers; by default those of up to 64 bits.

    Raises:
        ValueError: it is not JSON, nests too deeply, names a key twice, or has a number that is not finite or has more
            than 64 bits.
    """
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_int=whole, parse_float=_finite, parse_constant=_finite)
    except RecursionError:
        raise ValueError("it nests too deeply") from None


def read_as(kind: type[T], path: Path) -> T:
    """The JSON object in a file as a dataclass, every field checked.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not JSON, or a field is missing, unknown or of another type.
    """
    return checked(kind, read_json(path))


def checked(kind: type[T], values: object) -> T:
    """JSON values as a dataclass, every field checked.

    Raises:
        ValueError: a field is missing, unknown or of another type.
    """
    from pydantic import TypeAdapter, ValidationError

    if not isinstance(values, dict):
        raise ValueError("it is no JSON object")
    if unknown := values.keys() - vars(kind)["__dataclass_fields__"].keys():
        raise ValueError(f"it has an unknown {min(unknown)!r}")
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        raise ValueError(first_problem(error)) from None


def first_problem(error: Any) -> str:
    """Where a `pydantic.ValidationError` begins and what is wrong there: `usage.prm: field required`."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part)[:60] for part in first["loc"] if part != "[key]")
    return f"{where}: {first['msg'].lower()}" if where else str(first["msg"]).lower()
