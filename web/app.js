// The live page. It reads the same API as everybody else. Whatever comes from the wire reaches the page as text
// (textContent) and never as markup; the server's policy (trusted types) makes anything else throw.

import { ladders, sparkline, stacked } from "/charts.js";
import { $, make, short, whole, axis, time, roundTime, exact, duration, words, protocol, endpoint, ends, set, value, many, rows, gauge, ask } from "/dom.js";
import { followInline } from "/inline.js";

const KEEP = 300;        // samples of history, one a second
const ALERTS_KEPT = 3000; // alerts held, each with its newest repeat
const ROWS = 100;        // rows shown before "Show older"
const TICK = 1000;
const root = document.documentElement;

// Interfaces carry their network namespace before them (`lab/eth0`); where there is only one namespace it says nothing.
let namespaces = [];
function brief(label) {
  const [only] = namespaces;
  return namespaces.length === 1 && only && String(label).startsWith(`${only}/`) ? label.slice(only.length + 1) : label;
}

// ---------------------------------------------------------------- theme

function paint(theme) {
  root.dataset.theme = theme;
}
let stored = null;
try { stored = localStorage.getItem("theme"); } catch { /* storage may be off */ }
paint(stored ?? (matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark"));
$("theme").addEventListener("click", () => {
  paint(root.dataset.theme === "light" ? "dark" : "light");
  try { localStorage.setItem("theme", root.dataset.theme); } catch { /* storage may be off */ }
});

// ---------------------------------------------------------------- history

const history = { times: [], packets: [], bits: [], flows: [], drops: [], alerts: [], queues: new Map() };
let before = null;

function remember(list, value) {
  list.push(value);
  if (list.length > KEEP) list.shift();
}

// What the server remembers, so that a page that opens now shows what was before.
async function preload() {
  const { items } = await ask("/v1/history");
  if (!items.length) return;
  const base = performance.now(), end = items.at(-1).time;
  const names = new Set(items.flatMap((sample) => Object.keys(sample.queues)));
  items.forEach((sample, index) => {
    const last = items[index - 1];
    if (!last || sample.time <= last.time || sample.packets < last.packets) return;
    const rate = (key) => (sample[key] - last[key]) / ((sample.time - last.time) / 1e9);
    remember(history.times, base - (end - sample.time) / 1e6);
    remember(history.packets, rate("packets"));
    remember(history.bits, rate("bytes") * 8);
    remember(history.drops, rate("drops"));
    remember(history.flows, sample.flows_active);
    remember(history.alerts, rate("alerts"));
    for (const name of names) {
      if (!history.queues.has(name)) history.queues.set(name, []);
      remember(history.queues.get(name), sample.queues[name] ?? 0);
    }
  });
  const last = items.at(-1);
  before = { at: last.time / 1e9, packets: last.packets, bytes: last.bytes, drops: last.drops, alerts: last.alerts, causes: null };
  if (history.times.length) showRates(history.packets.at(-1), history.bits.at(-1), history.drops.at(-1));
}

function showRates(packets, bits, drops) {
  value("tile-packets", short(packets), "/s");
  value("tile-bits", short(bits), "bit/s");
  value("tile-drops", short(drops), "/s");
}

function dropped(status) {
  return status.totals.drops.reduce((sum, drop) => sum + drop.value, 0);
}

// Rates come from the totals: they are right even where a tab slept for a minute.
function rates(status) {
  const now = { at: status.now / 1e9, packets: status.totals.packets, bytes: status.totals.bytes, drops: dropped(status), alerts: status.store.last_sequence, causes: new Map(status.totals.drops.map((drop) => [drop.name, drop.value])) };
  const last = before;
  if (!last || now.at <= last.at) {
    if (!last) before = now;
    return null;
  }
  if (now.packets < last.packets) { // Started anew: the old history is another program's.
    before = now;
    for (const list of [history.times, history.packets, history.bits, history.flows, history.drops, history.alerts]) list.length = 0;
    history.queues.clear();
    return null;
  }
  const span = now.at - last.at;
  before = now;
  return {
    packets: (now.packets - last.packets) / span,
    bits: ((now.bytes - last.bytes) * 8) / span,
    drops: (now.drops - last.drops) / span,
    alerts: (now.alerts - last.alerts) / span,
    causes: last.causes === null ? new Map() : new Map([...now.causes].map(([name, count]) => [name, (count - (last.causes.get(name) ?? 0)) / span])),
  };
}

// ---------------------------------------------------------------- the picture

let causes = new Map();

function showStatus(status, workers) {
  namespaces = [...new Set(status.queues.map((queue) => queue.namespace))];
  set($("build"), `${status.version} · ${status.mode} · up ${duration(status.uptime_seconds)}`);
  const health = $("health");
  const ill = status.degraded.length > 0;
  set(health, !status.ready ? "not ready" : !status.loss.closed ? "loss equation open" : ill ? `degraded: ${[...new Set(status.degraded.map((one) => one.part))].join(", ")}` : "all well");
  health.className = "pill " + (!status.ready || !status.loss.closed ? "bad" : ill ? "warn" : "good");

  const rate = rates(status);
  if (rate) {
    causes = rate.causes;
    remember(history.times, performance.now());
    remember(history.packets, rate.packets);
    remember(history.bits, rate.bits);
    remember(history.drops, rate.drops);
    remember(history.flows, status.totals.flows_active);
    remember(history.alerts, rate.alerts);
    showRates(rate.packets, rate.bits, rate.drops);
    const seen = new Map(workers.flatMap((worker) => worker.queues.map((queue) => [queue.name, queue.packets_per_second])));
    for (const name of new Set([...seen.keys(), ...history.queues.keys()])) {
      if (!history.queues.has(name)) history.queues.set(name, history.times.slice(1).map(() => 0));
      remember(history.queues.get(name), seen.get(name) ?? 0);
    }
  }
  value("tile-flows", whole(status.totals.flows_active));
  value("tile-alerts", whole(status.store.alerts));
  $("tile-drops").classList.toggle("bad", Boolean(rate && rate.drops > 0.01 * rate.packets && rate.packets > 0));
  sparkline(document.querySelector("#tile-packets .spark"), history.packets, 0);
  sparkline(document.querySelector("#tile-bits .spark"), history.bits, 1);
  sparkline(document.querySelector("#tile-flows .spark"), history.flows, 2);
  sparkline(document.querySelector("#tile-drops .spark"), history.drops, 3);
  sparkline(document.querySelector("#tile-alerts .spark"), history.alerts, 4);

  const series = [...history.queues].map(([name, values]) => ({ name, values }));
  stacked($("traffic"), series, history.times, axis, "Packets a second by queue over the last five minutes");
  legend($("traffic-legend"), series.map((one) => brief(one.name)), "packets/s");
  showLoss(status.loss);
  showDrops(status.totals);
  showSystem(status);
  banner(status);
}

function legend(host, names, unit) {
  const key = names.join("\n");
  if (host.dataset.key === key) return;
  host.dataset.key = key;
  host.replaceChildren(...names.map((name, index) => make("span", `c${index % 8}`, make("i"), name)), make("span", "", unit));
}

function showLoss(loss) {
  const open = loss.equations.filter((equation) => !equation.closed);
  const state = $("loss-state");
  set(state, loss.equations.length === 0 ? "no queue" : loss.closed ? "closed" : `${open.length} open`);
  state.className = "pill " + (loss.equations.length === 0 ? "" : loss.closed ? "good" : "bad");
  set($("loss-lead"), loss.closed ? "Every frame is accounted for exactly once." : "Frames are missing or counted twice: look at the red equations.");
  const name = (equation) => `${equation.name} ${equation.interface ?? ""} ${equation.queue ?? ""} ${equation.direction}`;
  rows($("loss"), [...open, ...loss.equations.filter((equation) => equation.closed)], name, (equation) => {
    const where = [equation.interface && brief(equation.interface), equation.queue === null ? null : `queue ${equation.queue}`].filter(Boolean).join(" · ");
    const details = make("details", "eq", make("summary", "", make("span", "mark"), make("span", "", `${words(equation.name)} ${equation.direction}`, make("span", "meta", where ? `  ${where}` : "")), make("span", "sum")), make("div", "terms"));
    details.firstChild.title = equation.interface ?? "";
    return details;
  }, (row, equation) => {
    row.classList.toggle("open-eq", !equation.closed);
    set(row.querySelector(".mark"), equation.closed ? "✓" : "!");
    const sum = equation.left.reduce((total, term) => total + term.value, 0);
    set(row.querySelector(".sum"), equation.closed ? whole(sum) : `${equation.difference > 0 ? "+" : "−"}${whole(Math.abs(equation.difference))}`);
    const terms = row.querySelector(".terms");
    if (!row.open && terms.childElementCount) { terms.replaceChildren(); return; }
    if (!row.open) return;
    const side = (title, list) => [make("span", "side", title), ...list.flatMap((term) => {
      const label = make("span", "", words(term.name));
      if (term.help) label.title = term.help;
      return [label, make("b", "", whole(term.value))];
    })];
    terms.replaceChildren(...side("came in", equation.left), ...side("went to", equation.right), make("span", "side", `difference ${equation.difference}`), make("b"));
  });
}
// A click opens before the next tick fills it; fill at once.
$("loss").addEventListener("toggle", () => lastStatus && showLoss(lastStatus.loss), true);

function showDrops(totals) {
  const active = totals.drops.filter((drop) => drop.value > 0);
  const all = active.reduce((sum, drop) => sum + drop.value, 0);
  const share = all / (totals.packets + all || 1);
  set($("drops-total"), active.length ? `${whole(all)} of ${short(totals.packets)} · ${share < 0.0001 ? (share * 1e6).toFixed(0) + " ppm" : (share * 100).toFixed(2) + " %"}` : "");
  const host = $("drops");
  if (!active.length) {
    if (!host.dataset.empty) host.replaceChildren(make("p", "empty small", "Nothing has been dropped."));
    host.dataset.empty = "yes";
    return;
  }
  if (host.dataset.empty) { host.replaceChildren(); delete host.dataset.empty; }
  const most = Math.max(...active.map((drop) => drop.value));
  rows(host, active, (drop) => drop.name, (drop) => {
    const row = make("div", "drop", make("span", "", words(drop.name)), make("span", "", make("b"), make("small")), gauge(0));
    if (drop.help) row.title = drop.help;
    return row;
  }, (row, drop) => {
    set(row.querySelector("b"), whole(drop.value));
    set(row.querySelector("small"), `${short(causes.get(drop.name) ?? 0)}/s`);
    row.querySelector("i").style.width = `${(Math.log1p(drop.value) / Math.log1p(most)) * 100}%`;
  });
}

function mode(name) {
  return make("span", `mode ${name}`, name);
}

function showSystem(status) {
  const body = document.querySelector("#queues tbody");
  rows(body, status.queues, (queue) => `${queue.id} ${queue.mode}`, (queue) => {
    const place = make("td", "", `${queue.interface}:${queue.nic_queue}`);
    if (queue.namespace) place.append(make("span", "meta", ` in ${queue.namespace}`));
    const how = make("td", "", mode(queue.mode));
    how.title = `asked for: ${queue.requested}`;
    return make("tr", "", place, how, make("td", "", queue.symmetry), make("td", "", [queue.huge_pages ? "huge pages" : "4 KiB pages", queue.busy_poll ? "busy poll" : ""].filter(Boolean).join(", ")));
  }, () => {});
  const { model, store } = status;
  const facts = [
    ["Model", model ? `${model.name} ${model.version}, schema ${model.schema_version}, reports ${Object.keys(model.thresholds).length} families from ${exact(Math.min(...Object.values(model.thresholds)))}` : "none configured"],
    ["Scoring", model ? (model.active ? `${whole(status.totals.scored)} rows scored, ${whole(status.totals.shed)} shed` : `stopped: ${model.reason ?? "unknown"}`) : "–"],
    ["Store", `${whole(store.alerts)} alerts in ${store.path}` + (store.pending ? `, ${whole(store.pending)} waiting` : "") + (store.shed ? `, ${whole(store.shed)} given up` : "")],
    ["Not decoded", status.totals.not_decoded ? `${whole(status.totals.not_decoded)} packets of an EtherType that is only counted` : "–"],
    ["Seen", `${whole(status.totals.packets)} packets, ${short(status.totals.bytes)}B, ${whole(status.totals.flows)} flows`],
  ];
  rows($("facts"), facts.flatMap(([name, text]) => [{ tag: "dt", name, text: name }, { tag: "dd", name, text }]), (item) => item.tag + item.name, (item) => make(item.tag), (row, item) => set(row, item.text));
  rows($("notes"), status.notes.map(brief), (note) => note, (note) => make("li", "", note), () => {});
}

function showWorkers(workers) {
  const names = workers.map((worker) => worker.id);
  set($("workers-meta"), `${many(workers.length, "worker")}, ${many(workers.reduce((sum, worker) => sum + worker.queues.length, 0), "queue")}`);
  if (!workers.length) { $("workers").replaceChildren(make("p", "empty small", "No worker runs.")); return; }
  $("workers").querySelector(":scope > .empty")?.remove();
  rows($("workers"), workers, (worker) => `w${worker.id}`, () => make("div", "worker", make("h3", "", make("span"), gauge(0, "load"), make("small")), make("div", "queues")), (row, worker) => {
    const [title, load, note] = row.firstChild.children;
    set(title, `Worker ${worker.id}` + (worker.core === null ? "" : ` · core ${worker.core}`));
    load.firstChild.style.width = `${Math.min(1, worker.load) * 100}%`;
    load.classList.toggle("hot", worker.load > 0.8);
    set(note, `${Math.round(worker.load * 100)} % busy · ${short(worker.turns_per_second)} turns/s` + (worker.queues.length ? "" : " · no queue"));
    rows(row.lastChild, worker.queues, (queue) => `q${queue.id}`, createQueue, (card, queue) => updateQueue(card, queue, worker, names));
  });
}

function createQueue(queue) {
  const select = make("select");
  select.setAttribute("aria-label", `Move queue ${queue.id} to another worker`);
  select.addEventListener("change", () => move(queue.id, Number(select.value)));
  const control = (name) => make("div", `ctl ${name}`, make("span", "name", name === "rx" ? "RX cap" : "Scoring"), make("span", "track", make("i"), make("u")), make("span", "target"), make("span", "reason"));
  return make("div", "queue", make("div", "qhead", make("b", "", brief(queue.name)), mode(queue.mode), make("label", "select", select)), make("div", "rates"), control("rx"), control("scoring"), make("div", "elephants"));
}

function updateQueue(card, queue, worker, names) {
  card.classList.toggle("hot", queue.emergency);
  const badge = card.querySelector(".mode");
  if (badge.textContent !== queue.mode) badge.replaceWith(mode(queue.mode));
  rows(card.querySelector(".rates"), [
    `${short(queue.packets_per_second)} packets/s`, `${short(queue.bits_per_second)}bit/s`, `${Math.round(queue.load * 100)} % load`,
    `${whole(queue.flows)} of ${short(queue.flow_capacity)} flows` + (queue.emergency ? ", emergency" : ""),
    queue.ring_capacity ? `ring ${Math.round((queue.ring_waiting / queue.ring_capacity) * 100)} %` : "",
    queue.handover_per_second ? `${short(queue.handover_per_second)} handed over/s` : "",
  ].map((text, index) => ({ text, index })).filter((one) => one.text), (one) => String(one.index), () => make("span"), (span, one) => set(span, one.text));
  for (const [name, state] of [["rx", queue.rx], ["scoring", queue.scoring]]) {
    const row = card.querySelector(`.ctl.${name}`), span = state.maximum - state.minimum || 1;
    const at = (number) => `${Math.max(0, Math.min(1, (number - state.minimum) / span)) * 100}%`;
    row.querySelector("i").style.width = at(state.mean);
    row.querySelector("u").style.left = at(state.target);
    set(row.querySelector(".target"), `${axis(state.target)} ${state.unit}`);
    row.querySelector(".track").title = `target ${axis(state.target)}, mean batch ${axis(state.mean)}, range ${axis(state.minimum)} to ${axis(state.maximum)} ${state.unit}, ${state.changes} changes`;
    set(row.querySelector(".reason"), `${state.control === "fixed" ? "fixed" : words(state.state)} · mean ${axis(state.mean)} · ${words(state.last_reason)}`);
  }
  rows(card.querySelector(".elephants"), queue.elephants.slice(0, 2), (flow) => flow.source + flow.source_port + flow.destination + flow.destination_port, () => make("div", "elephant"), (row, flow) => set(row, `elephant ${ends(flow)} ${short(flow.bits_per_second)}bit/s`));
  const select = card.querySelector("select");
  if (select !== document.activeElement) {
    const key = names.join();
    if (select.dataset.key !== key) {
      select.dataset.key = key;
      select.replaceChildren(...names.map((name) => { const option = make("option", "", `on worker ${name}`); option.value = name; return option; }));
    }
    select.value = String(worker.id);
    select.parentElement.hidden = names.length < 2;
  }
}

let orderTrouble = null;
async function move(queue, worker) {
  try {
    await ask(`/v1/queues/${queue}/move`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ worker }) });
    orderTrouble = null;
  } catch (error) {
    orderTrouble = `Queue ${queue} was not moved: ${error.message}`;
    setTimeout(() => { orderTrouble = null; }, 8000);
  }
  document.activeElement?.blur?.();
}

