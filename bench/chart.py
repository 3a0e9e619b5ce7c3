"""A chart of cost against size, as SVG: one line for each system and load, both axes logarithmic."""

from collections.abc import Sequence
from html import escape
from math import ceil, floor, log10

Line = tuple[str, Sequence[tuple[float, float]]]
"""A name, and points of users and milliseconds."""

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 200, 50, 50
COLOURS = ("#1f6feb", "#d9480f", "#2b8a3e", "#862e9c")


def svg(title: str, lines: Sequence[Line]) -> str:
    """The chart."""
    points = [point for _, each in lines for point in each]
    across = _decades([users for users, _ in points])
    upwards = _decades([cost for _, cost in points])

    def place(users: float, cost: float) -> tuple[float, float]:
        x = LEFT + (WIDTH - LEFT - RIGHT) * _share(users, across)
        y = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * _share(cost, upwards)
        return round(x, 1), round(y, 1)

    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12" role="img" aria-label="{escape(title)}">'
    )
    parts = [
        opening,
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="24" font-size="15">{escape(title)}</text>',
    ]
    for decade in range(across[0], across[1] + 1):
        x, bottom = place(10.0**decade, 10.0 ** upwards[0])
        parts.append(f'<line x1="{x}" x2="{x}" y1="{TOP}" y2="{bottom}" stroke="#ddd"/>')
        parts.append(f'<text x="{x}" y="{bottom + 18}" text-anchor="middle">{10**decade:,}</text>')
    for decade in range(upwards[0], upwards[1] + 1):
        left, y = place(10.0 ** across[0], 10.0**decade)
        parts.append(f'<line x1="{left}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4}" text-anchor="end">{10.0**decade:g} ms</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">users stored</text>')
    for number, (name, each) in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        placed = [place(*point) for point in each]
        path = " ".join(f"{x},{y}" for x, y in placed)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x}" cy="{y}" r="3.5" fill="{colour}"/>' for x, y in placed]
        y = TOP + 18 * number
        parts.append(f'<rect x="{WIDTH - RIGHT + 16}" y="{y}" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{WIDTH - RIGHT + 34}" y="{y + 11}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten that hold all values between them."""
    known = [value for value in values if value > 0] or [1.0]
    low, high = floor(log10(min(known))), ceil(log10(max(known)))
    return low, max(high, low + 1)


def _share(value: float, decades: tuple[int, int]) -> float:
    low, high = decades
    return (log10(max(value, 10.0**low)) - low) / (high - low)
