"""Operating points of the rivals that need more than a policy: another judge, whole solutions, a trained router."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from trim.config import Backends, Config, PrmSettings, open_prm

if TYPE_CHECKING:
    from trim.evals.run import Point

_GRADED = "spec-reason"


@dataclass
class Rivals:
    """Makes rivals' operating points from the open models of a run. What they share is opened when first needed."""

    backends: Backends
    stack: AsyncExitStack
    _grader: Any = field(default=None, init=False)

    def knows(self, name: str) -> bool:
        """Whether this policy's points are made here."""
        return name == _GRADED

    def points(self, name: str, parameters: Sequence[float | None] | None) -> list[Point]:
        """The rival at each of these parameters; None: at those that an evaluation tries by default."""
        return self._graded(parameters)

    def _graded(self, parameters: Sequence[float | None] | None) -> list[Point]:
        """SpecReason: the strong model judges drafts, at its own prices."""
        from trim.evals.run import Point

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
async def open_rivals(backends: Backends) -> AsyncIterator[Rivals]:
    """Rivals over these models; what they opened is closed at the end."""
    async with AsyncExitStack() as stack:
        yield Rivals(backends, stack)


def _open_grader(config: Config) -> Any:
    """The strong model as a judge of drafts: asked for a grade, or, in-process, by the likelihood of a draft."""
    strong = config.strong
    if strong.backend == "embedded":
        from trim.models.likelihood import open_likelihood

        return open_likelihood(strong.model or "strong")
    judge = PrmSettings(
        "grade", strong.model, strong.base_url, strong.api_key_env, timeout=strong.timeout, retries=strong.retries
    )
    return open_prm(replace(config, prm=judge))
