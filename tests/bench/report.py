# report.py - what the figures say: tables in Markdown, of targets and of all medians.
from statistics import median

NAMES = ("tapnet-lab", "limit", "ip -batch", "mininet")


def ms(seconds):
    value = seconds * 1e3
    return f"{value:.0f} ms" if value >= 100 else f"{value:.1f} ms" if value >= 10 else f"{value:.2f} ms"


def table(head, rows):
    rows = [head, *rows]
    widths = [max(len(row[k]) for row in rows) for k in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(w) if k == 0 else cell.rjust(w)
                               for k, (cell, w) in enumerate(zip(row, widths))) + " |" for row in rows]
    lines.insert(1, "| " + " | ".join("-" * w if k == 0 else "-" * (w - 1) + ":" for k, w in enumerate(widths)) + " |")
    return "\n".join(lines)


class Verdict:
    """The targets that could be judged: rows of the table, and which were missed."""

    def __init__(self):
        self.rows, self.missed = [], []

    def add(self, what, target, measured, against, value, fine):
        self.rows.append((what, target, measured, against, value, "ok" if fine else "missed"))
        if not fine:
            self.missed.append(what)

    def at_most(self, what, most, ours, theirs):
        """ours / theirs."""
        self.add(what, f"≤ {most} ×", ms(ours), ms(theirs), f"{ours / theirs:.2f} ×", ours <= most * theirs)

    def at_least(self, what, least, ours, theirs):
        """theirs / ours."""
        self.add(what, f"≥ {least} ×", ms(ours), ms(theirs), f"{theirs / ours:.1f} ×", theirs >= least * ours)

    def below(self, what, most, value, unit):
        self.add(what, f"≤ {most} {unit}", f"{value:.3g} {unit}", "", "", value <= most)

    def table(self):
        return table(("target", "", "median", "against", "ratio", ""), self.rows)

    def summary(self):
        if not self.rows:
            return "no target is for these"
        return f"missed: {'; '.join(self.missed)}" if self.missed else f"all {len(self.rows)} targets are met"


def labs_verdict(verdict, labs):
    """labs: {kind: {size: {tool: {"up": [s], "down": [s]}}}}."""
    def median_of(kind, size, tool, what):
        try:
            return median(labs[kind][size][tool][what])
        except KeyError:
            return None

    def compare(judge, name, bound, kind, size, tool, what):
        ours, theirs = (median_of(kind, size, t, what) for t in ("tapnet-lab", tool))
        if ours is not None and theirs is not None:
            judge(f"{kind} {size} {what}{name}", bound, ours, theirs)

    for kind, sizes in labs.items():
        for size in [s for s in sizes if s >= 100]:  # below, starting a process is most of it
            compare(verdict.at_most, ", limit", 1.15, kind, size, "limit", "up")
            compare(verdict.at_most, ", limit", 1.10, kind, size, "limit", "down")
            if kind == "star":
                compare(verdict.at_least, ", Mininet", 20, kind, size, "mininet", "up")
            if kind == "star" and size >= 1000:
                compare(verdict.at_least, ", Mininet", 20, kind, size, "mininet", "down")
            if kind == "taps" or kind in ("star", "chain") and size >= 1000:  # fat has few namespaces, so few processes
                compare(verdict.at_least, ", ip -batch", 20 if kind == "taps" else 5, kind, size, "ip -batch", "up")
        for what in ("up", "down"):
            four = [median_of(kind, size, tool, what) for size in (1000, 4000) for tool in ("tapnet-lab", "limit")]
            if None not in four:
                verdict.at_most(f"{kind} {what}, growth 1000 to 4000, limit's", 1.5, four[2] / four[0] / 4,
                                four[3] / four[1] / 4)


def others_verdict(verdict, others):
    """others: {measure: {"size": n, name: [values]}}."""
    got = {name: {k: median(v) for k, v in found.items() if k != "size" and v} for name, found in others.items()}
    size = {name: found["size"] for name, found in others.items()}
    if "memory" in got:
        verdict.below(f"memory of our processes, star {size['memory']}", 16, got["memory"]["together"], "MiB")
    if "plan" in got:
        n = size["plan"]
        small, large = got["plan"][f"{n}"] * 1e3, got["plan"][f"{10 * n}"] * 1e3
        verdict.below(f"validate and plan, star {n}", 30, small, "ms")
        verdict.below(f"validate and plan, star {10 * n}", 400, large, "ms")
        verdict.add(f"validate and plan, ten times {n}", "≤ 12 ×", ms(large / 1e3), ms(small / 1e3), f"{large / small:.1f} ×",
                    large <= 12 * small)
    if "exec" in got:
        verdict.below("exec of true over nsenter of it", 3, (got["exec"]["exec"] - got["exec"]["nsenter"]) * 1e3, "ms")
    if "guests" in got:
        verdict.at_most(f"{size['guests']} guests on TAPs, limit", 1.3, got["guests"]["tapnet-lab"], got["guests"]["limit"])
    if "hooks" in got:
        verdict.at_most("a hook, limit", 1.2, got["hooks"]["hook"], got["hooks"]["spawn"])
    if "killed" in got:
        verdict.below(f"worker killed with {size['killed']} TAPs, all gone", 2, got["killed"]["gone"], "s")


def labs_table(labs):
    rows = []
    for kind, sizes in labs.items():
        for size, tools in sizes.items():
            def cell(name):
                if name not in tools:
                    return ""
                return " / ".join(f"{median(tools[name][w]) * 1e3:.0f}" for w in ("up", "down"))
            rows.append((f"{kind} {size}", *map(cell, NAMES)))
    return table(("up / down, ms", *NAMES), rows)


def others_lines(labs, others):
    """What has no target."""
    for kind, sizes in labs.items():
        for size, tools in sizes.items():
            used = ", ".join(f"{name} {median(tools[name]['kernel']):.0f} KiB" for name in NAMES[:2] if name in tools)
            took = ", ".join(f"{name} {median(tools[name]['cpu']):.2f} s" for name in NAMES if name in tools)
            yield f"{kind} {size}: the kernel's memory, each: {used}; processor time of the processes: {took}"
    if "calls" in others:
        n = others["calls"]["size"]
        yield "system calls, up and down: " + ", ".join(
            f"{name} {n} {values[0]} ({values[0] / n:.1f} each)"
            for name, values in others["calls"].items() if name != "size")
    if "memory" in others:
        yield f"marks of guardian and worker added up: {median(others['memory']['marks']):.1f} MiB"
