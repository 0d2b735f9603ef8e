// The run, and what all parts of the page share. Texts of tasks become nodes of text and
// values of attributes, never markup.
document.documentElement.classList.add("scripted");
const run = JSON.parse(document.getElementById("data").textContent);
const tasks = run.tasks;
const FAULTS = new Set(["error", "exit", "unpicklable", "lost", "unavailable", "timeout"]);
const STATUSES = ["Failed", "Terminated", "Running", "Waiting", "Successful"];
const CAUSES = {
  exit: "exit code", unpicklable: "not picklable", lost: "worker lost",
  unavailable: "no worker", timeout: "timeout", abort: "aborted", cancel: "cancelled",
  skip: "skipped", untriggered: "not needed",
};
tasks.forEach((task, index) => {
  task.index = index;
  task.deps ??= [];
  task.after = [];
  task.attempts ??= 0;
  task.fault = FAULTS.has(task.cause);
  // A task that timed out has the status Terminated, and looks like a failure.
  task.kind = task.fault ? "failed" : task.status.toLowerCase();
  if (task.start !== undefined) {
    task.stop = task.end ?? run.end;
    if (task.ready !== undefined) task.waited = Math.max(0, task.start - task.ready);
  }
});
for (const task of tasks) for (const index of task.deps) tasks[index].after.push(task.index);

const byId = (id) => document.getElementById(id);

/** An element with properties and children; strings become text. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (key === "class") element.className = value;
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** The same for SVG. */
function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

const icon = (kind, more = {}) =>
  draw("svg", { class: `icon ${kind}`, "aria-hidden": "true", ...more },
    draw("use", { href: `#i-${kind}` }));

/** A span of time: as `seconds` of the page's maker. */
function span(seconds) {
  if (seconds === undefined) return "";
  if (seconds < 0.9995)
    return seconds >= 0.0005 || !seconds ? `${Math.round(seconds * 1000)} ms` : "< 1 ms";
  if (seconds < 59.95) return `${seconds.toFixed(seconds < 9.995 ? 2 : 1)} s`;
  const whole = Math.round(seconds), two = (n) => String(n).padStart(2, "0");
  return whole < 3600
    ? `${Math.floor(whole / 60)} min ${two(whole % 60)} s`
    : `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
}

/** Times since the start of the run, all in the same form. */
function sinceStart(seconds) {
  if (run.end < 600) return `+${seconds.toFixed(run.end < 10 ? 3 : 2)} s`;
  const whole = Math.floor(seconds), two = (n) => String(n).padStart(2, "0");
  return `+${Math.floor(whole / 3600)}:${two(Math.floor((whole % 3600) / 60))}:${two(whole % 60)}`;
}

const count = (number) => number.toLocaleString("en");
const plural = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;
const nameOf = (task) => task.label || "(no label)";

/** The words of a task's end that its status does not have. */
function causeOf(task) {
  return task.words ?? (task.restored ? "restored" : CAUSES[task.cause] ?? "");
}

function statusOf(task) {
  const cause = causeOf(task);
  return cause ? `${task.status}, ${cause}` : task.status;
}

const taskLink = (task) =>
  make("a", { href: `#task=${task.index}`, title: statusOf(task) }, icon(task.kind),
    make("span", { class: "label" }, nameOf(task)));

/** What the style makes of a colour, now: light or dark. */
const probe = document.body.appendChild(make("i", { class: "unseen" }));
function colour(name) {
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}

const pen = document.createElement("canvas").getContext("2d");

/** As much of the text as fits, in the font of `context`. */
function fitted(context, text, width) {
  text = text.length > 300 ? text.slice(0, 300) : text;
  if (context.measureText(text).width <= width) return text;
  let low = 0, high = text.length;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (context.measureText(text.slice(0, middle) + "…").width <= width) low = middle;
    else high = middle - 1;
  }
  return low ? text.slice(0, low).trimEnd() + "…" : "";
}

/** The box beside the pointer, or beside what the keyboard has chosen. */
const tip = {
  box: document.querySelector(".tip"),
  show(task, x, y) {
    const facts = [statusOf(task)];
    if (task.start !== undefined) facts.push(`${span(task.took)}, from ${sinceStart(task.start)}`);
    if (task.waited >= 0.0005) facts.push(`waited ${span(task.waited)}`);
    if (task.attempts > 1) facts.push(`${task.attempts} attempts`);
    const lines = [make("b", {}, nameOf(task)), make("span", {}, facts.join(" · "))];
    if (task.error) lines.push(make("div", { class: "error" }, task.error.slice(0, 600)));
    this.box.replaceChildren(...lines);
    this.box.hidden = false;
    const { offsetWidth: width, offsetHeight: height } = this.box;
    const left = Math.max(8, Math.min(x + 14, innerWidth - width - 8));
    const top = y + 18 + height > innerHeight ? y - height - 14 : y + 18;
    this.box.style.transform = `translate(${left}px, ${Math.max(8, top)}px)`;
    return [nameOf(task), ...facts].join(", ");
  },
  hide() { this.box.hidden = true; },
};
