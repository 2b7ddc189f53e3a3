// The dashboard: requests the status once a second, and at once when an event arrives. All text is set with
// textContent, so that no name from a configuration or a server's response can be markup.
"use strict";

const INTERVAL = 1000; // milliseconds between two requests
const STATUS_TIMEOUT = 5000; // milliseconds for a status
const ACTION_TIMEOUT = 60000; // milliseconds for an operation; a reload of many servers takes seconds
const PATIENCE = 2000; // milliseconds without an answer before the page says so
const POINTS = 120; // points of each chart
const TOP_OBJECTS = 5; // objects listed of each cache
const TOP_TARGETS = 5; // targets listed of each forward proxy, reached and not
const $ = (selector, root = document) => root.querySelector(selector);
const pools = new Map(); // name -> its section, and its rows by server
const streams = new Map(); // name -> its row
let stopPlaying = null; // ends the stream that is played
const charts = { active: [], rate: [], bytes: [], connect: [], requests: [], slow: [] };
let before = null; // the previous status, to compute rates
let clockSkew = 0; // milliseconds that the balancer's clock is ahead of the browser's

// Text

const amount = (number) => number.toLocaleString("en", { maximumFractionDigits: number < 10 ? 1 : 0 });
function bytes(number) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let unit = 0;
  for (; number >= 1000 && unit < units.length - 1; unit += 1) number /= 1000;
  return `${amount(number)} ${units[unit]}`;
}
function span(seconds) {
  if (seconds < 60) return `${Math.max(0, Math.floor(seconds))} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} days`;
}
const took = (ms) => (ms === null ? "–" : ms < 1000 ? `${amount(ms)} ms` : `${amount(ms / 1000)} s`);
const since = (timestamp) => span((Date.now() + clockSkew - Date.parse(timestamp)) / 1000);
const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
function set(element, text) {
  if (element.textContent !== text) element.textContent = text; // avoids a new layout of an unchanged page
}
function mark(element, name, value) {
  if (element.dataset[name] !== value) element.dataset[name] = value;
}
function removeGone(rows, wanted) {
  for (const [name, row] of rows) {
    if (wanted.has(name)) continue;
    row.remove();
    rows.delete(name);
  }
}

// Requests

async function request(path, method = "GET", timeout = ACTION_TIMEOUT) {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), timeout);
  try {
    const answer = await fetch(path, { method, cache: "no-store", signal: controller.signal });
    const body = await answer.json();
    if (!answer.ok && answer.status !== 422) throw new Error(body.error || answer.statusText);
    return body;
  } catch (error) {
    throw controller.signal.aborted ? new Error(`no answer in ${timeout / 1000} s`) : error;
  } finally {
    clearTimeout(timer);
  }
}
async function act(path, button) {
  button.disabled = true;
  set($("#notice"), "");
  try {
    const { cluster } = await request(path, "POST");
    if (cluster !== undefined && cluster !== "told") set($("#notice"), `This node only; the cluster was ${cluster}`);
    await refresh();
  } catch (error) {
    set($("#notice"), error.message);
  } finally {
    button.disabled = false;
  }
}
let refreshing = false;
let again = false;
let unanswered = null; // when the first request was sent that has no answer; null if the last one has
let failed = false; // the last request has failed
async function refresh() {
  if (refreshing) {
    again = true;
    return;
  }
  refreshing = true;
  unanswered ??= performance.now();
  try {
    const status = await request("api/v1/status", "GET", STATUS_TIMEOUT);
    unanswered = null;
    failed = false;
    clockSkew = Date.parse(status.timestamp) - Date.now();
    show(status);
    before = status;
    mark($("#link"), "state", "live");
    set($("#link"), "live");
  } catch (error) {
    failed = true;
    mark($("#link"), "state", "lost");
    set($("#link"), error.message);
  } finally {
    refreshing = false;
  }
  showSilence();
  if (again) {
    again = false;
    await refresh();
  }
}

