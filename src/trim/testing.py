"""Conformance checks for generators, judges and policies of your own.

    asyncio.run(check_generator(MyGenerator(), Question("2 + 3?")))

Each raises `ConformanceError` with the rule that was broken, and returns nothing when all hold.
"""

from __future__ import annotations

from itertools import product

from trim.errors import TrimError
from trim.protocols import Backend, Judge, Policy, StepGenerator
from trim.types import Action, Finish, Observation, Question, Step, StepOptions


class ConformanceError(TrimError):
    """A rule of `trim.protocols` does not hold."""


def _rule(holds: bool, words: str) -> None:
    if not holds:
        raise ConformanceError(words)


async def _pull(
    generator: StepGenerator, question: Question, kept: tuple[str, ...], options: StepOptions
) -> list[Step]:
    stream = generator.steps(question, kept, options)
    steps = [step async for step in stream]
    _rule(stream.pending_tokens == 0, "a stream that has ended has no pending tokens")
    await stream.aclose()
    return steps


async def check_backend(backend: Backend) -> None:
    """Check what every `Backend` offers: a name, a count of what it has used, and that it can be tried."""
    _rule(bool(backend.identity.strip()), "identity is empty")
    used = backend.usage
    counts = (used.calls, used.prompt_tokens, used.cached_tokens, used.completion_tokens)
    _rule(all(count >= 0 for count in counts), f"usage has negative counts: {used}")
    _rule(backend.usage is used, "usage must be the same object each time, so that what is asked later is seen in it")
    backend.prepare()
    for quick in (True, False):
        probe = await backend.probe(quick=quick)
        _rule(probe.reachable or probe.problem is not None, "a probe says what is wrong where it reaches nothing")


async def check_generator(generator: StepGenerator, question: Question, *, seeded: bool = True) -> None:
    """Check a `StepGenerator` on a question that takes it at least two steps.

    Args:
        generator: what to check.
        question: any.
        seeded: it promises to repeat itself with a seed and to continue a kept step as its open stream would.
    """
    await check_backend(generator)
    calls = generator.usage.calls
    steps = await _pull(generator, question, (), StepOptions())
    _rule(generator.usage.calls > calls, "usage does not count calls")
    _rule(len(steps) >= 2, f"the check needs a question with at least two steps, this one took {len(steps)}")
    _rule(all(s.finish is Finish.SEPARATOR for s in steps[:-1]), "only the last step of a stream may end otherwise")
    _rule(steps[-1].finish is not Finish.SEPARATOR, "the last step of a solution must have finish EOS (or LENGTH)")
    _rule(all(step.tokens > 0 for step in steps), "every step has at least one token")
    _rule(
        all(s.text[-1:].isspace() for s in steps[:-1]),
        "the text of a step that another follows must end with its separator, such as a blank line: the texts of all "
        "steps, joined, are the text of the solution",
    )
    _rule(all(s.prompt_tokens == 0 for s in steps[1:]), "prompt tokens stand on the first step of a stream alone")
    _rule(all(0 <= s.cached_tokens <= s.prompt_tokens for s in steps), "cached tokens are some of the prompt tokens")
    one = await _pull(generator, question, (), StepOptions(limit=1))
    _rule(len(one) == 1, f"limit=1 gave {len(one)} steps")
    short = await _pull(generator, question, (), StepOptions(max_tokens=2))
    _rule(sum(step.tokens for step in short) <= 2, "max_tokens=2 was exceeded")
    stream = generator.steps(question, (), StepOptions())
    await anext(stream)
    await stream.aclose()  # closing early must not raise
    if seeded:
        _rule(one[0].text == steps[0].text, "the same seed gave another first step")
        second = await _pull(generator, question, (steps[0].text,), StepOptions(limit=1))
        _rule(second[0].text == steps[1].text, "a kept step is continued otherwise than the open stream went on")


async def check_judge(judge: Judge, question: Question, steps: tuple[str, ...]) -> None:
    """Check a `Judge` on some steps: number and range of scores, and that earlier scores and their tokens stay."""
    await check_backend(judge)
    scores = await judge.score(question, steps)
    whole, up_to = scores.values, scores.up_to
    _rule(len(whole) == len(steps), f"{len(whole)} scores for {len(steps)} steps")
    _rule(len(up_to) in (0, len(steps)), f"up_to has {len(up_to)} counts for {len(steps)} steps")
    _rule(all(0.0 <= value <= 1.0 for value in whole), f"scores outside [0, 1]: {whole}")
    for length in range(1, len(steps)):
        scores = await judge.score(question, steps[:length])
        part = scores.values
        _rule(len(part) == length, f"{len(part)} scores for {length} steps")
        near = all(abs(a - b) < 1e-3 for a, b in zip(part, whole, strict=False))
        _rule(near, "later steps change the scores of earlier ones: decisions would depend on lookahead")
        same = scores.up_to == up_to[:length] or scores.estimated
        _rule(same, "later steps change up_to of earlier ones: costs would depend on lookahead")


def check_policy(policy: Policy) -> None:
    """Check a `Policy`: it answers every observation with an action, and the same one each time."""
    written = range(policy.max_revisions + 1)
    for score, length, final, drafts, draw, strong in product(
        (0.0, 0.5, 1.0), (1, 3, 30), (False, True), (1, 4), (0.0, 0.999), written
    ):
        scores = (0.9,) * (length - 1) + (score,) if policy.uses_scores else ()
        newest = scores[-1:]
        observation = Observation(
            scores=scores,
            tokens=(20,) * length,
            actions=(Action.CONTINUE,) * (length - 1),
            final=final,
            drafts=drafts,
            draw=draw,
            draft_scores=(*((s,) for s in scores[:-1]), (0.4,) * drafts if strong else (0.4,) * (drafts - 1) + newest),
            strong_scores=(*(() for _ in scores[:-1]), (0.3,) * (strong - 1) + newest if strong else ()),
            logprob=-0.1,
            entropy=0.3,
        )
        action = policy.act(observation)
        _rule(isinstance(action, Action), f"act returned {action!r}, not an Action")
        _rule(policy.act(observation) is action, f"act answered the same observation differently: {observation}")
