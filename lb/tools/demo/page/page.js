const LATENCY = { low: 1.5, usual: 6 }; // seconds
const stream = new URLSearchParams(location.search).get("stream") ?? "show";
const show = (id, text) => (document.getElementById(id).textContent = text);
const base = new URL(`/live/${encodeURIComponent(stream)}/`, location).href;
let stop = () => {};

function showPlayer({ doing, latency, buffered, stalls }) {
  show("state", latency === null ? doing : buffered > 0 ? "plays" : "waits");
  if (latency === null) return;
  show("latency", `${latency.toFixed(1)} s`);
  show("buffered", `${buffered.toFixed(1)} s`);
  show("stalls", stalls);
}

function begin(kind) {
  stop();
  for (const id of Object.keys(LATENCY)) document.getElementById(id).setAttribute("aria-pressed", String(id === kind));
  stop = play(base, document.getElementById("video"), showPlayer, { wanted: LATENCY[kind] });
}

show("title", `A live stream: ${stream}`);
for (const kind of Object.keys(LATENCY)) document.getElementById(kind).addEventListener("click", () => begin(kind));
setInterval(() => show("clock", new Date().toISOString().slice(11, 21)), 100);
begin("low");