const QUANTILES = [[0.5, "p50"], [0.75, "p75"], [0.9, "p90"], [0.95, "p95"], [0.99, "p99"], [0.999, "p999"], [0.9999, "p9999"]];
const STAGES = ["receive", "decode", "flow", "score_queue", "score", "expire", "burst", "forward", "packet_to_block", "packet_to_alert"];

function showLatency(latency) {
  const select = $("core"), cores = latency.cores.map((core) => String(core.core ?? "none"));
  if (select.dataset.key !== cores.join()) {
    select.dataset.key = cores.join();
    const chosen = select.value;
    select.replaceChildren(...["", ...cores].map((core) => { const option = make("option", "", core === "" ? "all cores" : `core ${core}`); option.value = core; return option; }));
    select.value = cores.includes(chosen) ? chosen : "";
  }
  const chosen = select.value === "" ? latency.all : latency.cores.find((core) => String(core.core ?? "none") === select.value)?.stages ?? {};
  // Packet to alert is no core's; it stands apart by detector, because some count by the second and the model does not.
  const stages = select.value === "" ? { ...chosen, ...Object.fromEntries(Object.entries(latency.alerts).map(([name, one]) => [`alert by ${name}`, one])) } : chosen;
  const known = Object.keys(stages);
  const names = [...STAGES.filter((name) => known.includes(name)), ...known.filter((name) => !STAGES.includes(name))];
  const colour = (name) => (STAGES.indexOf(name) + 10) % 10;
  ladders($("latency"), names.filter((name) => STAGES.includes(name)).map((name) => ({ name: words(name), colour: colour(name), points: QUANTILES.map(([quantile, key]) => [quantile, stages[name][key]]) })), roundTime, "Latency percentiles by stage, both axes logarithmic");
  rows(document.querySelector("#latency-table tbody"), names, (name) => name, (name) => make("tr", "", make("td", `c${colour(name)}`, make("i", STAGES.includes(name) ? "swatch" : "swatch none"), words(name)), make("td"), make("td"), make("td"), make("td")), (row, name) => {
    const stage = stages[name];
    ["p50", "p99", "p999", "max"].forEach((key, index) => set(row.children[index + 1], time(stage[key])));
    row.title = `${whole(stage.count)} events, mean ${time(stage.mean)}`;
  });
  const alert = latency.all.packet_to_alert;
  const [number, unit] = alert ? time(alert.p99).split(" ") : ["–", ""];
  value("tile-latency", number, unit);
  set(document.querySelector("#tile-latency .note"), alert ? `median ${time(alert.p50)}` : "no live alert yet");
}

