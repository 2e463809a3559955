"""Mixtures of experts: many MLPs, of which a token goes through the few that a router chooses. Knows no family and no attention."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Layer = Callable[[Tensor], Tensor]  # (N, width) -> (N, width)


class Experts:
    """`chosen` of the experts a token, weighted by their probability (Shazeer et al. 2017, arXiv:1701.06538).

    `router` (experts, width) stays in float32 under every precision, for what it decides is all or nothing. With
    `normalised` the weights of the chosen ones add up to 1. A `shared` expert takes every token, weighted by the
    sigmoid of its own gate (1, width).
    """

    def __init__(
        self, router: Tensor, experts: Sequence[Layer], chosen: int, normalised: bool, shared: tuple[Layer, Tensor] | None = None
    ) -> None:
        self._router, self._experts = router.float(), tuple(experts)
        self._chosen, self._normalised = chosen, normalised
        self._shared = (shared[0], shared[1].float()) if shared else None

    def __call__(self, x: Tensor) -> Tensor:
        """`x` (N, width) -> the same shape; only experts that a token chose are computed."""
        weights, chosen = F.linear(x, self._router).softmax(-1).topk(self._chosen)  # (N, chosen)
        if self._normalised:
            weights /= weights.sum(-1, keepdim=True)
        if self._shared:
            expert, gate = self._shared
            result = expert(x) * F.linear(x, gate).sigmoid_()
        else:
            result = torch.zeros_like(x)
        if len(x) == 1:  # a step: nothing to gather
            for number, weight in zip(chosen[0].tolist(), weights[0], strict=True):
                result += self._experts[number](x) * weight
            return result
        for number in sorted(set(chosen.flatten().tolist())):
            rows, places = (chosen == number).nonzero(as_tuple=True)
            result.index_add_(0, rows, self._experts[number](x[rows]) * weights[rows, places, None])
        return result
