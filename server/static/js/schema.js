// Fills the table of a collection's properties from its JSON Schema.

for (const place of document.querySelectorAll("[data-schema]")) {
  const answer = await fetch(place.dataset.schema, { headers: { Accept: "application/schema+json" } });
  if (!answer.ok) continue;
  const { properties = {} } = await answer.json();
  const body = place.querySelector("tbody");
  for (const [name, property] of Object.entries(properties)) {
    const row = body.insertRow();
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = name;
    row.append(head);
    const title = property.title && property.title !== name ? property.title : "";
    const unit = property["x-ogc-unit"];
    const type = [property.type, property.format].flat().filter(Boolean).join(", ") + (unit ? ` [${unit}]` : "");
    for (const text of [title, type, property["x-ogc-role"] ?? ""]) row.insertCell().textContent = text;
  }
  place.hidden = body.rows.length === 0;
}
