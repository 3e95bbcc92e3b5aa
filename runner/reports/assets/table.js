// The table: every job on a line. Columns that do not fit are left out, the least important first, so that the
// page never scrolls sideways; all of it is in the job's own view.

const ROW = 44;  // pixels, where text is of the usual size

const AT_ONCE = 4;  // rows
const END = 10;  // letters of an id that are always shown

const columnsOf = app => {
  const axes = app.model.axes.map((axis, at) => ({axis, at})).filter(({axis}) => axis.values.length > 1).slice(0, 4);
  return [
    {key: "star", name: "", width: 40, rank: 0, cell: job => app.switches.has(job) ? switchButton(app, job) : starButton(app, job)},
    {key: "shot", name: "", width: 84, narrow: 74, rank: 1, cell: job => picture(app, job, 66 / 36)},
    {key: "id", name: "Id", sort: "id", width: 190, narrow: 110, rank: 0, grow: 1.2, cell: job =>
      h("button", {type: "button", class: "link", title: job.id, onclick: () => app.open(job)}, twoEnds(job.id))},
    {key: "state", name: "State", sort: "state", width: 128, narrow: 112, rank: 1, cell: job => [stateMark(job.state), job.overdue ? "overdue" : nameOfState(job.state)]},
    ...axes.map(({axis, at}, i) => ({key: `axis ${axis.name}`, name: axis.name, width: 110, rank: 6 + i, grow: 0.5,
      cell: job => job.axes[at] === undefined ? "" : shown(axis.values[job.axes[at]])})),
    {key: "model", name: "Model", sort: "model", width: 170, rank: app.model.sides().at(-1).values.length > 1 ? 4 : 12, cell: job => job.model},
    {key: "prompt", name: "Prompt", width: 300, rank: 5, grow: 3, cell: job => job.state === "failed" && job.error?.[2] ? job.error[2] : job.prompt ?? ""},
    {key: "credits", name: "Credits", sort: "credits", width: 92, narrow: 76, rank: 2, number: true, cell: job => priceOf(job) ? priceWords(priceOf(job)).replace("at least ", "≥ ") : credits(spent(job))},
    {key: "duration", name: "Duration", sort: "duration", width: 112, rank: 4, number: true, cell: job => span(job.duration)},
    {key: "finished", name: "Finished", sort: "finished", width: 108, rank: 7, number: true, cell: job => job.finished === null ? "–" : clock.format(job.finished), title: job => when(job.finished)},
    {key: "polls", name: "Polls", sort: "polls", width: 76, rank: 10, number: true, cell: job => String(job.polls)},
    {key: "round", name: "Round", sort: "round", width: 82, rank: 11, number: true, cell: job => String(job.round)},
  ];
};

/** An id that is cut in its middle where it has no room: what differs is often its end. */
const twoEnds = id => id.length <= 2 * END ? id : [h("span", {class: "start"}, id.slice(0, -END)), h("span", {class: "end"}, id.slice(-END))];

/** The columns that fit into a width, in their own order. */
const columnsThatFit = (columns, width) => {
  let left = width;
  const taken = new Set();
  const scale = enlarged();
  const sized = columns.map(column => ({...column, width: Math.round(scale * (width < 500 && column.narrow ? column.narrow : column.width))}));
  for (const column of [...sized].sort((a, b) => a.rank - b.rank)) {
    if (column.rank > 0 && column.width > left) break;
    left -= column.width;
    taken.add(column);
  }
  return sized.filter(column => taken.has(column));
};

class Table {
  constructor(app, panel) {
    this.app = app;
    this.head = h("tr", {"aria-rowindex": "1"});
    this.above = h("tr", {class: "spacer", "aria-hidden": "true"}, h("td", {}));
    this.below = h("tr", {class: "spacer", "aria-hidden": "true"}, h("td", {}));
    this.body = h("tbody", {onkeydown: event => this.key(event)}, this.above, this.below);
    this.cols = h("colgroup", {});
    this.table = h("table", {class: "jobs"}, h("caption", {class: "offscreen"}, "Jobs"), this.cols, h("thead", {}, this.head), this.body);
    this.list = new Visible(this.body, i => this.make(i));
    this.list.first = () => this.above.nextSibling;
    panel.replaceChildren(this.table);
    this.jobs = [];
  }

