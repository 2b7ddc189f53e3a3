// Plays ?src=/live/show or ?src=/films/name by hls.js, dash.js, or what the browser can do itself.

const video = document.getElementById("video");
const show = (id, text) => (document.getElementById(id).textContent = text);
const params = new URLSearchParams(location.search);
const source = params.get("src") ?? document.currentScript.dataset.src ?? "/live/show";
const canPlay = {
  hls: Boolean(window.Hls?.isSupported()),
  dash: Boolean(window.dashjs),
  native: Boolean(video.canPlayType("application/vnd.apple.mpegurl")),
};
let stop = () => {};
let figures = () => ({});

const start = {
  hls() {
    const player = new Hls();
    player.loadSource(`${source}/master.m3u8`);
    player.attachMedia(video);
    player.on(Hls.Events.ERROR, (_, { fatal, details }) => fatal && show("player", `hls.js: ${details}`));
    stop = () => player.destroy();
    figures = () => ({ latency: player.latency, height: player.levels[player.currentLevel]?.height });
    return [`hls.js ${Hls.version}`, "master.m3u8"];
  },
  dash() {
    const player = dashjs.MediaPlayer().create();
    player.initialize(video, `${source}/manifest.mpd`, true);
    stop = () => player.reset();
    figures = () => ({
      latency: player.isReady() && player.isDynamic() ? player.getCurrentLiveLatency() : 0,
      height: player.getCurrentRepresentationForType?.("video")?.height,
    });
    return [`dash.js ${player.getVersion()}`, "manifest.mpd"];
  },
  native() {
    video.src = `${source}/master.m3u8`;
    stop = () => video.removeAttribute("src");
    figures = () => ({ height: video.videoHeight });
    return ["the browser itself", "master.m3u8"];
  },
};

function play(kind) {
  stop();
  const [name, list] = start[kind]();
  show("player", name);
  show("url", new URL(`${source}/${list}`, location));
  for (const each of Object.keys(start)) document.getElementById(each).setAttribute("aria-pressed", String(each === kind));
  video.play().catch(() => {}); // a browser may want a click first
}

for (const kind of Object.keys(start)) {
  const button = document.getElementById(kind);
  button.disabled = !canPlay[kind];
  button.addEventListener("click", () => play(kind));
}
setInterval(() => {
  const { latency, height } = figures();
  show("latency", latency ? `${latency.toFixed(1)} s` : "");
  show("rendition", height ? `${height} lines` : "");
  show("clock", new Date().toISOString().slice(11, 21));
}, 100);
const wanted = params.get("player") ?? Object.keys(start).find((kind) => canPlay[kind]);
if (wanted) play(wanted);
else show("player", "this browser plays neither HLS nor DASH by itself: run fetch.py for hls.js and dash.js");