function showFlows(flows) {
  $("flows-empty").hidden = flows.length > 0;
  $("flows").hidden = flows.length === 0;
  const most = Math.max(...flows.map((flow) => flow.bits_per_second), 1);
  const key = (flow) => [flow.protocol, flow.source, flow.source_port, flow.destination, flow.destination_port].join(" ");
  rows(document.querySelector("#flows tbody"), flows, key, (flow) => make("tr", "", make("td", "", make("span", "mono", ends(flow)), make("span", "meta", ` ${protocol(flow.protocol)}`)), make("td", "", make("span"), gauge(0, "load")), make("td"), make("td")), (row, flow) => {
    const [, rate, packets, score] = row.children;
    set(rate.firstChild, `${short(flow.bits_per_second)}bit/s`);
    rate.lastChild.firstChild.style.width = `${(flow.bits_per_second / most) * 100}%`;
    set(packets, short(flow.packets[0] + flow.packets[1]));
    set(score, flow.score === null || flow.score === undefined ? "–" : flow.score.toFixed(2));
    row.title = `${flow.state}; ${short(flow.bytes[0])}B there, ${short(flow.bytes[1])}B back; queue ${flow.queue}`;
  });
}

// ---------------------------------------------------------------- what exposes hosts

const FINDINGS_KEPT = 2000; // findings held; the worst of them are shown
const FINDINGS_SHOWN = 25;
const findings = { held: new Map(), after: "" };

