"""Draws Grafana dashboards from what Prometheus answers: every panel in its grid, with its title,
unit and legend. Grafana itself draws them better; this shows what data they have.

    python3 dashboards.py http://127.0.0.1:9090 FROM TO FOLDER DASHBOARD.json...

FROM and TO are Unix times. Writes FOLDER/DASHBOARD.png; fails where a panel cannot be drawn.
"""

import json
import math
import pathlib
import sys
import urllib.parse
import urllib.request

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, MultipleLocator, NullFormatter

COLUMN, ROW = 0.68, 0.40  # of the grid, in inches
GAP = 0.08
INK, FAINT, CARD, PAGE = "#24292e", "#8e8e93", "#ffffff", "#f1f2f4"
COLOURS = {"green": "#299c46", "orange": "#ff780a", "red": "#d44a3a", "blue": "#1f60c4"}
PALETTE = [
    "#7eb26d", "#eab839", "#6ed0e0", "#ef843c", "#e24d42", "#1f78c1", "#ba43a9", "#705da0",
    "#508642", "#cca300", "#447ebc", "#c15c17", "#890f02", "#0a437c", "#6d1f62", "#584477",
]
# What Grafana makes of a scrape each second.
RATE_INTERVAL = "4s"
LEGEND_MAX = 6


class Prometheus:
    def __init__(self, base, begin, end):
        self.base, self.begin, self.end = base, begin, end

    def ask(self, call, **parameters):
        expression = parameters["query"].replace("$instance", ".+")
        parameters["query"] = expression.replace("$__rate_interval", RATE_INTERVAL)
        url = f"{self.base}/api/v1/{call}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url) as answer:
            return json.load(answer)["data"]["result"]

    def now(self, expression):
        return self.ask("query", query=expression, time=self.end)

    def over_time(self, expression):
        return self.ask(
            "query_range", query=expression, start=self.begin, end=self.end, step=1
        )


def trimmed(number):
    return f"{number:.3g}" if abs(number) < 1000 else f"{number:.0f}"


def scaled(number, steps, unit):
    """With the largest prefix that leaves at least 1."""
    for size, name in steps:
        if abs(number) >= size:
            return f"{trimmed(number / size)} {name}{unit}".strip()
    return f"{trimmed(number)} {unit}".strip()


DECIMAL = [(1e9, "G"), (1e6, "M"), (1e4, "k")]
BINARY = [(2**30, "Gi"), (2**20, "Mi"), (2**10, "Ki")]


def duration(seconds):
    size = abs(seconds)
    for limit, length, unit in [
        (1e-3, 1e-6, "µs"), (1, 1e-3, "ms"), (60, 1, "s"), (3600, 60, "min"),
        (86400, 3600, "h"), (365 * 86400, 86400, "d"), (math.inf, 365 * 86400, "years"),
    ]:
        if size < limit:
            return f"{trimmed(seconds / length)} {unit}" if seconds else "0 s"


def shown(number, unit):
    if math.isnan(number):
        return "–"
    if unit == "s":
        return duration(number)
    if unit == "percentunit":
        return f"{trimmed(number * 100)} %"
    if unit in ("bytes", "Bps"):
        return scaled(number, BINARY, "B/s" if unit == "Bps" else "B")
    per = {"none": "", "cps": "/s", "reqps": "req/s"}
    return scaled(number, DECIMAL, per[unit])


def legend_of(target, labels):
    text = target["legendFormat"]
    for name, value in labels.items():
        text = text.replace("{{%s}}" % name, value)
    return text


def colour_of(number, thresholds):
    colour = INK
    for step in thresholds["steps"]:
        if step["value"] is None or number >= step["value"]:
            colour = COLOURS[step["color"]]
    return colour