// A balancer that does not answer: what the page shows is old, and looks like it
function showSilence() {
  const waited = unanswered === null ? 0 : performance.now() - unanswered;
  const silent = failed || waited > PATIENCE;
  document.body.classList.toggle("stale", silent);
  if (!silent) return;
  mark($("#verdict"), "ok", "unknown");
  set($("#verdict"), `No answer for ${span(waited / 1000)}`);
  document.title = "? trio-lb";
}

// Status

function show(status) {
  const without = Object.keys(status.pools).filter((name) => !status.pools[name].available);
  const states = Object.values(status.pools).flatMap((pool) => Object.values(pool.servers)).map((server) => server.state);
  const notUp = states.filter((state) => state !== "up").length;
  const down = states.some((state) => state === "down" || state === "ejected");
  mark($("#verdict"), "ok", without.length ? "no" : down ? "partly" : "yes");
  set($("#verdict"), without.length ? `No available server: ${without.join(", ")}` : notUp ? `All pools available, ${plural(notUp, "server")} not up` : "All pools available");
  document.title = `${without.length ? "✗" : notUp ? "!" : "✓"} trio-lb`;
  showFigures(status);
  showRequests(status.listeners);
  showCaches(status.caches);
  showForward(status.listeners);
  showStreams(status);
  showCluster(status.cluster);
  showPools(status.pools);
  showListeners(status.listeners);
  showEnded(status.ended);
  showEvents(status.events);
}

function showFigures(status) {
  const sum = (object, key) => Object.values(object).reduce((total, each) => total + each[key], 0);
  point("active", sum(status.listeners, "active"), amount);
  if (before === null) return;
  const seconds = (Date.parse(status.timestamp) - Date.parse(before.timestamp)) / 1000;
  if (seconds < 0.5) return; // an early request, because of an event
  const rise = (now, then) => Math.max(0, now - then);
  point("rate", rise(sum(status.listeners, "total"), sum(before.listeners, "total")) / seconds, amount);
  point("bytes", rise(status.bytes_in + status.bytes_out, before.bytes_in + before.bytes_out) / seconds, bytes);
  const connects = rise(sum(status.pools, "connects"), sum(before.pools, "connects"));
  const connecting = rise(sum(status.pools, "connect_seconds"), sum(before.pools, "connect_seconds"));
  const last = charts.connect.at(-1) ?? 0;
  point("connect", connects ? (1000 * connecting) / connects : last, (ms) => `${amount(ms)} ms`);
  const listeners = withRequests(status.listeners);
  if (!listeners.length) return;
  const total = (listeners) => withRequests(listeners).reduce((total, [, { requests }]) => total + requests.total, 0);
  point("requests", rise(total(status.listeners), total(before.listeners)) / seconds, amount);
  point("slow", Math.max(...listeners.map(([, { requests }]) => requests.last_minute.p99_ms ?? 0)), took);
}
function point(name, value, text) {
  const points = charts[name];
  points.push(value);
  if (points.length > POINTS) points.shift();
  const figure = $(`[data-figure="${name}"]`);
  set($("output", figure), text(value));
  const top = Math.max(...points, 1e-9) * 1.1;
  const line = points.map((each, index) => `${POINTS - points.length + index + 1},${(31 - (30 * each) / top).toFixed(2)}`);
  $(".line", figure).setAttribute("d", `M${line.join("L")}`);
  $(".area", figure).setAttribute("d", `M${POINTS - points.length + 1},32L${line.join("L")}L${POINTS},32Z`);
}

