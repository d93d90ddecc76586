"use strict";

const SVG = "http://www.w3.org/2000/svg";
const AT_ONCE = 100;
const LANE = 14;
const data = JSON.parse(document.getElementById("data").textContent);
const collator = new Intl.Collator(undefined, { numeric: true });

/** An element with attributes and children; texts become text, never markup. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null));
  return made;
}

function drawn(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function at(id) {
  return document.getElementById(id);
}

function number(value) {
  if (value === null || value === undefined) return "-";
  return Number.isInteger(value) ? String(value) : value.toPrecision(4);
}

function words(name) {
  return name.replaceAll("_", " ");
}

// head ---------------------------------------------------------------------------------------

function showHead() {
  document.title = `${data.title}: ${data.revision}`;
  at("title").textContent = `${data.title}, ${data.revision}`;
  const base = data.base.revision ? `${data.base.source} at ${data.base.revision}` : data.base.source;
  const rows = [
    ["base", `${base} (${data.base.id.slice(0, 10)})`],
    ["tree", data.tree],
    ["commits", String(data.commits.length)],
    ["made", `${data.made} by editvc ${data.version}`],
  ];
  for (const [term, text] of rows) at("about").append(element("dt", {}, term), element("dd", {}, text));
}

// health -------------------------------------------------------------------------------------

function showHealth() {
  const { verdict, reasons, trend, figures, limits, spectra, layers, gates } = data.health;
  at("verdict").append("Verdict: ", element("span", { class: `verdict ${verdict}` }, verdict));
  for (const reason of reasons) at("reasons").append(element("li", {}, reason));
  showScores();
  const names = new Set(trend.flatMap((row) => Object.keys(row)));
  names.delete("number");
  for (const name of names) {
    const points = trend.filter((row) => typeof row[name] === "number").map((row) => [row.number, row[name]]);
    if (points.length) at("trends").append(trendFigure(name, points, limits[name]));
  }
  for (const { layer, values } of spectra) at("spectra").append(spectrumFigure(layer, values));
  const columns = ["layer", "edits", ...figures.filter((name) => layers.some((one) => name in one))];
  if (layers.length) at("layers").append(plainTable("Figures of each layer", columns, layers));
  const gateColumns = ["layer", "edits", "text_firing", "name_firing", "overlapping", "contribution"];
  if (gates.length) at("layers").append(plainTable("Gates of each layer", gateColumns, gates));
}

function showScores() {
  for (const { suite, figures } of data.scores) {
    const columns = Object.keys(figures);
    at("scores").append(plainTable(`Measured: ${suite}`, columns, [figures]));
  }
}

function plainTable(caption, columns, rows) {
  const head = element("tr", {}, ...columns.map((name) => element("th", { scope: "col", class: "number" }, words(name))));
  const body = rows.map((row) =>
    element("tr", {}, ...columns.map((name) => element("td", { class: "number" }, number(row[name])))));
  return element("table", {}, element("caption", {}, caption), element("thead", {}, head), element("tbody", {}, ...body));
}

/** A curve over commits, with the limits of its figure as lines where they are in sight. */
function trendFigure(name, points, limit) {
  const highest = Math.max(...points.map(([, y]) => y), 0);
  const lines = Object.entries(limit ?? {}).filter(([, y]) => y <= Math.max(2 * highest, 1e-12));
  const chart = new Chart(points, Math.max(highest, ...lines.map(([, y]) => y)));
  for (const [level, y] of lines) chart.limit(level, y);
  chart.curve(points);
  const [commit, now] = points[points.length - 1];
  const limits = Object.entries(limit ?? {}).map(([level, y]) => `, ${level} at ${number(y)}`).join("");
  return chart.figure(words(name), `${number(now)} at commit ${commit}${limits}`, ["commit", name], points);
}

function spectrumFigure(layer, values) {
  const points = values.filter((value) => value > 0).map((value, index) => [index + 1, value]);
  const chart = new Chart(points, Math.max(0, ...values));
  chart.curve(points);
  const about = `${points.length} directions, the largest ${number(values[0] ?? 0)}`;
  return chart.figure(`Singular values of the change, layer ${layer}`, about, ["rank", "value"], points);
}

class Chart {
  constructor(points, highest) {
    this.box = { width: 320, height: 150, left: 44, bottom: 20, top: 10, right: 10 };
    const xs = points.map(([x]) => x);
    this.first = Math.min(...xs, Infinity);
    this.span = Math.max(1, Math.max(...xs, 0) - this.first);
    this.highest = highest > 0 ? highest : 1;
    this.svg = drawn("svg", { viewBox: `0 0 ${this.box.width} ${this.box.height}`, role: "img" });
    this.axes();
  }

  x(value) {
    const { width, left, right } = this.box;
    return left + ((value - this.first) / this.span) * (width - left - right);
  }

  y(value) {
    const { height, top, bottom } = this.box;
    return height - bottom - (value / this.highest) * (height - top - bottom);
  }

