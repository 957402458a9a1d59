"""Joins the chunks of a streamed chat completion into a whole message."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

_NOT_CONTINUED = ("role", "id", "type", "name", "index")  # texts that are sent once, or repeated; others grow


def merge_deltas(old: Json, new: Json) -> Json:
    """A streamed object with its next part: texts and lists are continued, numbered entries each by itself."""
    merged = dict(old)
    for name, value in new.items():
        before = merged.get(name)
        if isinstance(before, str) and isinstance(value, str) and name not in _NOT_CONTINUED:
            value = before + value
        elif isinstance(before, dict) and isinstance(value, dict):
            value = merge_deltas(before, value)
        elif isinstance(before, list) and isinstance(value, list):
            value = _merge_entries(before, value)
        elif value is None:
            value = before
        merged[name] = value
    return merged


def _merge_entries(old: list[Any], new: list[Any]) -> list[Any]:
    """Tool calls are numbered and continued by their number; other lists grow."""
    entries = list(old)
    for entry in new:
        number = entry.get("index") if isinstance(entry, dict) else None
        same = (i for i, e in enumerate(entries) if isinstance(e, dict) and e.get("index") == number)
        place = None if number is None else next(same, None)
        if place is None:
            entries.append(entry)
        else:
            entries[place] = merge_deltas(entries[place], entry)
    return entries


def chunk_of(choice: Json) -> Json:
    """A choice of a chunk; that of a whole response, which some servers answer a stream with, as the only one."""
    delta = choice.get("delta") or choice.get("message") or {}
    calls = delta.get("tool_calls")
    if isinstance(calls, list):
        delta = delta | {"tool_calls": [{"index": index} | call for index, call in enumerate(calls)]}
    others = {name: value for name, value in choice.items() if name not in ("index", "message")}
    return others | {"delta": dict(delta)}


def whole_message(delta: Json) -> Json:
    """The message of a response that is not streamed; the numbers of tool calls belong to the stream alone."""
    calls = delta.get("tool_calls")
    numbered = calls if isinstance(calls, list) and all(isinstance(call, dict) for call in calls) else []
    unnumbered = [{name: value for name, value in call.items() if name != "index"} for call in numbered]
    return {"content": None, "refusal": None} | delta | ({"tool_calls": unnumbered} if unnumbered else {})
