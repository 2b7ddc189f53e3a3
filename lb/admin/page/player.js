// A player of live streams, of the dashboard and of `lb demo live`: HLS by Media Source Extensions. It is small because it relies on what
// trio-lb serves: fragmented MP4 whose times are Unix time, and a date for each run of segments. For other streams there are hls.js and dash.js.
"use strict";

const RETRY = 500; // milliseconds until another try
const TOLERANCE = 0.05; // seconds between segments that are no gap
const STALE = 10; // segments that an old playlist may lack, a guess; with more, numbers are counted anew
const KEPT = 30; // seconds behind the picture that stay in memory
const CATCH_UP = 1.1; // speed of a picture that is a little late
const WATCH = 100; // milliseconds between two looks at the picture

// Playlists (RFC 8216)

function attributes(line) {
  const found = {};
  for (const [, key, value] of line.matchAll(/([A-Z0-9-]+)=("[^"]*"|[^",]*)/g)) found[key] = value.replaceAll('"', "");
  return found;
}
function readMaster(text, url) {
  const lines = text.split("\n");
  const variants = lines.flatMap((line, index) => {
    if (!line.startsWith("#EXT-X-STREAM-INF:")) return [];
    const { BANDWIDTH, CODECS, AUDIO } = attributes(line);
    return [{ url: new URL(lines[index + 1], url).href, bandwidth: Number(BANDWIDTH), codecs: CODECS.split(","), hasAudio: Boolean(AUDIO) }];
  });
  const audio = lines.find((line) => line.startsWith("#EXT-X-MEDIA:") && line.includes("TYPE=AUDIO"));
  return { variants, audio: audio ? new URL(attributes(audio).URI, url).href : "" };
}
function readPlaylist(text, url) {
  const list = { items: [], target: 0, sequence: 0, parts: 0, holdBack: 0, blocks: false, ended: false };
  let [at, partAt, seconds, map] = [0, 0, 0, ""];
  const add = (uri, start, duration, part) => {
    list.items.push({ url: new URL(uri, url).href, start, duration, map, number: list.sequence, part, whole: part === Infinity });
  };
  for (const line of text.split("\n")) {
    const [tag, value] = [line.split(":", 1)[0], line.slice(line.indexOf(":") + 1)];
    if (tag === "#EXT-X-TARGETDURATION") list.target = Number(value);
    else if (tag === "#EXT-X-MEDIA-SEQUENCE") list.sequence = Number(value);
    else if (tag === "#EXT-X-MAP") map = new URL(attributes(value).URI, url).href;
    else if (tag === "#EXT-X-PROGRAM-DATE-TIME") at = partAt = Date.parse(value) / 1000;
    else if (tag === "#EXTINF") seconds = parseFloat(value);
    else if (tag === "#EXT-X-ENDLIST") list.ended = true;
    else if (tag === "#EXT-X-SERVER-CONTROL") {
      const control = attributes(value);
      list.blocks = control["CAN-BLOCK-RELOAD"] === "YES";
      list.holdBack = Number(control["PART-HOLD-BACK"]);
    } else if (tag === "#EXT-X-PART") {
      const part = attributes(value);
      add(part.URI, partAt, Number(part.DURATION), list.parts);
      partAt += Number(part.DURATION);
      list.parts += 1;
    } else if (line && !line.startsWith("#")) {
      add(line, at, seconds, Infinity);
      at = partAt = at + seconds;
      list.sequence += 1; // of the segment that grows, in the end
      list.parts = 0; // that it has
    }
  }
  list.holdBack ||= 3 * list.target;
  list.end = Math.max(0, ...list.items.map(({ start, duration }) => start + duration));
  return list;
}
function following(items, taken) { // the rest of a segment of which parts were taken, else the next one: whole, if it is
  const rest = items.find(({ number, part, whole }) => number === taken.number && part > taken.part && !whole);
  const next = items.find(({ number }) => number > taken.number);
  return rest ?? items.find(({ number, whole }) => number === next?.number && whole) ?? next;
}

// play() begins, and returns a function that ends it. show({ doing, latency, buffered, stalls }) is called again and again: what it does, seconds that the
// picture is old (null: there is none yet) and that are still to be played, and how often it has stood still. now() is the balancer's clock. `wanted`: play
// so many seconds behind what there is, not as many as the playlist asks for.

class AnswerError extends Error {} // the answer may be another the next time

