// What the page shows: the search, the order, the page of the list, the pool. It stands in the fragment of the URL, so that
// it can be sent as a link, and the browser's buttons go back and on.

const SORTS = ["state", "name", "servers", "available", "active", "total", "rate", "failed", "weight", "change"];

export function view() {
  const given = new URLSearchParams(location.hash.slice(1));
  const sort = given.get("sort") ?? "";
  const page = given.get("page") ?? "";
  return {
    pool: given.get("pool") || null,
    find: (given.get("find") ?? "").slice(0, 200),
    trouble: given.get("trouble") === "1",
    sort: SORTS.includes(sort.replace(/^-/, "")) ? sort : "",
    page: /^[1-9]\d{0,5}$/.test(page) ? Number(page) : 1,
  };
}

function parameters({ pool, find, trouble, sort, page }, search) {
  const wanted = new URLSearchParams();
  if (pool !== null) wanted.set("pool", pool);
  if (find.trim()) wanted.set(search, find);
  if (trouble) wanted.set("trouble", "1");
  if (sort) wanted.set("sort", sort);
  if (page > 1) wanted.set("page", page);
  return wanted;
}

export const query = (view) => parameters(view, "search");
export const link = (view) => `#${parameters(view, "find")}`;
export const linkOfPool = (pool) => link({ pool, find: "", trouble: false, sort: "", page: 1 });

// Shows something else. ``asStep``: the browser's button leads back to what is shown now.
export function go(changes, { asStep = true } = {}) {
  const target = link({ ...view(), page: 1, ...changes });
  if (target === (location.hash || "#")) return;
  history[asStep ? "pushState" : "replaceState"](null, "", target);
  window.dispatchEvent(new Event("hashchange"));
}
