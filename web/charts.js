// Charts as SVG, made of elements only: no markup is ever parsed.

const SVG = "http://www.w3.org/2000/svg";

function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function text(x, y, anchor, content) {
  return svg("text", { x, y, "text-anchor": anchor }, String(content));
}

// A canvas of the host's own size; `null` while it has none.
function frame(host) {
  const { width, height } = host.getBoundingClientRect();
  if (width < 40 || height < 16) return null;
  return { width, height, root: svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" }) };
}

// The smallest of 1, 2, 5 x 10^n that is not below `value`.
export function nice(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  const step = value / power;
  return (step <= 1 ? 1 : step <= 2 ? 2 : step <= 5 ? 5 : 10) * power;
}

// Samples that a chart has room for at least: a young history stands at the right and does not fill the width.
const ROOM = 60;

// A line over its own area, without axes. `values` may hold null for what is not known.
export function sparkline(host, values, colour) {
  const canvas = frame(host);
  if (!canvas) return;
  const { width, height, root } = canvas;
  const known = values.filter((value) => value !== null);
  if (known.length > 1) {
    const low = Math.min(...known), high = Math.max(...known);
    // A value that does not move lies in the middle, neither at the top nor at the bottom.
    const floor = high === low ? high / 2 : Math.max(0, low - (high - low) * 0.6), span = high === low ? high || 1 : high - floor;
    const points = [];
    values.forEach((value, index) => {
      if (value === null) return;
      const slots = Math.max(values.length, ROOM) - 1;
      const x = ((index + slots + 1 - values.length) / slots) * width;
      points.push(`${x.toFixed(1)},${(height - 2 - ((value - floor) / span) * (height - 6)).toFixed(1)}`);
    });
    const start = points[0].split(",")[0], end = points.at(-1).split(",")[0];
    const group = svg("g", { class: `c${colour}` });
    group.append(svg("path", { class: "area", d: `M${start},${height}L${points.join("L")}L${end},${height}Z` }));
    group.append(svg("path", { class: "line", d: `M${points.join("L")}` }));
    root.append(group);
  }
  root.setAttribute("aria-hidden", "true");
  host.replaceChildren(root);
}

// Stacked areas over time. `series`: [{ name, values }], all of one length; `times`: milliseconds.
export function stacked(host, series, times, format, label) {
  const canvas = frame(host);
  if (!canvas) return;
  const { width, height, root } = canvas;
  const left = 52, bottom = 20, top = 8, plot = { width: width - left - 4, height: height - bottom - top };
  root.setAttribute("aria-label", label);
  const totals = times.map((_, index) => series.reduce((sum, one) => sum + (one.values[index] ?? 0), 0));
  const step = nice(Math.max(...totals, 3) / 3.4), high = step * Math.max(1, Math.ceil(Math.max(...totals) / step));
  const last = times.at(-1) ?? 0, first = Math.min(times[0] ?? 0, last - ROOM * 1000), span = last - first;
  const x = (time) => left + ((time - first) / span) * plot.width;
  const y = (value) => top + plot.height - (value / high) * plot.height;
  for (let value = 0; value <= high * 1.001; value += step) {
    root.append(svg("line", { class: "grid", x1: left, x2: width - 4, y1: y(value), y2: y(value) }));
    root.append(text(left - 8, y(value) + 4, "end", format(value)));
  }
  const minute = 60_000, every = span > 4 * minute ? minute : span > 2 * minute ? minute / 2 : minute / 4;
  for (let ago = every; ago <= span; ago += every) {
    const seconds = ago / 1000, label = seconds % 60 ? `-${seconds} s` : `-${seconds / 60} min`;
    if (x(last - ago) > left + 12 && x(last - ago) < width - 60) root.append(text(x(last - ago), height - 5, "middle", label));
  }
  root.append(text(width - 6, height - 5, "end", "now"));
  if (times.length > 1) {
    let under = times.map(() => 0);
    series.forEach((one, index) => {
      const over = under.map((value, at) => value + (one.values[at] ?? 0));
      const upper = over.map((value, at) => `${x(times[at]).toFixed(1)},${y(value).toFixed(1)}`);
      const lower = under.map((value, at) => `${x(times[at]).toFixed(1)},${y(value).toFixed(1)}`).reverse();
      root.append(svg("g", { class: `c${index % 8}` }, svg("path", { class: "stack", d: `M${upper.join("L")}L${lower.join("L")}Z` })));
      under = over;
    });
  }
  host.replaceChildren(root);
}

// Percentile ladders on logarithmic axes. `series`: [{ name, colour, points: [[quantile, ns]] }].
export function ladders(host, series, format, label) {
  const canvas = frame(host);
  if (!canvas) return;
  const { width, height, root } = canvas;
  const left = 52, bottom = 20, top = 8, right = 8;
  root.setAttribute("aria-label", label);
  const all = series.flatMap((one) => one.points.map(([, value]) => Math.max(1, value)));
  const low = all.length ? Math.floor(Math.log10(Math.min(...all))) : 2;
  const high = all.length ? Math.max(low + 1, Math.ceil(Math.log10(Math.max(...all)))) : 6;
  // The distance to certainty is what matters: each step of ten gets the same room.
  const nines = (quantile) => -Math.log10(1 - quantile), from = nines(0.5), to = nines(0.9999);
  const x = (quantile) => left + ((nines(quantile) - from) / (to - from)) * (width - left - right);
  const y = (value) => height - bottom - ((Math.log10(Math.max(1, value)) - low) / (high - low)) * (height - bottom - top);
  for (let power = low; power <= high; power++) {
    root.append(svg("line", { class: "grid", x1: left, x2: width - right, y1: y(10 ** power), y2: y(10 ** power) }));
    root.append(text(left - 8, y(10 ** power) + 4, "end", format(10 ** power)));
  }
  for (const [quantile, name] of [[0.5, "p50"], [0.9, "p90"], [0.99, "p99"], [0.999, "p99.9"], [0.9999, "p99.99"]]) {
    root.append(svg("line", { class: "grid", x1: x(quantile), x2: x(quantile), y1: top, y2: height - bottom }));
    root.append(text(x(quantile), height - 5, quantile === 0.9999 ? "end" : quantile === 0.5 ? "start" : "middle", name));
  }
  for (const one of series) {
    const points = one.points.map(([quantile, value]) => [x(quantile).toFixed(1), y(value).toFixed(1)]);
    const group = svg("g", { class: `c${one.colour}` }, svg("title", {}, one.name));
    group.append(svg("path", { class: "line", d: `M${points.map((point) => point.join(",")).join("L")}` }));
    for (const [cx, cy] of points) group.append(svg("circle", { class: "point", cx, cy, r: 2.2 }));
    root.append(group);
  }
  host.replaceChildren(root);
}