// Requests, of listeners of mode http
const withRequests = (listeners) => Object.entries(listeners).filter(([, listener]) => listener.requests);
function showRequests(listeners) {
  const found = withRequests(listeners);
  for (const element of [$("#requests"), $('[data-figure="requests"]'), $('[data-figure="slow"]')]) element.hidden = !found.length;
  const rows = found.flatMap(([name, { requests }]) => [
    { name, ...requests.last_minute },
    ...requests.last_minute.slowest_routes.map((route) => ({ name: route.route || "(no route)", ...route })),
  ]);
  fill($("#requests tbody"), rows, ({ name, route, per_second, statuses, ...times }) => [
    labelled(name, route === undefined ? "listener" : "route"),
    amount(per_second),
    ...["2xx", "3xx", "4xx", "5xx", "none"].map((status) => (statuses?.[status] ? amount(statuses[status]) : "")),
    ...["p50_ms", "p90_ms", "p99_ms"].map((percentile) => took(times[percentile])),
  ]);
}
function showCaches(caches) {
  const found = Object.entries(caches);
  $("#caches").hidden = !found.length;
  const rows = found.flatMap(([name, cache]) => [{ name, ...cache }, ...cache.top.slice(0, TOP_OBJECTS).map(({ key, requests }) => ({ key, requests }))]);
  const cells = ({ name, key, hit_ratio, memory, disk, fills_under_way, requests }) =>
    key === undefined
      ? [labelled(name, "listener"), percent(hit_ratio.last_minute), percent(hit_ratio.since_start), stored(memory), stored(disk), amount(fills_under_way), amount(Object.values(requests).reduce((total, each) => total + each, 0))]
      : [labelled(key, "route"), "", "", "", "", "", amount(requests)];
  fill($("#caches tbody"), rows, cells);
}
function showForward(listeners) {
  const found = Object.entries(listeners).filter(([, listener]) => listener.forward);
  $("#forward").hidden = !found.length;
  const rows = found.flatMap(([name, { forward }]) => [
    { name, results: Object.values(forward.results) },
    ...forward.top.slice(0, TOP_TARGETS).map(({ target, count }) => ({ target, count })),
    ...forward.failed.slice(0, TOP_TARGETS).map(({ target, count }) => ({ target, failures: count })),
  ]);
  fill($("#forward tbody"), rows, ({ name, results, target, count, failures }) => {
    if (target !== undefined) return [labelled(failures === undefined ? target : `${target}, failed`, "route"), count === undefined ? "" : amount(count), "", "", "", failures === undefined ? "" : amount(failures)];
    const of = (...wanted) => results.reduce((total, each) => total + wanted.reduce((sum, result) => sum + (each[result] ?? 0), 0), 0);
    const all = results.flatMap((each) => Object.values(each)).reduce((total, each) => total + each, 0);
    const [reached, denied, unresolved] = [of("ok"), of("denied_target", "auth"), of("resolve_failed")];
    return [labelled(name, "listener"), amount(all), amount(reached), amount(denied), amount(unresolved), amount(all - reached - denied - unresolved)];
  });
}

// The nodes of the cluster, and what is not alike on all
function showCluster(cluster) {
  $("#cluster").hidden = !cluster;
  if (!cluster) return;
  set($("#cluster-title"), `Cluster ${cluster.name}`);
  const differ = cluster.differ.length ? `The nodes differ: ${cluster.differ.join(", ")}` : "All nodes are alike";
  set($("#cluster .differ"), cluster.etcd === "ok" ? differ : `As last known: ${cluster.etcd}`);
  mark($("#cluster .differ"), "ok", cluster.etcd === "ok" && !cluster.differ.length ? "yes" : "partly");
  fill($("#cluster tbody"), Object.entries(cluster.nodes), ([name, node]) => [
    labelled(name === cluster.node ? `${name} (this one)` : name, "listener"),
    node.ready ? "ready" : "not ready",
    labelled(node.version, "version"),
    labelled(node.config, "config"),
    labelled(since(node.started), "age"),
  ]);
}

