"""Counts and durations as people read them."""

KILO = 1000


def bytes_text(count: float) -> str:
    """Return bytes in a unit that fits: 999 B, 1.8 MB."""
    return scaled(count, "B", ["", "k", "M", "G", "T", "P"])


def scaled(count: float, unit: str, prefixes: list[str]) -> str:
    """Return a count with three digits and the decimal prefix that fits."""
    power = 0
    while count >= KILO and power < len(prefixes) - 1:
        count, power = count / KILO, power + 1
    digits = 0 if power == 0 or count >= 100 else 1
    return f"{count:.{digits}f} {prefixes[power]}{unit}"


def flops_text(count: float) -> str:
    """Return floating-point operations in a unit that fits: 1.2 PFLOP."""
    return scaled(count, "FLOP", ["", "k", "M", "G", "T", "P", "E"])


def seconds_text(seconds: float) -> str:
    """Return a duration as people say it: 0.4 s, 41 s, 5 min 12 s, 2 h 03 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
