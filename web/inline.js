// Pairs and responses: what passes between two ports, what is blocked, and what waits for a person's word. Nothing here
// decides anything: a button is an order to the API, and what it became of is what the next answer shows.

import { $, ask, duration, make, many, rows, set, short, whole, words } from "/dom.js";

const SHOWN = 100;       // responses in force shown
const PROPOSED = 50;     // proposals shown
const SURE_MS = 4000;    // a second click within this time is meant

let trouble = null, troubleEnds = 0;

/** What went wrong with an order of a few seconds ago; null otherwise. */
export const inlineTrouble = () => (Date.now() < troubleEnds ? trouble : null);

async function order(what, path, options) {
  try {
    await ask(path, options);
    trouble = null;
  } catch (error) {
    trouble = `${what}: ${error.message}`;
    troubleEnds = Date.now() + 10000;
    set($("orders-news"), trouble);
  }
  await followInline().catch(() => {});
}

const posted = (body) => ({ method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });

/** A button; with `sure` it asks once more by changing its words. */
function button(label, className, act, sure = null) {
  const element = make("button", `act ${className}`, label);
  element.type = "button";
  element.addEventListener("click", async () => {
    if (sure && element.dataset.sure !== "yes") {
      element.dataset.sure = "yes";
      set(element, sure);
      setTimeout(() => { delete element.dataset.sure; set(element, label); }, SURE_MS);
      return;
    }
    element.disabled = true;
    await act();
    element.disabled = false;
  });
  return element;
}

const since = (text) => duration(Math.max(0, (Date.now() - Date.parse(text)) / 1000));
const until = (text) => duration(Math.max(0, (Date.parse(text) - Date.now()) / 1000));

// ---------------------------------------------------------------- responses

const PROOF = { handshake: "the source answered", none: "the source may be forged" };

function reason(row, one) {
  const by = one.playbook ? `playbook ${one.playbook}` : one.who;
  const links = one.evidence.slice(0, 3).map((id) => {
    const link = make("a", "mono", id.slice(0, 8));
    link.href = `/v1/alerts/${encodeURIComponent(id)}`;
    link.title = `alert ${id}`;
    return link;
  });
  const key = one.why + by + one.evidence.join();
  if (row.dataset.reason === key) return;
  row.dataset.reason = key;
  row.querySelector(".because").replaceChildren(make("span", "", one.why || "no reason given"), make("span", "meta", ` ${by} `), ...links.flatMap((link) => [link, " "]));
}

function subject(one) {
  return make("div", "subject", make("b", "", words(one.protocol)), make("span", "mono", one.subject));
}

function showProposed(items, total) {
  $("proposed").hidden = items.length === 0;
  set($("proposed-meta"), total ? `${many(total, "response waits", "responses wait")} for your word` : "");
  rows($("proposed-list"), items, (one) => one.id, (one) => make("li", "order",
    subject(one), make("p", "because"), make("span", "meta lapse"),
    make("div", "acts",
      button("Apply", "yes", () => order(`${one.subject} was not blocked`, `/v1/responses/${encodeURIComponent(one.id)}/accept?by=page`, { method: "POST" })),
      button("Dismiss", "", () => order(`${one.subject} was not dismissed`, `/v1/responses/${encodeURIComponent(one.id)}?by=page`, { method: "DELETE" })))),
  (row, one) => {
    reason(row, one);
    set(row.querySelector(".lapse"), `for ${duration(one.ttl_seconds)} · ${PROOF[one.proof] ?? words(one.proof)} · lapses in ${until(one.until)}`);
  });
}

const STATES = { enforced: "good", done: "", pending: "warn", running: "warn", failed: "bad" };

function showForce(items, set_, proposed) {
  const force = items.filter((one) => one.state !== "proposed");
  const meta = set_.not_enforced ? `not carried out: ${set_.not_enforced}`
    : `${many(set_.subjects, "subject")} in force` + (set_.brake_since ? ` · automatic blocks are off since ${since(set_.brake_since)}: benign traffic suffered` : "");
  set($("responses-meta"), meta);
  $("responses-meta").classList.toggle("warn-text", Boolean(set_.brake_since));
  $("force").hidden = force.length === 0;
  $("responses-empty").hidden = force.length > 0 || proposed > 0;
  rows(document.querySelector("#force tbody"), force.slice(0, SHOWN), (one) => one.id, (one) => make("tr", "",
    make("td", "", make("span", "pill")), make("td", "", subject(one), make("p", "because")), make("td", "n hits"), make("td", "n since"), make("td", "n left"),
    make("td", "n", button(one.state === "done" ? "Forget" : "Undo", "", () => order(`${one.subject} was not undone`, `/v1/responses/${encodeURIComponent(one.id)}?by=page`, { method: "DELETE" }), "Sure?"))),
  (row, one) => {
    const pill = row.querySelector(".pill");
    set(pill, one.state);
    pill.className = `pill ${STATES[one.state] ?? ""}`;
    row.title = one.reason ?? one.outcome ?? "";
    reason(row, one);
    const hits = one.packets ? `${short(one.packets)} dropped` : "none dropped";
    set(row.querySelector(".hits"), one.outcome ?? (one.last_hit ? `${hits}, last ${since(one.last_hit)} ago` : hits));
    set(row.querySelector(".since"), one.enforced_since ? since(one.enforced_since) : "–");
    set(row.querySelector(".left"), until(one.until) + (one.repeats ? ` · ×${one.repeats + 1}` : ""));
  });
}

// ---------------------------------------------------------------- pairs

