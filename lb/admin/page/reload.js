// What a reload would change, and the reload.

import { $, isOff, set, turnOff } from "./dom.js";
import { request, say } from "./requests.js";

function showChanges(text) {
  $("#changes").hidden = false;
  set($("#changes"), text);
}
$("#preview").addEventListener("click", async () => {
  try {
    const { changes, errors } = (await request("api/v1/reload")).body;
    showChanges((errors.length ? errors : changes).join("\n"));
    turnOff($("#reload"), errors.length > 0);
  } catch (error) {
    say(error.message);
  }
});
$("#reload").addEventListener("click", async () => {
  if (isOff($("#reload"))) return;
  turnOff($("#reload"), true);
  try {
    const { applied, errors } = (await request("api/v1/reload", { method: "POST" })).body;
    showChanges(applied ? "Reloaded." : errors.join("\n"));
    document.dispatchEvent(new Event("acted"));
  } catch (error) {
    say(error.message);
  }
});
