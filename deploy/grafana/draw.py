#!/usr/bin/env python3
"""Draws the dashboard of Grafana into a PNG, from what a Prometheus server has.

For documents, and where there is no Grafana: the panels, their places and their queries are those of the dashboard's
file; the looks are matplotlib's. It also says which panels have nothing to show.

    pip install -r deploy/grafana/requirements.txt
    deploy/grafana/draw.py --prometheus http://127.0.0.1:9090 --minutes 15 --out dashboard.png
"""

import argparse
import datetime
import json
import math
import pathlib
import re
import sys
import time
import urllib.parse
import urllib.request

import matplotlib

matplotlib.use("Agg")
from matplotlib import dates
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter

DASHBOARD = pathlib.Path(__file__).parent / "dashboards" / "quorate.json"
# One cell of Grafana's grid, in inches.
CELL = (0.75, 0.42)
BACKGROUND, PANEL, TEXT, FAINT = "#111217", "#181b1f", "#d8d9da", "#6e7077"
LINES = ["#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#96d98d", "#ffb357", "#a352cc"]


def ask(prometheus, path, **parameters):
    """What Prometheus answers, as its `data.result`."""
    url = f"{prometheus.rstrip('/')}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)["data"]["result"]


def legend(target, labels):
    """What Grafana makes of a target's `legendFormat`."""
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: labels.get(found[1], ""), target.get("legendFormat") or "")


def short(value, unit):
    """A number with its unit, in few letters."""
    if value is None or math.isnan(value):
        return "–"
    if unit == "s" and value:
        if abs(value) < 0.001:
            return f"{value * 1e6:.3g} µs"
        if abs(value) < 1:
            return f"{value * 1e3:.3g} ms"
        return f"{value:.3g} s" if abs(value) < 100 else f"{value / 60:.3g} min"
    text = f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return text + {"reqps": "/s", "ops": "/s"}.get(unit, "")


class Window:
    """The time that is drawn."""

    def __init__(self, minutes, end):
        self.end = end
        self.start = end - minutes * 60
        self.step = max(5, minutes * 60 // 180)
        # Four scrapes at least, as Grafana's $__rate_interval.
        self.variables = {"$__rate_interval": f"{max(60, 4 * self.step)}s", "$__range": f"{minutes}m"}

    def query(self, text):
        for name, value in self.variables.items():
            text = text.replace(name, value)
        return text


def series(prometheus, window, panel):
    """Each line of a panel: its name, the times and the values."""
    found = []
    for target in panel["targets"]:
        times = {"start": window.start, "end": window.end, "step": window.step}
        for line in ask(prometheus, "query_range", query=window.query(target["expr"]), **times):
            points = [(datetime.datetime.fromtimestamp(at, datetime.UTC), float(value)) for at, value in line["values"]]
            points = [point for point in points if not math.isnan(point[1])]
            if points:
                found.append((legend(target, line["metric"]), points))
    return found


def draw_stat(axes, prometheus, window, panel):
    """A number, or a label, large."""
    [target] = panel["targets"]
    found = ask(prometheus, "query", query=window.query(target["expr"]), time=window.end)
    unit = panel["fieldConfig"]["defaults"].get("unit", "none")
    text = "no data"
    if found:
        value = float(found[0]["value"][1])
        mapped = {}
        for mapping in panel["fieldConfig"]["defaults"].get("mappings", []):
            mapped.update(mapping.get("options", {}))
        named = mapped.get(short(value, unit), {}).get("text")
        text = legend(target, found[0]["metric"]) or named or short(round(value), unit)
    size = 22 if len(text) < 10 else 9
    axes.text(0.5, 0.42, text, ha="center", va="center", fontsize=size, color=LINES[0], transform=axes.transAxes)
    axes.set_xticks([])
    axes.set_yticks([])
    return bool(found)


def draw_lines(axes, prometheus, window, panel):
    """Lines over the time."""
    unit = panel["fieldConfig"]["defaults"].get("unit", "none")
    lines = series(prometheus, window, panel)
    if len(lines) > 8:
        # There is no room for so many names; those that say nothing go first.
        lines = [line for line in lines if any(value for _, value in line[1])] or lines[:8]
    for (name, points), colour in zip(lines, LINES * 3):
        axes.plot(*zip(*points), color=colour, linewidth=1.1, label=name or "value")
    span = [datetime.datetime.fromtimestamp(at, datetime.UTC) for at in (window.start, window.end)]
    axes.set_xlim(*span)
    axes.set_ylim(bottom=0)
    if not lines:
        axes.text(0.5, 0.5, "no data", ha="center", va="center", color=FAINT, fontsize=9, transform=axes.transAxes)
    else:
        axes.legend(
            fontsize=6.5, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=4, frameon=False, labelcolor=TEXT,
            handlelength=1.2, columnspacing=1.2,
        )
    axes.grid(color="#2c3035", linewidth=0.5)
    axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M"))
    axes.xaxis.set_major_locator(dates.AutoDateLocator(maxticks=6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value, unit)))
    axes.tick_params(colors=FAINT, labelsize=6.5, length=0)
    return bool(lines)


def draw(prometheus, window, dashboard, rows, out):
    """Writes the picture; gives the titles of panels without data."""
    panels = dashboard["panels"]
    if rows:
        ends = [panel["gridPos"]["y"] for panel in panels if panel["type"] == "row"]
        if rows < len(ends):
            panels = [panel for panel in panels if panel["gridPos"]["y"] < ends[rows]]
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    width = 24
    figure = plt.figure(figsize=(width * CELL[0], height * CELL[1]), facecolor=BACKGROUND)
    empty = []
    for panel in panels:
        x, y, w, h = (panel["gridPos"][key] for key in "xywh")
        if panel["type"] == "row":
            middle = 1 - (y + h / 2) / height
            figure.text(0.006, middle, panel["title"], color=TEXT, fontsize=11, weight="bold", va="center")
            continue
        box = [(x + 0.08) / width, 1 - (y + h - 0.08) / height, (w - 0.16) / width, (h - 0.16) / height]
        frame = figure.add_axes(box, facecolor=PANEL, xticks=[], yticks=[])
        for side in frame.spines.values():
            side.set_color("#2c3035")
        frame.text(0.015, 1 - 0.32 / h, panel["title"], color=TEXT, fontsize=8.5, va="center", transform=frame.transAxes)
        if panel["type"] == "stat":
            shown = draw_stat(frame, prometheus, window, panel)
        else:
            inner = [(x + 1.1) / width, 1 - (y + h - 1.7) / height, (w - 1.4) / width, (h - 2.5) / height]
            axes = figure.add_axes(inner, facecolor=PANEL)
            for side in axes.spines.values():
                side.set_visible(False)
            shown = draw_lines(axes, prometheus, window, panel)
        if not shown:
            empty.append(panel["title"])
    figure.savefig(out, dpi=75, facecolor=BACKGROUND)
    return empty


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090", metavar="URL")
    parser.add_argument("--minutes", type=int, default=15, help="how much is drawn, up to now")
    parser.add_argument("--rows", type=int, default=0, help="only so many of the dashboard's rows")
    parser.add_argument("--out", required=True, metavar="FILE")
    arguments = parser.parse_args()
    dashboard = json.loads(DASHBOARD.read_text())
    window = Window(arguments.minutes, int(time.time()))
    for title in draw(arguments.prometheus, window, dashboard, arguments.rows, arguments.out):
        print(f"no data: {title}", file=sys.stderr)


if __name__ == "__main__":
    main()
