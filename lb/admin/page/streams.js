// Live streams, and a player of one.

import { $, arrange, copyOf, isOff, set, turnOff } from "./dom.js";
import { amount, clock, since } from "./text.js";

const rows = new Map(); // a stream's name -> its row
let stopPlaying = null; // ends the stream that is played

export function showStreams({ count, shown, urls }, media) {
  const streams = new Map(Object.entries(shown));
  const silent = media.live === false;
  $("#streams").hidden = !streams.size && !silent && !stopPlaying;
  $("#streams .silent").hidden = !silent;
  arrange($("#streams tbody"), rows, streams.keys(), newStream);
  for (const [name, stream] of streams) showStream(rows.get(name), name, stream, urls);
  const more = count - streams.size;
  $("#streams .more").hidden = !more;
  set($("#streams .more"), more ? `and ${more.toLocaleString("en")} more` : "");
}
function showStream(row, name, stream, urls) {
  const [app] = name.split("/");
  row.dataset.url = Object.hasOwn(urls, app) ? `${urls[app]}${encodeURIComponent(name.slice(app.length + 1))}/` : "";
  set($(".publisher", row), stream.client ?? (stream.ladder.length ? `ladder of ${stream.ladder.join(", ")}` : stream.live ? "" : "none"));
  set($(".since", row), stream.since ? `${since(stream.since)} ago` : "");
  set($(".codecs", row), stream.codecs.join(", "));
  set($(".bitrate", row), stream.live ? `${amount(stream.bitrate / 1000)} kbit/s` : "");
  set($(".viewers", row), amount(stream.viewers));
  turnOff($(".play", row), !row.dataset.url);
  $(".play", row).title = row.dataset.url ? "" : "no route serves it";
}
function newStream(name) {
  const row = copyOf("#stream");
  row.dataset.stream = name;
  set($(".name", row), name);
  $(".play", row).setAttribute("aria-label", `Play ${name}`);
  $(".play", row).addEventListener("click", ({ currentTarget }) => isOff(currentTarget) || playStream(name, row.dataset.url));
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
  stopPlaying = play(url, $("video", player), showPlayer, { now: () => (Date.now() + clock.skew) / 1000 }); // by player.js
}
export function stopStream() {
  stopPlaying?.();
  stopPlaying = null;
  $("#player").hidden = true;
}
$("#player .stop").addEventListener("click", stopStream);
