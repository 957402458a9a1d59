"""Operating points of the rivals that need more than a policy: another judge, whole solutions, a trained router."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trim.baselines import LEARNED, QUERY_LEVEL
from trim.baselines.query_level.solvers import WEAK_SAMPLE, OracleQuery, QueryRouter, RandomMix, Remembered, Sample
from trim.config.factory import Backends, open_prm
from trim.errors import ConfigError
from trim.policies import AlwaysStrong, AlwaysWeak
from trim.protocols import Solver
from trim.types import Question, Trace

if TYPE_CHECKING:
    from trim.config.settings import Config
    from trim.experiments.run import Point
    from trim.tasks import Task

_GRADED = "spec-reason"
_ENDS = ("always-weak", "always-strong")
_RATES: tuple[float | None, ...] = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
_SWEEPS: dict[str, tuple[float | None, ...]] = {
    "random-query": _RATES,
    "oracle-query": (None,),
    "prm-cascade": (0.05, 0.2, 0.35, 0.5, 0.65, 0.75, 0.85, 0.93, 0.97, 0.99, 1.0),
    "automix": (0.25, 0.5, 0.75, 1.0),
    "automix-pomdp": (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7),
    WEAK_SAMPLE: (1, 2, 3, 4),
}


@dataclass
class Rivals:
    """Makes operating points from the open models of a run; what rivals share is made once.

    Args:
        backends: the models.
        task: grades answers, for those that look at them.
        questions: gives those of the run: nobody may have been trained on them.
        names: all policies that were asked for.
        stack: closes what is opened.
    """

    backends: Backends
    task: Task
    questions: Callable[[], Iterable[Question]]
    names: Sequence[str]
    stack: AsyncExitStack
    _grader: Any = field(default=None, init=False)

    def __post_init__(self) -> None:
        router = self.backends.router
        self.weak = Remembered(router(AlwaysWeak()))
        self.scored = Remembered(router(AlwaysWeak(uses_scores=True)), _is_scored)
        self.strong = Remembered(router(AlwaysStrong()))
        self._shared = any(name.partition("=")[0] in (*QUERY_LEVEL, WEAK_SAMPLE) for name in self.names)

    def knows(self, family: str) -> bool:
        """Whether this policy's points are made here: a rival, or an end whose solutions a rival uses too."""
        return family in (_GRADED, WEAK_SAMPLE, *QUERY_LEVEL) or (self._shared and family in _ENDS)

    def remember(self, traces: Iterable[Trace]) -> None:
        """Take over whole solutions that were recorded earlier."""
        for trace in traces:
            if trace.policy in ("always-weak", WEAK_SAMPLE):
                self.weak.remember(trace)
            if trace.policy == "always-weak":
                self.scored.remember(trace)
            if trace.policy == "always-strong":
                self.strong.remember(trace)

    def points(self, name: str, parameters: Sequence[float | None] | None, *, score: bool) -> list[Point]:
        """The rival at each of these parameters; None: at those that an evaluation tries by default.

        Raises:
            ConfigError: a folder is missing or was made for something else, or a parameter is out of range.
        """
        from trim.experiments.run import Point

        family, _, path = name.partition("=")
        if family in _ENDS:
            weak = self.scored if score else self.weak
            return [Point(family, None, weak if family == "always-weak" else self.strong)]
        if family == _GRADED:
            return self._graded(parameters)
        if family in LEARNED:
            make, default = self._learned(family, path), _RATES
        else:
            make, default = self._simple(family, path), _SWEEPS[family]
        return [Point(family, parameter, make(parameter)) for parameter in parameters or default]

    def _simple(self, family: str, path: str) -> Callable[[float | None], Solver]:
        """What makes a rival's solver from its parameter."""
        from trim.baselines.query_level.cascade import VOTES, AutoMix, PrmCascade
        from trim.baselines.query_level.meta_verifier import MetaVerifier

        weak, strong, task = self.weak, self.strong, self.task

        def right(trace: Trace) -> bool:
            return task.right(task.answer(trace.text), trace.question)

        def automix(accepts: Callable[[int], bool]) -> Solver:
            return AutoMix(weak, strong, self._verifier(), accepts)

        if family == "automix-pomdp":
            meta = MetaVerifier.load(_folder(family, path), self._models())
            return lambda price: automix(lambda votes: meta.accepts(votes, price or 0.0))
        if path:
            raise ConfigError(f"policy {family} takes no folder")
        makers: dict[str, Callable[[float], Solver]] = {
            "random-query": lambda rate: QueryRouter(weak, strong, RandomMix(rate)),
            "oracle-query": lambda _: OracleQuery(weak, strong, right),
            "prm-cascade": lambda k: PrmCascade(self.scored, strong, k),
            "automix": lambda share: automix(lambda votes: votes >= share * VOTES),
            WEAK_SAMPLE: lambda index: Sample(weak, int(index)),
        }
        return lambda parameter: makers[family](parameter or 0.0)

    def _learned(self, family: str, path: str) -> Callable[[float | None], Solver]:
        from trim.baselines.query_level.trained_router import LearnedRouter, TrainedRouter

        trained = TrainedRouter.load(family, _folder(family, path), self._models())
        trained.refuse_seen(self.questions())
        return lambda rate: LearnedRouter(self.weak, self.strong, trained, rate or 0.0)

    def _verifier(self) -> Any:
        from trim.baselines.query_level.cascade import Agreement, Asking

        asked = self.backends.config.weak.backend != "embedded"
        return Asking(self.weak) if asked else Agreement(self.weak, self.task.answer)

    def _models(self) -> Any:
        from trim.policies.artifacts import Models

        return Models(**self.backends.config.names())

    def _graded(self, parameters: Sequence[float | None] | None) -> list[Point]:
        """SpecReason: the strong model judges drafts, at its own prices."""
        from trim.experiments.run import Point

        if self._grader is None:
            self._grader = _open_grader(self.backends.config)
            self.stack.push_async_callback(self._grader.aclose)
        points = []
        for policy in self.backends.config.build_sweep(_GRADED, tuple(parameters) if parameters else None):
            router = self.backends.router(policy, prm=self._grader)
            router.prices = replace(router.prices, prm=router.prices.strong)
            points.append(Point(_GRADED, policy.parameter, router))
        return points


@asynccontextmanager
async def open_rivals(
    backends: Backends, task: Task, questions: Callable[[], Iterable[Question]], names: Sequence[str]
) -> AsyncIterator[Rivals]:
    """Rivals over these models; what they opened is closed at the end."""
    async with AsyncExitStack() as stack:
        yield Rivals(backends, task, questions, names, stack)


def _open_grader(config: Config) -> Any:
    """The strong model as a judge of drafts: asked for a grade, or, in-process, by the likelihood of a draft."""
    strong = config.strong
    if strong.backend == "embedded":
        from trim.scoring.likelihood import open_likelihood

        return open_likelihood(strong.model or "strong")
    from trim.config.settings import PrmSettings

    judge = PrmSettings(
        "grade", strong.model, strong.base_url, strong.api_key_env, timeout=strong.timeout, retries=strong.retries
    )
    return open_prm(replace(config, prm=judge))


def _is_scored(trace: Trace) -> bool:
    return all(decision.score is not None for decision in trace.decisions)


def _folder(family: str, path: str) -> Path:
    if not path:
        raise ConfigError(f"policy {family} needs the folder that `trim fit router {family}` wrote: {family}=FOLDER")
    return Path(path)