  axes() {
    const { width, height, left, right, bottom, top } = this.box;
    this.line({ class: "axis", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom });
    this.line({ class: "axis", x1: left, x2: left, y1: top, y2: height - bottom });
    this.label(left - 4, this.y(this.highest) + 4, this.highest.toPrecision(2), "end");
    this.label(left - 4, this.y(0), "0", "end");
    if (Number.isFinite(this.first)) {
      this.label(left, height - 6, String(this.first), "start");
      this.label(width - right, height - 6, String(this.first + this.span), "end");
    }
  }

  line(attributes) {
    this.svg.append(drawn("line", attributes));
  }

  label(x, y, text, anchor) {
    this.svg.append(drawn("text", { x, y, "text-anchor": anchor }, text));
  }

  limit(level, value) {
    const { width, left, right } = this.box;
    this.line({ class: level, x1: left, x2: width - right, y1: this.y(value), y2: this.y(value) });
    this.label(width - right, this.y(value) - 3, `${level} ${number(value)}`, "end");
  }

  curve(points) {
    const path = points.map(([x, y], index) => `${index ? "L" : "M"}${this.x(x)} ${this.y(y)}`).join("");
    this.svg.append(drawn("path", { class: "curve", d: path }));
    if (points.length > 60) return;
    for (const [x, y] of points) this.svg.append(drawn("circle", { class: "dot", cx: this.x(x), cy: this.y(y), r: 2.5 }));
  }

  figure(title, about, columns, points) {
    this.svg.setAttribute("aria-label", `${title}: ${about}`);
    const shown = points.length > 500 ? points.slice(-500) : points;
    const rows = shown.map((point) => Object.fromEntries(columns.map((name, index) => [name, point[index]])));
    const numbers = element("details", {}, element("summary", {}, "Numbers"));
    numbers.addEventListener("toggle", () => {
      if (numbers.children.length === 1) numbers.append(plainTable(title, columns, rows));
    });
    return element("figure", {}, element("h3", {}, title), this.svg, element("figcaption", {}, about), numbers);
  }
}

// answers ------------------------------------------------------------------------------------

function showAnswers() {
  if (!data.prompts.length) {
    at("answers").append(element("p", { class: "soft" },
      "No prompt was asked. editvc report --prompt \"...\" shows the base's answer beside this one."));
  }
  for (const one of data.prompts) {
    at("answers").append(
      element("h3", {}, one.prompt),
      element("dl", {}, element("dt", {}, "base"), element("dd", {}, one.before),
        element("dt", {}, data.revision), element("dd", {}, one.after)),
      ...one.shares.map(shareRow),
    );
  }
}

/** One fact's part in an answer: a bar to its share, and what it is. */
function shareRow(part) {
  const width = Math.min(1, Math.abs(part.share)) * 140;
  const bar = drawn("svg", { width: 144, height: 14, "aria-hidden": "true" },
    drawn("rect", { class: part.share < 0 ? "bar against" : "bar", x: 2, y: 2, width, height: 10 }));
  const what = part.question === null ? part.kind : `${part.question} → ${part.new} (commit ${part.commit})`;
  return element("div", { class: "bar-row" },
    element("span", { class: "number" }, `${(100 * part.share).toFixed(1)}%`), bar, element("span", {}, what));
}

// facts --------------------------------------------------------------------------------------

const STATES = ["all", "live", "said", "drowned", "not asked", "superseded", "reverted", "expired"];
const COLUMNS = [
  ["question", "question"], ["new", "new object"], ["old", "old object"], ["status", "status"],
  ["answer", "answer"], ["brought", "since commit"], ["left", "until"],
];
const NUMBERS = ["brought", "left"];
const shown = { facts: [], count: AT_ONCE, sort: null, up: true };

/** What became of a fact, in a word: of a live one whether the model says it. */
function statusOf(fact) {
  if (fact.state !== "live") return fact.state;
  if (fact.said === null) return "live";
  return fact.said ? "said" : "drowned";
}

function has(fact, state) {
  if (state === "all") return true;
  if (state === "live") return fact.state === "live";
  if (state === "not asked") return fact.state === "live" && fact.said === null;
  return fact.status === state;
}

function readyFacts() {
  for (const fact of data.facts) {
    fact.status = statusOf(fact);
    fact.text = [fact.question, fact.new, fact.old, fact.answer, fact.id].join("\n").toLowerCase();
  }
  for (const state of STATES) at("state").append(element("option", { value: state }, state));
}

function findFacts() {
  const sought = at("words").value.toLowerCase().split(/\s+/).filter(Boolean);
  const state = at("state").value;
  shown.facts = data.facts.filter((fact) => has(fact, state) && sought.every((word) => fact.text.includes(word)));
  if (shown.sort !== null) {
    const sign = shown.up ? 1 : -1;
    shown.facts.sort((a, b) => sign * collator.compare(a[shown.sort] ?? "", b[shown.sort] ?? ""));
  }
  shown.count = AT_ONCE;
  drawFacts();
}