// Pages are in the order of changes: what comes is new or was seen again.
async function followFindings() {
  for (let page = 0; page < 10; page++) {
    const answer = await fetch(`/v1/findings?severity=3&limit=500${findings.after}`, { signal: AbortSignal.timeout(8000) });
    if (answer.status === 410) { findings.held.clear(); findings.after = ""; continue; }
    const body = await answer.json();
    if (!answer.ok) throw new Error(body.detail ?? `status ${answer.status}`);
    for (const one of body.items) {
      findings.held.delete(one.id);
      findings.held.set(one.id, one);
      if (findings.held.size > FINDINGS_KEPT) findings.held.delete(findings.held.keys().next().value);
    }
    findings.after = `&after=${body.next}`;
    findings.home = body.home.join(", ");
    if (!body.has_more) break;
  }
  showFindings();
}

function showFindings() {
  const all = [...findings.held.values()].sort((a, b) => a.severity - b.severity || b.last_seen.localeCompare(a.last_seen) || a.id.localeCompare(b.id));
  const hosts = new Set(all.map((one) => one.host)).size;
  set($("findings-meta"), all.length ? `${whole(all.length)} of severity low or higher on ${whole(hosts)} hosts; /v1/findings has all` : "");
  $("findings-empty").hidden = all.length > 0;
  if (!all.length && findings.home) set($("findings-empty"), `Nothing so far, of what watching alone can see of the hosts in ${findings.home}.`);
  $("findings").hidden = all.length === 0;
  const create = (one) => make("tr", "",
    make("td", "", make("span", `sev s${one.severity}`, SEVERITY[one.severity] ?? "")),
    make("td", "", make("b"), " ", make("span"), make("span", "meta")),
    make("td", "", make("span", "mono", one.host), " ", make("span", "meta")), make("td"));
  rows(document.querySelector("#findings tbody"), all.slice(0, FINDINGS_SHOWN), (one) => one.id, create, (row, one) => {
    const [, what, where, seen] = row.children;
    const [worst, ...others] = one.vulnerabilities ?? []; // the worst first
    set(what.children[0], worst ? worst.cve + (worst.cvss ? ` (${worst.cvss})` : "") : one.kind.replaceAll("_", " "));
    set(what.children[1], one.evidence);
    const also = others.map((other) => other.cve + (other.confidence === "low" ? " (possible)" : "")).join(", ");
    set(what.children[2], (one.confidence === "low" ? " possible" : "") + (also ? ` also ${also}` : ""));
    const service = one.service ? `${one.service.transport}/${one.service.port} ${one.service.protocol}` : "";
    set(where.children[1], [service, one.host_name ?? ""].filter(Boolean).join(", "));
    set(seen, one.last_seen.slice(0, 16).replace("T", " "));
    row.title = `${one.remedy} Seen ${whole(one.count)} times, first ${one.first_seen.slice(0, 16).replace("T", " ")}.`;
  });
}

