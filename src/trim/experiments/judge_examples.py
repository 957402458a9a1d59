"""Labelled steps of the weak model with what its server told of them: what a judge is fitted on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from trim.errors import ConfigError
from trim.experiments.labelled_solutions import LabelledSolution
from trim.scoring.fitted_model import Target
from trim.tasks import Task
from trim.types import Finish, Role, Step, Trace

Labels = Literal["people", "rule", "answer", "agreement"]
"""Who says which steps are right: people, the task's rule, the final answer, or the strong model's final answer."""

_STRONG = "always-strong"
_NONE = (
    "the traces say nothing of which steps are right: give steps that people labelled (--steps FILE.jsonl), questions "
    "with answers, or traces of always-strong beside those of always-weak"
)


@dataclass(frozen=True)
class Example:
    """A step at an index of its solution; steps of one `question` are never on both sides of a split."""

    question: str
    step: Step
    index: int
    right: bool


@dataclass(frozen=True)
class Examples:
    """Labelled steps, and who labelled them."""

    labels: Labels
    steps: tuple[Example, ...]
    solutions: int

    @property
    def target(self) -> Target:
        """What a judge that is fitted on them predicts."""
        targets: Mapping[Labels, Target] = {"answer": "answer", "agreement": "agreement"}
        return targets.get(self.labels, "step")


def from_traces(
    traces: Iterable[Trace],
    task: Task | None,
    labelled: Sequence[LabelledSolution] = (),
    labels: Labels | None = None,
) -> Examples:
    """Of solutions that the weak model wrote alone.

    Args:
        traces: those of always-strong give the strong model's answers.
        task: theirs, for its rule and for comparing answers; None: answers are compared as texts.
        labelled: solutions whose first wrong step people have named; found again by problem and steps.
        labels: who is to be believed; None: the first that there is, in the order of `Labels`.

    Raises:
        ConfigError: there are no such labels.
    """
    recorded = list(traces)
    alone = [trace for trace in recorded if trace.steps and all(step.role is Role.WEAK for step in trace.steps)]
    if not alone:
        raise ConfigError("there is no solution that the weak model wrote alone: trim eval --policies always-weak")
    told = {trace.question.text: trace.answer for trace in recorded if trace.policy == _STRONG and trace.answer}
    first = {(_plain(one.problem), tuple(map(_plain, one.steps))): one.label for one in labelled}
    found: dict[Labels, list[tuple[Trace, list[bool]]]] = {
        "people": [(trace, _before(first[key], trace)) for trace in alone if (key := _key(trace)) in first],
        "rule": [(trace, _ruled(task, trace)) for trace in alone] if task is not None and task.step_labels else [],
        "answer": [(trace, [trace.correct] * len(trace.steps)) for trace in alone if trace.correct is not None],
        "agreement": [
            (trace, [_agrees(task, trace, told)] * len(trace.steps)) for trace in alone if trace.question.text in told
        ],
    }
    if labelled and not found["people"]:
        raise ConfigError("none of the labelled solutions is in the traces: problem and steps must be the same texts")
    chosen = labels or next((who for who, some in found.items() if some), None)
    if chosen is None or not found[chosen]:
        raise ConfigError(_NONE if chosen is None else f"the traces have no labels by {chosen}; {_NONE}")
    examples = [
        Example(trace.question.text, step, index, right)
        for trace, rights in found[chosen]
        for index, (step, right) in enumerate(zip(trace.steps, rights, strict=False))
    ]
    return Examples(chosen, tuple(examples), len(found[chosen]))


def from_texts(solutions: Sequence[LabelledSolution], logprobs: Sequence[Sequence[Sequence[float]]]) -> Examples:
    """Of solutions that people have labelled, as a model reads them; their entropies are not known.

    Args:
        solutions: whose first wrong step is known.
        logprobs: of each step's tokens, by solution.
    """
    examples = []
    for solution, told in zip(solutions, logprobs, strict=True):
        for index, own in enumerate(told[: _labelled(solution.label, len(solution.steps))]):
            finish = Finish.EOS if index + 1 == len(solution.steps) else Finish.SEPARATOR
            step = Step(solution.steps[index], Role.WEAK, len(own) + 1, finish)
            step = replace(step, logprob=sum(own) / len(own), least_logprob=min(own))
            examples.append(Example(solution.problem, step, index, index != solution.label))
    return Examples("people", tuple(examples), len(solutions))


def _key(trace: Trace) -> tuple[str, tuple[str, ...]]:
    return _plain(trace.question.text), tuple(_plain(step.content) for step in trace.steps)


def _plain(text: str) -> str:
    return " ".join(text.split())


def _labelled(first_wrong: int, steps: int) -> int:
    """How many steps have a label: those behind the first wrong one have none."""
    return steps if first_wrong < 0 else first_wrong + 1


def _before(first_wrong: int, trace: Trace) -> list[bool]:
    return [index != first_wrong for index in range(_labelled(first_wrong, len(trace.steps)))]


def _ruled(task: Task, trace: Trace) -> list[bool]:
    assert task.step_labels is not None
    labels = list(task.step_labels(trace.question, tuple(step.content for step in trace.steps)))
    return _before(labels.index(False) if False in labels else -1, trace)


def _agrees(task: Task | None, trace: Trace, told: Mapping[str, str | None]) -> bool:
    answer = told[trace.question.text]
    if task is None:
        return trace.answer == answer
    return task.right(trace.answer, replace(trace.question, reference=answer))


def shares(examples: Examples) -> str:
    """How many steps, of how many questions, and how many of them are right, in words."""
    count = Counter(example.right for example in examples.steps)
    questions = len({example.question for example in examples.steps})
    return (
        f"{len(examples.steps)} steps of {examples.solutions} solutions of {questions} questions, "
        f"{count[False]} of them wrong by {examples.labels}"
    )
