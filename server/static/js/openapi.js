// Shows the server's OpenAPI document as text: operations by tag, with parameters and answers. Nothing is taken as HTML.

const METHODS = ["get", "head", "post", "put", "patch", "delete", "options"];
const place = document.getElementById("operations");
const words = place.dataset;

const element = (name, className, ...content) => {
  const node = document.createElement(name);
  if (className) node.className = className;
  node.append(...content.filter((part) => part !== null && part !== undefined && part !== ""));
  return node;
};

/** The thing itself, where `thing` only points at a component of the same document. */
function resolve(document_, thing) {
  let found = thing;
  for (let depth = 0; depth < 10 && typeof found?.$ref === "string"; depth++) {
    if (!found.$ref.startsWith("#/")) return { name: found.$ref, description: found.$ref };
    found = found.$ref.slice(2).split("/").reduce((at, key) => at?.[key.replaceAll("~1", "/").replaceAll("~0", "~")], document_);
  }
  return found ?? {};
}

function typeOf(document_, schema) {
  const s = resolve(document_, schema ?? {});
  const many = s.oneOf ?? s.anyOf;
  if (many) return many.map((part) => typeOf(document_, part)).join(" | ");
  if (s.type === "array") return `${typeOf(document_, s.items)}[]`;
  return [s.type, s.format].flat().filter(Boolean).join(", ");
}

function meaning(document_, parameter) {
  const s = resolve(document_, parameter.schema ?? {});
  const facts = [];
  if (s.enum) facts.push(s.enum.join(" | "));
  if (s.minimum !== undefined || s.maximum !== undefined) facts.push(`${s.minimum ?? ""}…${s.maximum ?? ""}`);
  if (s.default !== undefined) facts.push(`${words.default}: ${s.default}`);
  return [parameter.description ?? s.description, ...facts].filter(Boolean).join(" · ");
}

function parameters(document_, list) {
  const table = element("table");
  table.createCaption().textContent = words.parameter;
  const head = table.createTHead().insertRow();
  for (const text of [words.parameter, words.in, words.type, words.meaning]) {
    const cell = element("th", "", text);
    cell.scope = "col";
    head.append(cell);
  }
  const body = table.createTBody();
  for (const parameter of list.map((p) => resolve(document_, p))) {
    const row = body.insertRow();
    const name = element("th", "", element("code", "", parameter.name ?? ""), parameter.required ? element("span", "quiet", ` ${words.required}`) : null);
    name.scope = "row";
    row.append(name);
    for (const text of [parameter.in ?? "", typeOf(document_, parameter.schema), meaning(document_, parameter)]) row.insertCell().textContent = text;
  }
  const scroll = element("div", "scroll", table);
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", words.parameter);
  return scroll;
}

function operation(document_, path, method, item) {
  const it = item[method];
  const list = [...(item.parameters ?? []), ...(it.parameters ?? [])];
  const inside = element("div", "");
  if (it.description && it.description !== it.summary) inside.append(element("p", "", it.description));
  if (method === "get" && !path.includes("{")) {
    const link = element("a", "", words.open);
    link.href = document.documentElement.dataset.home + path;
    inside.append(element("p", "", link));
  }
  if (list.length) inside.append(parameters(document_, list));
  const media = Object.keys(resolve(document_, it.requestBody ?? {}).content ?? {});
  if (media.length) inside.append(element("p", "", `${words.body}: `, element("code", "", media.join(", "))));
  const answers = Object.entries(it.responses ?? {}).map(([status, answer]) => {
    const a = resolve(document_, answer);
    return element("li", "", element("code", "", status), ` ${a.description ?? ""} `, element("span", "quiet", Object.keys(a.content ?? {}).join(", ")));
  });
  if (answers.length) inside.append(element("p", "", `${words.answers}:`), element("ul", "plain", ...answers));
  const summary = element("summary", "", element("span", `method method-${method}`, method.toUpperCase()), " ", element("code", "", path), " ", element("span", "quiet", it.summary ?? ""));
  return element("details", "operation", summary, inside);
}

const answer = await fetch(words.document, { headers: { Accept: "application/vnd.oai.openapi+json, application/json" } });
if (answer.ok) {
  const document_ = await answer.json();
  const groups = new Map((document_.tags ?? []).map((tag) => [tag.name, { about: tag.description, operations: [] }]));
  for (const [path, item] of Object.entries(document_.paths ?? {})) {
    for (const method of METHODS.filter((m) => item[m])) {
      const tag = item[method].tags?.[0] ?? "";
      if (!groups.has(tag)) groups.set(tag, { about: "", operations: [] });
      groups.get(tag).operations.push(operation(document_, path, method, item));
    }
  }
  for (const [name, { about, operations }] of groups) {
    if (operations.length) place.append(element("section", "", element("h2", "", name), about && about !== name ? element("p", "", about) : null, ...operations));
  }
}
