// The list: servers by pool if all of them fit on one page, else pools.

import { $, arrange, attribute, copyOf, isOff, mark, set, turnOff } from "./dom.js";
import { newServer, showServer } from "./servers.js";
import { amount, plural } from "./text.js";
import { go, linkOfPool, view } from "./view.js";

const sections = new Map(); // a pool's name -> its section with servers
const rowsOf = new WeakMap(); // a pool's section -> its rows by server
const poolRows = new Map(); // a pool's name -> its row

export function showList(list) {
  const { pool } = view();
  const gone = pool !== null && !list.rows.length;
  set($("#list-title"), pool === null ? "Pools" : gone ? `There is no pool ${pool}` : `Pool ${pool}`);
  set($("#found"), gone ? "" : foundText(list));
  const ofPools = list.of === "pools";
  $("#table").hidden = !ofPools;
  const byName = new Map(list.rows.map((each) => [each.name, each]));
  arrange($("#table .body"), poolRows, ofPools ? byName.keys() : [], newPoolRow);
  for (const [name, row] of poolRows) showPoolRow(row, byName.get(name));
  arrange($("#pools"), sections, ofPools ? [] : byName.keys(), newSection);
  for (const [name, section] of sections) showSection(section, byName.get(name), list);
  showOrder(list.sort);
  showPager(list);
}
function foundText({ of, pools, servers, page, pages }) {
  const found = of === "pools" ? `${plural(pools, "pool")}, ${plural(servers, "server")}` : plural(servers, "server");
  return pages > 1 ? `${found}, page ${page} of ${pages}` : found;
}

// Pools with their servers

function newSection(name) {
  const section = copyOf("#pool");
  section.dataset.pool = name;
  attribute(section, "aria-label", `Pool ${name} with its servers`);
  attribute($(".servers", section), "aria-label", `Servers of ${name}`);
  set($("h3 a", section), name);
  $("h3 a", section).href = linkOfPool(name);
  rowsOf.set(section, new Map());
  return section;
}
function showSection(section, pool) {
  set($(".strategy", section), strategy(pool));
  set($(".kept", section), pool.kept_connections ? plural(pool.kept_connections, "kept connection") : "");
  set($(".sources", section), failures(pool));
  set($(".available", section), `${pool.available} of ${pool.servers} available`);
  mark($(".available", section), "ok", pool.available ? "yes" : "no");
  const rows = rowsOf.get(section);
  const servers = new Map(pool.shown.map((each) => [each.name, each]));
  arrange($(".body", section), rows, servers.keys(), (name) => newServer(pool.name, name));
  for (const [name, row] of rows) showServer(row, servers.get(name));
  $(".none", section).hidden = servers.size > 0;
}
const strategy = (pool) => (pool.ignored.includes("weight") ? `${pool.strategy}, ignores weights` : pool.strategy);
const failures = (pool) => pool.failing_sources.map((each) => `${each.source}: ${each.error}`).join("; ");

// Pools without their servers

function newPoolRow(name) {
  const row = copyOf("#pool-row");
  row.dataset.pool = name;
  set($("a", row), name);
  $("a", row).href = linkOfPool(name);
  return row;
}
function showPoolRow(row, pool) {
  const { states, worst } = pool;
  mark(row, "state", !pool.available || states.down ? "down" : states.ejected || pool.failing_sources.length ? "ejected" : (worst?.state ?? "up"));
  const notUp = Object.entries(states).filter(([state, count]) => state !== "up" && count);
  set($(".state", row), !pool.servers ? "empty" : notUp.length ? notUp.map(([state, count]) => `${count} ${state}`).join(", ") : "up");
  set($(".strategy", row), strategy(pool));
  set($(".why", row), [failures(pool), worst?.reason ? `${worst.name}: ${worst.reason}` : ""].filter(Boolean).join("; "));
  set($(".available", row), `${pool.available} of ${pool.servers}`);
  set($(".active", row), amount(pool.active));
  set($(".rate", row), pool.per_second === null ? "–" : amount(pool.per_second));
  set($(".total", row), amount(pool.total));
  set($(".failed", row), amount(pool.failed_connects));
}

// Order and pages

function showOrder(sort) {
  mark($("#list"), "order", sort);
  const key = sort.replace(/^-/, "");
  for (const button of document.querySelectorAll("#list [data-sort]")) {
    const own = button.dataset.sort.replace(/^-/, "") === key;
    attribute(button.parentElement, "aria-sort", !own ? "none" : sort.startsWith("-") ? "descending" : "ascending");
  }
}
// The first click sorts as is usual for the column, a second one the other way round.
$("#list").addEventListener("click", ({ target }) => {
  const button = target.closest("button[data-sort]");
  if (button === null) return;
  const wanted = button.dataset.sort;
  const other = wanted.startsWith("-") ? wanted.slice(1) : `-${wanted}`;
  go({ sort: (view().sort || $("#list").dataset.order) === wanted ? other : wanted });
});

function showPager({ page, pages }) {
  const pager = $("#pager");
  pager.hidden = pages === 1;
  set($("span", pager), `Page ${page} of ${pages}`);
  mark(pager, "page", String(page));
  turnOff($('[data-step="-1"]', pager), page === 1);
  turnOff($('[data-step="1"]', pager), page === pages);
}
$("#pager").addEventListener("click", ({ target }) => {
  const button = target.closest("[data-step]");
  if (button !== null && !isOff(button)) go({ page: Number($("#pager").dataset.page) + Number(button.dataset.step) });
});
