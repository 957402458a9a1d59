"""PPO for the learned policies, top to bottom: settings, collect, advantages, update, evaluate, checkpoint, train.

One network for every price: each episode draws a price, log-uniform over the range, and the network sees it. An
episode is a question on its way through the Router; a decision's reward is what the strong (and, if asked, the weak)
tokens after it cost, and the last one's is 1 more if the answer is right (paper, section on TRIM-Agg).

What is drawn follows from (seed, number of the update) alone, so that a run that was killed and resumed equals one that
was not. Log-probabilities, old and new, come from the same network in the same mode; there is no dropout.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trim.errors import ConfigError
from trim.policies.artifacts import Provenance, Setting
from trim.policies.learned.features import OURS, WITH_RESAMPLE, Aggregate, PriceRange, Stepwise, Vector
from trim.policies.learned.policy import PAPER_ACTIONS, Kind, LearnedPolicy
from trim.protocols import Policy
from trim.training.episodes import Episode, Explorer, Source, solve
from trim.training.torch_networks import SEQ_HEADS, ActorCritic, network
from trim.types import Action, Question, Role

_BEYOND = 0.08  # of the range, on either side: prices drawn there count as the end, which has fewer neighbours

# Settings -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """Hyper-parameters. Where the paper has another number it stands behind: it is for one price and more episodes."""

    kind: Kind
    prices: PriceRange
    actions: tuple[Action, ...] = PAPER_ACTIONS
    weak_price: float = 0.0  # of a weak token, relative to a strong one; 0: the paper's metric
    episodes: int = 50_000
    batch: int = 256  # episodes an update; paper: 64
    epochs: int = 6  # paper: 3
    minibatch: int = 512  # decisions
    rate: float = 3e-3  # of Adam, decayed to 0; paper: 3e-4
    clip: float = 0.2
    decay: float = 0.95  # lambda of the advantages; gamma is 1
    entropy: float = 0.01  # weight of the entropy, decayed to the next line's
    last_entropy: float = 0.001
    critic: float = 0.5  # weight of the value loss
    most_gradient: float = 0.5  # norm
    validations: int = 6  # over the training, the last one at its end
    validation_prices: int = 5
    seed: int = 0

    @property
    def updates(self) -> int:
        """Updates in all."""
        return max(1, self.episodes // self.batch)

    @property
    def checkpoints(self) -> tuple[int, ...]:
        """Updates after which the policy is validated and everything is saved."""
        return tuple(-(-self.updates * (i + 1) // self.validations) for i in range(self.validations))

    @property
    def features(self) -> Aggregate | Stepwise:
        """What the network sees."""
        if self.kind == "seq":
            return Stepwise()
        return Aggregate(WITH_RESAMPLE if Action.RESAMPLE in self.actions else OURS)


# Collect --------------------------------------------------------------------------------------------------------


async def collect(source: Source, policy: LearnedPolicy, settings: Settings, update: int) -> list[Episode]:
    """The episodes of an update: its questions at prices that cover the range evenly, and its ends a little more."""
    count = settings.batch
    rng = np.random.default_rng((settings.seed, update))
    shares = (rng.permutation(count) + rng.random(count)) / count
    shares = np.clip(shares * (1 + 2 * _BEYOND) - _BEYOND, 0.0, 1.0)
    explorers = [Explorer(policy.at(settings.prices.at(share)), rng.random()) for share in shares]
    traces = await solve(source, list(zip(explorers, _questions(source, settings, update), strict=True)), seed=update)
    pairs = zip(traces, explorers, strict=True)
    return [Episode.of(trace, explorer.moments, settings.weak_price) for trace, explorer in pairs]


def _questions(source: Source, settings: Settings, update: int) -> list[Question]:
    """Those of an update: all are used once before one is used again."""
    count, first = len(source.questions), update * settings.batch
    orders: dict[int, NDArray[np.intp]] = {}
    chosen = []
    for place in range(first, first + settings.batch):
        lap, index = divmod(place, count)
        if lap not in orders:
            orders[lap] = np.random.default_rng((settings.seed, 1, lap)).permutation(count)
        chosen.append(source.questions[orders[lap][index]])
    return chosen


# Advantages -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Batch:
    """All decisions of some episodes, one after the other; arrays of shape (n,)."""

    features: list[Vector]
    actions: Tensor
    log_probabilities: Tensor  # of the actions, before the update
    advantages: Tensor  # of mean 0 and standard deviation 1
    returns: Tensor


def advantages(rewards: Sequence[float], values: Sequence[float], decay: float) -> list[float]:
    """Generalised advantage estimates of one episode, gamma 1: A_i = sum_k decay^k (r + V' - V)_(i + k)."""
    found: list[float] = []
    later = following = 0.0
    for reward, value in zip(reversed(rewards), reversed(values), strict=True):
        later = reward + following - value + decay * later
        following = value
        found.append(later)
    return found[::-1]


@torch.no_grad()
def judge(model: ActorCritic, episodes: Sequence[Episode], settings: Settings) -> Batch:
    """What the network thought of its decisions, and how they turned out."""
    features = [moment.features for episode in episodes for moment in episode.moments]
    actions = torch.tensor([moment.action for episode in episodes for moment in episode.moments])
    judged = model(features)
    values, found, start = judged.values.tolist(), [], 0
    for episode in episodes:
        end = start + len(episode.moments)
        found += advantages(episode.rewards, values[start:end], settings.decay)
        start = end
    gained = torch.tensor(found)
    return Batch(
        features,
        actions,
        _log_probability(judged.logits, actions),
        (gained - gained.mean()) / (gained.std(correction=0) + 1e-8),
        gained + judged.values,
    )


def _log_probability(logits: Tensor, actions: Tensor) -> Tensor:
    return logits.log_softmax(-1).gather(-1, actions[:, None]).squeeze(-1)


# Update ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Losses:
    """Means over an update's minibatches. `divergence` estimates KL(old, new); `clipped` is the share of ratios."""

    actor: float
    critic: float
    entropy: float
    divergence: float
    clipped: float


def improve(
    model: ActorCritic, optimizer: torch.optim.Optimizer, batch: Batch, settings: Settings, update: int
) -> Losses:
    """Clipped steps on one batch."""
    left = 1 - update / settings.updates
    entropy_weight = settings.last_entropy + left * (settings.entropy - settings.last_entropy)
    for group in optimizer.param_groups:
        group["lr"] = settings.rate * left
    order = np.random.default_rng((settings.seed, 2, update))
    rows = []
    for _ in range(settings.epochs):
        shuffled = torch.from_numpy(order.permutation(len(batch.features)))
        for chosen in torch.split(shuffled, settings.minibatch):
            judged = model([batch.features[i] for i in chosen.tolist()])
            ratio = (_log_probability(judged.logits, batch.actions[chosen]) - batch.log_probabilities[chosen]).exp()
            gain, clipped = batch.advantages[chosen], ratio.clamp(1 - settings.clip, 1 + settings.clip)
            actor = -torch.minimum(ratio * gain, clipped * gain).mean()
            critic = (judged.values - batch.returns[chosen]).square().mean()
            logs = judged.logits.log_softmax(-1)
            entropy = -(logs.exp() * logs).sum(-1).mean()
            optimizer.zero_grad()
            (actor + settings.critic * critic - entropy_weight * entropy).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.most_gradient)
            optimizer.step()
            divergence = (ratio - 1 - ratio.log()).mean()
            rows.append(torch.stack([actor, critic, entropy, divergence, (ratio != clipped).float().mean()]).detach())
    return Losses(*torch.stack(rows).mean(0).tolist())


