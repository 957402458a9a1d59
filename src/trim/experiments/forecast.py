"""The accuracy-cost frontier of every policy for a pair of models, predicted by simulation. What `trim plan` does.

Simulated models and a simulated PRM solve simulated questions through the same Router as real ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from trim.errors import ConfigError
from trim.experiments.folder_owner import owned
from trim.experiments.run import Point, ProgressBar, Run, Settings, no_bar
from trim.metrics.operating_point import OperatingPoint, cheapest
from trim.policies import PolicySpec, open_sweep
from trim.policies.pomdp import PomdpPolicy
from trim.pomdp import PomdpModel, quantile_bins, read_points
from trim.routing.router import Router
from trim.simulation import constant_accuracy, gamma_lengths, graded
from trim.simulation.pomdp_world import World
from trim.tasks.simulated import TASK
from trim.types import Prices

MOST_STEPS = 30
_GOAL = 0.8  # part of the gap that the conclusion is about
_SPREAD = 0.5  # of a step's tokens, relative
_POLICIES = ("always-weak", "always-strong", "random", "threshold")


@dataclass(frozen=True)
class Skill:
    """How good a model is: P(a step is right | all before are), or the share of questions that it solves alone."""

    step_accuracy: float | None = None
    solves: float | None = None

    def by_step(self, role: str, ends: tuple[float, ...]) -> float:
        """The step accuracy, for solutions that end like this.

        Raises:
            ConfigError: neither was given, or the share is outside (0, 1).
        """
        if self.solves is not None:
            return constant_accuracy(self.solves, ends)
        if self.step_accuracy is None:
            raise ConfigError(
                f"how good is the {role} model? Say --{role}-solves 0.5, --{role}-accuracy 0.9, or --from DIR"
            )
        return self.step_accuracy


@dataclass(frozen=True)
class Pair:
    """A pair of models, its PRM and a task, as `trim plan` describes them.

    Args:
        weak, strong: how good they are.
        repair_accuracy: P(the strong step is right | the draft was wrong); None: all errors of the strong model are
            at steps that the weak one gets wrong too.
        prm_quality: P(a score lies on the right side of 0.5).
        prm_scores: a JSON file of measured [min, score] points by state, instead.
        steps: mean number of a solution, 1 to 30.
        step_tokens: mean tokens of a step.
        difficulty: variance of the questions' hardness; 0: all alike.
    """

    weak: Skill
    strong: Skill
    repair_accuracy: float | None = None
    prm_quality: float = 0.9
    prm_scores: Path | None = None
    steps: float = 8.0
    step_tokens: float = 60.0
    difficulty: float = 0.75

    def simulation(self) -> Simulation:
        """Simulated models of this description, and a planner that knows them.

        Raises:
            ConfigError: a number is out of range.
        """
        if not 1 <= self.steps <= MOST_STEPS:
            raise ConfigError(f"--steps must lie between 1 and {MOST_STEPS}, not {self.steps}")
        ends = gamma_lengths(self.steps, MOST_STEPS)
        weak, strong = self.weak.by_step("weak", ends), self.strong.by_step("strong", ends)
        repair = self.repair_accuracy
        if repair is None:
            repair = 1 - (1 - strong) / (1 - weak) if strong > weak else 0.0
        scores = quantile_bins(read_points(self.prm_scores)) if self.prm_scores else graded(self.prm_quality)
        model = PomdpModel(weak, strong, ends[1:], scores, self.step_tokens, repair)
        return Simulation.of(PomdpPolicy(model, 0.0), ends, self.difficulty)


@dataclass(frozen=True)
class Simulation:
    """The simulated pair with its PRM, and a planner that knows them."""

    world: World
    planner: PomdpPolicy

    @classmethod
    def of(cls, planner: PomdpPolicy, ends: tuple[float, ...], difficulty: float) -> Simulation:
        """A world that behaves as the planner's model says; `ends` is P(last step | it is reached) by step."""
        return cls(World.of(planner.model, ends, spread=_SPREAD, difficulty=difficulty), planner)

    @classmethod
    def of_fit(cls, folder: Path, difficulty: float = 0.0) -> Simulation:
        """The pair that `trim fit pomdp` measured. Its hazard says nothing of the first step.

        Raises:
            ConfigError: the folder is not a saved policy.
        """
        planner = PomdpPolicy.load(folder)
        return cls.of(planner, (0.0, *planner.model.hazard), difficulty)

    def points(self, prices: Prices) -> list[Point]:
        """Every policy at every parameter, weak and strong first."""
        policies = [policy for name in _POLICIES for policy in open_sweep(PolicySpec(name))]
        planned = [self.planner.at(price) for price in self.planner.prices()]
        world = self.world
        return [
            Point(policy.name, policy.parameter, Router(world.weak, world.strong, world.prm, policy, prices=prices))
            for policy in (*policies, *planned)
        ]

    def models(self) -> dict[str, str]:
        """What reports call the models."""
        weak, strong = self.world.weak, self.world.strong
        skills = {
            role: f"simulated, {model.step_accuracy:.3f} of steps and {model.solved_alone:.1%} of questions alone"
            for role, model in (("weak", weak), ("strong", strong))
        }
        return skills | {
            "prm": f"simulated, steps of {weak.step_tokens:g} tokens",
        }

    def settings(self, prices: Prices) -> dict[str, object]:
        """What decides what comes out: kept in `run.json`."""
        model, weak = self.planner.model, self.world.weak
        return {
            "repair_accuracy": model.strong_accuracy_if_wrong,
            "difficulty": weak.difficulty,
            "ends": weak.ends,
            "scores": model.observation.mass.round(6).tolist(),
            "prices": asdict(prices),
        }


