// The grid: one side of the manifest against another, each cell with the takes it holds. Only the cells that can
// be seen are drawn, both ways.

const HEAD = 40;
const CELL_GAP = 8;
const IN_A_CELL = 240;
const EASY_CELL = 24;  // more tiles in a cell than that, and another axis goes down the side
const LEAST_TILE = 84;
const MOST_LINES = 60;  // that a grid has without being asked for more

/** What a line is called: by its value, or by what its jobs lack. */
const lineName = (side, value) => value ?? `no ${side.name}`;

const same = (some, others) => some.length === others.length && some.every((each, i) => each === others[i]);

class Grid {
  constructor(app, panel) {
    this.app = app;
    this.rowPick = h("select", {id: "grid-rows", onchange: () => this.pick()});
    this.colPick = h("select", {id: "grid-cols", onchange: () => this.pick()});
    this.cols = h("div", {class: "grid-cols"});
    this.side = h("div", {class: "grid-side"});
    this.body = h("div", {class: "grid-body"});
    this.corner = h("div", {class: "grid-corner", "aria-hidden": "true"});
    this.inner = h("div", {class: "grid-inner"}, this.corner, this.cols, this.side, this.body);
    this.scroller = h("div", {class: "grid", role: "region", "aria-label": "Grid", tabindex: "0", onkeydown: event => this.key(event), onscroll: () => this.draw()}, this.inner);
    this.empty = h("p", {class: "empty", hidden: true}, "These jobs do not vary in two ways, so there is no grid. The gallery shows every job.");
    this.rest = h("p", {class: "muted grid-rest", hidden: true});
    this.cells = new Visible(this.body, number => this.cell(number));
    this.colHeads = new Visible(this.cols, number => this.headOf(this.colSide, this.colValues[number], "left", number * this.width, this.width));
    this.rowHeads = new Visible(this.side, number => this.headOf(this.rowSide, this.rowValues[number], "top", number * this.height, this.height));
    panel.replaceChildren(h("div", {class: "grid-picks"},
      h("span", {}, h("label", {for: "grid-rows"}, "Rows"), this.rowPick),
      h("button", {type: "button", class: "small", onclick: () => this.swap(), "aria-label": "Swap rows and columns", title: "Swap rows and columns"}, "⇄"),
      h("span", {}, h("label", {for: "grid-cols"}, "Columns"), this.colPick)), this.empty, this.scroller, this.rest);
  }

  update(jobs) {
    this.jobs = jobs;
    this.sides = [...this.app.model.sides().filter(side => side.values.length > 0), {key: "", name: "nothing", values: [""], of: () => 0}];
    const keys = new Set(this.sides.map(side => side.key));
    this.nest();
    const [rows, cols] = this.usual();
    this.rows = keys.has(this.rows) ? this.rows : rows;
    this.columns = keys.has(this.columns) ? this.columns : cols;
    const choices = JSON.stringify(this.sides.map(side => [side.key, side.values.length]));
    for (const [pick, value] of [[this.rowPick, this.rows], [this.colPick, this.columns]]) {
      if (choices !== this.choices) pick.replaceChildren(...this.sides.map(side => h("option", {value: side.key},
        side.key ? `${side.name} (${side.values.length})` : side.name)));
      pick.value = value;
    }
    this.choices = choices;
    this.group();
  }

  /** Where cells of the usual two sides would hold very many tiles: two axes down the side, one within the other. */
  nest() {
    const order = this.order();
    const held = new Map();
    for (const job of this.jobs) {
      const key = order.slice(0, 2).map(side => side.of(job) ?? -1).join(" ");
      held.set(key, (held.get(key) ?? 0) + 1);
    }
    this.nested = null;
    const [outer, , inner] = order;
    if (!inner || Math.max(0, ...held.values()) <= EASY_CELL) return;
    const values = [], known = new Map();
    const numbers = new Map(this.jobs.map(job => [job.row, outer.of(job) === undefined || inner.of(job) === undefined ? undefined : outer.of(job) * inner.values.length + inner.of(job)]));
    for (const number of [...new Set(numbers.values())].filter(each => each !== undefined).sort((a, b) => a - b)) {
      known.set(number, values.length);
      values.push(`${outer.values[Math.floor(number / inner.values.length)]} · ${inner.values[number % inner.values.length]}`);
    }
    this.nested = {key: `both ${outer.key} ${inner.key}`, name: `${outer.name} × ${inner.name}`, values, of: job => known.get(numbers.get(job.row)), parts: [outer, inner]};
    this.sides.splice(this.sides.length - 1, 0, this.nested);
  }

  /** The two sides one would like to see: few values each, but more than one, and shared by jobs; takes last. */
  usual() {
    const order = this.order();
    return [(this.nested ?? order[0] ?? this.sides[0]).key, order[1]?.key ?? ""];
  }

  /** The sides worth a line each, the most telling first. */
  order() {
    const good = this.sides.filter(side => side.values.length > 1 && side.values.length <= MOST_LINES);
    const shared = new Set(this.app.model.filterable(MOST_LINES).map(side => side.key));
    const rank = side => side.name === "take" ? 2 : side.key === "model" ? 1 : shared.has(side.key) ? 0 : 3;
    return good.sort((a, b) => rank(a) - rank(b));
  }