function drawFacts() {
  const rows = shown.facts.slice(0, shown.count).map((fact) =>
    element("tr", {}, ...COLUMNS.map(([key]) =>
      element("td", { class: kindOf(key) }, String(fact[key] ?? "")))));
  at("table").replaceChildren(element("table", {},
    element("caption", {}, "Facts of this line of history, the newest first"),
    element("thead", {}, element("tr", {}, ...COLUMNS.map(sortable))),
    element("tbody", {}, ...rows)));
  at("count").textContent = `${shown.facts.length} of ${data.facts.length} facts`;
  at("more-facts").hidden = shown.count >= shown.facts.length;
}

function kindOf(key) {
  return NUMBERS.includes(key) ? "number" : "text";
}

function sortable([key, title]) {
  const sorted = shown.sort === key ? (shown.up ? "ascending" : "descending") : "none";
  const button = element("button", { type: "button", "data-key": key }, title);
  button.addEventListener("click", () => {
    shown.up = shown.sort === key ? !shown.up : true;
    shown.sort = key;
    findFacts();
    at("table").querySelector(`button[data-key="${key}"]`).focus();
  });
  return element("th", { scope: "col", class: kindOf(key), "aria-sort": sorted }, button);
}

function startFacts() {
  readyFacts();
  at("words").addEventListener("input", findFacts);
  at("state").addEventListener("change", findFacts);
  at("find").addEventListener("submit", (event) => event.preventDefault());
  at("more-facts").addEventListener("click", () => {
    shown.count += AT_ONCE;
    drawFacts();
  });
  findFacts();
}

// history ------------------------------------------------------------------------------------

/** Of every commit its lane, and the lanes that go on below it: [[from, to], ...]. */
function laneRows(commits) {
  let waiting = [];
  return commits.map((commit) => {
    const before = waiting;
    let lane = before.indexOf(commit.id);
    if (lane < 0) lane = before.includes(null) ? before.indexOf(null) : before.length;
    const after = before.map((id) => (id === commit.id ? null : id));
    commit.parents.forEach((parent, index) => {
      if (after.includes(parent)) return;
      const free = index === 0 ? lane : after.indexOf(null) < 0 ? after.length : after.indexOf(null);
      after[free] = parent;
    });
    for (let place = 0; place < after.length; place += 1) after[place] = after[place] ?? null;
    while (after.length && after[after.length - 1] === null) after.pop();
    const into = before.flatMap((id, from) => (id === commit.id ? [[from, lane]] : []));
    const past = before.flatMap((id, from) => (id !== null && id !== commit.id ? [[from, after.indexOf(id)]] : []));
    const out = commit.parents.map((parent) => [lane, after.indexOf(parent)]);
    waiting = after;
    return { lane, into, past, out, width: Math.max(before.length, after.length, lane + 1) };
  });
}

function laneDrawing({ lane, into, past, out, width }) {
  const height = 60;
  const x = (place) => LANE / 2 + place * LANE;
  const path = (from, y1, to, y2) =>
    drawn("path", { class: "lane", d: `M${x(from)} ${y1}C${x(from)} ${(y1 + y2) / 2} ${x(to)} ${(y1 + y2) / 2} ${x(to)} ${y2}` });
  return drawn("svg", { width: width * LANE, height, class: "lanes", "aria-hidden": "true" },
    ...into.map(([from, to]) => path(from, 0, to, 14)),
    ...past.map(([from, to]) => path(from, 0, to, height)),
    ...out.map(([from, to]) => path(from, 14, to, height)),
    drawn("circle", { class: "dot", cx: x(lane), cy: 14, r: 5 }));
}

function commitItem(commit, row) {
  const names = commit.names.map((name) => element("span", { class: "name" }, name));
  const [title, ...rest] = commit.message.split("\n");
  const body = rest.join("\n").trim();
  return element("li", {}, laneDrawing(row), element("div", { class: "text" },
    element("div", { class: "line" }, ...names, element("strong", {}, title)),
    element("div", { class: "line soft" },
      element("code", {}, commit.id), ` number ${commit.number}, ${commit.edits} changed, ${commit.live} live; `,
      `${commit.author}, ${commit.time}`),
    body ? element("details", { class: "soft" }, element("summary", {}, "Message"), body) : null));
}

function startHistory() {
  const rows = laneRows(data.commits);
  let count = 0;
  const more = () => {
    const next = data.commits.slice(count, count + AT_ONCE);
    at("commits").append(...next.map((commit, index) => commitItem(commit, rows[count + index])));
    count += next.length;
    at("more-commits").hidden = count >= data.commits.length;
  };
  at("more-commits").addEventListener("click", more);
  more();
}

showHead();
showHealth();
showAnswers();
startFacts();
startHistory();
