"""A text that is searched in parts has the matches that it has."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trim import text_search
from trim.text_search import matches


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet="ab<|>", max_size=30), st.integers(1, 6))
@pytest.mark.parametrize("pattern", ["<a|b>", "a{1,4}", "(?=ab)a", "a(?<=(?=ab<).)", "<{2}|b"])
def test_the_same_as_in_one_piece(monkeypatch: pytest.MonkeyPatch, pattern: str, text: str, part: int) -> None:
    compiled = re.compile(pattern)
    monkeypatch.setattr(text_search, "PART", part)
    found = [match.span() for match in matches(compiled, text, 4)]
    assert found == [match.span() for match in compiled.finditer(text)]
