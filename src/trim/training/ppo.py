"""PPO for the learned policies, top to bottom: settings, rollout, advantages, update, validation, checkpoint, train.

One network serves every price: each episode draws a price, log-uniform over the range, and the network sees it. An
episode is a question on its way through the Router; a decision's reward is minus the cost of the strong (and, if asked
for, the weak) tokens that it led to, and the last one's is 1 more if the answer is correct (paper, section on
TRIM-Agg).

Random draws depend on (seed, number of the update) alone, so that a run that was killed and resumed equals one that was
not. Log-probabilities, old and new, come from the same network in the same mode; there is no dropout.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trim.atomic import write_bytes
from trim.errors import ConfigError
from trim.policies.artifacts import DAMAGED_ARRAYS, Provenance, Setting
from trim.policies.learned.features import OURS, WITH_RESAMPLE, Aggregate, PriceRange, Stepwise, Vector
from trim.policies.learned.policy import PAPER_ACTIONS, Kind, LearnedPolicy
from trim.protocols import Policy
from trim.training.episodes import Episode, Explorer, Source, solve
from trim.training.torch_networks import SEQ_HEADS, ActorCritic, network
from trim.types import Action, Question, Role

_PRICE_MARGIN = 0.08  # of the range, on either side: prices drawn there count as the end, which has fewer neighbours

# Settings -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PpoSettings:
    """Hyper-parameters, under the names of CleanRL's PPO where it has them.

    Where the paper has another number it is given too: that one is for a single price and more episodes.
    """

    kind: Kind
    prices: PriceRange
    actions: tuple[Action, ...] = PAPER_ACTIONS
    weak_price: float = 0.0  # of a weak token, relative to a strong one; 0: the paper's metric
    total_episodes: int = 50_000
    episodes_per_update: int = 256  # paper: 64
    update_epochs: int = 6  # passes over an update's decisions; paper: 3
    minibatch_size: int = 512  # decisions
    learning_rate: float = 3e-3  # of Adam, annealed to 0; paper: 3e-4
    clip_coef: float = 0.2
    gae_lambda: float = 0.95  # gamma is 1: episodes end
    ent_coef: float = 0.01  # weight of the entropy bonus, annealed to the next one
    final_ent_coef: float = 0.001
    vf_coef: float = 0.5  # weight of the value loss
    max_grad_norm: float = 0.5
    validations: int = 6  # over the training, the last one at its end
    validation_prices: int = 5
    seed: int = 0

    @property
    def updates(self) -> int:
        """Number of updates of the whole training, at least 1."""
        return max(1, self.total_episodes // self.episodes_per_update)

    @property
    def checkpoints(self) -> tuple[int, ...]:
        """Updates after which the policy is validated and everything is saved."""
        return tuple(-(-self.updates * (i + 1) // self.validations) for i in range(self.validations))

    @property
    def features(self) -> Aggregate | Stepwise:
        """How observations become the network's input."""
        if self.kind == "seq":
            return Stepwise()
        return Aggregate(WITH_RESAMPLE if Action.RESAMPLE in self.actions else OURS)


# Rollout ---------------------------------------------------------------------------------------------------------


async def collect(source: Source, policy: LearnedPolicy, settings: PpoSettings, update: int) -> list[Episode]:
    """The episodes of an update: its questions at prices that cover the range evenly, and its ends a little more."""
    count = settings.episodes_per_update
    rng = np.random.default_rng((settings.seed, update))
    shares = (rng.permutation(count) + rng.random(count)) / count
    shares = np.clip(shares * (1 + 2 * _PRICE_MARGIN) - _PRICE_MARGIN, 0.0, 1.0)
    explorers = [Explorer(policy.at(settings.prices.at(share)), rng.random()) for share in shares]
    traces = await solve(source, list(zip(explorers, _questions(source, settings, update), strict=True)), seed=update)
    pairs = zip(traces, explorers, strict=True)
    return [Episode.of(trace, explorer.transitions, settings.weak_price) for trace, explorer in pairs]


def _questions(source: Source, settings: PpoSettings, update: int) -> list[Question]:
    """The questions of an update: all are used once before one is used again."""
    count, first = len(source.questions), update * settings.episodes_per_update
    orders: dict[int, NDArray[np.intp]] = {}
    chosen = []
    for place in range(first, first + settings.episodes_per_update):
        lap, index = divmod(place, count)
        if lap not in orders:
            orders[lap] = np.random.default_rng((settings.seed, 1, lap)).permutation(count)
        chosen.append(source.questions[orders[lap][index]])
    return chosen


