// Open connections, on demand.

import { $, fill, set } from "./dom.js";
import { act, request, say } from "./requests.js";
import { bytes, plural, span } from "./text.js";

async function showConnections() {
  const wanted = new URLSearchParams({ limit: 100 });
  for (const [key, value] of new FormData($("#filter"))) if (value) wanted.set(key, value);
  try {
    const { connections, limit } = (await request(`api/v1/connections?${wanted}`)).body;
    const cells = (each) => [each.client, each.server ?? "–", each.state, span(each.duration_ms / 1000), bytes(each.bytes_in), bytes(each.bytes_out), closing(each)];
    fill($("#connections tbody"), connections, cells);
    $("#connections").hidden = !connections.length;
    set($("#shown"), connections.length < limit ? `${plural(connections.length, "connection")}.` : `The oldest ${limit}; filter for others.`);
  } catch (error) {
    say(error.message);
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
      button.setAttribute("aria-label", `Confirm: close the connection of ${connection.client}`);
      return;
    }
    await act(`api/v1/connections/${connection.id}/close`, button);
    await showConnections();
    $("#filter button").focus();
  });
  return button;
}
$("#filter").addEventListener("submit", (event) => {
  event.preventDefault();
  showConnections();
});
