// Pages with a map: the items of a page, one item, or a collection's extent; and the filter form of the items page.
import { draw, rectangle } from "./map.js";

const FILTERS = ["bbox", "datetime", "filter", "q"];
const KEPT = [...FILTERS, "bbox-crs", "filter-lang", "filter-crs", "crs", "sortby", "properties", "limit", "lang", "f"];
const CRS84 = /\/OGC\/[^/]+\/CRS84h?$/;

const read = (id) => {
  const block = document.getElementById(id);
  return block && JSON.parse(block.textContent);
};
const element = (name, ...content) => {
  const node = document.createElement(name);
  node.append(...content);
  return node;
};

/** What the popup of a row says, taken from the row as text. */
function popup(table, row) {
  const names = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
  const link = row.cells[0].querySelector("a");
  const title = element("a", link.textContent);
  title.href = link.href;
  const list = element("dl");
  [...row.cells].slice(1).forEach((cell, i) => list.append(element("dt", names[i + 1]), element("dd", cell.textContent)));
  return element("div", element("strong", title), list);
}

async function items(container) {
  const table = document.getElementById("items");
  const rows = table ? [...table.tBodies[0].rows] : [];
  const geometries = read("geometries");
  const onPick = (id, on) => rows[id]?.classList.toggle("picked", on);
  const map = await draw(container, geometries, table ? { popup: (id) => popup(table, rows[id]), onPick } : {});
  if (!map) return;
  rows.forEach((row, id) => {
    const mark = (picked) => geometries[id] && map.getSource("features") && map.setFeatureState({ source: "features", id }, { picked });
    row.addEventListener("pointerenter", () => mark(true));
    row.addEventListener("pointerleave", () => mark(false));
    row.addEventListener("focusin", () => mark(true));
    row.addEventListener("focusout", () => mark(false));
  });
  const view = document.getElementById("view");
  if (!view) return;
  view.hidden = false;
  view.addEventListener("click", () => {
    const seen = map.getBounds();
    const wrap = (x) => ((((x + 180) % 360) + 360) % 360) - 180;
    const whole = seen.getEast() - seen.getWest() >= 360;
    const box = [whole ? -180 : wrap(seen.getWest()), seen.getSouth(), whole ? 180 : wrap(seen.getEast()), seen.getNorth()];
    document.getElementById("bbox").value = box.map((x) => +x.toFixed(5)).join(",");
  });
}

/** The filters of the address as removable chips, and a submit that keeps them but begins at the first page. */
function filterForm(form) {
  const names = [...document.querySelectorAll("#property option")].map((option) => option.value);
  const asked = new URLSearchParams(location.search);
  const next = new URLSearchParams();
  // What pages through the items (offset, a key) belongs to the old filter and is left out.
  const paging = new Set(["offset", ...(form.dataset.paging ?? "").split(" ")]);
  for (const [name, value] of asked) if (!paging.has(name)) next.append(name, value);
  const go = (params) => `${form.getAttribute("action")}?${params}`;
  const chips = document.getElementById("chips");
  for (const [name, value] of next) {
    if (!FILTERS.includes(name) && KEPT.includes(name)) continue;
    const rest = new URLSearchParams(next);
    rest.delete(name);
    const link = element("a", `${name} = ${value} ✕`);
    link.href = go(rest);
    link.setAttribute("aria-label", `${name} = ${value}: ${chips.dataset.remove}`);
    chips.append(element("li", link));
  }
  const [limit, bbox] = [document.getElementById("limit"), document.getElementById("bbox")];
  if (next.has("limit") && ![...limit.options].some((o) => o.value === next.get("limit"))) limit.add(new Option(next.get("limit")));
  limit.value = next.get("limit") ?? "";
  if (!next.has("bbox-crs")) bbox.value = next.get("bbox") ?? "";
  form.hidden = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const set = (name, value) => (value ? next.set(name, value) : next.delete(name));
    set("limit", limit.value);
    const box = bbox.value.replaceAll(/\s/g, "");
    if (box && box !== asked.get("bbox")) next.delete("bbox-crs");
    if (box || !next.has("bbox-crs")) set("bbox", box);
    const value = document.getElementById("value")?.value;
    if (value) next.set(document.getElementById("property").value, value);
    location.assign(go(next));
  });
}

const container = document.getElementById("map");
const form = document.getElementById("filter");
if (form) filterForm(form);
if (container) {
  const crs = new URLSearchParams(location.search).get("crs");
  const extent = read("extent");
  if (crs && !CRS84.test(crs)) container.querySelector(".map-text").textContent = container.dataset.otherCrs;
  else if (extent) draw(container, [rectangle(extent)]);
  else items(container);
}
