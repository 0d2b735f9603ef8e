// The graph: where tasks stand has been computed, here they are drawn.
const graph = {
  box: document.querySelector(".drawing"),
  column: 216, row: 46, wide: 172, high: 36, edge: 14,

  build() {
    const { nodes, edges, longest, note } = run.graph;
    document.querySelector("#graph .note").textContent = note;
    this.at = new Map(nodes.map(([index, layer, place]) => [index, [layer * this.column + this.edge, place * this.row + this.edge]]));
    const points = [...this.at.values()];
    this.size = [0, 1].map((axis) => points.reduce((most, point) => Math.max(most, point[axis]), 0) + (axis ? this.high : this.wide) + this.edge);
    const path = new Set(longest.slice(1).map((index, n) => `${longest[n]} ${index}`));
    this.onPath = new Set(longest);
    this.lines = new Map(nodes.map(([index]) => [index, []]));
    this.numbers = nodes.map(([index]) => index);
    const lower = draw("g"), upper = draw("g");
    for (const [a, b, ...bends] of edges) {
      const [from, to] = [this.numbers[a], this.numbers[b]], marked = path.has(`${from} ${to}`);
      const line = draw("path", { class: marked ? "edge longest" : "edge", d: this.way(from, to, bends) });
      (marked ? upper : lower).append(line);
      this.lines.get(from).push(line);
      this.lines.get(to).push(line);
    }
    pen.font = `12.5px ${getComputedStyle(document.body).fontFamily}`;
    this.nodes = new Map(nodes.map(([index]) => [index, this.node(tasks[index])]));
    this.svg = draw("svg", { viewBox: `0 0 ${this.size.join(" ")}`, role: "group", "aria-label": "Graph of the dependencies" },
      lower, upper, ...this.nodes.values());
    this.box.append(this.svg);
    this.stop(this.numbers[0]);
    this.resize(Math.max(0.62, this.fitting()));
    this.listen();
  },

  way(from, to, bends) {
    const [x0, y0] = this.at.get(from), [x1, y1] = this.at.get(to), middle = this.high / 2;
    let x = x0 + this.wide, y = y0 + middle, d = `M${x} ${y}`;
    const curve = (toX, toY) => {
      const half = (toX - x) / 2;
      d += `C${x + half} ${y} ${toX - half} ${toY} ${toX} ${toY}`;
      [x, y] = [toX, toY];
    };
    bends.forEach((place, n) => {
      curve(x0 + (n + 1) * this.column, place * this.row + this.edge + middle);
      x += this.wide;
      d += `H${x}`;
    });
    curve(x1 - 1, y1 + middle);
    return `${d}m-6 -3.5l6 3.5l-6 3.5`;
  },

  node(task) {
    const [x, y] = this.at.get(task.index), { wide, high } = this;
    const took = task.took === undefined ? causeOf(task) : span(task.took);
    const label = draw("text", { x: 29, y: took ? 15 : 22 }, fitted(pen, nameOf(task).replace(/\s+/g, " "), wide - 38));
    const node = draw("a", {
      class: `node ${task.kind}${this.onPath.has(task.index) ? " longest" : ""}`,
      href: `#task=${task.index}`, transform: `translate(${x} ${y})`, tabindex: "-1",
      "data-index": task.index,
      "aria-label": [nameOf(task), statusOf(task), took, this.onPath.has(task.index) ? "on the longest path" : ""].filter(Boolean).join(", "),
    },
      draw("rect", { class: "box", width: wide, height: high, rx: 6 }),
      icon(task.kind, { x: 9, y: (high - 13) / 2, width: 13, height: 13 }),
      label);
    if (took) node.append(draw("text", { class: "took", x: 29, y: 29 }, took));
    return node;
  },

  fitting() { return Math.min(1, (this.box.clientWidth - 2) / this.size[0]); },

  resize(scale) {
    this.scale = Math.max(0.15, Math.min(3, scale));
    this.svg.setAttribute("width", Math.floor(this.size[0] * this.scale));
    this.svg.setAttribute("height", Math.floor(this.size[1] * this.scale));
  },

  light(index) {
    for (const line of this.lit ?? []) line.classList.remove("lit");
    this.lit = index === undefined ? [] : this.lines.get(index);
    for (const line of this.lit) line.classList.add("lit");
  },

  stop(index) {
    this.nodes.get(this.tabStop)?.setAttribute("tabindex", "-1");
    this.tabStop = index;
    this.nodes.get(index).setAttribute("tabindex", "0");
  },

  listen() {
    // To the box: an SVG that listens to the focus would be a stop of its own.
    const of = (event) => {
      const node = event.target.closest(".node");
      return node && Number(node.dataset.index);
    };
    for (const button of document.querySelectorAll("[data-size]"))
      button.addEventListener("click", () => {
        if (button.dataset.size === "fit") this.resize(this.fitting());
        else this.resize(this.scale * (button.dataset.size === "in" ? 1.35 : 1 / 1.35));
      });
    this.box.addEventListener("pointerover", (event) => {
      const index = of(event);
      if (index === null) { this.light(undefined); tip.hide(); return; }
      this.light(index);
      tip.show(tasks[index], event.clientX, event.clientY);
    });
    this.box.addEventListener("pointerleave", () => { this.light(undefined); tip.hide(); });
    this.box.addEventListener("focusin", (event) => {
      const index = of(event);
      if (index === null) return;
      this.stop(index);
      this.light(index);
    });
    this.box.addEventListener("focusout", () => this.light(undefined));
    this.box.addEventListener("keydown", (event) => {
      if (of(event) !== null) this.pressed(event, of(event));
    });
  },

  pressed(event, index) {
    const [x, y] = this.at.get(index);
    const here = (some) => some.filter((each) => this.at.has(each));
    const side = (sign) => {
      const near = this.numbers.filter((each) => this.at.get(each)[0] === x && sign * (this.at.get(each)[1] - y) > 0);
      return near.sort((a, b) => sign * (this.at.get(a)[1] - this.at.get(b)[1]))[0];
    };
    const to = {
      ArrowRight: () => here(tasks[index].after)[0], ArrowLeft: () => here(tasks[index].deps)[0],
      ArrowDown: () => side(1), ArrowUp: () => side(-1),
    }[event.key];
    if (!to) return;
    event.preventDefault();
    this.nodes.get(to() ?? index).focus();
  },
};
