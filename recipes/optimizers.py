"""Muon for the matrices, AdamW for the rest, one learning-rate schedule for both."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Muon:
    """Momentum whose update is orthogonalised by Newton-Schulz iterations (Jordan et al., 2024).

    Matrices of one shape are stacked and treated together: on a CPU that is most of the speed.
    """

    def __init__(self, parameters: list[nn.Parameter], lr: float, momentum: float = 0.95, decay: float = 0.01) -> None:
        self.lr, self.momentum, self.decay = lr, momentum, decay
        self.groups: dict[tuple[int, ...], list[nn.Parameter]] = {}
        for parameter in parameters:
            self.groups.setdefault(tuple(sorted(parameter.shape)), []).append(parameter)
        self.buffers = {
            shape: torch.zeros(len(group), *shape, device=group[0].device) for shape, group in self.groups.items()
        }

    @torch.no_grad()
    def step(self, scale: float) -> None:
        """One update at `scale` times the learning rate; clears the gradients."""
        lr = self.lr * scale
        for shape, group in self.groups.items():
            gradient = torch.stack([_wide(p.grad) for p in group if p.grad is not None])
            buffer = self.buffers[shape]
            buffer.lerp_(gradient, 1 - self.momentum)
            update = _orthogonal(gradient.lerp(buffer, self.momentum))
            for parameter, direction in zip(group, update, strict=True):
                parameter.mul_(1 - lr * self.decay)
                tall = parameter.shape[0] > parameter.shape[1]
                ratio = (parameter.shape[0] / parameter.shape[1]) ** 0.5 if tall else 1.0
                parameter.add_(direction.T if tall else direction, alpha=-lr * ratio)
                parameter.grad = None


def _wide(matrix: Tensor) -> Tensor:
    return matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T


def _orthogonal(matrices: Tensor) -> Tensor:
    x = (matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)).bfloat16()
    for _ in range(5):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.float()


class Optimizer:
    """Muon for every matrix inside `blocks`, AdamW for embeddings, norms and heads."""

    def __init__(self, model: nn.Module, lr: float, adam_share: float = 0.15) -> None:
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        matrices = [p for name, p in named if "blocks" in name and p.ndim == 2]
        chosen = {id(p) for p in matrices}
        self._adam_lr = lr * adam_share
        self.muon = Muon(matrices, lr)
        self.adam = torch.optim.AdamW(
            [p for _, p in named if id(p) not in chosen], lr=self._adam_lr, betas=(0.9, 0.97), weight_decay=0.0
        )

    def step(self, scale: float) -> None:
        """One update of everything at `scale` times the learning rates."""
        for group in self.adam.param_groups:
            group["lr"] = self._adam_lr * scale
        self.muon.step(scale)
        self.adam.step()
        self.adam.zero_grad()

    def state(self) -> dict[str, Tensor]:
        """Everything needed to go on, as plain tensors."""
        tensors = {f"muon.{i}": buffer for i, buffer in enumerate(self.muon.buffers.values())}
        for index, values in self.adam.state_dict()["state"].items():
            tensors |= {f"adam.{index}.{name}": torch.as_tensor(value) for name, value in values.items()}
        return {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take over what `state` returned."""
        for i, buffer in enumerate(self.muon.buffers.values()):
            buffer.copy_(tensors[f"muon.{i}"])
        state: dict[int, dict[str, Any]] = {}
        for name, tensor in tensors.items():
            kind, _, rest = name.partition(".")
            if kind == "adam":
                index, _, field = rest.partition(".")
                state.setdefault(int(index), {})[field] = tensor
        self.adam.load_state_dict({"state": state, "param_groups": self.adam.state_dict()["param_groups"]})
