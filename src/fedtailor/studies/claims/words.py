"""Evidence in words, for the terminal and for the manual."""

from .evidence import Evidence


def number(value: float) -> str:
    """Return an effect with its sign, to three digits: +0.0732, −31.6."""
    return f"{value:+.3g}".replace("-", "−")


def effects_text(line: Evidence | None) -> str:
    """Return the effect of each seed; or their mean, standard deviation and number, where single values were not kept."""
    if line is None:
        return ""
    if line.effects:
        return ", ".join(map(number, line.effects))
    if line.mean is None:
        return ""
    return f"mean {number(line.mean)}" + (f" ± {line.sd:.3g} (n = {line.n})" if line.sd is not None else "")


def interval_text(line: Evidence | None) -> str:
    """Return the 95 % interval of the mean effect; nothing where there is none."""
    interval = line.interval() if line else None
    return f"{number(interval[0])} to {number(interval[1])}" if interval else ""