  pick() {
    this.rows = this.rowPick.value;
    this.columns = this.colPick.value;
    this.group();
  }

  swap() {
    [this.rows, this.columns] = [this.columns, this.rows];
    this.rowPick.value = this.rows;
    this.colPick.value = this.columns;
    this.group();
  }

  group() {
    const rows = this.sides.find(side => side.key === this.rows), cols = this.sides.find(side => side.key === this.columns);
    const chosen = [rows, cols].filter(side => side.key);
    // What lacks both has no place in a grid of them, and would take a line and a column of its own.
    const within = this.jobs.filter(job => !chosen.length || chosen.some(side => side.of(job) !== undefined));
    this.placed = within.length ? within : this.jobs;
    const left = this.jobs.length - this.placed.length;
    const lacks = [...new Set(chosen.map(side => `no ${side.name}`))].join(" and ");
    this.rest.textContent = `${plural(left, "job")} with ${lacks} ${left === 1 ? "is" : "are"} not in this grid; the gallery shows every job.`;
    this.rest.hidden = !left;
    const place = side => {
      const seen = new Set(this.placed.map(job => side.of(job) ?? -1));
      const numbers = [...seen].sort((a, b) => (a < 0) - (b < 0) || a - b);
      return {values: numbers.map(number => number < 0 ? null : side.values[number]), at: new Map(numbers.map((number, i) => [number, i]))};
    };
    const down = place(rows), across = place(cols);
    this.rowValues = down.values;
    this.colValues = across.values;
    this.held = new Map();
    for (const job of this.placed) {
      const key = down.at.get(rows.of(job) ?? -1) * this.colValues.length + across.at.get(cols.of(job) ?? -1);
      if (!this.held.has(key)) this.held.set(key, []);
      this.held.get(key).push(job);
    }
    this.rowSide = rows;
    this.colSide = cols;
    this.corner.textContent = [rows.key && rows.name, cols.key && cols.name].filter(Boolean).join(" × ");
    this.empty.hidden = this.rowValues.length > 1 || this.colValues.length > 1 || this.jobs.length < 2;
    this.scroller.hidden = !this.empty.hidden;
    this.layout();
  }

  layout() {
    if (!this.held || !this.scroller.clientWidth) return;
    const room = this.scroller.clientWidth;
    const sideWidth = Math.min(160 * enlarged(), Math.max(84, room * 0.18));
    const wish = SIZES[this.app.size] * 1.25 * onWalls(room);
    const fits = (room - sideWidth) / this.colValues.length;
    // Rather a little smaller than a last column that is cut off.
    const least = Math.min(wish * (fits > wish * 0.72 ? 0.72 : 1), room * 0.62);
    this.width = Math.floor(Math.min(Math.max(fits, least), wish * 1.6));
    const shapes = this.placed.slice(0, 200).map(job => aspectOf(job, this.app.model.category(job))).sort((a, b) => a - b);
    const shape = shapes[shapes.length >> 1] ?? 1;
    const most = Math.min(IN_A_CELL, Math.max(1, ...[...this.held.values()].map(jobs => jobs.length)));
    // As many beside each other as keep a cell about as high as it is wide, and each large enough to be seen.
    const square = Math.ceil(Math.sqrt(most / shape));
    this.across = Math.max(1, Math.min(most, square, Math.floor(this.width / LEAST_TILE)));
    this.down = Math.ceil(most / this.across);
    const each = (this.width - CELL_GAP - 4 * (this.across - 1)) / this.across;
    this.height = Math.floor(Math.min(each / shape, 420 * onWalls(room)) * this.down + 4 * (this.down - 1) + CELL_GAP);
    const size = (node, width, height) => Object.assign(node.style, {width: `${width}px`, height: `${height}px`});
    const wide = this.width * this.colValues.length, high = this.height * this.rowValues.length;
    size(this.corner, sideWidth, HEAD);
    size(this.cols, wide, HEAD);
    size(this.side, sideWidth, high);
    size(this.body, wide, high);
    this.inner.style.gridTemplateColumns = `${sideWidth}px ${wide}px`;
    this.scroller.style.maxHeight = `${Math.max(320, innerHeight - barHeight() - 90)}px`;
    this.sideWidth = sideWidth;
    const form = JSON.stringify([this.width, this.height, this.across, this.rows, this.columns, this.rowValues, this.colValues, this.app.switches.can && this.placed.map(job => this.app.switches.has(job) ? job.state === "off" : "").join("")]);
    const focused = this.cells.keep((number, node) => form === this.form && same(node.jobs, this.held.get(number) ?? []));
    if (form !== this.form) for (const list of [this.colHeads, this.rowHeads]) list.clear();
    this.form = form;
    this.draw();
    if (focused !== null) (this.cells.nodes.get(focused)?.querySelector("button") ?? this.scroller).focus({preventScroll: true, focusVisible: true});
  }