  update(jobs) {
    const before = this.jobs;
    this.jobs = jobs;
    this.table.setAttribute("aria-rowcount", jobs.length + 1);
    const focused = this.list.keep((i, node) => node.job === jobs[i]);
    const at = focused === null ? -1 : placeOf(jobs, before[focused], focused);
    this.layout();
    if (focused === null) return;
    if (at < 0) return $("view").focus({preventScroll: true});
    if (at !== focused && !this.list.nodes.has(at)) {
      bringIntoView(this.body, at * this.row, this.row);
      this.draw();
    }
    this.list.nodes.get(at)?.querySelector(".link")?.focus({preventScroll: true, focusVisible: true});
  }

  layout() {
    if (!this.table.clientWidth) return;
    const width = this.table.parentNode.clientWidth;
    this.columns = columnsThatFit(columnsOf(this.app), width);
    this.row = Math.round(ROW * enlarged());
    this.table.style.setProperty("--row", `${this.row}px`);
    const growing = this.columns.reduce((sum, column) => sum + (column.grow ?? 0), 0) || 1;
    const spare = Math.max(0, width - this.columns.reduce((sum, column) => sum + column.width, 0));
    const form = JSON.stringify([width, this.columns.map(column => column.key), this.app.sort]);
    if (form === this.form) return this.draw();
    this.form = form;
    this.cols.replaceChildren(...this.columns.map(column => {
      const node = h("col", {});
      node.style.width = `${column.width + spare * (column.grow ?? 0) / growing}px`;
      return node;
    }));
    this.head.replaceChildren(...this.columns.map(column => this.headOf(column)));
    this.list.clear();
    this.draw();
  }

  headOf(column) {
    const {sort} = this.app;
    const on = column.sort && sort.key === column.sort;
    const name = {star: "Picked", shot: "Result"}[column.key];
    return h("th", {scope: "col", class: column.number ? "number" : "", "aria-sort": on ? (sort.down ? "descending" : "ascending") : undefined},
      column.sort
        ? h("button", {type: "button", class: "sort", onclick: event => {
          this.app.sortBy(column.sort, on ? !sort.down : false);
          // The heads are made anew; the keyboard stays where it was.
          [...this.head.querySelectorAll("button")].find(each => each.textContent.startsWith(column.name))?.focus({focusVisible: event.detail === 0});
        }}, column.name, on && h("span", {class: "arrow", "aria-hidden": "true"}, sort.down ? "↓" : "↑"))
        : name ? h("span", {class: "offscreen"}, name) : column.name);
  }

  draw() {
    if (!this.columns) return;
    const {from, to} = visiblePart(this.body);
    // Some rows at once: each time some come and go, the whole table is laid out anew.
    const step = AT_ONCE * this.row;
    const first = Math.max(0, Math.floor(from / step) * AT_ONCE), last = Math.min(this.jobs.length, Math.ceil(to / step) * AT_ONCE);
    const wanted = [];
    for (let i = first; i < last; i++) wanted.push(i);
    this.list.show(wanted);
    // A row that has the keyboard's attention stays, wherever it is, and its place counts.
    const held = [...this.list.nodes.keys()];
    const before = held.filter(i => i < first).length, after = held.filter(i => i >= last).length;
    this.above.firstChild.style.height = `${(first - before) * this.row}px`;
    this.below.firstChild.style.height = `${Math.max(0, this.jobs.length - last - after) * this.row}px`;
    this.above.firstChild.colSpan = this.below.firstChild.colSpan = this.columns.length;
  }

  make(i) {
    const job = this.jobs[i];
    const closing = [];
    const node = h("tr", {class: job.state, "aria-rowindex": i + 2, onclick: event => event.target.closest("button") || this.app.open(job)},
      this.columns.map(column => {
        const cell = column.cell(job);
        if (cell.close) closing.push(cell.close);
        if (column.key === "star") cell.tabIndex = 0;
        return h("td", {class: [column.key, column.number && "number"].filter(Boolean).join(" "), title: column.title?.(job)}, cell);
      }));
    node.job = job;
    node.star = node.querySelector("button.star, button.switch");
    node.star.show();
    node.close = () => closing.forEach(close => close());
    return node;
  }

  key(event) {
    const way = {ArrowUp: -1, ArrowDown: 1}[event.key];
    const row = event.target.closest("tr");
    if (!way || !row?.job) return;
    event.preventDefault();
    const to = this.jobs.indexOf(row.job) + way;
    if (to < 0 || to >= this.jobs.length) return;
    bringIntoView(this.body, to * this.row, this.row);
    this.draw();
    const kind = event.target.matches(".star") ? ".star" : ".link";
    this.list.nodes.get(to)?.querySelector(kind)?.focus({preventScroll: true, focusVisible: true});
  }

  close() {
    this.list.clear();
  }
}