class Card:
    """One panel in its place on the page."""

    def __init__(self, figure, panel, rows):
        self.panel = panel
        self.defaults = panel["fieldConfig"]["defaults"]
        self.unit = self.defaults["unit"]
        place = panel["gridPos"]
        width, height = figure.get_size_inches()
        self.width, self.height = place["w"] * COLUMN - GAP, place["h"] * ROW - GAP
        left = place["x"] * COLUMN + GAP
        bottom = (rows - place["y"] - place["h"]) * ROW + GAP
        self.inches = lambda x, y, w, h: [
            (left + x) / width, (bottom + y) / height, w / width, h / height
        ]
        self.figure = figure
        back = figure.add_axes(self.inches(0, 0, self.width, self.height), facecolor=CARD)
        back.set(xticks=[], yticks=[], xlim=(0, self.width), ylim=(0, self.height))
        for spine in back.spines.values():
            spine.set_color("#dddfe3")
        back.text(0.12, self.height - 0.1, panel["title"], va="top", size=9, weight="bold", color=INK)
        self.back = back

    def axes(self, left, bottom, right=0.15, top=0.42):
        box = self.inches(left, bottom, self.width - left - right, self.height - bottom - top)
        axes = self.figure.add_axes(box, facecolor=CARD)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            axes.spines[side].set_color("#c7c9ce")
        axes.tick_params(labelsize=7, colors="#5a5f66", length=2)
        return axes

    def nothing(self):
        self.back.text(
            self.width / 2, self.height / 2, "No data", ha="center", va="center", size=10, color=FAINT
        )

    def stat(self, prometheus):
        target = self.panel["targets"][0]
        answers = prometheus.now(target["expr"])
        if not answers:
            return self.nothing()
        mappings = {}
        for mapping in self.defaults.get("mappings", []):
            mappings.update(mapping["options"])
        for index, series in enumerate(answers):
            number = float(series["value"][1])
            mapped = mappings.get(f"{number:g}")
            colour = COLOURS[mapped["color"]] if mapped else colour_of(number, self.defaults["thresholds"])
            text = mapped["text"] if mapped else shown(number, self.unit)
            x = self.width * (index + 0.5) / len(answers)
            self.back.text(x, self.height * 0.4, text, ha="center", va="center", size=21, color=colour)
            name = legend_of(target, series["metric"])
            self.back.text(x, 0.14, name, ha="center", va="bottom", size=8, color=FAINT)

    def bargauge(self, prometheus):
        target = self.panel["targets"][0]
        answers = prometheus.now(target["expr"])
        if not answers:
            return self.nothing()
        values = [(legend_of(target, one["metric"]), float(one["value"][1])) for one in answers]
        values.sort(reverse=True)
        axes = self.axes(1.35, 0.15, right=0.9)
        most = self.defaults.get("max") or max(value for _, value in values) or 1
        for row, (name, value) in enumerate(values):
            colour = colour_of(value, self.defaults["thresholds"])
            axes.barh(row, most, color="#ececee", height=0.6)
            axes.barh(row, value, color=colour, height=0.6)
            axes.text(most * 1.02, row, shown(value, self.unit), va="center", size=8, color=colour)
        axes.set(yticks=range(len(values)), yticklabels=[name for name, _ in values], xticks=[])
        axes.set(xlim=(0, most), ylim=(-0.6, len(values) - 0.4))
        axes.spines[["left", "bottom"]].set_visible(False)

    def table(self, prometheus):
        answers = prometheus.now(self.panel["targets"][0]["expr"])
        if not answers:
            return self.nothing()
        hidden = self.panel["transformations"][0]["options"]["excludeByName"]
        names = sorted({name for one in answers for name in one["metric"] if not hidden.get(name)})
        rows = sorted([one["metric"].get(name, "") for name in names] for one in answers)
        room = int((self.height - 0.75) / 0.21)
        widths = [max(len(row[at]) for row in [names, *rows]) + 2 for at in range(len(names))]
        for at, name in enumerate(names):
            x = 0.12 + (self.width - 0.2) * sum(widths[:at]) / sum(widths)
            self.back.text(x, self.height - 0.42, name, va="top", size=7.5, weight="bold", color="#5a5f66")
            for line, row in enumerate(rows[:room]):
                self.back.text(x, self.height - 0.65 - line * 0.21, row[at], va="top", size=7, color=INK)
        if len(rows) > room:
            self.back.text(self.width - 0.12, 0.08, f"and {len(rows) - room} more", ha="right", size=7, color=FAINT)

    def timeseries(self, prometheus, marks):
        series = []
        for target in self.panel["targets"]:
            for one in prometheus.over_time(target["expr"]):
                values = {float(time): float(value) for time, value in one["values"]}
                values = {time: value for time, value in values.items() if math.isfinite(value)}
                if values:
                    series.append((legend_of(target, one["metric"]), values))
        if not series:
            return self.nothing()
        series.sort(key=lambda one: -max(one[1].values()))
        legend = min(len(series), LEGEND_MAX + (len(series) == LEGEND_MAX + 1))
        longest = max(len(name) for name, _ in series[:legend])
        columns = 2 if self.width > 7 and longest < 25 else 1
        lines = math.ceil((legend + (len(series) > legend)) / columns)
        axes = self.axes(0.72, 0.42 + 0.17 * lines)
        custom = self.defaults["custom"]
        times = [prometheus.begin + second for second in range(prometheus.end - prometheus.begin + 1)]
        minutes = [time - prometheus.begin for time in times]
        drawn = [[values.get(time, math.nan) for time in times] for _, values in series]
        if custom["stacking"]["mode"] == "normal":
            filled = [[0 if math.isnan(value) else value for value in one] for one in drawn]
            axes.stackplot(minutes, filled, colors=PALETTE, alpha=0.75, linewidth=0)
        else:
            for index, one in enumerate(drawn):
                alone = sum(math.isfinite(value) for value in one) < 3
                axes.plot(minutes, one, color=PALETTE[index % len(PALETTE)], linewidth=1.2, marker="." if alone else None)
        self.scale(axes, custom, drawn)
        for time, colour in marks:
            axes.axvline(time - prometheus.begin, color=COLOURS[colour], linewidth=0.8, linestyle=":")
        axes.set_xlim(0, minutes[-1])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda second, _: f"{second:.0f} s"))
        axes.xaxis.set_major_locator(MaxNLocator(5 if self.width < 7 else 9, integer=True))
        self.legend(series, legend, lines, columns)

    def scale(self, axes, custom, drawn):
        axes.grid(axis="y", color="#ebecee", linewidth=0.7)
        axes.set_axisbelow(True)
        known = [value for one in drawn for value in one if math.isfinite(value)]
        if custom.get("scaleDistribution", {}).get("type") == "log" and max(known) > 0:
            axes.set_yscale("log")
            least = min(value for value in known if value > 0)
            axes.set_ylim(least / 2, max(known) * 2)
            few = max(known) / least < 50
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
            axes.yaxis.set_minor_formatter(NullFormatter())
        else:
            top = self.defaults.get("max")
            axes.set_ylim(0, top * 1.02 if top else max(axes.get_ylim()[1], max(known) * 1.05, 1e-9))
            axes.yaxis.set_major_locator(self.linear(axes.get_ylim()[1]))
            if max(known) == 0 and not top:
                axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, self.unit)))

    def linear(self, top):
        """Round steps; of bytes, in the powers of 1024 that are shown."""
        if self.unit not in ("bytes", "Bps"):
            return MaxNLocator(5)
        size = next((size for size, _ in BINARY if top >= size), 1)
        steps = [step for power in range(4) for step in (10**power, 2 * 10**power, 5 * 10**power)]
        return MultipleLocator(size * next((step for step in steps if top / size / step <= 6), 1))

    def legend(self, series, count, lines, columns):
        for index, (name, values) in enumerate(series[:count]):
            column, line = index % columns, index // columns
            x, y = 0.14 + column * self.width / columns, 0.1 + 0.17 * (lines - line - 1)
            self.back.text(x, y, "■", size=7, color=PALETTE[index % len(PALETTE)], va="bottom")
            room = int((self.width / columns - 1.9) / 0.065)
            name = name if len(name) <= room else name[: room - 1] + "…"
            self.back.text(x + 0.14, y, name, size=7, color=INK, va="bottom")
            last, most = list(values.values())[-1], max(values.values())
            end = (column + 1) * self.width / columns - 0.15
            text = f"last {shown(last, self.unit)}   max {shown(most, self.unit)}"
            self.back.text(end, y, text, size=6.5, color=FAINT, va="bottom", ha="right")
        if len(series) > count:
            self.back.text(0.14, 0.1, f"and {len(series) - count} more", size=7, color=FAINT, va="bottom")