// Live streams, and a player of one
function showStreams({ streams: found, stream_urls: urls, media }) {
  const wanted = new Map(Object.entries(found));
  const silent = media.live === false;
  $("#streams").hidden = !wanted.size && !silent && !stopPlaying;
  $("#streams .silent").hidden = !silent;
  removeGone(streams, wanted);
  for (const [name, stream] of wanted) {
    if (!streams.has(name)) streams.set(name, newStream(name));
    const row = streams.get(name);
    const [app] = name.split("/");
    row.dataset.url = Object.hasOwn(urls, app) ? `${urls[app]}${encodeURIComponent(name.slice(app.length + 1))}/` : "";
    set($(".publisher", row), stream.client ?? (stream.ladder.length ? `ladder of ${stream.ladder.join(", ")}` : stream.live ? "" : "none"));
    set($(".since", row), stream.since ? `${since(stream.since)} ago` : "");
    set($(".codecs", row), stream.codecs.join(", "));
    set($(".bitrate", row), stream.live ? `${amount(stream.bitrate / 1000)} kbit/s` : "");
    set($(".viewers", row), amount(stream.viewers));
    $(".play", row).disabled = !row.dataset.url;
    $(".play", row).title = row.dataset.url ? "" : "no route serves it";
  }
}
function newStream(name) {
  const row = $("#stream").content.firstElementChild.cloneNode(true);
  row.dataset.stream = name;
  set($(".name", row), name);
  $(".play", row).setAttribute("aria-label", `Play ${name}`);
  $(".play", row).addEventListener("click", () => playStream(name, row.dataset.url));
  $("#streams tbody").append(row);
  return row;
}
function playStream(name, url) {
  stopStream();
  const player = $("#player");
  player.hidden = false;
  set($(".name", player), name);
  const showPlayer = ({ doing, latency }) => {
    set($(".doing", player), doing);
    set($(".latency", player), latency === null ? "" : `${latency.toFixed(1)} s behind the publisher`);
  };
  stopPlaying = play(url, $("video", player), showPlayer, { now: () => (Date.now() + clockSkew) / 1000 });
}
function stopStream() {
  stopPlaying?.();
  stopPlaying = null;
  $("#player").hidden = true;
}
$("#player .stop").addEventListener("click", stopStream);
const percent = (ratio) => (ratio === null ? "–" : `${amount(100 * ratio)} %`);
const stored = (tier) => (tier === null ? "–" : `${bytes(tier.bytes)} of ${bytes(tier.max_bytes)}, ${plural(tier.objects, "object")}`);
function labelled(text, kind) {
  const label = document.createElement("span");
  label.className = kind;
  label.textContent = text;
  return label;
}

