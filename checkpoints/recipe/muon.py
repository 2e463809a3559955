"""The optimiser: Muon for hidden matrices, AdamW for the embedding and the norms. Knows no network and no schedule.

Muon (Jordan et al. 2024): a step is the momentum with all its singular values brought near 1, by a Newton-Schulz iteration.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
ITERATIONS = 5
QUINTIC = (3.4445, -4.7750, 2.0315)  # the published coefficients: steep at 0, within about 0.3 of 1 after five rounds


def orthogonal(matrices: Tensor) -> Tensor:
    """Matrices (count, rows, columns) with singular values near 1 and the same singular vectors."""
    a, b, c = QUINTIC
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(ITERATIONS):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Optimiser:
    """One step for all parameters; `rate` is relative: 1 at the plateau."""

    def __init__(self, named: Iterable[tuple[str, nn.Parameter]], muon: float = 0.02, adam: float = 4e-3, decay: float = 0.1) -> None:
        groups: dict[tuple[int, ...], list[nn.Parameter]] = {}
        self.others: list[nn.Parameter] = []
        for name, parameter in named:
            if parameter.dim() == 2 and "embed" not in name:
                groups.setdefault(tuple(parameter.shape), []).append(parameter)
            else:
                self.others.append(parameter)
        self.groups = list(groups.values())
        self.momenta = [torch.zeros_like(torch.stack([each.data for each in group])) for group in self.groups]
        self.muon, self.decay = muon, decay
        self.adam = torch.optim.AdamW(self.others, lr=adam, betas=(0.9, 0.95), eps=1e-10, weight_decay=0.0)
        self.adam_rate = adam

    @torch.no_grad()
    def step(self, rate: float) -> None:
        for group, momentum in zip(self.groups, self.momenta, strict=True):
            slope = torch.stack([_slope(each) for each in group])
            momentum.lerp_(slope, 1 - MOMENTUM)
            change = orthogonal(slope.lerp_(momentum, MOMENTUM))
            rows, columns = change.shape[-2:]
            far = rate * self.muon * max(1.0, rows / columns) ** 0.5
            for parameter, each in zip(group, change, strict=True):
                parameter.mul_(1 - rate * self.muon * self.decay).sub_(each, alpha=far)
                parameter.grad = None
        for settings in self.adam.param_groups:
            settings["lr"] = rate * self.adam_rate
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, object]:
        return {"momenta": self.momenta, "adam": self.adam.state_dict()}

    def load_state_dict(self, state: dict[str, object]) -> None:
        for mine, saved in zip(self.momenta, state["momenta"], strict=True):  # type: ignore[call-overload]
            mine.copy_(saved)
        self.adam.load_state_dict(state["adam"])  # type: ignore[arg-type]


def _slope(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None, "a step needs gradients"
    return parameter.grad
