// What the page shows beside its list: requests, caches, forward proxies, the cluster, listeners, connections that have ended, events.
// Of too many entries, those that matter most.

import { $, entry, fill, labelled, made, mark, redraw, set } from "./dom.js";
import { amount, bytes, percent, plural, since, took } from "./text.js";

export function showCards(found) {
  showRequests(found.requests);
  showCaches(found.caches);
  showForward(found.forward);
  showCluster(found.cluster);
  showListeners(found.listeners);
  showEnded(found.ended);
  showEvents(found.events);
}
function beyond({ count, shown }, word, which) {
  const more = count - Object.keys(shown).length;
  return more ? `and ${more.toLocaleString("en")} more; shown are the ${word}s ${which}` : "";
}

function showRequests(requests) {
  $("#requests").hidden = !requests.count;
  const rows = Object.entries(requests.shown).flatMap(([name, { last_minute: minute }]) => [
    { name, ...minute },
    ...minute.slowest_routes.map((route) => ({ name: route.route || "(no route)", ...route })),
  ]);
  const cells = ({ name, route, per_second, statuses, ...times }) => [
    labelled(name, route === undefined ? "listener" : "route"),
    amount(per_second),
    ...["2xx", "3xx", "4xx", "5xx", "none"].map((status) => (statuses?.[status] ? amount(statuses[status]) : "")),
    ...["p50_ms", "p90_ms", "p99_ms"].map((percentile) => took(times[percentile])),
  ];
  fill($("#requests tbody"), rows, cells, beyond(requests, "listener", "with most requests"));
}

function showCaches(caches) {
  $("#caches").hidden = !caches.count;
  const rows = Object.entries(caches.shown).flatMap(([name, cache]) => [{ name, ...cache }, ...cache.top.map(({ key, requests }) => ({ key, requests }))]);
  const cells = ({ name, key, hit_ratio, memory, disk, fills_under_way, requests }) =>
    key === undefined
      ? [labelled(name, "listener"), percent(hit_ratio.last_minute), percent(hit_ratio.since_start), stored(memory), stored(disk), amount(fills_under_way), amount(Object.values(requests).reduce((total, each) => total + each, 0))]
      : [labelled(key, "route"), "", "", "", "", "", amount(requests)];
  fill($("#caches tbody"), rows, cells, beyond(caches, "cache", "with most requests"));
}
const stored = (tier) => (tier === null ? "–" : `${bytes(tier.bytes)} of ${bytes(tier.max_bytes)}, ${plural(tier.objects, "object")}`);

function showForward(proxies) {
  $("#forward").hidden = !proxies.count;
  const rows = Object.entries(proxies.shown).flatMap(([name, forward]) => [
    { name, results: Object.values(forward.results) },
    ...forward.top.map(({ target, count }) => ({ target, count })),
    ...forward.failed.map(({ target, count }) => ({ target, failures: count })),
  ]);
  fill($("#forward tbody"), rows, forwardCells, beyond(proxies, "listener", "with most connections"));
}
function forwardCells({ name, results, target, count, failures }) {
  if (target !== undefined) return [labelled(failures === undefined ? target : `${target}, failed`, "route"), count === undefined ? "" : amount(count), "", "", "", failures === undefined ? "" : amount(failures)];
  const of = (...wanted) => results.reduce((total, each) => total + wanted.reduce((sum, result) => sum + (each[result] ?? 0), 0), 0);
  const all = results.flatMap((each) => Object.values(each)).reduce((total, each) => total + each, 0);
  const [reached, denied, unresolved] = [of("ok"), of("denied_target", "auth"), of("resolve_failed")];
  return [labelled(name, "listener"), amount(all), amount(reached), amount(denied), amount(unresolved), amount(all - reached - denied - unresolved)];
}

// The nodes of the cluster, and what is not alike on all
function showCluster(cluster) {
  $("#cluster").hidden = !cluster;
  if (!cluster) return;
  set($("#cluster-title"), `Cluster ${cluster.name}`);
  const differ = cluster.differ.length ? `The nodes differ: ${cluster.differ.join(", ")}` : "All nodes are alike";
  set($("#cluster .differ"), cluster.etcd === "ok" ? differ : `As last known: ${cluster.etcd}`);
  mark($("#cluster .differ"), "ok", cluster.etcd === "ok" && !cluster.differ.length ? "yes" : "partly");
  const nodes = Object.entries(cluster.nodes).map(([name, node]) => ({ ...node, name: name === cluster.node ? `${name} (this one)` : name, age: since(node.started) }));
  const cells = ({ name, ready, version, config, age }) => [labelled(name, "listener"), ready ? "ready" : "not ready", labelled(version, "version"), labelled(config, "config"), labelled(age, "age")];
  const more = cluster.count - nodes.length;
  fill($("#cluster tbody"), nodes, cells, more ? `and ${more} more` : "");
}

function showListeners(listeners) {
  const cells = ([name, each]) => [name, each.bind.join(", "), each.pool, amount(each.active), amount(each.total)];
  const more = beyond(listeners, "listener", "with most open connections; the search above finds others");
  fill($("#listeners tbody"), Object.entries(listeners.shown), cells, listeners.count ? more : "None that the search finds.");
}

function showEnded(ended) {
  redraw($("#ended"), ended, () => {
    const items = Object.entries(ended).map(([reason, count]) => {
      const item = document.createElement("li");
      item.append(made("b", amount(count)), ` ${reason}`);
      return item;
    });
    return items.length ? items : [made("li", "None yet.")];
  });
}

function showEvents(events) {
  redraw($("#events"), events, () =>
    [...events].reverse().map(({ event, level, timestamp, ...fields }) => {
      const text = Object.entries(fields).filter(([, value]) => value !== null && value !== "" && !(Array.isArray(value) && !value.length)).map(([key, value]) => `${key} ${Array.isArray(value) ? value.join(", ") : value}`).join(", ");
      const item = entry(timestamp, event, text);
      item.dataset.level = level;
      return item;
    }),
  );
}
