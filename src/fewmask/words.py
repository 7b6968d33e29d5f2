"""Amounts as people read them."""

from __future__ import annotations

from collections.abc import Sequence

from fewmask.errors import ConfigError


def duration(seconds: float | None) -> str:
    """``"4 min 12 s"``."""
    if seconds is None:
        return "–"
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"


def count(amount: int, thing: str) -> str:
    """``"1 scan"``, ``"12 000 scans"``; the space is one that does not break and that every code page has."""
    return f"{amount:,} {thing}{'' if amount == 1 else 's'}".replace(",", "\u00a0")


def listed(names: Sequence[str]) -> str:
    """``"a, b and c"``; nothing where there is none."""
    *most, last = names or [""]
    return f"{', '.join(most)} and {last}" if most else last


def parse_amount(text: str | None, option: str) -> int | float | None:
    """A number of cases or a share of them: ``8``, ``0.1`` or ``10%``.

    Raises:
        ConfigError: neither.
    """
    if text is None:
        return None
    try:
        amount = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        amount = -1
    share = text.endswith("%") or not text.isdigit()
    if not 0 <= amount < float("inf") or (share and amount > 1):
        raise ConfigError(f"{option} {text!r}: give a number of cases such as 8, or a share such as 0.1 or 10%")
    return amount if share else int(text)