function showPools(found) {
  const wanted = new Map(Object.entries(found)); // an object has names of its own, such as "constructor"
  for (const [name, { section }] of pools) {
    if (wanted.has(name)) continue;
    section.remove();
    pools.delete(name);
  }
  for (const [name, pool] of wanted) {
    if (!pools.has(name)) pools.set(name, { section: newPool(name), rows: new Map() });
    const { section, rows } = pools.get(name);
    const count = Object.keys(pool.servers).length;
    set($(".strategy", section), pool.ignored.includes("weight") ? `${pool.strategy}, ignores weights` : pool.strategy);
    set($(".kept", section), pool.kept_connections ? plural(pool.kept_connections, "kept connection") : "");
    const failing = pool.sources.filter((source) => source.error);
    set($(".sources", section), failing.map((source) => `${source.source}: ${source.error}`).join("; "));
    set($(".available", section), `${pool.available} of ${count} available`);
    mark($(".available", section), "ok", pool.available ? "yes" : "no");
    showServers(name, section, rows, new Map(Object.entries(pool.servers)));
  }
}
function newPool(name) {
  const section = $("#pool").content.firstElementChild.cloneNode(true);
  section.dataset.pool = name;
  section.setAttribute("aria-label", `Pool ${name}`);
  set($("h2", section), name);
  $("#pools").append(section);
  return section;
}
function showServers(pool, section, rows, servers) {
  removeGone(rows, servers);
  for (const [name, server] of servers) {
    if (!rows.has(name)) {
      rows.set(name, newServer(pool, name));
      $(".servers", section).append(rows.get(name));
    }
    showServer(rows.get(name), name, server);
  }
  filterServers(section);
}
function newServer(pool, name) {
  const row = $("#server").content.firstElementChild.cloneNode(true);
  row.dataset.server = name;
  const path = `api/v1/pools/${encodeURIComponent(pool)}/servers/${encodeURIComponent(name)}`;
  $(".toggle", row).addEventListener("click", (event) => act(`${path}/${event.currentTarget.dataset.does}`, event.currentTarget));
  return row;
}
function showServer(row, name, server) {
  mark(row, "state", server.state);
  set($(".state", row), server.state);
  set($("strong", row), name);
  set($(".address", row), server.address === name ? "" : server.address);
  set($(".why", row), why(server));
  const { history } = server;
  const bars = (wanted) => history.map((passed, index) => (passed === wanted ? `M${4 * (60 - history.length + index) + 2},${wanted ? 3 : 0}V16` : "")).join("");
  $(".pass", row).setAttribute("d", bars(1));
  $(".fail", row).setAttribute("d", bars(0));
  $("svg", row).setAttribute("aria-label", history.length ? `${history.filter((passed) => !passed).length} of the last ${plural(history.length, "check")} failed` : "not checked");
  $("svg", row).parentElement.title = server.checked_by ? `checked by ${server.checked_by.join(", ")}` : "";
  set($(".active", row), amount(server.active));
  set($(".total", row), amount(server.total));
  set($(".weight", row), server.override?.weight != null ? `${server.weight}*` : String(server.weight));
  $(".weight", row).title = server.override?.weight != null ? "set by an operator" : "";
  const drained = Boolean(server.override?.drained);
  const button = $(".toggle", row);
  mark(button, "does", drained ? "enable" : "drain");
  set(button, drained ? "Enable" : "Drain");
  button.setAttribute("aria-label", `${drained ? "Enable" : "Drain"} ${name}`);
}
function why(server) {
  const parts = [];
  if (server.backup) parts.push("backup");
  if (server.state === "draining" && server.override?.drained) parts.push("drained by an operator");
  if (server.reason) parts.push(server.reason);
  if (!["up", "draining"].includes(server.state)) parts.push(`for ${since(server.last_change)}`);
  if (server.failed_connects) parts.push(plural(server.failed_connects, "failed connect"));
  return parts.join(", ");
}
function filterServers(section) {
  const text = $("#find").value.trim().toLowerCase();
  const trouble = $("#trouble").checked;
  let shown = 0;
  for (const row of section.querySelectorAll(".server")) {
    const matches = $(".who", row).textContent.toLowerCase().includes(text) && !(trouble && row.dataset.state === "up");
    row.hidden = !matches;
    shown += matches;
  }
  $(".none", section).hidden = shown > 0;
}

