// Changes of the page that leave alone what is as it should be: the focus, a selection, and what need not be drawn again.

import { clockTime } from "./text.js";

export const $ = (selector, root = document) => root.querySelector(selector);
const shown = new WeakMap(); // an element -> what it shows

export function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
export function mark(element, name, value) {
  if (element.dataset[name] !== value) element.dataset[name] = value;
}
export function attribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}
export function copyOf(template) {
  return $(template).content.firstElementChild.cloneNode(true);
}
export function made(tag, text) {
  const element = document.createElement(tag);
  element.textContent = text;
  return element;
}
export function labelled(text, kind) {
  const label = made("span", text);
  label.className = kind;
  return label;
}

// A button that cannot be used now. It keeps the focus, which one with "disabled" loses.
export const isOff = (button) => button.getAttribute("aria-disabled") === "true";
export const turnOff = (button, off) => attribute(button, "aria-disabled", String(off));

// Has the parent show an element for each name, in this order. ``elements`` has those that there are.
export function arrange(parent, elements, names, create) {
  const wanted = new Set(names);
  for (const [name, element] of elements) {
    if (wanted.has(name)) continue;
    element.remove();
    elements.delete(name);
  }
  let next = parent.firstElementChild;
  for (const name of wanted) {
    if (!elements.has(name)) elements.set(name, create(name));
    const element = elements.get(name);
    if (element === next) next = next.nextElementSibling;
    else parent.insertBefore(element, next);
  }
}

// Fills an element with what ``content()`` makes of this, unless it shows the same already.
export function redraw(element, what, content) {
  const text = JSON.stringify(what);
  if (shown.get(element) === text) return;
  shown.set(element, text);
  element.replaceChildren(...content());
}

// An entry of a list of what has happened.
export function entry(timestamp, name, text) {
  const time = made("time", clockTime(timestamp));
  time.dateTime = timestamp;
  const item = document.createElement("li");
  item.append(time, made("b", name), ` ${text}`);
  return item;
}

// Fills the body of a table. What has gone beyond a bound is said below the table.
export function fill(body, list, cells, more = "") {
  redraw(body, list, () =>
    list.map((each) => {
      const row = document.createElement("tr");
      for (const cell of cells(each)) {
        const td = document.createElement("td");
        if (cell instanceof Node) td.append(cell);
        else td.textContent = cell;
        if (typeof cell === "string" && /^[\d.,]+( [\w%]+)?$/.test(cell)) td.className = "number";
        row.append(td);
      }
      return row;
    }),
  );
  const below = body.parentElement.nextElementSibling;
  if (!below?.matches(".more")) return;
  set(below, more);
  below.hidden = !more;
}

// Does something to the page that may take away or move what has the focus; then the focus is where it was, or on ``otherwise``.
export function keepFocus(work, otherwise) {
  const focused = document.activeElement;
  work();
  if (focused === null || focused === document.body) return;
  if (!focused.isConnected || !focused.checkVisibility()) otherwise.focus({ preventScroll: true });
  else if (focused !== document.activeElement) focused.focus({ preventScroll: true });
}