# Advantages -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Batch:
    """The decisions of an update's episodes, concatenated; tensors of shape (n,)."""

    features: list[Vector]
    actions: Tensor
    log_probabilities: Tensor  # of the actions, before the update
    advantages: Tensor  # of mean 0 and standard deviation 1
    returns: Tensor


def advantages(rewards: Sequence[float], values: Sequence[float], gae_lambda: float) -> list[float]:
    """Generalised advantage estimates of one episode, gamma 1: A_i = sum_k gae_lambda^k (r + V' - V)_(i + k)."""
    found: list[float] = []
    advantage = next_value = 0.0
    for reward, value in zip(reversed(rewards), reversed(values), strict=True):
        advantage = reward + next_value - value + gae_lambda * advantage
        next_value = value
        found.append(advantage)
    return found[::-1]


@torch.no_grad()
def to_batch(model: ActorCritic, episodes: Sequence[Episode], settings: PpoSettings) -> Batch:
    """Log-probabilities and values of all decisions before the update, their advantages and returns."""
    features = [transition.features for episode in episodes for transition in episode.transitions]
    actions = torch.tensor([transition.action for episode in episodes for transition in episode.transitions])
    output = model(features)
    values, found, start = output.values.tolist(), [], 0
    for episode in episodes:
        end = start + len(episode.transitions)
        found += advantages(episode.rewards, values[start:end], settings.gae_lambda)
        start = end
    advantage = torch.tensor(found)
    return Batch(
        features,
        actions,
        _log_probability(output.logits, actions),
        (advantage - advantage.mean()) / (advantage.std(correction=0) + 1e-8),
        advantage + output.values,
    )


def _log_probability(logits: Tensor, actions: Tensor) -> Tensor:
    return logits.log_softmax(-1).gather(-1, actions[:, None]).squeeze(-1)


# Update ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Losses:
    """Means over an update's minibatches. `approx_kl` estimates KL(old, new); `clip_fraction` is the share of
    probability ratios that were clipped.
    """

    policy_loss: float
    value_loss: float
    entropy: float
    approx_kl: float
    clip_fraction: float


def update_network(
    model: ActorCritic, optimizer: torch.optim.Optimizer, batch: Batch, settings: PpoSettings, update: int
) -> Losses:
    """Optimise the clipped objective on one batch for `update_epochs` passes in random minibatches."""
    remaining = 1 - update / settings.updates
    ent_coef = settings.final_ent_coef + remaining * (settings.ent_coef - settings.final_ent_coef)
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate * remaining
    order = np.random.default_rng((settings.seed, 2, update))
    rows = []
    for _ in range(settings.update_epochs):
        shuffled = torch.from_numpy(order.permutation(len(batch.features)))
        for chosen in torch.split(shuffled, settings.minibatch_size):
            output = model([batch.features[i] for i in chosen.tolist()])
            ratio = (_log_probability(output.logits, batch.actions[chosen]) - batch.log_probabilities[chosen]).exp()
            advantage, clipped = batch.advantages[chosen], ratio.clamp(1 - settings.clip_coef, 1 + settings.clip_coef)
            policy_loss = -torch.minimum(ratio * advantage, clipped * advantage).mean()
            value_loss = (output.values - batch.returns[chosen]).square().mean()
            logs = output.logits.log_softmax(-1)
            entropy = -(logs.exp() * logs).sum(-1).mean()
            optimizer.zero_grad()
            (policy_loss + settings.vf_coef * value_loss - ent_coef * entropy).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
            optimizer.step()
            approx_kl = (ratio - 1 - ratio.log()).mean()
            clip_fraction = (ratio != clipped).float().mean()
            rows.append(torch.stack([policy_loss, value_loss, entropy, approx_kl, clip_fraction]).detach())
    return Losses(*torch.stack(rows).mean(0).tolist())


# Validation -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Validation:
    """The greedy policy on the validation questions; lists by price.

    `value` chooses the checkpoint: the mean over prices of accuracy - price * (strong + weak_price * weak) tokens.
    """

    value: float
    prices: list[float]
    accuracy: list[float]
    strong_tokens: list[float]
    values: list[float]