function banner(status) {
  const host = $("banner");
  if (lost) {
    host.className = "banner";
    set(host, `No answer from Shrike since ${lost.toLocaleTimeString("en-GB")}. What you see is from then; trying again.`);
  } else if (orderTrouble) {
    host.className = "banner warn";
    set(host, orderTrouble);
  } else if (status?.degraded.length) {
    host.className = status.ready && status.loss.closed ? "banner warn" : "banner";
    const lines = status.degraded.map((one) => `${one.part}: ${one.reason}`);
    if (host.dataset.key !== lines.join("\n") || host.firstElementChild === null) {
      host.replaceChildren(make("ul", "", ...lines.map((line) => make("li", "", line))));
    }
    host.dataset.key = lines.join("\n");
  } else {
    host.hidden = true;
    return;
  }
  host.hidden = false;
}

// ---------------------------------------------------------------- alerts

// One for each alert: its newest row, which has the count. By newest activity first.
const alerts = [];
const byId = new Map();
let loaded = false;
const seen = new Set();
const shown = new Set([1, 2, 3, 4]);
let limit = ROWS, held = false, detectorFilter = "", pending = [], due = false;

const SEVERITY = { 1: "high", 2: "medium", 3: "low", 4: "info" };

function passes(alert) {
  return shown.has(Math.max(1, Math.min(4, alert.severity))) && (!detectorFilter || alert.detector === detectorFilter);
}