const all = (counts) => Object.values(counts).reduce((sum, count) => sum + count, 0);
const dropped = (one) => one.dropped_mac + one.dropped_flow + one.dropped_signature + one.dropped_prefix;
const refused = (one) => one.refused + one.tx_refused + one.abandoned + one.lost_at_death + one.lost_in_hands + one.peer_refused;
const TERMS = [
  ["inspected and sent", (one) => one.sent], ["shunted", (one) => one.shunted], ["bypassed", (one) => all(one.bypassed)],
  ["dropped by verdict", dropped], ["withheld", (one) => all(one.withheld)], ["lost", refused],
];
let past = new Map(); // when, and frames received, by pair and direction

function how(pair) {
  if (pair.bypassed) return ["bypassed by an operator", "warn"];
  const down = pair.ports.find((port, side) => port.state.state !== "running" && !pair.link.held[side]);
  if (down) return [`${down.interface}: ${down.state.state === "away" ? down.state.reason : "no carrier"}`, "bad"];
  if (pair.waiting.length) return [`${many(pair.waiting.length, "queue waits", "queues wait")}`, "bad"];
  if (pair.beat_age_ns > pair.beat_limit_ns) return ["no heartbeat", "bad"];
  if (pair.said.length) return [pair.said.map(words).join(", "), "warn"];
  return ["inspecting", "good"];
}

function showPairs(pairs) {
  const now = performance.now(), next = new Map();
  rows($("pairs"), pairs, (pair) => pair.name, (pair) => make("div", "pair",
    make("div", "qhead", make("b", "", pair.name), make("span", "meta"), make("span", "pill"),
      make("span", "acts")), make("div", "table", make("table", "", make("thead", "", make("tr", "", ...["", "received", ...TERMS.map(([name]) => name)].map((name) => { const cell = make("th", "n", name); cell.scope = "col"; return cell; }))), make("tbody"))),
    make("p", "meta policy")),
  (card, pair) => {
    const [, ports, pill, acts] = card.querySelector(".qhead").children;
    set(ports, pair.ports.map((port, side) => `${port.interface} (${pair.link.held[side] ? "set down, for the other has no carrier" : port.state.state === "running" ? port.attached : words(port.state.state.replace("-", " "))})`).join(" ↔ "));
    const [text, state] = how(pair);
    set(pill, text);
    pill.className = `pill ${state}`;
    if (acts.dataset.on !== String(pair.bypassed)) {
      acts.dataset.on = String(pair.bypassed);
      const path = `/v1/pairs/${encodeURIComponent(pair.name)}/bypass`;
      acts.replaceChildren(pair.bypassed
        ? button("Inspect again", "yes", () => order(`${pair.name} is still bypassed`, path, posted({ on: false })))
        : button("Bypass", "", () => order(`${pair.name} was not bypassed`, path, posted({ on: true })), "Sure? Nothing is inspected"));
    }
    rows(card.querySelector("tbody"), pair.directions, (one) => one.from, (one) => make("tr", "", make("td", "mono", `${one.from} → ${one.to}`), make("td", "n"), ...TERMS.map(() => make("td", "n"))), (row, one) => {
      const key = `${pair.name} ${one.from}`, last = past.get(key);
      next.set(key, [now, one.received]);
      const rate = last && now > last[0] && one.received >= last[1] ? ` (${short(((one.received - last[1]) * 1000) / (now - last[0]))}/s)` : "";
      set(row.children[1], whole(one.received) + rate);
      TERMS.forEach(([, of], index) => {
        const count = of(one), cell = row.children[index + 2];
        set(cell, count ? whole(count) : "–");
        cell.classList.toggle("bad-text", index >= 4 && count > 0);
      });
      const causes = [["bypassed", one.bypassed], ["withheld", one.withheld]].flatMap(([name, by]) => Object.entries(by).filter(([, count]) => count).map(([cause, count]) => `${name} for ${words(cause)}: ${whole(count)}`));
      row.title = causes.join("\n");
    });
    const closed = Object.entries(pair.policy).filter(([, fail]) => fail === "closed").map(([cause]) => words(cause));
    const policy = closed.length === Object.keys(pair.policy).length ? "Fails closed, whatever the cause" : closed.length ? `Fails open, but closed on ${closed.join(", ")}` : "Fails open, whatever the cause";
    const beats = pair.beat_age_ns > pair.beat_limit_ns ? `silent for ${duration(pair.beat_age_ns / 1e9)}` : `heartbeat within ${pair.beat_limit_ns / 1e6} ms`;
    const link = pair.link.policy === "follow" ? ` · link follows: ${pair.link_trouble ?? many(pair.link.set_down, "time set down", "times set down")}` : "";
    set(card.querySelector(".policy"), `${policy} · ${beats}${link}` + pair.waiting.map(([queue, why]) => ` · queue ${queue}: ${why}`).join(""));
  });
  past = next;
}

// ---------------------------------------------------------------- both

/** Asks for both and shows them; a program that has neither shows neither. */
export async function followInline() {
  const [pairs, proposed, responses] = await Promise.all([
    ask("/v1/pairs"), ask(`/v1/responses?state=proposed&limit=${PROPOSED}`), ask(`/v1/responses?limit=${SHOWN + PROPOSED}`),
  ]);
  $("pairs-panel").hidden = pairs.pairs.length === 0;
  $("responses-panel").hidden = pairs.pairs.length === 0 && responses.items.length === 0;
  showPairs(pairs.pairs);
  showProposed(proposed.items, proposed.items.length);
  showForce(responses.items, responses.set, proposed.items.length);
  set($("orders-news"), inlineTrouble() ?? "");
}
