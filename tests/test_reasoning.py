"""Models that reason: what is cut, kept, fed to the other model, graded and delivered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.backends.scripted import ScriptedGenerator
from tests.routing.models import Always, Scripted, run
from tests.server.gateway import ask, serving, simulated
from trim.backends.capabilities import Capabilities
from trim.prompts import ChatTemplate
from trim.reasoning import CLOSE, OPEN, fed, left_open
from trim.routing.router import Router
from trim.steps import Cutter, StepFormat
from trim.tasks.final_answers import final_answer
from trim.types import Action, Finish, Role, Step, StopReason

W, S = Role.WEAK, Role.STRONG


def step(text: str, role: Role = W, **fields: Any) -> Step:
    return Step(text, role, len(text.split()), **fields)


def thought(text: str, role: Role = W) -> Step:
    return step(text, role, field="reasoning_content", reasoning=True)


def test_a_model_goes_on_with_its_own_reasoning() -> None:
    assert fed([step("<think>\nA\n\n")], W) == ("<think>\nA\n\n",)
    assert fed([thought("A\n\n"), thought("B\n\n")], W) == (OPEN + "A\n\n", "B\n\n")
    assert fed([step("A\n\n", reasoning=True)], W) == (OPEN + "A\n\n",)


@pytest.mark.parametrize(
    ("opened", "closed"),
    [
        ("<think>\nA\n\n", "\n</think>\n\n"),
        ("[THINK]A\n\n", "\n[/THINK]\n\n"),
        ("<think>A</think>B<thinking>C\n\n", "\n</thinking>\n\n"),
    ],
)
def test_another_model_is_never_fed_an_open_block(opened: str, closed: str) -> None:
    assert fed([step(opened)], S) == (opened + closed,)
    assert left_open([step(opened)], S) == closed
    kept = [step(opened), step("So 7.\n\n", S, inserted=closed)]
    assert "".join(fed(kept, W)) == opened + closed + "So 7.\n\n"
    assert left_open(kept, W) == ""


def test_reasoning_in_a_field_is_fed_between_marks() -> None:
    kept = [thought("A\n\n"), thought("B"), step("C\n\n")]
    assert "".join(fed(kept, W)) == OPEN + "A\n\nB" + CLOSE + "C\n\n"
    assert "".join(fed(kept[:2], S)) == OPEN + "A\n\nB" + CLOSE
    assert left_open(kept[:2], S) == ""  # the client gets it in a field of its own: nothing to close there
    assert fed([thought("C")], W, reasoning=True) == ("C",)


_PIECES = st.lists(st.sampled_from(["<think>\n", "</think>\n\n", "a b.\n\n", "[THINK]", "[/THINK]", "x"]), max_size=6)


@given(st.lists(st.tuples(_PIECES, st.sampled_from([W, S]), st.booleans()), max_size=6))
def test_what_is_fed_is_closed_unless_the_model_opened_it(parts: list[tuple[list[str], Role, bool]]) -> None:
    kept: list[Step] = []
    for pieces, role, own_field in parts:
        text = "x" if own_field else "".join(pieces)
        new = thought(text, role) if own_field else step(text, role)
        kept.append(new if own_field else step(text, role, inserted=left_open(kept, role)))
    for role in (W, S):
        text = "".join(fed(kept, role))
        for one in kept:
            assert one.text in text
    if kept and kept[-1].role is W and kept[-1].field != "content":
        assert "".join(fed(kept, S)).endswith(CLOSE)


def test_an_answer_inside_reasoning_ends_nothing_and_is_not_graded() -> None:
    texts = ["<think> Maybe \\boxed{5}?\n\n", "Or \\boxed{6}.\n\n</think>\n\n", "It is \\boxed{7}.\n\n", "More."]
    steps = [step(text) for text in texts[:-1]] + [step(texts[-1], finish=Finish.EOS)]
    trace = run(Router(Scripted({0: steps}), Scripted({}), None, Always(Action.CONTINUE)))
    assert trace.text == "".join(texts[:3])
    assert trace.stop_reason is StopReason.FINAL_ANSWER
    assert final_answer(trace.said) == "7"


def test_reasoning_that_the_template_opened() -> None:
    steps = [step("Maybe \\boxed{5}.\n\n", reasoning=True), step("No.", finish=Finish.EOS, reasoning=True)]
    trace = run(Router(Scripted({0: steps}), Scripted({}), None, Always(Action.CONTINUE)))
    assert (trace.stop_reason, trace.text) == (StopReason.EOS, "Maybe \\boxed{5}.\n\nNo.")
    assert final_answer(trace.said) is None
    template = ChatTemplate("{{ messages[0].content }}<think>{{ '\n' }}")
    assert template.render("q", OPEN + "Maybe") == "q<think>\nMaybe"
    assert template.render("q", "It is 7.\n\n") == "q<think>\n\n</think>\n\nIt is 7.\n\n"


def test_the_strong_model_closes_what_the_weak_one_opened() -> None:
    strong = Scripted({1: [step("It is \\boxed{7}.", S, finish=Finish.EOS)]})
    weak = Scripted({0: [step("<think>\nA\n\n"), step("B\n\n")]})
    first = Always(Action.CONTINUE)

    class Later(Always):
        def act(self, observation: Any) -> Action:
            return first.action if len(observation.tokens) == 1 else Action.TAKE_OVER

    trace = run(Router(weak, strong, None, Later(Action.CONTINUE)))
    assert [one.inserted for one in trace.steps] == ["", "\n</think>\n\n"]
    assert trace.text == "<think>\nA\n\n\n</think>\n\nIt is \\boxed{7}."
    assert strong.prefixes == [("<think>\nA\n\n\n</think>\n\n",)]
    assert final_answer(trace.said) == "7"


def test_one_step() -> None:
    text = "<think>\nA\n\nB\n\n</think>\n\nC\n\nD"
    assert StepFormat(reasoning="one-step").split(text) == ("<think>\nA\n\nB\n\n</think>\n\n", "C\n\n", "D")
    assert len(StepFormat().split(text)) == 4
    cutter = Cutter(StepFormat(reasoning="one-step"), reasoning=True)
    assert cutter.feed("A\n\nB\n\n") == []
    assert cutter.feed("</think>\n\nC\n\n") == ["A\n\nB\n\n</think>\n\n", "C\n\n"]


def delta(finish: str | None = None, **fields: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


def usage(tokens: int) -> dict[str, Any]:
    return {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": tokens}}


def generator(role: Role, events: Sequence[dict[str, Any]]) -> ScriptedGenerator:
    return ScriptedGenerator(role, Capabilities(chat="flags", running_usage=False), events)


EVENTS = [
    delta(reasoning="A "),
    delta(reasoning="thought.\n\n"),
    delta(reasoning="Another."),
    delta(reasoning="\n"),
    delta(content="\n\nSo "),
    delta(content="7."),
    delta("stop"),
    usage(9),
]


@pytest.mark.parametrize("stream", [False, True])
def test_clients_get_reasoning_in_the_field_that_it_came_in(stream: bool) -> None:
    models = simulated(generator(W, EVENTS), generator(S, EVENTS))
    with serving(models) as served:
        answer = served.post(ask(model="trim-weak", stream=stream))
        assert answer.status_code == 200, answer.text
        if not stream:
            choice, counts = answer.json()["choices"][0]["message"], answer.json()["usage"]
            assert (choice["reasoning"], choice["content"]) == ("A thought.\n\nAnother.\n", "\n\nSo 7.")
            assert counts["completion_tokens"] == 9
            assert 0 < counts["completion_tokens_details"]["reasoning_tokens"] < 9
            assert [one["field"] for one in answer.json()["trim"]["steps"]] == ["reasoning"] * 2 + ["content"]
            return
        events = [json.loads(line[6:]) for line in answer.text.split("\n") if line.startswith("data: {")]
        deltas = [event["choices"][0]["delta"] for event in events]
        assert "".join(one.get("reasoning", "") for one in deltas) == "A thought.\n\nAnother.\n"
        assert "".join(one.get("content", "") for one in deltas) == "\n\nSo 7."


def test_nothing_but_reasoning() -> None:
    events = [delta(reasoning_content="Hm.\n\n"), delta(reasoning_content="Hm."), delta("stop"), usage(4)]
    trace = run(Router(generator(W, events), Scripted({}), None, Always(Action.CONTINUE)))
    assert (trace.text, trace.reasoning) == ("", "Hm.\n\nHm.")
    assert sum(one.tokens for one in trace.steps) == 4
    assert final_answer(trace.said) is None
