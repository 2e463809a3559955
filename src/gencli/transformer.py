"""The stack of layers between token ids and logits, and the ways in which one more token goes through it. Knows no family.

Prompts go layer by layer. A token a row goes through a compiled step where the linear layers are compiled,
and on a CUDA device through a graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gencli.attention import sight
from gencli.errors import UsageError
from gencli.experts import Experts
from gencli.graphs import Graphs

if TYPE_CHECKING:
    from gencli.attention import Linear
    from gencli.cache import Keeps, KVCache
    from gencli.compiled.step import Step
    from gencli.graphs import Places
    from gencli.layers import Block, Embedding, Norm
    from gencli.rotary import Rotary


class Transformer:
    """Embedding, blocks in their order, a norm, the head: token ids -> logits.

    Positions come in by `rotary` angles within attention (`rotaries`: by a layer's own, or none), or as a
    learned table (context, width). With a `cap`, a logit x is cap x tanh(x / cap).
    """

    def __init__(
        self,
        embedding: Embedding,
        blocks: Sequence[Block],
        norm: Norm,
        head: Linear,
        context: int,
        rotary: Rotary | None = None,
        positions: Tensor | None = None,
        rotaries: Sequence[Rotary | None] | None = None,
        cap: float | None = None,
    ) -> None:
        self.embedding, self.blocks, self.norm, self.head = embedding, tuple(blocks), norm, head
        self.context = context
        self.rotaries = tuple(rotaries) if rotaries is not None else (rotary,) * len(self.blocks)
        self.rotary, self.positions = next(filter(None, self.rotaries), None), positions
        self.cap = cap
        self.windows = frozenset(block.attention.window for block in self.blocks)
        self._bound = min((window for window in self.windows if window), default=context)
        # where angles depend on the length of a text: up to which length it keeps those that it has at a given one
        self.horizon = next((each.horizon for each in self.rotaries if each and each.scaling.changes), None)
        self._step = self._compile() if hasattr(head, "held") else None
        self.experts = any(isinstance(block.mlp, Experts) for block in self.blocks)
        # a graph holds no decision: of a router, or of a text's length
        fixed = embedding.table.device.type == "cuda" and self.horizon is None and not self.experts
        self.graphs = Graphs(self._one_more) if fixed else None

    def __call__(self, ids: Tensor, cache: KVCache | None, last: bool, horizon: int | None = None) -> Tensor:
        """`ids` (rows, T) -> logits (rows, T, vocabulary) float32, of the last position only with `last`.

        The cache moves on by T; where its rows differ in length, T is 1. `horizon` is that of the text which
        the ids are a part of; None where they are its end. Raises `UsageError` for positions beyond the context.
        """
        length = ids.shape[1]
        start = cache.length if cache is not None else 0
        end = start + length
        if end > self.context:
            raise UsageError(f"the context holds {self.context} positions, and {end} are asked for.")
        if cache is not None and length == 1:
            if self._step is not None and self._fits(cache, start):
                return self._compiled(self._step, ids, cache, horizon)
            if self.graphs is not None:
                return self.graphs.run(ids, cache)
        # where every row's new positions stand: one slice for all, or an index (rows,)
        places = slice(start, end) if cache is None or cache.even else torch.from_numpy(cache.lengths).to(ids.device)
        if cache is not None:
            cache.begin(length)
        x = self._through(ids, places, end, cache, horizon)
        if cache is not None:
            cache.advance()
        if last:
            x = x.view(len(ids), length, -1)[:, -1]
        return self._logits(x).view(len(ids), 1 if last else length, -1)

    def _through(self, ids: Tensor, places: slice | Tensor, end: int, cache: Keeps | None, horizon: int | None = None) -> Tensor:
        """What the layers make of `ids` (rows, T): (rows x T, width)."""
        rows = len(ids)
        x = self._embedded(ids, places)
        angles = {each: each.angles(places, end, horizon) if each else None for each in set(self.rotaries)}
        sights = {window: sight(places, end, ids.device, window) for window in self.windows}
        for layer, (block, rotary) in enumerate(zip(self.blocks, self.rotaries, strict=True)):
            x = block(x, rows, layer, cache, angles[rotary], sights[block.attention.window])
        return x

    def _embedded(self, ids: Tensor, places: slice | Tensor) -> Tensor:
        """What goes into the first layer: (rows x T, width)."""
        x = self.embedding(ids)  # (rows, T, width)
        if self.positions is not None:
            new = self.positions[places]
            x = x + (new if isinstance(places, slice) else new[:, None])
        return x.view(ids.numel(), -1)

    def _logits(self, x: Tensor) -> Tensor:
        logits = self.head(self.norm(x))
        return logits if self.cap is None else logits.div_(self.cap).tanh_().mul_(self.cap)

    def _one_more(self, ids: Tensor, places: Places) -> Tensor:
        """Logits (rows, vocabulary) after a token a row, computed from what lies at `places`: nothing of it goes through Python."""
        places.read = [each.table(places.end) for each in set(self.rotaries) if each]
        return self._logits(self._through(ids, places.lengths, places.end, places))

    def _compiled(self, step: Step, ids: Tensor, cache: KVCache, horizon: int | None) -> Tensor:
        places = slice(cache.length, cache.length + 1) if cache.even else torch.from_numpy(cache.lengths)
        angles = self.rotary.table(cache.length + 1, horizon) if self.rotary else None
        return step.run(self._embedded(ids, places), cache, angles)[:, None]

    def _fits(self, cache: KVCache, start: int) -> bool:
        """Whether a token a row can go through the compiled step: no window bounds it, and all rows turn by the same angles."""
        if start >= self._bound:
            return False
        return self.horizon is None or len({self.horizon(length + 1) for length in cache.lengths.tolist()}) == 1

    def _compile(self) -> Step | None:
        """A step of all the layers; None where one of them cannot be compiled."""
        from gencli.compiled.program import Unfit
        from gencli.compiled.step import Step

        step = Step()
        try:
            if self.cap is not None or len({each for each in self.rotaries if each}) > 1:
                raise Unfit
            for block, rotary in zip(self.blocks, self.rotaries, strict=True):
                block.compile(step, rotary is not None)
            step.multiply(self.head, "x", "logits", self.norm.compiled())
        except Unfit:
            return None
        return step
