// The table of all tasks. Rows are made when they come near to the window.
const CHUNK = 50;
const IDLE = 2000; // up to so many rows are made when there is time: for a search in the page
const COLUMNS = [
  ["index", "#", "num index", (t) => t.index],
  ["task", "Task", "task", (t) => nameOf(t)],
  ["status", "Status", "status", (t) => STATUSES.indexOf(t.status) + (t.fault ? -9 : 0)],
  ["start", "Start", "num start", (t) => t.start],
  ["waited", "Waited", "num waited", (t) => t.waited],
  ["took", "Took", "num took", (t) => t.took],
  ["attempts", "Tries", "num attempts", (t) => t.attempts],
  ["mode", "Ran in", "mode", (t) => t.mode],
  ["error", "Error", "error", (t) => t.error],
];
const FLAGS = {
  Retried: (t) => t.attempts > 1,
  Warnings: (t) => t.warning !== undefined,
};

const table = {
  element: document.querySelector("#tasks table"),
  field: byId("filter"),
  chosen: new Set(),
  sort: "index",
  descending: false,
  view: [],
  rows: new Map(),
  open: new Map(), // index of a task: the row of its details
  longest: tasks.reduce((most, task) => Math.max(most, task.took ?? 0), 1e-9),

  build() {
    const heads = COLUMNS.map(([key, title, style]) =>
      make("th", { class: style, scope: "col", role: "columnheader", "data-key": key },
        make("button", { type: "button", onclick: () => this.sortBy(key) }, title)));
    this.element.append(make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...heads)));
    this.heads = heads;
    this.chips = [...STATUSES.filter((s) => tasks.some((t) => t.status === s)),
      ...Object.keys(FLAGS).filter((f) => tasks.some(FLAGS[f]))].map((name) => {
      const has = FLAGS[name] ?? ((t) => t.status === name);
      const sign = FLAGS[name] ? "" : icon(name.toLowerCase());
      return make("button", { type: "button", "data-name": name, onclick: () => this.toggle(name) },
        sign, name, " ", make("span", {}, count(tasks.filter(has).length)));
    });
    document.querySelector(".chips").append(...this.chips);
    this.field.addEventListener("input", () => { this.update(); this.remember(); });
    this.near = new IntersectionObserver((entries) => {
      for (const each of entries) if (each.isIntersecting) this.fill(each.target);
    }, { rootMargin: "1200px" });
    this.element.addEventListener("click", (event) => this.clicked(event));
    this.element.addEventListener("keydown", (event) => this.pressed(event));
    this.element.addEventListener("focusin", ({ target }) => {
      if (target.matches(".row .task button")) this.stop(target);
    });
  },

  /** Show what is chosen, in the order that is chosen. */
  update() {
    const words = this.field.value.toLowerCase().split(/\s+/).filter(Boolean);
    const statuses = STATUSES.filter((s) => this.chosen.has(s));
    const flags = Object.keys(FLAGS).filter((f) => this.chosen.has(f));
    const found = tasks.filter((task) =>
      (!statuses.length || statuses.includes(task.status)) &&
      flags.every((flag) => FLAGS[flag](task)) &&
      words.every((word) => this.textOf(task).includes(word)));
    const key = COLUMNS.find(([name]) => name === this.sort)[3];
    const sign = this.descending ? -1 : 1;
    const compare = new Intl.Collator("en", { numeric: true }).compare;
    if (this.sort !== "index" || this.descending) {
      const keyed = found.map((task) => [key(task), task]);
      keyed.sort(([a, x], [b, y]) => {
        if (a === undefined || b === undefined) return (a === undefined) - (b === undefined) || x.index - y.index;
        return sign * (typeof a === "string" ? compare(a, b) : a - b) || x.index - y.index;
      });
      this.view = keyed.map(([, task]) => task);
    } else this.view = found;
    this.show();
  },

  textOf(task) {
    task.text ??= [task.label, task.name, task.program, task.error, task.status, causeOf(task),
      task.mode, task.warning].filter(Boolean).join("\n").toLowerCase();
    return task.text;
  },

  show() {
    this.near.disconnect();
    for (const body of this.element.querySelectorAll("tbody")) body.remove();
    this.bodies = [];
    for (let at = 0; at < this.view.length; at += CHUNK) {
      const body = make("tbody", { role: "rowgroup" });
      const size = Math.min(CHUNK, this.view.length - at);
      body.at = at;
      body.style.height = `calc(var(--row) * ${size})`;
      body.style.containIntrinsicSize = `auto calc(var(--row) * ${size})`;
      this.bodies.push(body);
    }
    if (!this.bodies.length) {
      const cell = make("td", { class: "empty", role: "cell" }, tasks.length ? "No task is like that." : "There are no tasks.");
      this.element.append(make("tbody", { role: "rowgroup" }, make("tr", { role: "row" }, cell)));
      cell.parentElement.style.display = "block";
      cell.style.display = "block";
    } else this.fill(this.bodies[0]);
    this.element.append(...this.bodies);
    for (const body of this.bodies.slice(1)) this.near.observe(body);
    this.element.setAttribute("aria-rowcount", this.view.length + 1);
    byId("shown").textContent = this.view.length === tasks.length
      ? plural(tasks.length, "task") : `${count(this.view.length)} of ${plural(tasks.length, "task")}`;
    for (const head of this.heads) {
      const sorted = head.dataset.key === this.sort;
      if (sorted) head.setAttribute("aria-sort", this.descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    for (const chip of this.chips) chip.setAttribute("aria-pressed", this.chosen.has(chip.dataset.name));
    const first = this.element.querySelector(".row .task button");
    if (first) this.stop(first);
    if (this.view.length <= IDLE) this.fillIdly(this.bodies);
  },

  fillIdly(bodies) {
    const wait = globalThis.requestIdleCallback ?? ((f) => setTimeout(() => f({ timeRemaining: () => 8 }), 30));
    let at = 1;
    const some = (left) => {
      if (bodies !== this.bodies) return;
      do this.fill(bodies[at++]); while (at < bodies.length && left.timeRemaining() > 6);
      if (at < bodies.length) wait(some);
    };
    if (at < bodies.length) wait(some);
  },

  fill(body) {
    if (!body || body.filled) return;
    body.filled = true;
    body.style.height = "";
    this.near.unobserve(body);
    for (const task of this.view.slice(body.at, body.at + CHUNK)) {
      body.append(this.rowOf(task));
      const details = this.open.get(task.index);
      if (details) body.append(details);
    }
  },

  rowOf(task) {
    let row = this.rows.get(task.index);
    if (row) return row;
    const cell = (style, ...content) => make("td", { class: style, role: "cell" }, ...content);
    const cause = causeOf(task);
    const button = make("button", { type: "button", "aria-expanded": "false", tabindex: "-1" },
      make("span", { class: "label" }, nameOf(task)));
    row = make("tr", { class: "row", role: "row", "data-index": task.index },
      cell("num index", String(task.index + 1)),
      make("th", { class: "task", role: "rowheader", scope: "row" }, button),
      cell("status", icon(task.kind), task.status, cause ? make("small", {}, cause) : ""),
      cell("num start", task.start === undefined ? "" : sinceStart(task.start)),
      cell("num waited", task.waited >= 0.0005 ? span(task.waited) : ""),
      cell("num took", span(task.took)),
      cell("num attempts", task.attempts ? String(task.attempts) : ""),
      cell("mode", task.mode ?? ""),
      cell("error", (task.error ?? "").slice(0, 200)));
    if (task.took) row.children[5].style.setProperty("--share", `${(100 * task.took) / this.longest}%`);
    this.rows.set(task.index, row);
    return row;
  },

  /** Open or close the details of a task. */
  expand(index, wanted = !this.open.has(index)) {
    const row = this.rowOf(tasks[index]);
    if (wanted === this.open.has(index)) return;
    row.classList.toggle("open", wanted);
    row.querySelector("button").setAttribute("aria-expanded", wanted);
    if (wanted) {
      const cell = make("td", { role: "cell", colspan: COLUMNS.length }, detailsOf(tasks[index]));
      const details = make("tr", { class: "details", role: "row" }, cell);
      this.open.set(index, details);
      if (row.parentElement) row.after(details);
    } else {
      this.open.get(index).remove();
      this.open.delete(index);
    }
  },

  /** Go to a task: open it, with all that hides it taken away. */
  goTo(index) {
    if (!tasks[index]) return;
    if (!this.view.includes(tasks[index])) {
      this.field.value = "";
      this.chosen.clear();
      this.update();
    }
    this.fill(this.bodies[Math.floor(this.view.indexOf(tasks[index]) / CHUNK)]);
    this.expand(index, true);
    const button = this.rowOf(tasks[index]).querySelector("button");
    button.focus({ preventScroll: true });
    // What is hidden has an estimated height until it was seen once.
    for (let times = 0; times < 2; times++) button.closest("tr").scrollIntoView({ block: "start" });
  },

  stop(button) {
    this.tabStop?.setAttribute("tabindex", "-1");
    this.tabStop = button;
    button.setAttribute("tabindex", "0");
  },

  sortBy(key) {
    // Long, slow and late is what one looks for first.
    const descends = ["took", "waited", "attempts"].includes(key);
    this.descending = this.sort === key ? !this.descending : descends;
    this.sort = key;
    this.update();
    this.remember();
  },

  toggle(name) {
    if (!this.chosen.delete(name)) this.chosen.add(name);
    this.update();
    this.remember();
  },

  clicked(event) {
    const row = event.target.closest(".row");
    if (!row || event.target.closest("a") || String(getSelection())) return;
    this.expand(Number(row.dataset.index));
    row.querySelector("button").focus({ preventScroll: true });
    this.remember();
  },

  pressed(event) {
    const row = event.target.closest(".row");
    if (!row || event.ctrlKey || event.altKey || event.metaKey) return;
    const index = Number(row.dataset.index);
    const at = this.view.indexOf(tasks[index]), last = this.view.length - 1;
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + 15, PageUp: at - 15, Home: 0, End: last }[event.key];
    if (to !== undefined) {
      const next = Math.max(0, Math.min(last, to));
      this.fill(this.bodies[Math.floor(next / CHUNK)]);
      const button = this.rowOf(this.view[next]).querySelector("button");
      button.focus({ preventScroll: true });
      button.scrollIntoView({ block: Math.abs(next - at) > 1 ? "center" : "nearest" });
    } else if (event.key === "ArrowRight") this.expand(index, true);
    else if (event.key === "ArrowLeft") this.expand(index, false);
    else return;
    event.preventDefault();
  },

  /** The state goes into the address, so that it can be sent and comes back. */
  remember() {
    const parts = new URLSearchParams();
    if (this.chosen.size) parts.set("status", [...this.chosen].join(","));
    if (this.field.value) parts.set("q", this.field.value);
    if (this.sort !== "index" || this.descending) parts.set("sort", (this.descending ? "-" : "") + this.sort);
    if (this.open.size) parts.set("task", [...this.open.keys()].slice(-5).join(","));
    history.replaceState(null, "", `#${parts.toString().replaceAll("%2C", ",")}`);
  },

  recall() {
    const parts = new URLSearchParams(location.hash.slice(1));
    const names = ["status", "q", "sort", "task"].filter((name) => parts.has(name));
    if (!names.length) return;
    const onlyTask = names.length === 1 && names[0] === "task";
    if (!onlyTask) {
      this.chosen = new Set((parts.get("status") ?? "").split(",").filter((n) => STATUSES.includes(n) || FLAGS[n]));
      this.field.value = parts.get("q") ?? "";
      const sort = parts.get("sort") ?? "index";
      this.descending = sort.startsWith("-");
      this.sort = COLUMNS.find(([key]) => key === sort.replace("-", ""))?.[0] ?? "index";
      this.update();
    }
    const indexes = (parts.get("task") ?? "").split(",").filter(Boolean).map(Number);
    for (const index of indexes) if (tasks[index]) this.expand(index, true);
    if (indexes.length) this.goTo(indexes.at(-1));
    else byId("tasks").scrollIntoView();
  },
};