function arrived(alert) {
  if (seen.has(alert.sequence)) return; // A stream may repeat what a page had.
  seen.add(alert.sequence);
  pending.push(alert);
  if (!held) soon();
}

function soon() {
  if (due) return;
  due = true;
  // Four times a second at most, however many arrive.
  setTimeout(() => { due = false; take(); }, 250);
}

function take() {
  const fresh = pending;
  pending = [];
  if (fresh.length) {
    for (const alert of fresh) {
      const known = byId.get(alert.id);
      if (known && known.sequence > alert.sequence) continue;
      if (known) seen.delete(known.sequence);
      byId.set(alert.id, alert);
    }
    alerts.splice(0, alerts.length, ...[...byId.values()].sort((a, b) => b.sequence - a.sequence));
    for (const old of alerts.splice(ALERTS_KEPT)) { seen.delete(old.sequence); byId.delete(old.id); }
    const options = $("detector"), known = [...options.options].map((option) => option.value);
    for (const name of new Set(fresh.map((alert) => alert.detector))) {
      if (!known.includes(name)) { const option = make("option", "", words(name)); option.value = name; options.append(option); }
    }
    if (live) set($("alert-news"), `${many(fresh.length, "new alert")}`);
  }
  showAlerts(live ? new Set(fresh.map((alert) => alert.sequence)) : new Set());
}

function showAlerts(fresh = new Set()) {
  const visible = [];
  let passing = 0;
  for (const alert of alerts) {
    if (!passes(alert)) continue;
    passing++;
    if (visible.length < limit) visible.push(alert);
  }
  rows($("alert-list"), visible, (alert) => alert.id, () => createAlert(), (row, alert) => updateAlert(row, alert, fresh.has(alert.sequence)));
  $("more").hidden = passing <= visible.length;
  set($("more"), `Show older (${whole(passing - visible.length)} more here)`);
  $("alert-empty").hidden = visible.length > 0;
  set($("alert-empty-title"), loaded ? "No alerts" : "Alerts");
  set($("alert-empty-text"), alerts.length ? "None of the alerts here passes the filter." : loaded ? "Nothing has crossed a threshold. New alerts appear here by themselves." : "Asking for them …");
}

