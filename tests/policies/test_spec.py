"""Names by which a policy may be requested."""

from __future__ import annotations

import logging

import pytest

from trim.policies import spec as specs
from trim.policies.spec import PolicySpec


def test_a_spec_has_options_and_a_folder() -> None:
    assert PolicySpec.parse("pomdp+snapshot+2=fits/a=b") == PolicySpec("pomdp", 2, ("snapshot",), "fits/a=b")
    assert PolicySpec.parse(" threshold ").name == "threshold"
    assert PolicySpec.parse("pomdp+2+snapshot=x").name == "pomdp+snapshot+2"
    assert PolicySpec.parse("threshold+revise").max_revisions == 2
    assert PolicySpec.parse("threshold+2").max_revisions == 0


@pytest.mark.parametrize("text", ["own/a+b.py:Mine", r"C:\own\file.py:Mine", "package.module:Mine", "~/own.py:Mine"])
def test_a_user_defined_policy_has_no_options(text: str) -> None:
    assert PolicySpec.parse(text) == PolicySpec(text)
    assert PolicySpec.parse(text).name == text


@pytest.mark.parametrize("text", [r"pomdp=C:\fits\gsm", "pomdp=fits:gsm"])
def test_a_folder_with_a_colon_is_not_code(text: str) -> None:
    assert PolicySpec.parse(text) == PolicySpec("pomdp", folder=text.removeprefix("pomdp="))


def test_an_option_of_earlier_versions_is_taken_with_one_note(caplog: pytest.LogCaptureFixture) -> None:
    specs._note.cache_clear()
    with caplog.at_level(logging.WARNING):
        found = [PolicySpec.parse("pomdp+redo+2"), PolicySpec.parse("threshold+redo")]
    assert found == [PolicySpec("pomdp", 2, ("revise",)), PolicySpec("threshold", 0, ("revise",))]
    assert [record.getMessage() for record in caplog.records] == ["trim: the option +redo is called +revise now"]
