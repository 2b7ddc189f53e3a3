// The rows of servers.

import { $, attribute, copyOf, mark, set } from "./dom.js";
import { act } from "./requests.js";
import { amount, plural, since } from "./text.js";

const CHECKS = 60; // checks that a strip has room for

export function newServer(pool, name) {
  const row = copyOf("#server");
  row.dataset.server = name;
  const path = `api/v1/pools/${encodeURIComponent(pool)}/servers/${encodeURIComponent(name)}`;
  $(".toggle", row).addEventListener("click", (event) => act(`${path}/${event.currentTarget.dataset.does}`, event.currentTarget));
  return row;
}

export function showServer(row, server) {
  const { name, history, override } = server;
  mark(row, "state", server.state);
  set($(".state", row), server.state);
  set($("strong", row), name);
  set($(".address", row), server.address === name ? "" : server.address);
  set($(".why", row), why(server));
  attribute($(".pass", row), "d", bars(history, 1));
  attribute($(".fail", row), "d", bars(history, 0));
  attribute($("svg", row), "aria-label", history.length ? `${history.filter((passed) => !passed).length} of the last ${plural(history.length, "check")} failed` : "not checked");
  attribute($(".history", row), "title", server.checked_by ? `checked by ${server.checked_by.join(", ")}` : "");
  set($(".active", row), amount(server.active));
  set($(".total", row), amount(server.total));
  set($(".weight", row), override?.weight != null ? `${server.weight}*` : String(server.weight));
  attribute($(".weight", row), "title", override?.weight != null ? "set by an operator" : "");
  const drained = Boolean(override?.drained);
  const button = $(".toggle", row);
  mark(button, "does", drained ? "enable" : "drain");
  set(button, drained ? "Enable" : "Drain");
  attribute(button, "aria-label", `${drained ? "Enable" : "Drain"} ${name}`);
}
function bars(history, wanted) {
  const left = CHECKS - history.length;
  return history.map((passed, index) => (passed === wanted ? `M${4 * (left + index) + 2},${wanted ? 3 : 0}V16` : "")).join("");
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