function clock(alert) {
  const at = new Date(alert.timestamp);
  const today = at.toDateString() === new Date().toDateString();
  const text = today ? at.toLocaleTimeString("en-GB") : at.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
  const element = make("time", "", text);
  element.dateTime = alert.timestamp;
  element.title = at.toString();
  return element;
}

function target(alert) {
  if (alert.target == null) return alert.port == null ? "many" : `port ${alert.port}`;
  return alert.port == null ? alert.target : endpoint(alert.target, alert.port);
}

function who(alert) {
  const text = `${alert.source ?? "many"} → ${target(alert)}`;
  const element = make("span", "who mono", text);
  element.title = text;
  return element;
}

function createAlert() {
  const details = make("details", "", make("summary"));
  details.addEventListener("toggle", () => {
    if (details.open && details.childElementCount === 1) details.append(why(byId.get(details.parentElement.dataset.key)));
  });
  return make("li", "alert", details);
}

// A repeat takes the row of its alert, which stays open if it is.
function updateAlert(row, alert, fresh) {
  if (row.dataset.sequence === String(alert.sequence)) return;
  row.dataset.sequence = alert.sequence;
  row.classList.toggle("fresh", fresh);
  const severity = Math.max(1, Math.min(4, alert.severity));
  const kind = make("span", "kind", make("b", "", words(alert.detector)), ` ${words(alert.kind)}`);
  const what = make("span", "what", alert.summary);
  what.title = alert.summary;
  const details = row.firstChild, focused = document.activeElement === details.firstChild;
  const parts = [clock(alert), make("span", `sev s${severity}`, SEVERITY[severity]), kind, who(alert), what, make("span", "times", alert.occurrences > 1 ? `×${whole(alert.occurrences)}` : "")];
  details.firstChild.replaceChildren(...parts);
  if (details.childElementCount > 1) details.lastChild.replaceWith(why(alert));
  if (focused) details.firstChild.focus();
}

// The rows of an alert that were told before its newest one, fetched when somebody wants them.
function repeats(alert) {
  const list = make("ol", "", make("li", "", "Asking …"));
  const details = make("details", "repeats", make("summary", "", "Told before"), list);
  details.addEventListener("toggle", async () => {
    if (!details.open) return;
    try {
      const { history: told } = await ask(`/v1/alerts/${encodeURIComponent(alert.id)}`);
      const earlier = told.filter((one) => one.sequence < alert.sequence).reverse();
      list.replaceChildren(...earlier.map((one) => make("li", "", clock(one), make("span", "times", `×${whole(one.occurrences)}`), make("span", "", one.summary))));
    } catch (error) {
      list.replaceChildren(make("li", "", `Not to be had: ${error.message}`));
    }
  });
  return details;
}

const SIGNS = { ">": "> ", ">=": "≥ ", "<=": "≤ " };

// Why: every term with its value against its threshold, on one logarithmic scale up to the larger of the two.
function why(alert) {
  const body = make("tbody");
  for (const term of alert.terms ?? []) {
    const row = make("tr", "", make("td", "", words(term.name)), make("td", "n", (term.at_least ? "≥ " : term.error == null ? "" : "≈ ") + exact(term.value ?? NaN)), make("td", "bar"), make("td", "n", term.threshold == null ? "–" : `${SIGNS[term.relation] ?? ""}${exact(term.threshold)}`), make("td", "n", term.usual == null ? "–" : exact(term.usual)));
    if (term.threshold != null && term.value != null) {
      const most = Math.max(Math.abs(term.value), Math.abs(term.threshold), Math.abs(term.usual ?? 0)) || 1;
      const at = (number) => Math.log1p((Math.abs(number) / most) * 999) / Math.log1p(999);
      const bar = gauge(at(term.value), term.relation === "<=" || term.value >= term.threshold ? "" : "below");
      const mark = make("u");
      mark.style.left = `calc(${at(term.threshold) * 100}% - 2px)`;
      bar.append(mark);
      bar.title = "bar: value; mark: threshold in force";
      row.children[2].append(bar);
    }
    body.append(row);
  }
  const head = make("tr");
  for (const [name, className] of [["Reason", ""], ["Value", "n"], ["", ""], ["Threshold", "n"], ["Usual", "n"]]) {
    const cell = make("th", className, name);
    cell.scope = "col";
    head.append(cell);
  }
  const facts = make("dl");
  const fact = (name, content) => content != null && content !== "" && facts.append(make("div", "", make("dt", "", name), make("dd", "", content)));
  fact("From", alert.source);
  fact("Link address", alert.source_mac);
  fact("To", target(alert));
  fact("Protocol", alert.protocol == null ? null : protocol(alert.protocol));
  fact("Confidence", `${Math.round((alert.confidence ?? 0) * 100)} %`);
  fact("Seen", `${whole(alert.occurrences)} ${alert.occurrences === 1 ? "time" : "times"}, first ${new Date(alert.first_seen).toLocaleString("en-GB")}`);
  if (alert.flow) {
    fact(alert.flow.is_example ? "One of its flows" : "Flow", ends(alert.flow));
    fact("Community ID", alert.flow.community_id);
  }
  const link = make("a", "mono", alert.id);
  link.href = `/v1/alerts/${encodeURIComponent(alert.id)}`;
  fact("Alert", link);
  const table = make("table", "", make("thead", "", head), body);
  const parts = [make("p", "full", alert.summary), make("div", "table", table), facts];
  return make("div", "why", ...parts, ...(alert.occurrences > 1 ? [repeats(alert)] : []));
}

