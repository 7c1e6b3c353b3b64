// Shows the operations of openapi.json. Everything is put in as text, never as markup.
"use strict";

const make = (tag, text, kind) => {
  const e = document.createElement(tag);
  if (text !== undefined) e.textContent = text;
  if (kind) e.className = kind;
  return e;
};

const resolve = (doc, v) => {
  if (!v || !v.$ref) return v;
  return v.$ref.slice(2).split("/").reduce((at, key) => at && at[key], doc);
};

// example is what a value of a schema looks like.
const example = (doc, schema, depth) => {
  const s = resolve(doc, schema) || {};
  if (s.anyOf) return example(doc, s.anyOf[0], depth);
  const type = Array.isArray(s.type) ? s.type[0] : s.type;
  if (type === "array") return depth > 4 ? [] : [example(doc, s.items, depth + 1)];
  if (type === "object") {
    const out = {};
    if (depth < 5) for (const [k, v] of Object.entries(s.properties || {})) out[k] = example(doc, v, depth + 1);
    return out;
  }
  return { string: "text", integer: 0, number: 0, boolean: false }[type] ?? "any";
};

const shape = (doc, title, content) => {
  const box = make("div");
  for (const [media, v] of Object.entries(content || {})) {
    box.append(make("p", title + ": " + media));
    if (v.schema) box.append(make("pre", JSON.stringify(example(doc, v.schema, 0), null, 2)));
  }
  return box;
};

const details = (doc, op) => {
  const box = make("div");
  if (op.description) box.append(make("p", op.description));
  const table = make("table");
  for (const p of (op.parameters || []).map((p) => resolve(doc, p))) {
    const row = make("tr");
    row.append(make("td", p.name, "path"), make("td", p.in), make("td", p.description || ""));
    table.append(row);
  }
  box.append(table);
  if (op.requestBody) box.append(shape(doc, "Body", op.requestBody.content));
  for (const [status, answer] of Object.entries(op.responses)) {
    if (!answer.$ref) box.append(shape(doc, status, answer.content));
  }
  const refused = Object.entries(op.responses).filter(([, a]) => a.$ref).map(([status]) => status);
  box.append(make("p", "Refused with " + refused.join(", ") + "."));
  return box;
};

const show = (doc, main) => {
  let section = "";
  const all = [];
  for (const [path, methods] of Object.entries(doc.paths)) {
    for (const [method, op] of Object.entries(methods)) all.push({ path, method: method.toUpperCase(), op, tag: op.tags[0] });
  }
  all.sort((a, b) => a.tag.localeCompare(b.tag) || a.path.localeCompare(b.path));
  for (const o of all) {
    if (o.tag !== section) {
      section = o.tag;
      main.append(make("h2", section));
    }
    const d = make("details");
    const line = make("summary");
    line.append(make("span", o.method, "method"), make("span", o.path, "path"), make("span", o.op.operationId, "name"));
    d.append(line);
    d.dataset.words = (o.method + " " + o.path + " " + o.op.operationId + " " + o.tag).toLowerCase();
    d.addEventListener("toggle", () => {
      if (d.open && d.childElementCount === 1) d.append(details(doc, o.op));
    });
    main.append(d);
  }
  return all.length;
};

const search = (main, words) => {
  for (const d of main.querySelectorAll("details")) d.hidden = !words.every((w) => d.dataset.words.includes(w));
  for (const h of main.querySelectorAll("h2")) {
    let next = h.nextElementSibling;
    while (next && next.tagName === "DETAILS" && next.hidden) next = next.nextElementSibling;
    h.hidden = !next || next.tagName !== "DETAILS";
  }
};

const start = async () => {
  const main = document.getElementById("operations");
  const state = document.getElementById("state");
  const answer = await fetch(document.body.dataset.root + "/openapi.json");
  if (!answer.ok) {
    state.textContent = "openapi.json: " + answer.status;
    return;
  }
  state.textContent = show(await answer.json(), main) + " operations";
  const box = document.getElementById("search");
  box.addEventListener("input", () => search(main, box.value.toLowerCase().split(/\s+/).filter(Boolean)));
};

start().catch((e) => { document.getElementById("state").textContent = String(e); });
