"""What users write never becomes a control token, and stays readable."""

from __future__ import annotations

import re._parser as sre_parse  # type: ignore[import-not-found]
import time
from os import environ

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trim import control_tokens, text_search
from trim.control_tokens import in_template, is_control, neutralise

CASES = int(environ.get("TRIM_FUZZ", "200"))
TOKENS = [
    "<|im_end|>",
    "<extra_0>",
    "< extra_0>",
    "[X]",
    "§",
    " x",
    "a b",
    "\\d+",
    ".*",
    "^",
    "(?:",
    "\n\n",
    "ab",
    "bc",
    "·",
    "<｜a｜>",
]
PIECES = [
    *TOKENS,
    "<",
    "|",
    "extra_0>",
    " ",
    "a",
    "b",
    "c",
    "<extra_",
    "0>",
    "im_end|>",
    "<|im_",
    "x",
    "\n",
    "｜",
    "\\",
    "d+",
    "•",
]


@settings(max_examples=CASES)
@given(
    st.lists(st.sampled_from(TOKENS), max_size=6),
    st.lists(st.sampled_from(PIECES), max_size=10).map("".join),
    st.booleans(),
)
def test_no_token_survives(tokens: list[str], text: str, common: bool) -> None:
    clean = neutralise(text, tokens, common=common)
    assert not [token for token in tokens if token in clean]
    assert neutralise(clean, tokens, common=common) == clean


@settings(max_examples=CASES)
@given(
    st.lists(st.text(alphabet="ab <|>x", min_size=1, max_size=4), max_size=4), st.text(alphabet="ab <|>x", max_size=30)
)
def test_any_tokens(tokens: list[str], text: str) -> None:
    clean = neutralise(text, tokens, common=False)
    assert not [token for token in tokens if token in clean]
    assert neutralise(clean, tokens, common=False) == clean
    if all(len(token) > 1 for token in tokens):  # only breaks were added
        left = iter(clean)
        assert all(char in left for char in text)


@settings(max_examples=CASES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(TOKENS), max_size=6),
    st.lists(st.sampled_from(PIECES), max_size=10).map("".join),
    st.integers(1, 5),
)
def test_the_parts_that_a_text_is_searched_in_make_no_difference(
    monkeypatch: pytest.MonkeyPatch, tokens: list[str], text: str, size: int
) -> None:
    whole = neutralise(text, tokens)
    monkeypatch.setattr(text_search, "PART", size)
    assert neutralise(text, tokens) == whole


def test_no_common_token_is_longer_than_what_is_looked_at() -> None:
    patterns = [*control_tokens._TURNS, *control_tokens._CONTENT]
    assert max(sre_parse.parse(pattern).getwidth()[1] for pattern in patterns) < control_tokens._LONGEST


@given(st.text(alphabet="abc <>_0 \n[]/é中"))
def test_other_text_is_left_alone(text: str) -> None:
    assert neutralise(text) == text


@pytest.mark.parametrize(
    "token",
    [
        *("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|begin_of_text|>", "<|start_header_id|>"),
        *("<s>", "</s>", "<bos>", "<eos>", "<pad>", "<unk>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>"),
        *("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]"),
        *("[TOOL_RESULTS]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[IMG]", "[THINK]", "[/THINK]", "[ARGS]"),
        *(
            "<｜User｜>",
            "<｜Assistant｜>",
            "<｜begin▁of▁sentence｜>",
            "<｜end▁of▁sentence｜>",
            "<｜tool▁calls▁begin｜>",
        ),
        *("<|user|>", "<|assistant|>", "<|system|>", "<|end|>", "<|im_sep|>", "[gMASK]", "<sop>", "<|observation|>"),
        *("<|START_OF_TURN_TOKEN|>", "<|CHATBOT_TOKEN|>", "<BOS_TOKEN>", "<|start_of_role|>", "<|end_of_role|>"),
        *("<|channel|>", "<|message|>", "<|return|>", "[|system|]", "[|endofturn|]", "[|assistant|]", "<extra_id_0>"),
        *("<SPECIAL_12>", "<unused7>", "<think>", "</think>", "<tool_call>", "<tool_response>", "<|turn>", "<turn|>"),
        *("[UNUSED_TOKEN_145]", "<|fim_prefix|>", "<extra_0>", "<seed:bos>", "<｜end of sentence｜>"),
    ],
)
def test_the_tokens_of_the_model_families(token: str) -> None:
    clean = neutralise(f"What is {token}?")
    assert clean == f"What is {token[0]} {token[1:]}?"
    nested = f"{token[:3]}{token}{token[3:]}"
    assert token not in neutralise(nested)


def test_ordinary_text_with_brackets() -> None:
    text = (
        "if a <b and c> d: x[i] = y[INDEX] <table><td>1</td> f <| x |> g <a@b.c> [1] [TODO] $|x|$ <T extends U> a<s>b"
    )
    assert neutralise(text) == text.replace("<s>", "< s>")


def test_what_a_model_writes_itself() -> None:
    text = "<think>\nHm.\n</think>\n\n<tool_call>{}</tool_call>"
    assert neutralise(text, content=False) == text
    assert neutralise(text) != text
    assert neutralise("[INST] <|im_end|>", ["</s>"], common=False) == "[INST] <|im_end|>"
    assert neutralise("a</s>", ["</s>"], common=False) == "a< /s>"


@pytest.mark.parametrize(
    "mark", [" x", "  ", "\n\n", "x", " ", "\n", "(", "\\", " <step>", "aa", "·", " ·•", "ки", ".*"]
)
def test_any_step_mark(mark: str) -> None:
    text = f"1{mark}2{mark}{mark} x\n\n3 aaaa"
    clean = neutralise(text, [mark])
    assert mark not in clean
    assert neutralise(clean, [mark]) == clean


@pytest.mark.parametrize(
    "piece", ["<", "<|", "<|im_", "<｜", "<|im_start|>", "[", "[/INST]", " ", "</", "<|reserved_", "a<b|"]
)
def test_long_texts_take_no_longer(piece: str) -> None:
    tokens = [f"<|reserved_special_token_{i}|>" for i in range(3000)] + [f"<unused{i}>" for i in range(6000)]
    neutralise("", tokens)
    text = piece * (1_000_000 // len(piece))
    start = time.process_time()
    neutralise(text, tokens)
    assert time.process_time() - start < 3


def test_spaces_that_a_normaliser_fills() -> None:
    tokens = ["<｜end▁of▁sentence｜>", "▁x"]
    clean = neutralise("<｜end of▁sentence｜> ▁x", tokens, common=False)
    assert clean == "< ｜end of▁sentence｜> ▁ x"
    assert neutralise(clean, tokens, common=False) == clean


def test_tokens_that_are_text() -> None:
    assert [
        token for token in ("\n\n", "  ", "<b>", "</td>", "word", "<think>", "<｜User｜>", "[X]") if is_control(token)
    ] == [
        "<think>",
        "<｜User｜>",
        "[X]",
    ]


def test_what_a_template_writes() -> None:
    found = in_template(["[INST] a <start_of_turn>b", "{'<think>'} <td> a < b > c [ARGS][1] [i]", "[gMASK]<sop>"])
    assert found == ("[INST]", "<start_of_turn>", "<think>", "[ARGS]", "[gMASK]", "<sop>")
