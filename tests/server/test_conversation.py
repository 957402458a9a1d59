"""Messages anywhere and of any shape: which of them asks, what is history, and what is refused by its path."""

from __future__ import annotations

from typing import Any

import pytest

from tests.backends.fake_server import Habits
from tests.backends.fake_server import serving as fake_serving
from tests.server.gateway import Served, ask, serving
from trim.config.settings import Config, ModelSettings, PrmSettings
from trim.server.api_error import ApiError
from trim.server.conversation import ChatMessage, asked, unserved_message
from trim.server.gateway import open_gateway
from trim.types import Message, Question

ROLES = {"s": "system", "d": "developer", "u": "user", "a": "assistant"}


def conversation(letters: str) -> dict[str, ChatMessage]:
    """A message for each letter, whose text is the letter and its place."""
    made = [{"role": ROLES[letter], "content": f"{letter}{place}"} for place, letter in enumerate(letters)]
    return {f"messages[{place}]": ChatMessage.model_validate(message) for place, message in enumerate(made)}


@pytest.mark.parametrize(
    ("letters", "text", "earlier"),
    [
        ("u", "u0", ""),
        ("suau", "u3", "s0 u1 a2"),
        ("usau", "u3", "u0 s1 a2"),
        ("uausd", "u2", "u0 a1 s3 d4"),  # a reminder behind the question
        ("uas", "s2", "u0 a1"),  # nobody but the system asks
        ("s", "s0", ""),
        ("sd", "d1", "s0"),
        ("uu", "u1", "u0"),
        ("au", "u1", "a0"),
    ],
)
def test_the_newest_message_asks(letters: str, text: str, earlier: str) -> None:
    roles = {"s": "system", "d": "system", "u": "user", "a": "assistant"}
    messages = tuple(Message(roles[said[0]], said) for said in earlier.split())  # type: ignore[arg-type]
    assert asked(conversation(letters)) == Question(text, messages=messages)


@pytest.mark.parametrize(("letters", "param"), [("ua", "messages[1].role"), ("sua", "messages[2].role")])
def test_an_assistants_message_asks_nothing(letters: str, param: str) -> None:
    with pytest.raises(ApiError) as caught:
        asked(conversation(letters))
    assert caught.value.param == param


def test_the_text_is_what_was_sent() -> None:
    code = "    def f():\n\treturn 1\r\n\n"
    message = ChatMessage.model_validate({"role": "user", "content": code})
    assert asked({"messages[0]": message}).text == code


@pytest.mark.parametrize(
    ("message", "param", "words"),
    [
        ({"role": "tool", "content": "3"}, "m.role", "results of tools"),
        ({"role": "assistant", "tool_calls": [{"id": "1"}]}, "m.tool_calls", "m.tool_calls"),
        ({"role": "assistant", "function_call": {"name": "f"}}, "m.function_call", "m.function_call"),
        ({"role": "assistant", "audio": {"id": "1"}}, "m.audio", "m.audio"),
        ({"role": "user", "content": [{"type": "text", "text": "q"}, {"type": "image_url"}]}, "m.content", "image_url"),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "m.content", "m.content[0]"),
        ({"role": "user", "content": [{"type": "file"}, {"type": "image_url"}]}, "m.content", "'file'"),
    ],
    ids=str,
)
def test_what_is_no_text_is_named(message: dict[str, Any], param: str, words: str) -> None:
    (found,) = unserved_message("m", message)
    assert found.param == param
    assert words in found.message


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": "", "tool_calls": [], "audio": None, "function_call": None},
        {"role": "user", "content": [{"type": kind, "text": "q"} for kind in ("text", "input_text", "output_text")]},
        {"role": "user", "content": "q", "name": "ann", "weight": 1, "cache_control": {"type": "ephemeral"}},
        {"role": "user", "content": [{"text": "q"}]},
        *("q", None, 7, {"content": 7}, {"content": [7]}),  # left to the check of the fields
    ],
    ids=str,
)
def test_the_rest_is_text(message: Any) -> None:
    assert not list(unserved_message("m", message))


def _in_front_of(habits: Habits) -> Any:
    model = ModelSettings(backend="vllm", base_url=f"{habits.url}/v1", model="m", retries=0)
    config = Config(model, model, PrmSettings(backend="vllm", base_url=habits.url, model="m", retries=0))
    return serving(lambda: open_gateway(config))


def test_system_messages_anywhere_are_one_at_the_head_for_the_model() -> None:
    said = [
        {"role": "user", "content": "1 + 1?"},
        {"role": "developer", "content": "Be brief."},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "And now?"},
        {"role": "system", "content": "In French."},
    ]
    with fake_serving() as habits, _in_front_of(habits) as served:
        assert isinstance(served, Served)
        assert served.post(ask(messages=said)).status_code == 200
        prompt = next(request["prompt"] for request in habits.requests if "prompt" in request)
    assert prompt == (
        "<|im_start|>system\nBe brief.\n\nIn French.<|im_end|>\n<|im_start|>user\n1 + 1?<|im_end|>\n"
        "<|im_start|>assistant\n2<|im_end|>\n<|im_start|>user\nAnd now?<|im_end|>\n<|im_start|>assistant\n"
    )