async def validate(
    source: Source, policies: Sequence[Policy], prices: Sequence[float], weak_price: float
) -> Validation:
    """Evaluate one policy a price, all on the same questions and random draws."""
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
    """The state of a training: network, optimiser and progress."""

    model: ActorCritic
    optimizer: torch.optim.Optimizer
    update: int = 0  # updates done so far
    best: float = -np.inf  # validation value of the saved policy
    seconds: float = 0.0

    @classmethod
    def fresh(cls, settings: PpoSettings) -> Learner:
        """A new network, its weights drawn from the seed."""
        torch.manual_seed(settings.seed)
        model = network(settings.kind, settings.features.width, len(settings.actions))
        return cls(model, torch.optim.Adam(model.parameters(), lr=settings.learning_rate, eps=1e-5))

    def policy(self, settings: PpoSettings) -> LearnedPolicy:
        """The current network as a policy, at the price in the middle of the range."""
        arrays = {name: tensor.detach().numpy().copy() for name, tensor in self.model.state_dict().items()}
        training: dict[str, Setting] = {
            "algorithm": "ppo",
            "updates": self.update,
            "episodes": self.update * settings.episodes_per_update,
            "seconds": round(self.seconds),
            "seed": settings.seed,
        }
        prices = settings.prices
        return LearnedPolicy(
            settings.kind, settings.features, arrays, prices, prices.at(0.5), settings.actions, SEQ_HEADS, training
        )

    def save(self, path: Path) -> None:
        """Write everything; a kill leaves the old file or the new one, never half of one."""
        arrays = {f"model.{name}": tensor.numpy() for name, tensor in self.model.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            arrays |= {f"adam.{index}.{name}": tensor.numpy() for name, tensor in state.items()}
        arrays |= {"progress": np.array([self.update, self.best, self.seconds])}
        content = BytesIO()
        np.savez(content, **arrays)
        write_bytes(path, content.getvalue())

    def load(self, path: Path, *, model_only: bool = False) -> None:
        """Restore what `save` wrote; with `model_only` the network alone.

        Raises:
            ConfigError: the file cannot be read, or is of another network.
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
        except (OSError, KeyError, ValueError, *DAMAGED_ARRAYS) as error:
            raise ConfigError.reading(path, "not a checkpoint of this network", error) from None


# Train ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class UpdateMetrics:
    """A line of metrics.jsonl: means over an update's episodes, and its losses."""

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
    settings: PpoSettings,
    folder: Path,
    provenance: Provenance,
    *,
    start: Path | None = None,
    report: Callable[[UpdateMetrics], None] = lambda row: None,
) -> LearnedPolicy:
    """Train and write metrics.jsonl, checkpoint.npz and the best policy so far; continue from a checkpoint if there is
    one.

    Args:
        source: questions and models.
        settings: hyper-parameters.
        folder: for the files.
        provenance: of the saved policy.
        start: a checkpoint whose network a new training starts from.
        report: called after every update.
    """
    learner, checkpoint, metrics = Learner.fresh(settings), folder / "checkpoint.npz", folder / "metrics.jsonl"
    if checkpoint.exists():
        learner.load(checkpoint)
    elif start is not None:
        learner.load(start, model_only=True)
    rows = metrics.read_text().splitlines(keepends=True)[: learner.update] if metrics.exists() else []
    metrics.write_text("".join(rows))  # updates after the checkpoint are repeated
    grid = settings.prices.grid(settings.validation_prices)
    while learner.update < settings.updates:
        began = time.perf_counter()
        episodes = await collect(source, learner.policy(settings), settings, learner.update)
        batch = to_batch(learner.model, episodes, settings)
        losses = update_network(learner.model, learner.optimizer, batch, settings, learner.update)
        learner.update += 1
        validation = None
        if learner.update in settings.checkpoints:
            policy = learner.policy(settings)
            validation = await validate(source, [policy.at(price) for price in grid], grid, settings.weak_price)
        learner.seconds += time.perf_counter() - began
        row = _metrics(learner, episodes, losses, validation)
        with metrics.open("a") as file:
            file.write(json.dumps(asdict(row)) + "\n")
        if validation is not None:
            if validation.value > learner.best:
                learner.best = validation.value
                learner.policy(settings).save(folder, provenance)
            learner.save(checkpoint)
        report(row)
    return LearnedPolicy.load(folder, kind=settings.kind)


def _metrics(
    learner: Learner, episodes: Sequence[Episode], losses: Losses, validation: Validation | None
) -> UpdateMetrics:
    count = len(episodes)
    return UpdateMetrics(
        learner.update,
        learner.update * count,
        sum(sum(episode.rewards) for episode in episodes) / count,
        sum(episode.correct for episode in episodes) / count,
        sum(episode.strong_tokens for episode in episodes) / count,
        losses,
        round(learner.seconds, 3),
        validation,
    )
