"""JSON of any depth is a value or one kind of error."""

from __future__ import annotations

import pytest

from trim.backends.response_json import MOST_NESTED, parsed


@pytest.mark.parametrize("depth", [MOST_NESTED + 1, 500, 5_000, 500_000])
@pytest.mark.parametrize(("begin", "end"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_what_is_nested_too_deep_is_refused(depth: int, begin: str, end: str) -> None:
    with pytest.raises(ValueError, match="64 levels"):
        parsed(begin * depth + "1" + end * depth)


def test_what_is_wide_or_only_looks_deep_is_read() -> None:
    deepest = "[" * MOST_NESTED + "]" * MOST_NESTED
    assert str(parsed(deepest)) == deepest
    assert parsed('["' + "[{" * 1000 + '"]') == ["[{" * 1000]
    assert len(str(parsed("[" + "[1], " * 1000 + "[]]"))) > 4000
    with pytest.raises(ValueError):
        parsed("[" * 10)
