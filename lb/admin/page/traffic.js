// The traffic of the last two minutes, and whether all is well.

import { draw } from "./charts.js";
import { $, mark, set } from "./dom.js";
import { amount, bytes, plural, took } from "./text.js";

const POINTS = 120; // points of each chart
const charts = { active: [], rate: [], bytes: [], connect: [], requests: [], slow: [] };
const drawn = new Map(); // the name of a chart -> what it is to show
let before = null; // the previous totals, to compute rates
let announced = ""; // whether all was well when that was said last

export function showVerdict({ without, states, servers }) {
  const notUp = servers - (states.up ?? 0);
  const failed = (states.down ?? 0) + (states.ejected ?? 0);
  const names = without.names.length < without.count ? `${without.names.join(", ")} and ${without.count - without.names.length} more` : without.names.join(", ");
  const well = notUp ? `All pools available, ${plural(notUp, "server")} not up` : "All pools available";
  say(without.count ? "no" : failed ? "partly" : "yes", without.count ? `No available server: ${names}` : well);
  document.title = `${without.count ? "✗" : notUp ? "!" : "✓"} trio-lb`;
}
export function showSilence(text) {
  say("unknown", text);
  document.title = "? trio-lb";
}
// Readers of the screen are told when it is well or not, and not each time when another server has changed.
function say(ok, text) {
  mark($("#verdict"), "ok", ok);
  set($("#verdict"), text);
  if (ok !== announced && announced) set($("#announcement"), text);
  announced = ok;
}

export function showTraffic({ timestamp, totals, requests }) {
  const now = { ...totals, at: Date.parse(timestamp) };
  const seconds = before === null ? 0 : (now.at - before.at) / 1000;
  point("active", now.active, amount);
  if (before === null || seconds >= 0.5) {
    if (before !== null) showRates(now, seconds, requests);
    before = now;
  } // else an early request, because of an event
  for (const element of [$('[data-figure="requests"]'), $('[data-figure="slow"]')]) element.hidden = now.requests === null;
  if ($("#figures").checkVisibility()) drawAll();
}
function showRates(now, seconds, requests) {
  const rise = (key) => Math.max(0, now[key] - before[key]);
  point("rate", rise("accepted") / seconds, amount);
  point("bytes", (rise("bytes_in") + rise("bytes_out")) / seconds, bytes);
  const connects = rise("connects");
  point("connect", connects ? (1000 * rise("connect_seconds")) / connects : (charts.connect.at(-1) ?? 0), (ms) => `${amount(ms)} ms`);
  if (now.requests === null) return;
  point("requests", rise("requests") / seconds, amount);
  if (requests) point("slow", Math.max(0, ...Object.values(requests.shown).map((each) => each.last_minute.p99_ms ?? 0)), took);
}
function point(name, value, text) {
  const points = charts[name];
  points.push(value);
  if (points.length > POINTS) points.shift();
  drawn.set(name, text(value));
}
function drawAll() {
  for (const [name, text] of drawn) {
    const figure = $(`[data-figure="${name}"]`);
    set($("output", figure), text);
    draw(figure, [...Array(POINTS - charts[name].length).fill(null), ...charts[name]]);
  }
  drawn.clear();
}