# Evaluate -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Validation:
    """The greedy policy on the validation questions: lists by price; `value` is what a checkpoint is chosen by, the
    mean over prices of accuracy - price * (strong + weak_price * weak) tokens.
    """

    value: float
    prices: list[float]
    accuracy: list[float]
    strong_tokens: list[float]
    values: list[float]


async def validate(
    source: Source, policies: Sequence[Policy], prices: Sequence[float], weak_price: float
) -> Validation:
    """Value a policy at each price on the same questions and draws."""
    jobs = [(policy, question) for policy in policies for question in source.validation]
    traces = await solve(source, jobs, seed=0)
    count = len(source.validation)
    accuracy, strong, values = [], [], []
    for index, price in enumerate(prices):
        mine = traces[index * count : (index + 1) * count]
        accuracy.append(sum(bool(trace.correct) for trace in mine) / count)
        strong.append(sum(trace.usage[Role.STRONG].completion_tokens for trace in mine) / count)
        weak = sum(trace.usage[Role.WEAK].completion_tokens for trace in mine) / count
        values.append(accuracy[-1] - price * (strong[-1] + weak_price * weak))
    return Validation(float(np.mean(values)), list(prices), accuracy, strong, values)


# Checkpoint -----------------------------------------------------------------------------------------------------


