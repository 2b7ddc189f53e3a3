// Requests to the balancer.

import { $, isOff, set, turnOff } from "./dom.js";

const ACTION_TIMEOUT = 60000; // milliseconds for an operation; a reload of many servers takes seconds

// Returns the answer's JSON; with ``tag``, that of an earlier answer, null if nothing has changed since.
export async function request(path, { method = "GET", timeout = ACTION_TIMEOUT, tag = null } = {}) {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), timeout);
  const headers = tag === null ? {} : { "If-None-Match": tag };
  try {
    const answer = await fetch(path, { method, headers, cache: "no-store", signal: controller.signal });
    if (answer.status === 304) return { body: null, tag };
    const body = await answer.json();
    if (!answer.ok && answer.status !== 422) throw new Error(body.error || answer.statusText);
    return { body, tag: answer.headers.get("ETag") };
  } catch (error) {
    throw controller.signal.aborted ? new Error(`no answer in ${timeout / 1000} s`) : error;
  } finally {
    clearTimeout(timer);
  }
}

export const say = (text) => set($("#notice"), text);

// Does what a button is for, once at a time. The page hears of it by the event "acted".
export async function act(path, button) {
  if (isOff(button)) return;
  turnOff(button, true);
  say("");
  try {
    const { body } = await request(path, { method: "POST" });
    if (body.cluster !== undefined && body.cluster !== "told") say(`This node only; the cluster was ${body.cluster}`);
    document.dispatchEvent(new Event("acted"));
  } catch (error) {
    say(error.message);
  } finally {
    turnOff(button, false);
  }
}
