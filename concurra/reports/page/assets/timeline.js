// The timeline: one lane a place, above it how many tasks were at work and waiting.
const timeline = {
  box: document.querySelector(".chart"),
  left: 40, // of the lanes: their numbers
  strip: 32, // the height of how many were at work, and of how many waited

  build() {
    this.items = tasks.filter((task) => task.start !== undefined && task.lane !== undefined);
    this.lanes = [];
    for (const task of this.items) (this.lanes[task.lane] ??= []).push(task);
    for (let n = 0; n < this.lanes.length; n++) (this.lanes[n] ??= []).sort((a, b) => a.start - b.start);
    const many = this.lanes.length;
    this.pitch = many <= 12 ? 26 : many <= 32 ? 19 : many <= 80 ? 12 : 8;
    this.end = Math.max(run.end, 1e-6);
    [this.from, this.to] = [0, this.end];
    this.steps = this.loads();
    document.querySelector(".k-wait").parentElement.hidden = !this.most[1];
    this.head = this.box.querySelector(".load");
    this.body = this.box.querySelector(".lanes canvas");
    this.told = byId("timeline-told");
    new ResizeObserver(() => this.draw()).observe(this.box);
    this.listen();
  },

  /** How many were at work, and how many ready, from each moment on. */
  loads() {
    const begins = [], ends = [], readies = [], goes = [];
    for (const task of tasks) {
      // What was skipped or aborted has never waited for a place alone.
      if (task.ready !== undefined && (task.start !== undefined || task.status === "Waiting")) {
        readies.push(task.ready);
        goes.push(task.start ?? run.end);
      }
      if (task.start === undefined) continue;
      for (const [start, end] of task.tries ?? [[task.start, task.stop]]) {
        begins.push(start);
        ends.push(end ?? task.stop);
      }
    }
    const sorted = [begins, ends, readies, goes].map((times) => Float64Array.from(times).sort());
    const until = [0, 0, 0, 0], steps = [[0, 0, 0]];
    this.most = [1, 0]; // at work, and ready
    for (const at of Float64Array.from(sorted.flatMap((times) => [...times])).sort()) {
      if (at === steps.at(-1)[0] && steps.length > 1) continue;
      sorted.forEach((times, n) => { while (times[until[n]] <= at) until[n]++; });
      const step = [at, until[0] - until[1], until[2] - until[3]];
      this.most = this.most.map((most, n) => Math.max(most, step[n + 1]));
      steps.push(step);
    }
    return steps;
  },

  x(time) { return this.left + ((time - this.from) / (this.to - this.from)) * this.width; },
  time(x) { return this.from + ((x - this.left) / this.width) * (this.to - this.from); },

  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.drawNow());
  },

  drawNow() {
    const inner = this.printing ? 720 : this.body.parentElement.clientWidth;
    this.width = Math.max(50, inner - this.left - 10);
    const names = ["ink", "dim", "rule", "edge", "card", "on", "link", ...STATUSES.map((s) => s.toLowerCase())];
    this.colours = Object.fromEntries(names.map((name) => [name, colour(name)]));
    this.font = getComputedStyle(document.body).fontFamily;
    this.drawHead(this.context(this.head, inner, this.strip * (this.most[1] ? 2 : 1) + 24));
    this.drawLanes(this.context(this.body, inner, this.lanes.length * this.pitch + 12));
  },

  context(canvas, width, height) {
    const scale = Math.max(devicePixelRatio, this.printing ? 3 : 1);
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    canvas.style.height = `${height}px`;
    canvas.style.width = `${width}px`;
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    context.textBaseline = "middle";
    return context;
  },

  ticks() {
    const rough = (this.to - this.from) / Math.max(2, this.width / 110);
    const power = 10 ** Math.floor(Math.log10(rough));
    const round = [10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400];
    const step = rough > 5 && rough < 86400 ? round.find((n) => n >= rough)
      : power * [1, 2, 5, 10].find((n) => n * power >= rough);
    const found = [];
    for (let n = Math.ceil(this.from / step - 1e-9); n * step <= this.to + step * 1e-6; n++) found.push(n * step);
    return [found, step];
  },

  drawHead(context) {
    const { colours } = this, height = this.strip, bottom = height * (this.most[1] ? 2 : 1);
    const area = (n, fill, alpha) => {
      const bottom = height * (n + 1);
      context.beginPath();
      context.moveTo(this.left, bottom);
      let y = bottom;
      for (const step of this.steps) {
        if (step[0] > this.to) break;
        const x = Math.max(this.left, this.x(step[0]));
        context.lineTo(x, y);
        y = bottom - (step[n + 1] / this.most[n]) * (height - 6);
        context.lineTo(x, y);
      }
      const x = Math.min(this.x(this.end), this.left + this.width);
      context.lineTo(x, y);
      context.lineTo(x, bottom);
      context.globalAlpha = alpha;
      context.fillStyle = fill;
      context.fill();
      context.globalAlpha = 1;
      context.font = `11px ${this.font}`;
      context.fillStyle = colours.dim;
      context.textAlign = "right";
      context.fillText(count(this.most[n]), this.left - 8, bottom - height + 11);
    };
    area(0, colours.dim, 0.55);
    if (this.most[1]) area(1, colours.terminated, 0.75);
    context.fillStyle = colours.rule;
    context.fillRect(0, bottom, this.left + this.width + 10, 1);
    const [times, step] = this.ticks();
    context.font = `12px ${this.font}`;
    context.fillStyle = colours.dim;
    for (const time of times) {
      const x = this.x(time), words = this.clock(time, step);
      const half = context.measureText(words).width / 2;
      context.textAlign = x + half > this.left + this.width + 8 ? "right" : x - half < 2 ? "left" : "center";
      context.fillText(words, context.textAlign === "right" ? this.left + this.width + 8 : x, bottom + 13);
    }
  },

  clock(time, step) {
    if (step < 1) return step < 0.001 ? `${(time * 1000).toFixed(2)} ms` : this.to < 1 ? `${Math.round(time * 1000)} ms` : `${time.toFixed(step < 0.01 ? 3 : step < 0.1 ? 2 : 1)} s`;
    if (this.to < 120) return `${Math.round(time)} s`;
    const whole = Math.round(time), two = (n) => String(n).padStart(2, "0");
    return whole < 3600 ? `${Math.floor(whole / 60)}:${two(whole % 60)}`
      : `${Math.floor(whole / 3600)}:${two(Math.floor((whole % 3600) / 60))}:${two(whole % 60)}`;
  },

  drawLanes(context) {
    const { colours, pitch } = this, right = this.left + this.width;
    context.fillStyle = colours.rule;
    for (const time of this.ticks()[0]) context.fillRect(Math.round(this.x(time)), 0, 1, this.lanes.length * pitch + 12);
    context.font = `11px ${this.font}`;
    context.textAlign = "right";
    context.fillStyle = colours.dim;
    const every = pitch >= 14 ? 1 : 5;
    for (let n = 0; n < this.lanes.length; n++)
      if (n === 0 || (n + 1) % every === 0) context.fillText(n + 1, this.left - 8, this.y(n) + pitch / 2);
    context.save();
    context.beginPath();
    context.rect(this.left, 0, this.width + 10, this.lanes.length * pitch + 12);
    context.clip();
    context.textAlign = "left";
    context.font = `12px ${this.font}`;
    this.stripes = this.pattern(context);
    for (const faults of [false, true])
      this.lanes.forEach((lane) => {
        let drawn = -1; // the pixel that the last small one has
        for (const task of lane) {
          if (task.fault !== faults || task.stop < this.from) continue;
          if (task.start > this.to) break;
          const x = this.x(task.start), size = this.x(task.stop) - x;
          if (size < 1 && Math.floor(x) === drawn) continue;
          drawn = size < 1 ? Math.floor(x) : -1;
          this.drawTask(context, task, right);
        }
      });
    if (this.marked) this.drawMark(context);
    context.restore();
  },

  y(lane) { return 6 + lane * this.pitch; },

  drawTask(context, task, right) {
    const { colours, pitch } = this, gap = pitch > 10 ? 3 : 1;
    const y = this.y(task.lane) + gap / 2, height = pitch - gap;
    const spans = task.tries ?? [[task.start, task.stop]];
    const last = spans.length - 1;
    if (task.tries) {
      context.fillStyle = colours.edge;
      const x = this.x(task.start);
      context.fillRect(x, y + height / 2 - 0.75, this.x(task.stop) - x, 1.5);
    }
    spans.forEach(([start, stop], n) => {
      const x = Math.max(this.left - 5, this.x(start));
      const size = Math.max(1, Math.min(right + 12, this.x(stop ?? task.stop)) - x - (this.x(stop ?? task.stop) - this.x(start) > 4 ? 1 : 0));
      const failed = task.fault || n < last;
      context.fillStyle = colours[failed ? "failed" : task.kind];
      context.beginPath();
      context.roundRect(x, y, size, height, Math.min(3, size / 3));
      context.fill();
      if (failed && size > 3) {
        context.fillStyle = this.stripes;
        context.fill();
      }
    });
    const [start, stop] = spans[last];
    const x = Math.max(this.left, this.x(start)), room = Math.min(right, this.x(stop ?? task.stop)) - x - 12;
    if (room > 24 && pitch >= 18) {
      const words = fitted(context, nameOf(task), room);
      if (task.fault) {
        const width = context.measureText(words).width;
        context.fillStyle = colours.failed;
        context.fillRect(x + 3, y + 2, width + 6, height - 4);
      }
      context.fillStyle = colours.on;
      context.fillText(words, x + 6, y + height / 2 + 0.5);
    }
  },

  /** Stripes: failures are not told by colour alone. */
  pattern(context) {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 7;
    const pen = tile.getContext("2d");
    pen.strokeStyle = this.colours.on;
    pen.globalAlpha = 0.45;
    pen.lineWidth = 1.6;
    pen.beginPath();
    for (const shift of [-7, 0, 7]) {
      pen.moveTo(shift - 1, 8);
      pen.lineTo(shift + 8, -1);
    }
    pen.stroke();
    return context.createPattern(tile, "repeat");
  },

  /** The task that is pointed at: its waiting, and the ends of what it has waited for. */
  drawMark(context) {
    const task = this.marked, { colours, pitch } = this;
    const y = this.y(task.lane), x = this.x(task.start), middle = y + pitch / 2;
    context.lineWidth = 1.5;
    context.strokeStyle = colours.ink;
    if (task.waited > 0) {
      context.setLineDash([3, 3]);
      context.beginPath();
      context.moveTo(this.x(task.ready), middle);
      context.lineTo(x, middle);
      context.stroke();
      context.setLineDash([]);
      context.fillStyle = colours.ink;
      context.fillRect(this.x(task.ready) - 1, middle - 5, 2, 10);
    }
    context.globalAlpha = 0.7;
    for (const index of task.deps.slice(0, 50)) {
      const dep = tasks[index];
      if (dep.lane === undefined) continue;
      const [x0, y0] = [this.x(dep.stop), this.y(dep.lane) + pitch / 2];
      context.beginPath();
      context.moveTo(x0, y0);
      context.bezierCurveTo(x0 + 24, y0, x - 24, middle, x, middle);
      context.stroke();
    }
    context.globalAlpha = 1;
    context.lineWidth = 2;
    context.beginPath();
    context.roundRect(x - 1, y, Math.max(4, this.x(task.stop) - x + 1), pitch - 1, 4);
    context.stroke();
  },

  /** The task at a point of the window; None is far from it. */
  at(event) {
    const place = this.body.getBoundingClientRect();
    const lane = this.lanes[Math.floor((event.clientY - place.top - 6) / this.pitch)];
    if (!lane || event.clientY < this.body.parentElement.getBoundingClientRect().top) return undefined;
    const x = event.clientX - place.left, time = this.time(x);
    let low = 0, high = lane.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (lane[middle].start <= time) low = middle + 1;
      else high = middle;
    }
    const far = (task) => Math.max(this.x(task.start) - x, x - this.x(task.stop), 0);
    const near = lane.slice(Math.max(0, low - 1), low + 1).sort((a, b) => far(a) - far(b))[0];
    return near && far(near) <= 3 ? near : undefined;
  },

  mark(task, event) {
    if (task !== this.marked) {
      this.marked = task;
      this.draw();
    }
    if (!task) { tip.hide(); return; }
    if (event) { tip.show(task, event.clientX, event.clientY); return; }
    if (task.start < this.from || task.stop > this.to || task.start > this.to)
      this.look(Math.max(0, task.start - (this.to - this.from) / 3), this.to - this.from);
    const scroller = this.body.parentElement;
    const y = this.y(task.lane);
    if (y < scroller.scrollTop) scroller.scrollTop = y - 6;
    if (y + this.pitch > scroller.scrollTop + scroller.clientHeight) scroller.scrollTop = y + this.pitch + 6 - scroller.clientHeight;
    const place = this.body.getBoundingClientRect();
    const x = Math.max(this.left, Math.min(this.left + this.width, this.x(task.start)));
    this.told.textContent = tip.show(task, place.left + x, place.top + y + this.pitch - 10);
  },

  look(from, size) {
    size = Math.min(this.end, Math.max(this.end * 1e-5, 1e-6, size));
    this.from = Math.max(0, Math.min(this.end - size, from));
    this.to = this.from + size;
    this.draw();
  },

  zoom(factor, x = this.left + this.width / 2) {
    const time = Math.max(0, this.time(x)), size = (this.to - this.from) / factor;
    this.look(time - (time - this.from) / factor, size);
  },

  listen() {
    const { box } = this;
    for (const button of document.querySelectorAll("[data-zoom]"))
      button.addEventListener("click", () => {
        if (button.dataset.zoom === "all") this.look(0, this.end);
        else this.zoom(button.dataset.zoom === "in" ? 1.6 : 1 / 1.6);
      });
    box.addEventListener("wheel", (event) => {
      const x = event.clientX - box.getBoundingClientRect().left;
      if (event.ctrlKey || event.metaKey) this.zoom(Math.exp(-Math.max(-80, Math.min(80, event.deltaY)) / 200), x);
      else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY))
        this.look(this.from + ((event.deltaX || event.deltaY) / this.width) * (this.to - this.from), this.to - this.from);
      else return;
      event.preventDefault();
    }, { passive: false });
    let held = null;
    box.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      held = { x: event.clientX, from: this.from, moved: false, task: this.at(event) };
    });
    box.addEventListener("pointermove", (event) => {
      if (held && Math.abs(event.clientX - held.x) > 4 && !held.moved) {
        held.moved = true;
        box.setPointerCapture(event.pointerId);
        box.classList.add("moving");
      }
      if (held?.moved) {
        const size = this.to - this.from;
        this.look(held.from - ((event.clientX - held.x) / this.width) * size, size);
        tip.hide();
      } else this.mark(this.at(event), event);
    });
    const release = () => { box.classList.remove("moving"); held = null; };
    box.addEventListener("pointerup", () => {
      if (held && !held.moved && held.task) this.open(held.task);
      release();
    });
    box.addEventListener("pointercancel", release);
    box.addEventListener("pointerleave", () => this.mark(undefined));
    box.addEventListener("blur", () => this.mark(undefined));
    box.addEventListener("keydown", (event) => this.pressed(event));
  },

  open(task) {
    this.mark(undefined);
    table.goTo(task.index);
    table.remember();
  },

  pressed(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const { key } = event;
    if (key === "+" || key === "=") this.zoom(1.6, this.marked ? this.x(this.marked.start) : undefined);
    else if (key === "-") this.zoom(1 / 1.6);
    else if (key === "0") this.look(0, this.end);
    else if (key === "Escape") this.mark(undefined);
    else if (key === "Enter" && this.marked) this.open(this.marked);
    else if (key.startsWith("Arrow") || key === "Home" || key === "End") this.mark(this.beside(key));
    else return;
    event.preventDefault();
  },

  /** The task to which a key leads. */
  beside(key) {
    const task = this.marked, first = this.items.length ? this.lanes.find((lane) => lane.length)[0] : undefined;
    if (!task) return first;
    const lane = this.lanes[task.lane], at = lane.indexOf(task);
    if (key === "Home") return lane[0];
    if (key === "End") return lane.at(-1);
    if (key === "ArrowRight") return lane[at + 1] ?? task;
    if (key === "ArrowLeft") return lane[at - 1] ?? task;
    const other = this.lanes[task.lane + (key === "ArrowDown" ? 1 : -1)];
    if (!other?.length) return task;
    const far = (each) => Math.max(each.start - task.start, task.start - each.stop, 0);
    return other.reduce((best, each) => (far(each) < far(best) ? each : best));
  },
};