$("filters").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const severity = Number(button.dataset.severity), on = !shown.has(severity);
  on ? shown.add(severity) : shown.delete(severity);
  button.setAttribute("aria-pressed", String(on));
  limit = ROWS;
  showAlerts();
});
$("detector").addEventListener("change", (event) => { detectorFilter = event.target.value; limit = ROWS; showAlerts(); });
$("more").addEventListener("click", () => { limit += 2 * ROWS; showAlerts(); });
$("hold").addEventListener("click", () => {
  held = !held;
  $("hold").setAttribute("aria-pressed", String(held));
  if (!held) take();
  holdText();
});
function holdText() {
  set($("hold"), held ? (pending.length ? `Held, ${whole(pending.length)} new` : "Held") : "Hold");
}

// Another run of the program: what is here may not be there any more, and the stream of the old one is gone.
function restarted() {
  before = null;
  alerts.length = 0;
  byId.clear();
  findings.held.clear();
  findings.after = "";
  loaded = false;
  pending = [];
  seen.clear();
  live = false;
  source?.close();
  follow();
}

// The newest first, then the stream from there. EventSource comes again by itself after a broken connection and names its
// place; only when the server refuses that place (retention, another store) do we begin anew.
let live = false, source = null, follower = 0;
async function follow() {
  const me = ++follower; // Only the latest may go on: a restart may begin one while another waits.
  const again = () => setTimeout(() => { if (me === follower) follow(); }, 2000);
  try {
    const page = await ask("/v1/alerts?newest=500&grouped=true");
    if (me !== follower) return;
    page.items.forEach(arrived);
    loaded = true;
    take();
    live = true;
    const stream = new EventSource(`/v1/alerts/stream?after=${encodeURIComponent(page.next)}`);
    source = stream;
    stream.addEventListener("alert", (event) => { arrived(JSON.parse(event.data)); if (held) holdText(); });
    stream.addEventListener("error", () => {
      if (stream.readyState === EventSource.CLOSED) again();
    });
  } catch {
    again();
  }
}

// ---------------------------------------------------------------- the clockwork

let lost = null, lastStatus = null, turn = 0, failures = 0;

function connection(ok) {
  if (ok) { lost = null; failures = 0; }
  else if (++failures >= 2 && !lost) lost = new Date();
  document.body.classList.toggle("lost", Boolean(lost));
  const link = $("link");
  link.firstChild.className = `dot ${lost ? "bad" : "good"}`;
  set(link.lastChild, lost ? "disconnected" : "live");
  if (lost) {
    set($("health"), "unknown");
    $("health").className = "pill";
  }
}

async function tick() {
  if (!document.hidden || !lastStatus) {
    try {
      const slow = turn % 2 === 0;
      const [status, workers, latency, flows] = await Promise.all([
        ask("/v1/status"), ask("/v1/workers"), slow ? ask("/v1/latency") : null, slow ? ask("/v1/flows/top?limit=10") : null,
      ]);
      turn++;
      connection(true);
      if (lastStatus && lastStatus.started !== status.started) restarted();
      lastStatus = status;
      showStatus(status, workers.items);
      showWorkers(workers.items);
      if (latency) showLatency(latency);
      if (flows) showFlows(flows.items);
      $("exposed").hidden = !status.inventory;
      if (status.inventory && turn % 4 === 1) await followFindings();
      if (slow) await followInline();
    } catch (error) {
      connection(false);
      banner(lastStatus);
    }
  }
  setTimeout(tick, TICK);
}

addEventListener("resize", () => { turn = 0; });
$("core").addEventListener("change", () => { turn = 0; });
preload().catch(() => { /* an older server keeps no history: the charts fill as time passes */ }).finally(tick);
follow();