def marks_of(dashboard, prometheus):
    """When something happened that is marked on every panel: the first second of each."""
    marks = []
    for annotation in dashboard["annotations"]["list"]:
        if annotation.get("builtIn"):
            continue
        for series in prometheus.over_time(annotation["expr"]):
            times = [float(time) for time, _ in series["values"]]
            begins = [time for time in times if time - 1 not in times]
            marks += [(time, annotation["iconColor"]) for time in begins]
    return marks


def draw(dashboard, prometheus, file):
    panels = dashboard["panels"]
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) + 1
    figure = plt.figure(figsize=(24 * COLUMN + GAP, rows * ROW + GAP), dpi=90, facecolor=PAGE)
    figure.text(0.008, 1 - 0.25 / (rows * ROW), dashboard["title"], size=14, color=INK, va="center")
    marks = marks_of(dashboard, prometheus)
    for panel in panels:
        card = Card(figure, panel, rows - 1)
        arguments = [marks] if panel["type"] == "timeseries" else []
        getattr(card, panel["type"])(prometheus, *arguments)
    figure.savefig(file, facecolor=PAGE)
    plt.close(figure)


def main():
    base, begin, end, folder, *files = sys.argv[1:]
    prometheus = Prometheus(base, int(begin), int(end))
    for file in map(pathlib.Path, files):
        dashboard = json.loads(file.read_text())
        draw(dashboard, prometheus, pathlib.Path(folder) / file.with_suffix(".png").name)


if __name__ == "__main__":
    main()
