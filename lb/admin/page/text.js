// Figures and times as text.

export const clock = { skew: 0 }; // milliseconds that the balancer's clock is ahead of the browser's

export const amount = (number) => number.toLocaleString("en", { maximumFractionDigits: number < 10 ? 1 : 0 });
export const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
export const percent = (ratio) => (ratio === null ? "–" : `${amount(100 * ratio)} %`);
export const took = (ms) => (ms === null ? "–" : ms < 1000 ? `${amount(ms)} ms` : `${amount(ms / 1000)} s`);
export const since = (timestamp) => span((Date.now() + clock.skew - Date.parse(timestamp)) / 1000);
export const clockTime = (timestamp) => new Date(timestamp).toLocaleTimeString("en-GB");

export function bytes(number) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let unit = 0;
  for (; number >= 1000 && unit < units.length - 1; unit += 1) number /= 1000;
  return `${amount(number)} ${units[unit]}`;
}

export function span(seconds) {
  if (seconds < 60) return `${Math.max(0, Math.floor(seconds))} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} days`;
}