async def forecast(
    simulation: Simulation,
    folder: Path,
    *,
    prices: Prices,
    questions: int = 500,
    seed: int = 0,
    resume: bool = False,
    bar: ProgressBar = no_bar,
) -> Run:
    """Solve simulated questions at every operating point; traces and results are in the folder afterwards.

    Args:
        simulation: the pair.
        folder: made where it is not there.
        prices: of tokens; prompts of simulated models have none.
        questions: how many.
        seed: of questions and sampling.
        resume: continue with what is in the folder.
        bar: shows how many solutions there are.

    Raises:
        ConfigError: the folder holds another run.
    """
    about = Settings(TASK.name, questions, seed, simulation.models(), simulation.settings(prices))
    with owned(folder):
        run = Run(folder, about, resume=resume)
        points = simulation.points(prices)
        with bar(len(points) * questions) as advance:
            await run.add(points, TASK.stream(questions, seed), TASK, progress=advance)
        run.write_results()
    return run


def conclusion(points: Sequence[OperatingPoint]) -> str:
    """What a forecast says, in one sentence."""
    ends = {point.policy: point for point in points if point.policy.startswith("always-")}
    weak, strong = ends["always-weak"], ends["always-strong"]
    if strong.accuracy <= weak.accuracy:
        return "The strong model alone is no better than the weak one: there is nothing to gain from routing."
    goal = weak.accuracy + _GOAL * (strong.accuracy - weak.accuracy)
    best = {policy: cheapest(points, policy, _GOAL) for policy in ("pomdp", "threshold", "random")}
    needs = [f"{policy} needs {p.strong_share:.0%}" for policy, p in best.items() if p and p.strong_share is not None]
    never = [policy for policy, point in best.items() if point is None]
    routed = f"{', '.join(needs)} of the strong model's tokens" if needs else ""
    missed = f"{' and '.join(never)} can't" if never else ""
    return (
        f"To solve {goal:.0%}, {_GOAL:.0%} of the way from {weak.accuracy:.0%} to {strong.accuracy:.0%}: "
        f"{'; '.join(part for part in (routed, missed) if part)}."
    )
