"""The one draw: a uniform number against the survivors' cumulative sum. Knows no stage, model or text."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from gencli.candidates import Candidates, array
from gencli.errors import RunError


def draw(candidates: Candidates, uniforms: Sequence[float], step: int = 0) -> list[int]:
    """One token id a row, by one number in [0, 1) a row.

    Walks the survivors in ascending id with a float64 cumulative sum: no sort, and the same token
    whatever was removed elsewhere. Raises `RunError`, naming `step`, for NaN logits or an empty row.
    """
    peaks = candidates.peak[:, 0].tolist()
    if any(map(math.isnan, peaks)):
        raise RunError(f"the logits at step {step} are not numbers (NaN); the checkpoint is damaged or its precision too low.")
    if any(map(math.isinf, peaks)):
        raise RunError(f"the logits at step {step} are infinite or nothing is left in play; the checkpoint or a bias is at fault.")
    sums = array(candidates.weights.cumsum(dim=1, dtype=torch.float64))
    # below 1 by a bit or more, a number times the total rounds to less than the total: a survivor is always met
    at = [int(row.searchsorted(number * row[-1], side="right")) for row, number in zip(sums, uniforms, strict=True)]
    return at if candidates.ids is None else [int(ids[column]) for ids, column in zip(array(candidates.ids), at, strict=True)]
