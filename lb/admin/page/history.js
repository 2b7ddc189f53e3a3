// What happened in a pool in the last hour.

import { draw } from "./charts.js";
import { $, copyOf, entry, redraw, set } from "./dom.js";
import { request } from "./requests.js";
import { amount } from "./text.js";

const RETRY = 10; // seconds until another attempt
const EVENTS_APART = 2; // seconds between two requests because of events
const CHARTS = {
  up: "Servers that are up",
  active: "Open connections",
  per_second: "New connections and requests per second",
  failed_per_second: "Failed connects per second",
};
let pool = null; // whose history is shown
let timer = 0;
let due = 0; // when the timer ends, in seconds
const now = () => performance.now() / 1000;

// Shows the history of this pool from now on; null = of none.
export function follow(name) {
  if (name === pool) return;
  pool = name;
  due = 0;
  $("#history").hidden = true;
  ask();
}
export function ask() {
  clearTimeout(timer);
  if (pool !== null && !document.hidden) showHistory(pool);
}
// A server has changed: the list of changes is another one.
export function askSoon() {
  if (pool !== null && due - now() > EVENTS_APART) wait(EVENTS_APART);
}
function wait(seconds) {
  clearTimeout(timer);
  due = now() + seconds;
  timer = setTimeout(ask, 1000 * seconds);
}
async function showHistory(name) {
  let next = RETRY;
  try {
    const { body } = await request(`api/v1/pools/${encodeURIComponent(name)}/history`);
    if (name !== pool) return;
    next = body.step;
    showCharts(body.points);
    showChanges(body.changes);
    $("#history").hidden = false;
  } catch {
    if (name !== pool) return; // else the list says whether there is such a pool, and the header whether there is an answer
  }
  wait(next);
}

function showCharts(points) {
  const all = $("#history .charts");
  for (const [name, title] of Object.entries(CHARTS)) {
    let figure = $(`[data-series="${name}"]`, all);
    if (figure === null) {
      figure = copyOf("#chart");
      figure.dataset.series = name;
      set($("figcaption", figure), title);
      all.append(figure);
    }
    const values = points[name];
    const known = values.filter((each) => each !== null);
    const last = known.at(-1);
    set($("output", figure), known.length ? amount(last) : "–");
    const range = known.length ? `${amount(Math.min(...known))} to ${amount(Math.max(...known))}` : "nothing yet";
    set($("small", figure), range);
    $("svg", figure).setAttribute("aria-label", `${title}, the last hour: ${range}`);
    draw(figure, values, name === "up" ? Math.max(0, ...["up", "down", "draining"].flatMap((each) => points[each])) : 0);
  }
}

function showChanges(changes) {
  redraw($("#history .changes"), changes, () =>
    [...changes].reverse().map(({ timestamp, server, state, reason }) => {
      const item = entry(timestamp, server, `${state}${reason ? `: ${reason}` : ""}`);
      item.dataset.state = state;
      return item;
    }),
  );
  $("#history .none").hidden = changes.length > 0;
}
