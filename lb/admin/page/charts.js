// Small charts: a line and the area below it.

import { $, attribute } from "./dom.js";

const [WIDTH, HEIGHT] = [120, 32];

// Draws the values over the whole width. Those that are null are gaps.
export function draw(figure, values, top = 0) {
  const highest = Math.max(top, ...values.filter((each) => each !== null), 1e-9) * 1.1;
  const step = WIDTH / Math.max(1, values.length - 1);
  const runs = [];
  let run = null;
  values.forEach((value, index) => {
    if (value === null) {
      run = null;
      return;
    }
    if (run === null) runs.push((run = []));
    run.push([(index * step).toFixed(2), (HEIGHT - 1 - (30 * value) / highest).toFixed(2)]);
  });
  const lines = runs.map((points) => points.map((point) => point.join(",")).join("L"));
  attribute($(".line", figure), "d", lines.map((line) => `M${line}`).join(""));
  attribute($(".area", figure), "d", runs.map((points, index) => `M${points[0][0]},${HEIGHT}L${lines[index]}L${points.at(-1)[0]},${HEIGHT}Z`).join(""));
}