@dataclass
class Learner:
    """All that changes while training."""

    model: ActorCritic
    optimizer: torch.optim.Optimizer
    update: int = 0  # done so far
    best: float = -np.inf  # value of the policy that is saved
    seconds: float = 0.0

    @classmethod
    def fresh(cls, settings: Settings) -> Learner:
        """With weights drawn from the seed."""
        torch.manual_seed(settings.seed)
        model = network(settings.kind, settings.features.width, len(settings.actions))
        return cls(model, torch.optim.Adam(model.parameters(), lr=settings.rate, eps=1e-5))

    def policy(self, settings: Settings) -> LearnedPolicy:
        """The network as it is now, at the price in the middle."""
        arrays = {name: tensor.detach().numpy().copy() for name, tensor in self.model.state_dict().items()}
        training: dict[str, Setting] = {
            "algorithm": "ppo",
            "updates": self.update,
            "episodes": self.update * settings.batch,
            "seconds": round(self.seconds),
            "seed": settings.seed,
        }
        prices = settings.prices
        return LearnedPolicy(
            settings.kind, settings.features, arrays, prices, prices.at(0.5), settings.actions, SEQ_HEADS, training
        )

    def save(self, path: Path) -> None:
        """Write everything, so that a kill leaves the old file or the new one."""
        arrays = {f"model.{name}": tensor.numpy() for name, tensor in self.model.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            arrays |= {f"adam.{index}.{name}": tensor.numpy() for name, tensor in state.items()}
        arrays |= {"progress": np.array([self.update, self.best, self.seconds])}
        unfinished = path.with_name("unfinished.npz")
        with unfinished.open("wb") as file:
            np.savez(file, **arrays)
        unfinished.replace(path)

    def load(self, path: Path, *, model_only: bool = False) -> None:
        """Go on from what `save` wrote.

        Raises:
            ConfigError: it cannot be read, or is of another network.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: torch.from_numpy(file[name]) for name in file.files}
            parts: dict[str, dict[str, Tensor]] = {}
            for name, tensor in arrays.items():
                part, _, rest = name.partition(".")
                parts.setdefault(part, {})[rest] = tensor
            self.model.load_state_dict(parts["model"])
            if model_only:
                return
            state: dict[int, dict[str, Tensor]] = {}
            for name, tensor in parts["adam"].items():
                index, _, entry = name.partition(".")
                state.setdefault(int(index), {})[entry] = tensor
            groups = self.optimizer.state_dict()["param_groups"]
            self.optimizer.load_state_dict({"state": state, "param_groups": groups})
            update, self.best, self.seconds = arrays["progress"].tolist()
            self.update = int(update)
        except (OSError, KeyError, ValueError, RuntimeError, BadZipFile) as error:
            raise ConfigError(f"{path}: not a checkpoint of this network ({error!r})") from None


# Train ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """What an update was like; a line of metrics.jsonl. Means over its episodes."""

    update: int
    episodes: int
    reward: float
    accuracy: float
    strong_tokens: float
    losses: Losses
    seconds: float
    validation: Validation | None


async def train(
    source: Source,
    settings: Settings,
    folder: Path,
    provenance: Provenance,
    *,
    start: Path | None = None,
    report: Callable[[Row], None] = lambda row: None,
) -> LearnedPolicy:
    """Train into a folder: metrics.jsonl, checkpoint.npz, and the best policy so far. Goes on from a checkpoint.

    Args:
        source, settings: what to learn from, and how.
        folder: for the files.
        provenance: of the policy.
        start: a checkpoint whose network a fresh training begins with.
        report: called after every update.
    """
    learner, checkpoint, metrics = Learner.fresh(settings), folder / "checkpoint.npz", folder / "metrics.jsonl"
    if checkpoint.exists():
        learner.load(checkpoint)
    elif start is not None:
        learner.load(start, model_only=True)
    rows = metrics.read_text().splitlines(keepends=True)[: learner.update] if metrics.exists() else []
    metrics.write_text("".join(rows))  # what came after the checkpoint is done again
    grid = settings.prices.grid(settings.validation_prices)
    while learner.update < settings.updates:
        began = time.perf_counter()
        episodes = await collect(source, learner.policy(settings), settings, learner.update)
        batch = judge(learner.model, episodes, settings)
        losses = improve(learner.model, learner.optimizer, batch, settings, learner.update)
        learner.update += 1
        validation = None
        if learner.update in settings.checkpoints:
            policy = learner.policy(settings)
            validation = await validate(source, [policy.at(price) for price in grid], grid, settings.weak_price)
        learner.seconds += time.perf_counter() - began
        row = _row(learner, episodes, losses, validation)
        with metrics.open("a") as file:
            file.write(json.dumps(asdict(row)) + "\n")
        if validation is not None:
            if validation.value > learner.best:
                learner.best = validation.value
                learner.policy(settings).save(folder, provenance)
            learner.save(checkpoint)
        report(row)
    return LearnedPolicy.load(folder, kind=settings.kind)


def _row(learner: Learner, episodes: Sequence[Episode], losses: Losses, validation: Validation | None) -> Row:
    count = len(episodes)
    return Row(
        learner.update,
        learner.update * count,
        sum(sum(episode.rewards) for episode in episodes) / count,
        sum(episode.correct for episode in episodes) / count,
        sum(episode.strong_tokens for episode in episodes) / count,
        losses,
        round(learner.seconds, 3),
        validation,
    )