  draw() {
    if (!this.height) return;
    const {scrollLeft: left, scrollTop: top, clientWidth: width, clientHeight: height} = this.scroller;
    const range = (from, to, step, count) => {
      const first = Math.max(0, Math.floor(from / step)), last = Math.min(count, Math.ceil(to / step));
      return Array.from({length: Math.max(0, last - first)}, (_, i) => first + i);
    };
    const cols = range(left - width * 0.3, left + width * 1.3, this.width, this.colValues.length);
    const rows = range(top - height * 0.5, top + height * 1.5, this.height, this.rowValues.length);
    this.colHeads.show(cols);
    this.rowHeads.show(rows);
    this.cells.show(rows.flatMap(row => cols.map(col => row * this.colValues.length + col)));
  }

  /** Arrows lead to the nearest tile that way. */
  key(event) {
    const way = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
    if (!way || !event.target.matches(".tile-main, .rest") || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const middle = node => {
      const {left, top, width, height} = node.getBoundingClientRect();
      return [left + width / 2, top + height / 2];
    };
    const [x, y] = middle(event.target);
    let best = null, least = Infinity;
    for (const node of this.body.querySelectorAll(".tile-main, .rest")) {
      const [toX, toY] = middle(node);
      const along = (toX - x) * way[0] + (toY - y) * way[1], across = Math.abs((toX - x) * way[1]) + Math.abs((toY - y) * way[0]);
      if (along > 1 && along + 3 * across < least) [best, least] = [node, along + 3 * across];
    }
    if (!best) return;
    best.focus({preventScroll: true, focusVisible: true});
    best.scrollIntoView({block: "nearest", inline: "nearest"});
  }

  headOf(of, value, side, at, size) {
    const text = lineName(of, value);
    const held = !this.app.switches.can ? [] : this.placed.filter(job => (value === null ? of.of(job) === undefined : of.values[of.of(job)] === value) && this.app.switches.has(job));
    const all = held.length > 0 && held.every(job => job.state === "off");
    const node = h("div", {class: value === null ? "grid-head none" : "grid-head", title: text}, h("span", {}, text),
      held.length > 0 && h("button", {type: "button", class: "switch", "aria-pressed": String(!all), "aria-label": `Submit all of ${text}`, title: all ? "Switch all of it on" : "Switch all of it off",
        onclick: () => this.app.switches.set(held, !all)}, h("span", {"aria-hidden": "true"})));
    node.style[side] = `${at}px`;
    node.style[side === "left" ? "width" : "height"] = `${size}px`;
    return node;
  }

  cell(number) {
    const row = Math.floor(number / this.colValues.length), col = number % this.colValues.length;
    const jobs = this.held.get(number) ?? [];
    const where = [this.rowSide.key && lineName(this.rowSide, this.rowValues[row]), this.colSide.key && lineName(this.colSide, this.colValues[col])].filter(Boolean).join(", ");
    const few = jobs.length > IN_A_CELL ? jobs.slice(0, IN_A_CELL - 1) : jobs;
    const tiles = few.map(job => tile(this.app, job, {caption: false, note: jobs.length > 1 ? this.within(job) : "", label: `${where}: ${describe(job)}`}));
    for (const each of tiles) {
      each.main.tabIndex = 0;
      each.classList.toggle("narrow", this.width / this.across < NARROW);
    }
    const node = h("div", {class: jobs.length ? "grid-cell" : "grid-cell hole"}, tiles,
      jobs.length > few.length && h("button", {type: "button", class: "rest", "aria-label": `+${jobs.length - few.length}, ${where}: show all ${jobs.length}`, onclick: () => this.showAll(row, col)},
        `+${jobs.length - few.length}`));
    node.style.gridTemplateColumns = `repeat(${this.across}, minmax(0, 1fr))`;
    node.style.gridTemplateRows = `repeat(${this.down}, minmax(0, 1fr))`;
    Object.assign(node.style, {left: `${col * this.width}px`, top: `${row * this.height}px`,
      width: `${this.width - CELL_GAP}px`, height: `${this.height - CELL_GAP}px`});
    node.jobs = jobs;
    node.close = () => tiles.forEach(each => each.close());
    return node;
  }

  /** What tells a job from the others of its cell: its values on the other axes. */
  within(job) {
    return this.sides.filter(side => side.key.startsWith("axis ") && side.values.length > 1 && ![this.rowSide, this.colSide].some(used => used === side || used.parts?.includes(side)) && side.of(job) !== undefined)
      .map(side => side.name === "take" ? `take ${side.values[side.of(job)]}` : side.values[side.of(job)]).join(" · ");
  }

  showAll(row, col) {
    for (const [side, value] of [[this.rowSide, this.rowValues[row]], [this.colSide, this.colValues[col]]]) {
      if (!side.key || value === null) continue;
      const job = this.held.get(row * this.colValues.length + col)?.[0];
      for (const each of side.parts ?? [side]) if (job) this.app.filter.sides.set(each.key, each.values[each.of(job)]);
    }
    this.app.show("gallery");
  }

  close() {
    for (const list of [this.cells, this.colHeads, this.rowHeads]) list.clear();
  }
}
