// Draws geometries (GeoJSON, longitude and latitude) on a plain map with MapLibre: no tiles, glyphs or sprites from anywhere.

const INK = "#0f5f52";
const PICKED = "#b45309";
const MERCATOR = 85.05; // the web map ends here; positions beyond are shown at its edge

/** All positions of a GeoJSON geometry, null geometries included as none. */
export function* positions(geometry) {
  if (!geometry) return;
  if (geometry.type === "GeometryCollection") {
    for (const part of geometry.geometries ?? []) yield* positions(part);
    return;
  }
  const stack = [geometry.coordinates];
  while (stack.length) {
    const top = stack.pop();
    if (!Array.isArray(top)) continue;
    if (typeof top[0] === "number") yield top;
    else for (let i = top.length - 1; i >= 0; i--) stack.push(top[i]);
  }
}

/** [[west, south], [east, north]] around geometries, across the antimeridian where that is narrower (east > 180); null if empty. */
export function bounds(geometries) {
  let [w, s, e, n, w360, e360] = [Infinity, Infinity, -Infinity, -Infinity, Infinity, -Infinity];
  for (const geometry of geometries) {
    for (const [x, y] of positions(geometry)) {
      w = Math.min(w, x); e = Math.max(e, x); s = Math.min(s, y); n = Math.max(n, y);
      const x360 = x < 0 ? x + 360 : x;
      w360 = Math.min(w360, x360); e360 = Math.max(e360, x360);
    }
  }
  if (!(w <= e) || !(s <= n)) return null;
  if (e360 - w360 < e - w) [w, e] = [w360, e360];
  const clamp = (y) => Math.max(-MERCATOR, Math.min(MERCATOR, y));
  return [[w, clamp(s)], [e, clamp(n)]];
}

/** A rectangle [west, south, east, north] (or with heights) as a polygon; west > east crosses the antimeridian. */
export function rectangle(bbox) {
  const [w, s, east, n] = bbox.length === 6 ? [bbox[0], bbox[1], bbox[3], bbox[4]] : bbox;
  const e = east < w ? east + 360 : east;
  const [south, north] = [Math.max(s, -MERCATOR), Math.min(n, MERCATOR)];
  // Long edges are cut in steps, or an edge of 360° would be taken for none.
  const steps = [0, 0.25, 0.5, 0.75, 1].map((t) => w + (e - w) * t);
  return {
    type: "Polygon",
    coordinates: [[...steps.map((x) => [x, south]), ...steps.reverse().map((x) => [x, north]), [w, south]]],
  };
}

/** The degree net of a view: four lines or more across it, each with its label at the left or lower edge. */
function net(view) {
  const [w, s, e, n] = [view.getWest(), Math.max(view.getSouth(), -MERCATOR), view.getEast(), Math.min(view.getNorth(), MERCATOR)];
  const step = [90, 60, 30, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001].find((d) => (e - w) / d >= 4) ?? 0.0005;
  const features = [];
  const add = (line, anchor, value, [positive, negative]) => {
    const text = `${+Math.abs(value).toFixed(4)}°${value > 0 ? positive : value < 0 ? negative : ""}`;
    features.push({ type: "Feature", properties: {}, geometry: { type: "LineString", coordinates: line } });
    features.push({ type: "Feature", properties: { text, anchor }, geometry: { type: "Point", coordinates: line[0] } });
  };
  for (let i = Math.ceil(w / step); i * step <= e; i++) {
    const x = i * step;
    add([[x, s], [x, n]], "bottom", ((((x + 180) % 360) + 360) % 360) - 180, "EW");
  }
  for (let i = Math.ceil(s / step); i * step <= n; i++) add([[w, i * step], [e, i * step]], "left", i * step, "NS");
  return { type: "FeatureCollection", features };
}

const collection = (geometries) => ({
  type: "FeatureCollection",
  features: geometries.flatMap((geometry, id) => (geometry ? [{ type: "Feature", id, properties: {}, geometry }] : [])),
});

const picked = (yes, no) => ["case", ["boolean", ["feature-state", "picked"], false], yes, no];

