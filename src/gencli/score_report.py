"""A scored text as lines: its tokens in rows or in colours, its figures, and what would let it through. Knows no terminal and no model."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from gencli.bar import Palette, bar, fit, label, quote
from gencli.events import REASONS
from gencli.scores import BITS, Change, Ending, Reach, Score, ScoredToken, shares_of_ranks
from gencli.terminal import visible

BAR_CELLS, FULL_BAR = 16, 16.0  # cells of a row's bar, and the bits that fill it
HEATS = (1, 4, 8, 12)  # bits: up to the first a token is no surprise, beyond the last a great one
NAME = 18  # columns before a figure
GAP = "  "


def token_rows(tokens: Sequence[ScoredToken], palette: Palette) -> list[str]:
    """A row a token: rank, surprisal as a number and a bar, the token, and what blocks it."""
    rank = max(4, *(len(f"{token.rank:,}") for token in tokens))
    lines = [palette("head", f"{'rank':>{rank}}{GAP}{'bits':>6}")]
    for token in tokens:
        drawn = fit(bar(token.surprisal / FULL_BAR, BAR_CELLS), BAR_CELLS)
        name = label(token.bytes.decode("utf-8", "replace"), token.id)
        row = f"{token.rank:>{rank},}{GAP}{token.surprisal:6.2f} {palette(f'heat{_heat(token)}', drawn)}{GAP}"
        lines.append(row + (f"{palette('removed', name)}{GAP}{palette('stage', _blocked(token))}" if token.removed_by else name))
    return lines


def painted(tokens: Sequence[ScoredToken], palette: Palette) -> list[str]:
    """The text in colours by surprisal, blocked tokens struck out, its control characters made visible; then the key to the colours."""
    text, heat, struck = "", 0, False
    for token in tokens:
        heat, struck = max(heat, _heat(token)), struck or token.removed_by is not None
        if token.text:  # a character of several tokens is as surprising as the most surprising of them
            text += palette("removed" if struck else f"heat{heat}", visible(token.text))
            heat, struck = 0, False
    names = [*(f"up to {_count(border, 'bit')}" for border in HEATS), "more"]
    key = [palette(f"heat{at}", name) for at, name in enumerate(names)]
    blocked = [palette("removed", "blocked")] if any(token.removed_by for token in tokens) else []
    return [*text.split("\n"), "", GAP.join([*key, *blocked])]


def figure_lines(score: Score, width: int | None, preset: str | None) -> list[str]:
    """Log-probability, bits per byte, perplexity, ranks, and what the preset (by its name) makes of the text."""
    prompt = f", after {_count(len(score.prompt_ids), 'token')}"
    ranks = GAP.join(f"{name.replace('-', ' to ')}: {100 * share:.0f} %" for name, share in shares_of_ranks(score.tokens).items() if share)
    figures = [
        ("scored", f"{_count(len(score.tokens), 'token')}, {_count(score.bytes, 'byte')}{prompt}"),
        ("log-probability", f"{score.raw_logprob:.2f} nats, {-score.raw_logprob * BITS:.2f} bits"),
        ("bits per byte", f"{score.bits_per_byte:.3f}"),
        ("perplexity", f"{score.perplexity:,.2f} a token, {score.surprisal:.2f} bits"),
        ("ranks", ranks),
    ]
    lines = _named(figures, width)
    if score.reach is not None:
        lines += ["", *reach_lines(score, score.reach, width, preset)]
    return lines


def reach_lines(score: Score, reach: Reach, width: int | None, preset: str | None) -> list[str]:
    """Whether the preset could have produced the text along these tokens; if not, what blocks it and what would let it through."""
    who = f"preset {preset}" if preset else "these stages"
    if reach.reachable:
        return _named([(who, f"could have produced it along these tokens, with a log-probability of {score.logprob:.2f} nats")], width)
    told = [(who, "cannot have produced it along these tokens")]
    if reach.first is not None:
        blocked = f"{reach.blocked:,} of {_count(len(score.tokens), 'token')} {'is' if reach.blocked == 1 else 'are'} blocked"
        told = [(who, f"{told[0][1]}: {blocked}")]
        told += [("the first", f"token {reach.first.place + 1}, {_name(reach.first)}, {_blocked(reach.first)}"), *_help(reach)]
    if reach.ending is not None:
        told.append(("the end", _ended(reach.ending, score.tokens)))
    return _named(told, width)


def _help(reach: Reach) -> list[tuple[str, str]]:
    if reach.changes:
        names = ["smallest change", *["or"] * len(reach.changes)]
        return [(name, _change(change)) for name, change in zip(names, reach.changes, strict=False)]
    if reach.together:
        heads = ["no single knob", *[""] * len(reach.together)]
        texts = ["lets it through; together these do:", *map(_change, reach.together)]
        return list(zip(heads, texts, strict=True))
    return [("no knob", "lets it through, not even one of every stage that blocks")]


def _change(change: Change) -> str:
    return f"{change.typed} (now {change.old!r})" if not isinstance(change.old, tuple) else change.typed


def _ended(ending: Ending, tokens: Sequence[ScoredToken]) -> str:
    stop = f" ({quote(ending.stop)})" if ending.stop else ""
    return f"a run would have ended at token {ending.place + 1}, {_name(tokens[ending.place])}: {REASONS[ending.reason]}{stop}"


def _blocked(token: ScoredToken) -> str:
    by = "no draw can hit it" if token.removed_by == "draw" else f"cut by {token.removed_by}"
    return f"{by}: {token.because}" if token.because else by


def _name(token: ScoredToken) -> str:
    return label(token.bytes.decode("utf-8", "replace"), token.id)


def _heat(token: ScoredToken) -> int:
    return sum(token.surprisal > border for border in HEATS)


def _named(figures: Sequence[tuple[str, str]], width: int | None) -> list[str]:
    """Names and what they tell, in two columns; only a terminal has them wrapped."""
    lines = []
    column = max(NAME, *(len(name) + len(GAP) for name, _ in figures))
    for name, text in figures:
        room = None if width is None else max(20, width - column)
        first, *more = textwrap.wrap(text, room, break_on_hyphens=False) if room else [text]
        lines += [f"{name:{column}}{first}", *(f"{'':{column}}{line}" for line in more)]
    return lines


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"
