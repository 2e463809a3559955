"""Fixed answers and orders of stages as lines. Knows no terminal and no model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gencli.bar import Palette, bar, cells, fit, label, percent, quote, shares
from gencli.scores import BITS, ScoredChoice, ScoredToken

if TYPE_CHECKING:
    from gencli.inspection import Outcome

GAP = "  "
BAR_CELLS = 12
MOST_ORDERS = 8  # of one outcome that a terminal lists


def choice_lines(choices: Sequence[ScoredChoice], width: int | None, palette: Palette, staged: bool) -> list[str]:
    """A row an answer: its share among all, raw and under the preset (where there are stages), its bits, then its tokens."""
    names = [quote(choice.text) for choice in choices]
    wide = min(max(map(cells, names)), width // 3 if width else 1 << 30)
    raw, _, _ = shares([choice.raw_share for choice in choices])
    final = shares([choice.share or 0.0 for choice in choices])[0] if any(choice.share for choice in choices) else None
    head = f"{'':{wide}}{GAP}{'raw share':{8 + BAR_CELLS}}{GAP}"
    lines = [palette("head", f"{head}{f'''{'preset':{8 + BAR_CELLS}}{GAP}''' if staged else ''}{'bits':>6}".rstrip())]
    for at, choice in enumerate(choices):
        parts = [fit(names[at], wide), _share(raw[at], choice.raw_share, palette("raw", _bar(choice.raw_share)))]
        if staged:
            blocked = next((token for token in choice.tokens if token.removed_by), None)
            if blocked or final is None:
                parts.append(palette("stage", fit(f"cut by {blocked.removed_by}" if blocked else "", 8 + BAR_CELLS)))
            else:
                parts.append(_share(final[at], choice.share or 0.0, palette("final", _bar(choice.share or 0.0))))
        lines.append(GAP.join([*parts, f"{-choice.raw_logprob * BITS:6.2f}"]))
    lines += ["", palette("faint", "token by token, along the tokenizer's own path of each answer:")]
    for name, choice in zip(names, choices, strict=True):
        lines += _tokens(fit(name, wide), choice.tokens, width, palette, staged)
    return lines


def _tokens(name: str, tokens: Sequence[ScoredToken], width: int | None, palette: Palette, staged: bool) -> list[str]:
    """The tokens after the name, on as many lines as a window needs."""
    lines, filled, start = [name], cells(name), " " * cells(name)
    for token in tokens:
        size = len(GAP) + cells(_token(token, Palette(), staged))
        if width is not None and filled + size > width and filled > len(start):
            lines.append(start)
            filled = len(start)
        lines[-1] += GAP + _token(token, palette, staged)
        filled += size
    return lines


def _token(token: ScoredToken, palette: Palette, staged: bool) -> str:
    name = label(token.bytes.decode("utf-8", "replace"), token.id)
    if staged and token.removed_by:
        return f"{palette('removed', name)} {token.surprisal:.2f} {palette('stage', f'cut by {token.removed_by}')}"
    return f"{name} {token.surprisal:.2f}"


def _bar(share: float) -> str:
    return fit(bar(share, BAR_CELLS), BAR_CELLS)


def _share(points: int, share: float, drawn: str) -> str:
    return f"{percent(points, share > 0)} {drawn}"


def order_lines(outcomes: Sequence[Outcome], width: int | None, palette: Palette) -> list[str]:
    """What every order leaves: orders with one result together, under what they keep; the preset's own is marked."""
    total = sum(len(outcome.orders) for outcome in outcomes)
    lines = [f"{total} order{'s' * (total != 1)} of the stages, {len(outcomes)} result{'s' * (len(outcomes) != 1)}"]
    for outcome in outcomes:
        count = len(outcome.orders)
        kept = f"{outcome.kept:,} token{'s' * (outcome.kept != 1)} of {percent(round(outcome.mass * 10000)).strip()}"
        lines += ["", palette("head", f"kept {kept}, entropy {outcome.entropy:.2f} bits, by {count} order{'s' * (count != 1)}")]
        for at, order in enumerate(outcome.orders[: None if width is None else MOST_ORDERS]):
            own = outcome.own and at == 0
            text = " › ".join(order)
            lines.append(palette("chosen", f"▸ {text}  (the preset's own)") if own else f"  {text}")
        if width is not None and count > MOST_ORDERS:
            lines.append(palette("faint", f"  and {count - MOST_ORDERS} more, which a pipe or --format csv lists"))
    return lines
