"""The operating points of every policy family over open models, and what they share: whole solutions, the judges."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, cast

from trim import plugins
from trim.baselines.query_level.solvers import WEAK_SAMPLE, Remembered, WholeSolutions
from trim.config.factory import Backends, open_prm
from trim.config.policy import choose, open_sweep, strong_judge
from trim.config.resolution import resolve
from trim.config.specs import identities
from trim.errors import ConfigError
from trim.experiments.metered_models import metered_judge
from trim.experiments.run import Point
from trim.experiments.spend_limit import SpendLimit
from trim.policies import FAMILIES, AlwaysStrong, AlwaysWeak, PolicyFamily, PolicySpec
from trim.policies.artifacts import Models
from trim.policies.fixed import scored
from trim.policies.registry import Level, Need
from trim.protocols import Judge, Solver
from trim.types import Question, Trace

if TYPE_CHECKING:
    from trim.tasks import Task


@dataclass
class PolicyPoints:
    """Makes operating points from the open models of a run; what several policies need is made once.

    Args:
        backends: the models.
        task: grades answers and labels steps, for the policies that look at them.
        questions: gives those of the run: no policy may have been trained on them.
        names: all policies that were asked for.
        stack: closes what is opened.
        limit: on what calls cost; covers those of judges that are opened here.
    """

    backends: Backends
    task: Task
    questions: Callable[[], Iterable[Question]]
    names: Sequence[str]
    stack: AsyncExitStack
    limit: SpendLimit | None = None
    _strong_judge: Judge | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        router = self._router = partial(self.backends.router, refused="stop", answer=self.task.form.answer)
        self.weak = Remembered(router(AlwaysWeak()), _is_unscored)
        self.scored = Remembered(router(AlwaysWeak(uses_scores=True)), _is_scored)
        self.strong = Remembered(router(AlwaysStrong()))
        families = [FAMILIES.get(PolicySpec.parse(name).family) for name in self.names]
        self._shared = any(family is not None and family.level is Level.QUERY for family in families)

    def remember(self, traces: Iterable[Trace]) -> None:
        """Take over whole solutions that were recorded earlier."""
        for trace in traces:
            if trace.policy in (AlwaysWeak.name, WEAK_SAMPLE):
                self.weak.remember(trace)
            if trace.policy == AlwaysWeak.name:
                self.scored.remember(trace)
            if trace.policy == AlwaysStrong.name:
                self.strong.remember(trace)

    def of(self, name: str, parameters: Sequence[float | None] | None = None, *, score: bool = False) -> list[Point]:
        """The policy at each of these parameters; None: at those that an evaluation tries by default.

        Args:
            name: as it was asked for.
            parameters: to try.
            score: have drafts scored also where the policy looks at no score.

        Raises:
            ConfigError: unknown, out of range, or it lacks what it needs: a folder, step labels.
        """
        if self._shared and name in (AlwaysWeak.name, AlwaysStrong.name):
            weak = self.scored if score else self.weak
            return [Point(name, None, weak if name == AlwaysWeak.name else self.strong)]
        spec = choose(self.backends.config, name).spec
        family = FAMILIES.get(spec.family)
        if family is not None and family.level is Level.QUERY:
            return self._of_queries(family, spec, parameters)
        judge = self._judge(family)
        points = []
        for policy in open_sweep(self.backends.config, name, parameters):
            router = self._router(scored(policy) if score else policy, prm=judge)
            if judge is not None and judge is self._strong_judge:
                router.prices = replace(router.prices, prm=router.prices.strong)
            tunable = family is None or family.parameter is not None
            points.append(Point(policy.name, policy.parameter if tunable else None, router))
        return points

    def _of_queries(
        self, family: PolicyFamily, spec: PolicySpec, parameters: Sequence[float | None] | None
    ) -> list[Point]:
        for parameter in parameters or family.sweep:
            family.check(spec, parameter)
        opener = cast(
            "Callable[[WholeSolutions, PolicySpec], Callable[[float], Solver]]",
            plugins.attribute(family.opener, "policy"),
        )
        make = opener(self._whole_solutions(), spec)
        return [Point(spec.name, parameter, make(parameter or 0.0)) for parameter in parameters or family.sweep]

    def _whole_solutions(self) -> WholeSolutions:
        task = self.task

        def right(trace: Trace) -> bool:
            return task.right(task.answer(trace.said), trace.question)

        return WholeSolutions(
            self.weak,
            self.scored,
            self.strong,
            task.answer,
            right,
            self.questions,
            lambda: Models(**identities(self.backends.config)),
            verifiable=self.backends.config.weak.backend != "embedded",
        )

    def _judge(self, family: PolicyFamily | None) -> Judge | None:
        """The judge that a family brings; None: the configured one."""
        needs = frozenset[Need]() if family is None else family.needs
        if family is not None and Need.STEP_LABELS in needs:
            from trim.scoring.oracle import OracleJudge

            if self.task.step_labels is None:
                raise ConfigError(
                    f"policy {family.name} needs a task whose steps can be checked by rule; {self.task.name} has none"
                )
            return OracleJudge(self.task.step_labels)
        if Need.STRONG_JUDGE not in needs:
            return None
        if self._strong_judge is None:
            config = self.backends.config
            config = replace(config, prm=strong_judge(config))
            judge, spec = open_prm(config), resolve(config)
            self.stack.push_async_callback(judge.aclose)
            price = self.backends.spec.prices.strong
            self._strong_judge = judge if self.limit is None else metered_judge(judge, price, spec, self.limit)
        return self._strong_judge


def _is_scored(trace: Trace) -> bool:
    return all(decision.score is not None for decision in trace.decisions)


def _is_unscored(trace: Trace) -> bool:
    """The judge was not paid for."""
    return all(decision.score is None for decision in trace.decisions)