function play(base, video, show, { now = () => Date.now() / 1000, wanted = 0 } = {}) {
  const origin = Math.floor(now()) - 3600; // of the times of the picture, also when it begins anew
  let [session, isOver, isStalled, stalls, trouble] = [null, false, false, 0, ""];
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const buffered = () => [...Array(video.buffered.length).keys()].map((index) => [video.buffered.start(index), video.buffered.end(index)]);
  function ahead() { // seconds that are still to be played
    const at = video.currentTime;
    const range = buffered().find(([start, end]) => start <= at + TOLERANCE && at < end - TOLERANCE);
    return range ? range[1] - at : 0;
  }

  async function body(url, kind, { signal }) {
    const cut = (error) => {
      throw signal.aborted ? error : new AnswerError("there is no answer");
    };
    const answer = await fetch(url, { signal }).catch(cut);
    if (answer.status === 404) throw Object.assign(new AnswerError("the stream is not there"), { gone: url });
    if (!answer.ok) throw new AnswerError(`the answer is ${answer.status}`);
    return answer[kind]().catch(cut);
  }
  function changed(buffer, change) {
    return new Promise((resolve, reject) => {
      buffer.addEventListener("updateend", resolve, { once: true });
      buffer.addEventListener("error", () => reject(new Error("the browser cannot decode it")), { once: true });
      change();
    });
  }
  async function append(buffer, data) {
    await changed(buffer, () => buffer.appendBuffer(data));
    const past = video.currentTime - KEPT;
    if (buffer.buffered.length && buffer.buffered.start(0) < past - KEPT) await changed(buffer, () => buffer.remove(0, past));
  }

  // One track: asks for its playlist, which the server holds until there is more, and appends what is new
  async function follow(url, buffer, each) {
    let [taken, map, list] = [null, "", null];
    buffer.timestampOffset = -origin;
    while (true) {
      try {
        const query = list?.blocks && !list.ended ? `?_HLS_msn=${list.sequence}&_HLS_part=${list.parts}` : "";
        list = readPlaylist(await body(url + query, "text", each), url);
        if (taken && list.items.length && list.sequence < taken.number - STALE) throw new Error("the stream begins anew");
        if (!taken && list.items.length) taken = { number: beginning(list, each) - 1, part: Infinity };
        for (let item; (item = taken && following(list.items, taken)); taken = item) {
          if (map && item.map !== map) throw new Error("another picture begins");
          if (!map) await append(buffer, await body(item.map, "arrayBuffer", each));
          map = item.map;
          await append(buffer, await body(item.url, "arrayBuffer", each));
        }
        trouble = list.ended ? "ended" : "";
        if (list.ended || !list.blocks) await pause(500 * list.target);
      } catch (error) {
        if (!(error instanceof AnswerError)) throw error;
        if (error.gone === url && ahead() === 0) throw error; // there may be other playlists
        trouble = error.message; // the publisher or a process is away: play what there is
        list = null;
        await pause(RETRY);
      }
    }
  }
  function beginning(list, each) { // the number of the first segment that a track needs
    if (each.start === null) {
      each.behind = wanted || list.holdBack;
      each.start = Math.max(list.end - each.behind, list.items[0].start);
    }
    const first = list.items.filter(({ start, whole }) => whole && start <= each.start + TOLERANCE).at(-1);
    return (first ?? list.items[0]).number;
  }

  async function open(each) {
    const master = readMaster(await body(`${base}master.m3u8`, "text", each), base);
    const type = (codecs) => `video/mp4; codecs="${codecs.join(",")}"`;
    const found = master.variants.filter(({ codecs }) => MediaSource.isTypeSupported(type(codecs)));
    const [best] = found.sort((one, other) => other.bandwidth - one.bandwidth);
    if (!best) throw new Error(`the browser cannot decode ${master.variants.flatMap(({ codecs }) => codecs).join(", ")}`);
    const sounds = (codec) => /^(mp4a|opus|ac-3|ec-3|flac|mp3)/i.test(codec);
    const apart = best.hasAudio && master.audio;
    const source = await attached();
    const tracks = [[best.url, source.addSourceBuffer(type(apart ? best.codecs.filter((codec) => !sounds(codec)) : best.codecs))]];
    if (apart) tracks.push([master.audio, source.addSourceBuffer(type(best.codecs.filter(sounds)))]);
    await Promise.all(tracks.map(([url, buffer]) => follow(url, buffer, each)));
  }
  async function attached() { // until then the last picture stands
    const source = new MediaSource();
    const opened = new Promise((resolve) => source.addEventListener("sourceopen", resolve, { once: true }));
    const address = URL.createObjectURL(source);
    video.src = address;
    video.play().catch(() => {}); // it is refused where the visitor has not clicked: then the controls are there
    await opened;
    URL.revokeObjectURL(address);
    return source;
  }

  // Begins; jumps over gaps, and to where it wants to be; plays faster when it is a little late
  function steer(each) {
    const { start, behind } = each;
    const ranges = buffered();
    const [begin, end] = ranges.at(-1);
    if (!each.hasBegun) {
      each.hasBegun = end > start - origin && end - begin >= wanted;
      if (each.hasBegun) video.currentTime = Math.max(start - origin, begin);
      return;
    }
    const wasStalled = isStalled;
    isStalled = video.readyState < HTMLMediaElement.HAVE_FUTURE_DATA;
    if (isStalled && !wasStalled) stalls += 1;
    const next = ranges.find(([from]) => from > video.currentTime);
    const late = end - video.currentTime - behind;
    if (isStalled && next) [video.currentTime] = next;
    else if (!video.paused && late > Math.max(3, 2 * behind)) video.currentTime = Math.max(begin, end - behind);
    video.playbackRate = late > Math.max(0.5, behind / 3) ? CATCH_UP : 1; // between two segments it is one third late
  }
  function watch() {
    if (session.start !== null && video.buffered.length && !video.seeking) steer(session);
    const left = ahead();
    const doing = (left === 0 && trouble) || (video.paused ? "paused" : "playing");
    if (session.hasBegun) show({ doing, latency: now() - origin - video.currentTime, buffered: left, stalls });
    else if (trouble) show({ doing: trouble, latency: null, buffered: 0, stalls });
  }
  async function run() {
    while (!isOver) {
      const controller = new AbortController();
      session = { signal: controller.signal, end: () => controller.abort(), start: null, behind: 0, hasBegun: false };
      try {
        await open(session);
      } catch (error) {
        session.end();
        if (isOver) return;
        trouble = error.message;
        await pause(RETRY);
      }
    }
  }

  if (!("MediaSource" in window)) {
    show({ doing: `this browser has no Media Source Extensions; the stream is at ${base}master.m3u8`, latency: null, buffered: 0, stalls });
    return () => {};
  }
  run();
  const timer = setInterval(watch, WATCH);
  return () => {
    isOver = true;
    session.end();
    clearInterval(timer);
    video.removeAttribute("src");
    video.load();
  };
}
