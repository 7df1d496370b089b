# plot.py - the figures as a picture (SVG): time against size, both logarithmic, a line a tool.
from math import log10
from statistics import median

COLOURS = {"tapnet-lab": "#0b6bb5", "limit": "#222", "ip -batch": "#c9730a", "mininet": "#b02a4c"}
DASHES = {"limit": "5 4"}
WIDTH, HEIGHT, LEFT, TOP, GAP = 205, 190, 78, 78, 18
TITLES = {"star": "star: nodes on a bridge", "chain": "chain: routers in a row",
          "fat": "fat: links, √n nodes of √n", "taps": "taps: TAPs of four queues"}


def seconds(power):
    return f"{10 ** power:g} s" if power >= 0 else f"{10 ** (power + 3):g} ms"


class Panel:
    """One kind, up or down; x and y are powers of ten."""

    def __init__(self, left, top, xs, ys):
        self.left, self.top, self.xs, self.ys = left, top, xs, ys

    def x(self, size):
        low, high = self.xs
        return self.left + (log10(size) - low) / (high - low) * WIDTH

    def y(self, took):
        low, high = self.ys
        return self.top + HEIGHT - (log10(took) - low) / (high - low) * HEIGHT

    def frame(self, numbers, sizes):
        yield f'<rect class="panel" x="{self.left}" y="{self.top}" width="{WIDTH}" height="{HEIGHT}"/>'
        for power in range(self.ys[0], self.ys[1] + 1):
            y = self.y(10 ** power)
            yield f'<line class="grid" x1="{self.left}" y1="{y:.1f}" x2="{self.left + WIDTH}" y2="{y:.1f}"/>'
            if numbers:
                yield f'<text class="y" x="{self.left - 7}" y="{y + 4:.1f}">{seconds(power)}</text>'
        for size in sizes:
            x = self.x(size)
            yield f'<line class="grid" x1="{x:.1f}" y1="{self.top}" x2="{x:.1f}" y2="{self.top + HEIGHT}"/>'
            yield f'<text class="x" x="{x:.1f}" y="{self.top + HEIGHT + 17}">{size}</text>'

    def line(self, tool, points):
        colour = COLOURS[tool]
        at = " ".join(f"{self.x(size):.1f},{self.y(took):.1f}" for size, took in points)
        dash = f' stroke-dasharray="{DASHES[tool]}"' if tool in DASHES else ""
        yield f'<polyline points="{at}" stroke="{colour}"{dash}/>'
        if tool not in DASHES:
            for size, took in points:
                yield f'<circle cx="{self.x(size):.1f}" cy="{self.y(took):.1f}" r="3" fill="{colour}"/>'


def powers(values):
    low, high = log10(min(values)), log10(max(values))
    return int(low // 1), max(int(-(-high // 1)), int(low // 1) + 1)


def legend(tools):
    x = LEFT
    for tool in tools:
        dash = f' stroke-dasharray="{DASHES[tool]}"' if tool in DASHES else ""
        said = {"limit": "the least that the kernel needs", "mininet": "Mininet"}.get(tool, tool)
        yield f'<polyline points="{x},38 {x + 28},38" stroke="{COLOURS[tool]}"{dash}/>'
        yield f'<text class="legend" x="{x + 35}" y="42">{said}</text>'
        x += 60 + 7.2 * len(said)


def svg(labs):
    """labs: {kind: {size: {tool: {"up": [s], "down": [s]}}}}."""
    medians = {(kind, what, tool, size): median(tools[tool][what]) for kind, sizes in labs.items()
               for size, tools in sizes.items() for tool in tools for what in ("up", "down")}
    sizes = sorted({size for _, _, _, size in medians})
    margin = 0.12 if len(sizes) > 1 else 0.5
    xs, ys = (log10(sizes[0]) - margin, log10(sizes[-1]) + margin), powers(medians.values())
    kinds, tools = list(labs), [t for t in COLOURS if any(t == key[2] for key in medians)]
    width, height = LEFT + len(kinds) * (WIDTH + GAP), TOP + 2 * (HEIGHT + 52) + 4
    width = max(width, 560)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
           'font-family="sans-serif" font-size="12">',
           "<title>Time to make and to drop labs, against their size</title>",
           "<style>.panel { fill: #fff; stroke: #9ab } .grid { stroke: #e3e9ef } polyline { fill: none; stroke-width: 2 } "
           "text { fill: #234 } .x { text-anchor: middle } .y { text-anchor: end } .head { font-size: 13px; font-weight: bold } "
           ".legend { font-size: 13px } .side { font-size: 13px; font-weight: bold; text-anchor: middle }</style>",
           f'<rect width="{width}" height="{height}" fill="#fff"/>',
           f'<text class="head" x="{LEFT}" y="20">How long a lab of so many takes, and when the kernel has let go of it</text>',
           *legend(tools)]
    for row, what in enumerate(("up", "down")):
        top = TOP + row * (HEIGHT + 52)
        y = top + HEIGHT / 2
        out.append(f'<text class="side" x="14" y="{y}" transform="rotate(-90 14 {y})">{what}</text>')
        for column, kind in enumerate(kinds):
            panel = Panel(LEFT + column * (WIDTH + GAP), top, xs, ys)
            out += panel.frame(column == 0, sizes)
            out.append(f'<text class="x" x="{panel.left + WIDTH / 2}" y="{top - 8}">{TITLES[kind]}</text>')
            for tool in tools:
                points = [(size, medians[kind, what, tool, size]) for size in sizes if (kind, what, tool, size) in medians]
                if points:
                    out += panel.line(tool, points)
    return "\n".join(out + ["</svg>"]) + "\n"
