"""Labels of the weak model's steps, whoever gives them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from trim.errors import ConfigError
from trim.experiments.judge_examples import Labels, from_texts, from_traces, shares
from trim.experiments.labelled_solutions import LabelledSolution
from trim.tasks import Task
from trim.types import Action, Decision, Finish, Question, Role, Step, StopReason, Trace, Usage

STEPS = ("Two and two is four.", "Four and one is six.", "#### 6")


def trace(
    *, role: Role = Role.WEAK, policy: str = "always-weak", answer: str | None = "6", correct: bool | None = None
) -> Trace:
    texts = [Step(f"{text}\n\n", role, 5, logprob=-0.5, least_logprob=-1.0) for text in STEPS]
    return Trace(
        question=Question("What is 2 + 2 + 1?", None if correct is None else "5", "q1"),
        policy=policy,
        parameter=None,
        seed=0,
        decisions=tuple(Decision(step, Action.CONTINUE) for step in texts),
        stop_reason=StopReason.EOS,
        usage={role: Usage() for role in Role},
        cost=None,
        seconds=1.0,
        phases={},
        answer=answer,
        correct=correct,
    )


def ruled(question: Question, steps: Sequence[str]) -> tuple[bool, ...]:
    return tuple(index < 1 for index, _ in enumerate(steps))


TASK = Task("t", lambda count, seed: (), lambda text: text, lambda answer, question: answer == question.reference)
STRONG = trace(role=Role.STRONG, policy="always-strong", answer="5")


@pytest.mark.parametrize(
    ("traces", "task", "labels", "rights"),
    [
        ([trace()], replace(TASK, step_labels=ruled), "rule", [True, False]),  # none behind the first wrong one
        ([trace(correct=False)], TASK, "answer", [False] * 3),
        ([trace(correct=True), trace(correct=False)], TASK, "answer", [True] * 3 + [False] * 3),
        ([trace(), STRONG], TASK, "agreement", [False] * 3),
        ([trace(answer="5"), STRONG], None, "agreement", [True] * 3),
        ([trace(answer=None), STRONG], TASK, "agreement", [False] * 3),
    ],
)
def test_the_best_labels_that_there_are(
    traces: list[Trace], task: Task | None, labels: Labels, rights: list[bool]
) -> None:
    found = from_traces(traces, task)
    assert found.labels == labels
    assert [example.right for example in found.steps] == rights
    assert [example.index for example in found.steps][:2] == [0, 1]
    assert found.target == ("step" if labels == "rule" else labels)
    assert found.steps[0].step.logprob == -0.5
    wrong = rights.count(False)
    assert shares(found).endswith(f"of 1 questions, {wrong} of them wrong by {labels}")


def test_people_come_first_and_are_found_again_by_the_texts() -> None:
    people = LabelledSolution("What is 2 + 2 + 1?", tuple(f" {text} " for text in STEPS), 1)
    found = from_traces([trace(correct=True)], replace(TASK, step_labels=ruled), [people])
    assert (found.labels, [example.right for example in found.steps]) == ("people", [True, False])
    found = from_traces([trace(correct=True)], TASK, [people], "answer")
    assert [example.right for example in found.steps] == [True] * 3
    with pytest.raises(ConfigError, match="none of the labelled solutions is in the traces"):
        from_traces([trace()], TASK, [replace(people, problem="another")])


def test_what_the_strong_model_wrote_is_not_the_weak_models() -> None:
    with pytest.raises(ConfigError, match="no solution that the weak model wrote alone"):
        from_traces([STRONG], TASK)


def test_no_labels_is_said() -> None:
    with pytest.raises(ConfigError, match=r"nothing of which steps are right.*always-strong beside"):
        from_traces([trace()], TASK)
    with pytest.raises(ConfigError, match="no labels by rule"):
        from_traces([trace(correct=True)], TASK, labels="rule")


def test_texts_that_a_model_has_read() -> None:
    wrong = LabelledSolution("p", STEPS, 1)
    right = LabelledSolution("p", STEPS, -1)
    told = [[(-0.1, -0.5), (-2.0,), (-3.0,)]] * 2
    found = from_texts([wrong, right], told)
    assert [example.right for example in found.steps] == [True, False, True, True, True]
    first, *_, last = (example.step for example in found.steps)
    assert (first.logprob, first.least_logprob, first.tokens, first.finish) == (-0.3, -0.5, 3, Finish.SEPARATOR)
    assert last.finish is Finish.EOS
    assert found.solutions == 2
