// What every part of the page uses: elements, numbers as people read them, and asking the API.

export const $ = (id) => document.getElementById(id);

export function make(name, className, ...children) {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return element;
}

// ---------------------------------------------------------------- numbers

const UNITS = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];

export function short(value) {
  if (!Number.isFinite(value)) return "–";
  for (const [size, unit] of UNITS) {
    if (Math.abs(value) >= size * 0.9995) return trim(value / size) + " " + unit;
  }
  return Number.isInteger(value) ? String(value) : trim(value);
}

export function trim(value) {
  const digits = Math.abs(value) >= 99.95 ? 0 : Math.abs(value) >= 9.995 ? 1 : 2;
  return value.toFixed(digits);
}

export function whole(value) {
  return Math.round(value).toLocaleString("en-GB").replaceAll(",", "\u202f");
}

export function axis(value) {
  return short(value).replace(/\.0+(?=\s|$)/, "").replace(/(\.\d)0(?=\s|$)/, "$1");
}

export function time(ns) {
  if (ns === undefined) return "–";
  if (ns >= 1e9) return trim(ns / 1e9) + " s";
  if (ns >= 1e6) return trim(ns / 1e6) + " ms";
  if (ns >= 1e3) return trim(ns / 1e3) + " µs";
  return Math.round(ns) + " ns";
}

export function roundTime(ns) {
  return time(ns).replace(/\.0+ /, " ");
}

export function exact(value) {
  if (Math.abs(value) >= 1e7 || (value !== 0 && Math.abs(value) < 1e-3)) return value.toExponential(2);
  return Number.isInteger(value) ? whole(value) : String(Number(value.toPrecision(4)));
}

export function duration(seconds) {
  const s = Math.floor(seconds), d = Math.floor(s / 86400), h = Math.floor((s % 86400) / 3600), m = Math.floor((s % 3600) / 60);
  if (d) return `${d} d ${h} h`;
  if (h) return `${h} h ${m} min`;
  return m ? `${m} min ${s % 60} s` : `${s} s`;
}

export const words = (name) => String(name).replaceAll("_", " ");
const PROTOCOLS = { 1: "ICMP", 6: "TCP", 17: "UDP", 47: "GRE", 58: "ICMPv6", 132: "SCTP" };
export const protocol = (number) => PROTOCOLS[number] ?? `protocol ${number}`;
export const endpoint = (address, port) => (String(address).includes(":") ? `[${address}]:${port}` : `${address}:${port}`);
/** Both ends of a flow; what a protocol without ports has in their place (an echo's identifier) is not told. */
export const ends = (flow) => ([6, 17, 132].includes(flow.protocol) ? `${endpoint(flow.source, flow.source_port)} → ${endpoint(flow.destination, flow.destination_port)}` : `${flow.source} → ${flow.destination}`);

export function set(element, content) {
  const text = String(content);
  if (element.textContent !== text) element.textContent = text;
}

export function value(id, number, unit = "") {
  const element = document.querySelector(`#${id} .value`);
  set(element, number);
  if (unit) element.append(make("small", "", unit));
}

export const many = (count, one, more = `${one}s`) => `${whole(count)} ${count === 1 ? one : more}`;

// Rows that keep their elements (and so their open state and focus) while their numbers change.
export function rows(host, items, key, create, update) {
  const kept = new Map([...host.children].map((child) => [child.dataset.key, child]));
  let place = host.firstElementChild;
  for (const item of items) {
    const name = key(item);
    let row = kept.get(name);
    if (row) kept.delete(name);
    else { row = create(item); row.dataset.key = name; }
    update(row, item);
    if (row === place) place = place.nextElementSibling;
    else host.insertBefore(row, place);
  }
  for (const row of kept.values()) row.remove();
}

export function gauge(share, className = "") {
  const bar = make("span", `gauge ${className}`, make("i"));
  bar.firstChild.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
  return bar;
}

export async function ask(path, options = {}) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(8000), ...options });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.detail ?? `status ${answer.status}`);
  return body;
}
