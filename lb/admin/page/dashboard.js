// The dashboard: asks once a second for what it shows, and at once when an event arrives or something else is to be shown. All text is
// set with textContent, so that no name from a configuration or a server's response can be markup.

import { showCards } from "./cards.js";
import "./connections.js";
import { $, keepFocus, mark, set } from "./dom.js";
import { ask, askSoon, follow } from "./history.js";
import { showList } from "./pools.js";
import "./reload.js";
import { request } from "./requests.js";
import { showStreams, stopStream } from "./streams.js";
import { clock, span } from "./text.js";
import { showSilence, showTraffic, showVerdict } from "./traffic.js";
import { go, link, query, view } from "./view.js";

const INTERVAL = 1000; // milliseconds between two requests
const EVENTS_APART = 250; // milliseconds between two requests because of events
const TIMEOUT = 5000; // milliseconds for an answer
const PATIENCE = 2000; // milliseconds without an answer before the page says so
const EVENTS = ["backend.ejected", "backend.restored", "backend.overridden", "config.applied", "config.rejected", "worker.died", "stream.published", "stream.unpublished", "media.process_restarted", "fault"];

// Requests

const known = { path: "", tag: null, body: null }; // the last answer
let refreshing = false;
let again = false;
let began = -Infinity; // when the last request was sent
let unanswered = null; // when the first request was sent that has no answer; null if the last one has
let failed = false; // the last request has failed
let sayFound = false; // somebody has asked for something else, and is to be told what was found

async function refresh() {
  if (document.hidden) return;
  if (refreshing) {
    again = true;
    return;
  }
  refreshing = true;
  began = performance.now();
  unanswered ??= began;
  const path = `api/v1/overview?${query(view())}`;
  try {
    const { body, tag } = await request(path, { timeout: TIMEOUT, tag: path === known.path ? known.tag : null });
    unanswered = null;
    failed = false;
    if (body !== null) Object.assign(known, { path, tag, body });
    else known.body.timestamp = new Date(Date.now() + clock.skew).toISOString();
    clock.skew = Date.parse(known.body.timestamp) - Date.now();
    if (path === `api/v1/overview?${query(view())}`) keepFocus(() => show(known.body), $("#list-title"));
    else again = true;
    mark($("#link"), "state", "live");
    set($("#link"), "live");
  } catch (error) {
    failed = true;
    mark($("#link"), "state", "lost");
    set($("#link"), error.message);
  } finally {
    refreshing = false;
  }
  sayWhetherSilent();
  if (again) {
    again = false;
    await refresh();
  }
}

// A balancer that does not answer: what the page shows is old, and looks like it
function sayWhetherSilent() {
  const waited = unanswered === null ? 0 : performance.now() - unanswered;
  const silent = failed || waited > PATIENCE;
  document.body.classList.toggle("stale", silent);
  if (silent) showSilence(`No answer for ${span(waited / 1000)}`);
}

function show(found) {
  showVerdict(found.totals);
  showTraffic(found);
  showList(found.list);
  follow(found.list.rows.length ? view().pool : null);
  if (sayFound) set($("#announcement"), $("#found").textContent);
  sayFound = false;
  if (found.listeners === undefined) return; // the page of a pool has no more
  showCards(found);
  showStreams(found.streams, found.media);
}

// What is to be shown

let shownPool; // null: all pools; undefined before the first view
function showView() {
  const wanted = view();
  document.body.dataset.view = wanted.pool === null ? "all" : "pool";
  if ($("#find").value.trim() !== wanted.find.trim()) $("#find").value = wanted.find;
  $("#trouble").checked = wanted.trouble;
  if (wanted.pool !== null) stopStream();
  else $("#back a").href = link(wanted);
  if (shownPool !== undefined && shownPool !== wanted.pool) $("#list-title").focus();
  else sayFound = shownPool !== undefined;
  shownPool = wanted.pool;
  refresh();
}
window.addEventListener("hashchange", showView);
$("#find").addEventListener("input", () => go({ find: $("#find").value }, { asStep: false }));
$("#trouble").addEventListener("change", () => go({ trouble: $("#trouble").checked }));
$("#skip").addEventListener("click", () => $("#list-title").focus());
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && document.activeElement === $("#find")) {
    event.preventDefault();
    $("#find").value = "";
    go({ find: "" }, { asStep: false });
  } else if (event.key === "/" && !event.ctrlKey && !event.altKey && !event.metaKey && !/^(INPUT|TEXTAREA)$/.test(document.activeElement?.tagName)) {
    event.preventDefault();
    $("#find").focus();
    $("#find").select();
  }
});

// Events; a page that is hidden asks for nothing

let events = null;
let soon = 0; // the timer of a request because of events
function refreshSoon() {
  if (soon) return;
  const wait = Math.max(0, began + EVENTS_APART - performance.now());
  soon = setTimeout(() => {
    soon = 0;
    refresh();
  }, wait);
}
function listen() {
  events = new EventSource("api/v1/events");
  for (const name of EVENTS) events.addEventListener(name, refreshSoon);
  for (const name of EVENTS.filter((each) => each.startsWith("backend."))) events.addEventListener(name, askSoon);
}
document.addEventListener("acted", refresh);
document.addEventListener("visibilitychange", () => {
  events?.close();
  events = null;
  if (document.hidden) return;
  listen();
  refresh();
  ask();
});
setInterval(() => {
  if (document.hidden) return;
  if (!refreshing) refresh();
  sayWhetherSilent();
}, INTERVAL);
if (!document.hidden) listen();
showView();
