"""Plain SVG pictures of a model's figures, for light and dark pages."""

STYLE = ('<style>text{font:12px sans-serif;fill:#222}.ground{fill:#fff}.rule{stroke:#ddd}.axis{stroke:#888}.small{font-size:10px}'
         '.title{font-weight:bold}@media (prefers-color-scheme:dark){text{fill:#e4e4e4}.ground{fill:#15171c}.rule{stroke:#34383f}'
         '.axis{stroke:#8a8f98}}</style>')
BLUE, ORANGE, GREEN = "#4f8fd0", "#e8883a", "#4aa564"


class Picture:
    def __init__(self, width, height, title):
        self.width, self.height = width, height
        self.parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">{STYLE}'
                      f'<title>{title}</title><rect class="ground" width="{width}" height="{height}"/>'
                      f'<text class="title" x="12" y="20">{title}</text>']

    def text(self, x, y, words, anchor="start", small=False, turn=None):
        turned = f' transform="rotate({turn} {x:.1f} {y:.1f})"' if turn is not None else ""
        kind = ' class="small"' if small else ""
        words = str(words).replace("&", "&amp;").replace("<", "&lt;")
        self.parts.append(f'<text{kind} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{turned}>{words}</text>')

    def line(self, x, y, to_x, to_y, kind="rule", dash=False):
        dashed = ' stroke-dasharray="4 3"' if dash else ""
        self.parts.append(f'<line class="{kind}" x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}"{dashed}/>')

    def box(self, x, y, width, height, colour, opacity=1.0):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{max(height, 0):.1f}" '
                          f'fill="{colour}" fill-opacity="{opacity:.3f}"/>')

    def path(self, points, colour, width=2):
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="{width}"/>')

    def dot(self, x, y, colour):
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')

    def write(self, path):
        with open(path, "w") as out:
            out.write("\n".join([*self.parts, "</svg>"]) + "\n")


class Plot:
    """A rectangle of a picture with both axes from 0 to 1."""

    def __init__(self, picture, x, y, width, height, ticks=5, labelled=True):
        self.picture, self.x, self.y, self.width, self.height = picture, x, y, width, height
        for tick in range(ticks + 1):
            at = tick / ticks
            (left, low), (right, high) = self.at(0, at), self.at(at, 1)
            picture.line(left, low, left + width, low)
            picture.line(right, high, right, high + height)
            if labelled:
                picture.text(left - 6, low + 4, f"{at:.1f}", "end", small=True)
                picture.text(right, y + height + 14, f"{at:.1f}", "middle", small=True)

    def at(self, x, y):
        return self.x + x * self.width, self.y + (1 - y) * self.height


def confusion(path, title, truths, columns, shares, counts):
    """Shares of each row's flows; `counts`: how many these are."""
    cell, left, top = 42, 170, 150
    picture = Picture(max(left + cell * len(columns) + 80, 460), top + 24 * len(truths) + 20, title)
    for number, column in enumerate(columns):
        picture.text(left + cell * number + cell / 2 + 4, top - 8, column, turn=-45)
    for row, truth in enumerate(truths):
        y = top + 24 * row
        picture.text(left - 8, y + 16, f"{truth} ({counts[row]})", "end")
        for number in range(len(columns)):
            share = shares[row][number]
            right = columns[number] == truth or truth == "benign" and columns[number] == "not reported"
            picture.box(left + cell * number, y, cell - 2, 22, GREEN if right else ORANGE, 0.06 + 0.8 * share)
            if share >= 0.005:
                picture.text(left + cell * number + cell / 2 - 1, y + 15, f"{100 * share:.0f}", "middle", small=True)
    picture.write(path)


def curves(path, title, plots):
    """Small plots of precision over recall: (name, [(recall, precision)], figure)."""
    across, size, gap = 4, 130, 52
    down = (len(plots) + across - 1) // across
    picture = Picture(40 + across * (size + gap), 50 + down * (size + gap) + 16, title)
    for number, (name, points, figure) in enumerate(plots):
        x, y = 46 + number % across * (size + gap), 56 + number // across * (size + gap)
        plot = Plot(picture, x, y, size, size, 4, labelled=False)
        picture.text(x, y - 6, f"{name} {figure:.2f}")
        for tick in (0, 1):
            picture.text(x - 4, plot.at(0, tick)[1] + 4, tick, "end", small=True)
            picture.text(plot.at(tick, 0)[0], y + size + 12, tick, "middle", small=True)
        picture.path([plot.at(*point) for point in points], BLUE)
    picture.text(46, picture.height - 8, "across: recall, up: precision, the figure: average precision", small=True)
    picture.write(path)


def reliability(path, title, lines):
    """(name, bins, error) of what was said and what was so."""
    picture = Picture(560, 440, title)
    plot = Plot(picture, 60, 40, 340, 340)
    picture.line(*plot.at(0, 0), *plot.at(1, 1), "axis", dash=True)
    for number, (name, bins, error) in enumerate(lines):
        colour = (BLUE, ORANGE)[number]
        points = [plot.at(said, was) for said, was, _ in bins]
        picture.path(points, colour)
        for point in points:
            picture.dot(*point, colour)
        picture.box(420, 60 + 44 * number, 12, 12, colour)
        picture.text(438, 70 + 44 * number, name)
        picture.text(438, 86 + 44 * number, f"error {error:.3f}", small=True)
    picture.text(230, 415, "probability said", "middle")
    picture.text(22, 210, "share that was so", "middle", turn=-90)
    picture.write(path)


def histogram(path, title, kinds, across, bins=25):
    """(name, values between 0 and 1): shares of each kind, on a logarithmic height from 1e-5."""
    import math
    picture = Picture(640, 330, title)
    x, y, width, height = 60, 40, 440, 230
    for power in range(-5, 1):
        at = y - height * power / 5
        picture.line(x, at, x + width, at)
        picture.text(x - 6, at + 4, f"1e{power}" if power else "1", "end", small=True)
    for number, (name, values) in enumerate(kinds):
        colour, total = (BLUE, ORANGE)[number], max(len(values), 1)
        slot = width / bins
        counts = [0] * bins
        for value in values:
            counts[min(int(value * bins), bins - 1)] += 1
        for one, count in enumerate(counts):
            if count:
                tall = height * max(1 + math.log10(count / total) / 5, 0.01)
                picture.box(x + slot * one + number * slot / 2, y + height - tall, slot / 2 - 1, tall, colour, 0.9)
        picture.box(x + width + 16, 50 + 24 * number, 12, 12, colour)
        picture.text(x + width + 34, 60 + 24 * number, name)
    for tick in range(6):
        picture.text(x + width * tick / 5, y + height + 16, f"{tick / 5:.1f}", "middle", small=True)
    picture.text(x + width / 2, y + height + 38, across, "middle")
    picture.write(path)


def bars(path, title, values, across):
    """(name, value), longest first."""
    most = max([value for _, value in values] + [1e-9])
    picture = Picture(640, 60 + 20 * len(values) + 20, title)
    for number, (name, value) in enumerate(values):
        y = 40 + 20 * number
        picture.text(190, y + 13, name, "end")
        picture.box(198, y + 2, 360 * value / most, 15, BLUE, 0.9)
        picture.text(204 + 360 * max(value, 0) / most, y + 13, f"{value:.3f}", small=True)
    picture.text(198, picture.height - 8, across, small=True)
    picture.write(path)
