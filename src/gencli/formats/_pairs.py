"""Which numbers of a head turn together in rotary positions: the halves of a head (Hugging Face) or neighbours (Meta). Knows no format."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def halves(tensor: Tensor, heads: int) -> Tensor:
    """A weight or bias whose rows lie as neighbours, with the rows of each head as halves."""
    return tensor.view(heads, -1, 2, *tensor.shape[1:]).transpose(1, 2).reshape(tensor.shape)


def neighbours(tensor: Tensor, heads: int) -> Tensor:
    """The way back."""
    return tensor.reshape(heads, 2, -1, *tensor.shape[1:]).transpose(1, 2).reshape(tensor.shape)