function style(geometries) {
  const empty = { type: "geojson", data: { type: "FeatureCollection", features: [] } };
  const only = (type) => ["==", "$type", type];
  return {
    version: 8,
    sources: { net: empty, outline: empty, features: { type: "geojson", data: collection(geometries) } },
    layers: [
      { id: "ground", type: "background", paint: { "background-color": "#eef1ee" } },
      { id: "net", type: "line", source: "net", filter: only("LineString"), paint: { "line-color": "#d3dad5", "line-width": 1 } },
      { id: "outline", type: "line", source: "outline", paint: { "line-color": "#93a19b", "line-width": 1 } },
      { id: "areas", type: "fill", source: "features", filter: only("Polygon"), paint: { "fill-color": picked(PICKED, INK), "fill-opacity": 0.22 } },
      { id: "edges", type: "line", source: "features", filter: only("Polygon"), paint: { "line-color": picked(PICKED, INK), "line-width": picked(2.5, 1.2) } },
      { id: "lines", type: "line", source: "features", filter: only("LineString"), paint: { "line-color": picked(PICKED, INK), "line-width": picked(5, 3) } },
      {
        id: "points", type: "circle", source: "features", filter: only("Point"),
        paint: { "circle-color": picked(PICKED, INK), "circle-radius": picked(8, 5), "circle-stroke-color": "#fff", "circle-stroke-width": 1.5 },
      },
      {
        id: "degrees", type: "symbol", source: "net", filter: only("Point"),
        layout: {
          "text-field": ["get", "text"], "text-anchor": ["get", "anchor"], "text-offset": [0.3, -0.3], "text-size": 11,
          "text-font": ["sans-serif"], "text-allow-overlap": true,
        },
        paint: { "text-color": "#6b7a74", "text-halo-color": "#eef1ee", "text-halo-width": 1.5 },
      },
    ],
  };
}

/**
 * Draws `geometries` in `element`; resolves to the MapLibre map, or to null where there is no WebGL (the element's text stays).
 * `popup(id)` gives the DOM node to show for the geometry of that index, `onPick(id, on)` hears of it.
 */
export async function draw(element, geometries, { popup = null, onPick = () => {} } = {}) {
  const text = element.querySelector(".map-text");
  const words = element.dataset;
  let maplibre;
  let map;
  try {
    maplibre = await import(`${words.vendor}/maplibre-gl.mjs`);
    if (!document.createElement("canvas").getContext("webgl2")) return null;
    text.remove();
    map = new maplibre.Map({
      container: element, style: style(geometries), attributionControl: false, dragRotate: false, pitchWithRotate: false,
      touchPitch: false, maxZoom: 20, fadeDuration: 0, cooperativeGestures: false,
      locale: {
        "Map.Title": words.label, "NavigationControl.ZoomIn": words.zoomIn, "NavigationControl.ZoomOut": words.zoomOut, "Popup.Close": words.close,
      },
    });
  } catch (error) {
    console.warn("no map:", error);
    element.replaceChildren(text);
    return null;
  }
  map.addControl(new maplibre.NavigationControl({ showCompass: false }));
  map.addControl(new maplibre.ScaleControl(), "bottom-right");
  const box = bounds(geometries);
  if (box) map.fitBounds(box, { padding: 40, maxZoom: 15, animate: false });

  let shown = null;
  const pick = (id, on) => {
    map.setFeatureState({ source: "features", id }, { picked: on });
    onPick(id, on);
  };
  const open = (id, lngLat) => {
    shown?.remove();
    pick(id, true);
    shown = new maplibre.Popup({ maxWidth: "20rem" }).setLngLat(lngLat).setDOMContent(popup(id)).addTo(map);
    shown.on("close", () => pick(id, false));
  };
  const layers = ["points", "lines", "areas"];
  const drawNet = () => map.getSource("net")?.setData(net(map.getBounds()));
  map.on("load", () => {
    drawNet();
    map.on("moveend", drawNet);
    if (words.outline) showOutline(map, words.outline, box === null);
  });
  if (popup) {
    map.on("click", (event) => {
      const [hit] = map.queryRenderedFeatures(event.point, { layers });
      if (hit) open(hit.id, event.lngLat);
    });
    map.on("mousemove", (event) => {
      map.getCanvas().style.cursor = map.queryRenderedFeatures(event.point, { layers }).length ? "pointer" : "";
    });
  }
  return map;
}

async function showOutline(map, address, fit) {
  try {
    const answer = await fetch(address, { headers: { Accept: "application/geo+json" } });
    if (!answer.ok) return;
    const data = await answer.json();
    map.getSource("outline").setData(data);
    const box = bounds(data.features.map((f) => f.geometry));
    if (fit && box) map.fitBounds(box, { padding: 20, animate: false });
  } catch (error) {
    console.info("no outlines:", error.message);
  }
}