function fill(body, list, cells) {
  body.replaceChildren(
    ...list.map((each) => {
      const row = document.createElement("tr");
      for (const cell of cells(each)) {
        const td = document.createElement("td");
        if (cell instanceof Node) td.append(cell);
        else td.textContent = cell;
        if (typeof cell === "string" && /^[\d.,]+( [\w%]+)?$/.test(cell)) td.className = "number";
        row.append(td);
      }
      return row;
    }),
  );
}
function showListeners(listeners) {
  fill($("#listeners tbody"), Object.entries(listeners), ([name, each]) => [name, each.bind.join(", "), each.pool, amount(each.active), amount(each.total)]);
}
function showEnded(ended) {
  $("#ended").replaceChildren(
    ...Object.entries(ended).map(([reason, count]) => {
      const item = document.createElement("li");
      const figure = document.createElement("b");
      figure.textContent = amount(count);
      item.append(figure, ` ${reason}`);
      return item;
    }),
  );
  if (!$("#ended").children.length) set($("#ended"), "None yet.");
}
let newest = "";
function showEvents(events) {
  const last = JSON.stringify(events.at(-1) ?? null);
  if (last === newest) return;
  newest = last;
  $("#events").replaceChildren(
    ...[...events].reverse().map(({ event, level, timestamp, ...fields }) => {
      const item = document.createElement("li");
      item.dataset.level = level;
      const time = document.createElement("time");
      time.dateTime = timestamp;
      time.textContent = new Date(timestamp).toLocaleTimeString("en-GB");
      const name = document.createElement("b");
      name.textContent = event;
      const text = Object.entries(fields).filter(([, value]) => value !== null && value !== "" && !(Array.isArray(value) && !value.length)).map(([key, value]) => `${key} ${Array.isArray(value) ? value.join(", ") : value}`).join(", ");
      item.append(time, name, ` ${text}`);
      return item;
    }),
  );
}

// Open connections, on demand

async function showConnections() {
  const wanted = new URLSearchParams({ limit: 100 });
  for (const [key, value] of new FormData($("#filter"))) if (value) wanted.set(key, value);
  try {
    const { connections, limit } = await request(`api/v1/connections?${wanted}`);
    fill($("#connections tbody"), connections, (each) => [each.client, each.server ?? "–", each.state, span(each.duration_ms / 1000), bytes(each.bytes_in), bytes(each.bytes_out), closing(each)]);
    $("#connections").hidden = !connections.length;
    set($("#shown"), connections.length < limit ? `${plural(connections.length, "connection")}.` : `The oldest ${limit}; filter for others.`);
  } catch (error) {
    set($("#notice"), error.message);
  }
}
function closing(connection) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Close";
  button.setAttribute("aria-label", `Close the connection of ${connection.client}`);
  button.addEventListener("click", async () => {
    if (!button.classList.contains("sure")) {
      button.classList.add("sure");
      button.textContent = "Confirm?";
      return;
    }
    await act(`api/v1/connections/${connection.id}/close`, button);
    await showConnections();
  });
  return button;
}

// Reload

function showChanges(text) {
  $("#changes").hidden = false;
  set($("#changes"), text);
}
$("#preview").addEventListener("click", async () => {
  try {
    const { changes, errors } = await request("api/v1/reload");
    showChanges((errors.length ? errors : changes).join("\n"));
    $("#reload").disabled = errors.length > 0;
  } catch (error) {
    set($("#notice"), error.message);
  }
});
$("#reload").addEventListener("click", async () => {
  $("#reload").disabled = true;
  try {
    const { applied, errors } = await request("api/v1/reload", "POST");
    showChanges(applied ? "Reloaded." : errors.join("\n"));
    await refresh();
  } catch (error) {
    set($("#notice"), error.message);
  }
});

// Updates

const filterAll = () => document.querySelectorAll(".pool").forEach(filterServers);
$("#find").addEventListener("input", filterAll);
$("#trouble").addEventListener("change", filterAll);
$("#filter").addEventListener("submit", (event) => {
  event.preventDefault();
  showConnections();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !/^(INPUT|TEXTAREA)$/.test(document.activeElement.tagName)) {
    event.preventDefault();
    $("#find").focus();
  }
});
const stream = new EventSource("api/v1/events");
for (const name of ["backend.ejected", "backend.restored", "backend.overridden", "config.applied", "config.rejected", "worker.died", "stream.published", "stream.unpublished", "media.process_restarted", "fault"]) {
  stream.addEventListener(name, refresh);
}
setInterval(() => {
  if (document.hidden) return;
  refresh();
  showSilence();
}, INTERVAL);
document.addEventListener("visibilitychange", () => document.hidden || refresh());
refresh();
