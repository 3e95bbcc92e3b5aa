// The gallery: rows of pictures in their own shapes, all as wide as the page.

const GAP = 12;
const CAPTION = 34;
const NARROW = 150;  // a tile that has room for little more than its picture
const SIZES = {small: 130, medium: 210, large: 330};

/** How much larger than usual pictures are in a place of this width. */
const onWalls = width => Math.min(1.8, Math.max(1, width / 1800));

/** Lay items of given shapes into rows of about `target` height: `[{from, to, top, height}]`. */
const rowsOf = (aspects, width, target, caption) => {
  const rows = [];
  let from = 0, sum = 0, top = 0;
  const close = (to, height) => {
    rows.push({from, to, top, height});
    top += height + caption + GAP;
    from = to;
    sum = 0;
  };
  aspects.forEach((aspect, i) => {
    sum += aspect;
    const room = width - GAP * (i - from);
    if (room / sum <= target) close(i + 1, Math.min(room / sum, target * 1.4));
  });
  if (from < aspects.length) close(aspects.length, Math.min(target, (width - GAP * (aspects.length - from - 1)) / sum));
  return rows;
};

class Gallery {
  constructor(app, panel) {
    this.app = app;
    this.place = h("div", {class: "gallery", role: "list", "aria-label": "Jobs", onkeydown: event => this.key(event)});
    this.list = new Visible(this.place, i => this.make(i));
    this.current = 0;
    this.column = null;
    panel.replaceChildren(this.place);
    this.jobs = [];
  }

  update(jobs) {
    const before = this.jobs;
    this.jobs = jobs;
    // What shows the same job at the same place stays: a film that plays goes on when other jobs change.
    const focused = this.list.keep((i, node) => node.job === jobs[i]);
    // The keyboard's attention goes where its job goes.
    const at = focused === null ? -1 : placeOf(jobs, before[focused], focused);
    this.current = at >= 0 ? at : Math.min(this.current, Math.max(jobs.length - 1, 0));
    for (const [i, node] of this.list.nodes) {
      node.setAttribute("aria-setsize", jobs.length);
      this.reach(node, i === this.current);
    }
    this.layout();
    if (focused === null) return;
    if (at < 0) $("view").focus({preventScroll: true});
    else if (at === focused || this.list.nodes.has(at)) this.list.nodes.get(at)?.main.focus({preventScroll: true, focusVisible: true});
    else this.focus(at);
  }

  layout() {
    const width = this.place.clientWidth;
    if (!width) return;
    this.aspects = this.jobs.map(job => aspectOf(job, this.app.model.category(job)));
    const usual = [...this.aspects].sort((a, b) => a - b)[this.aspects.length >> 1] ?? 1;
    // A wall of a screen gets larger pictures, not only more of them; tall ones get about the room that wide ones have.
    const screen = onWalls(width), tall = Math.min(1.5, Math.max(1, Math.sqrt(16 / 9 / usual)));
    const target = Math.min(SIZES[this.app.size] * screen * tall, width * 0.75);
    this.caption = Math.round(CAPTION * enlarged());
    this.rows = rowsOf(this.aspects, width, target, this.caption);
    this.rowOf = [];
    this.rows.forEach((row, r) => { for (let i = row.from; i < row.to; i++) this.rowOf[i] = r; });
    this.lefts = [];
    for (const row of this.rows) {
      let left = 0;
      for (let i = row.from; i < row.to; i++) {
        this.lefts[i] = left;
        left += this.aspects[i] * row.height + GAP;
      }
    }
    const last = this.rows.at(-1);
    this.place.style.height = `${last ? last.top + last.height + this.caption : 0}px`;
    for (const [i, node] of this.list.nodes) this.put(node, i);
    this.draw();
  }

  draw() {
    if (!this.rows) return;
    const {from, to} = visiblePart(this.place);
    const wanted = [];
    for (let r = this.rowAt(from); r < this.rows.length && this.rows[r].top < to; r++) {
      for (let i = this.rows[r].from; i < this.rows[r].to; i++) wanted.push(i);
    }
    this.list.show(wanted);
  }

  rowAt(y) {
    let low = 0, high = this.rows.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.rows[middle].top + this.rows[middle].height + this.caption < y) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  make(i) {
    const node = tile(this.app, this.jobs[i], {shape: this.aspects[i]});
    node.setAttribute("role", "listitem");
    node.setAttribute("aria-posinset", i + 1);
    node.setAttribute("aria-setsize", this.jobs.length);
    node.main.addEventListener("focus", () => this.makeCurrent(i));
    this.reach(node, i === this.current);
    this.put(node, i);
    return node;
  }

  put(node, i) {
    const row = this.rows[this.rowOf[i]];
    const width = this.aspects[i] * row.height;
    node.classList.toggle("narrow", width < NARROW);
    Object.assign(node.style, {left: `${this.lefts[i]}px`, top: `${row.top}px`, width: `${width}px`, height: `${row.height + this.caption}px`});
  }

  reach(node, can) {
    node.main.tabIndex = node.star.tabIndex = can ? 0 : -1;
  }

  makeCurrent(i) {
    if (i === this.current) return;
    const before = this.list.nodes.get(this.current);
    if (before) this.reach(before, false);
    this.current = i;
    this.reach(this.list.nodes.get(i), true);
  }

  focus(i) {
    const row = this.rows[this.rowOf[i]];
    bringIntoView(this.place, row.top, row.height + this.caption);
    this.draw();
    this.list.nodes.get(i)?.main.focus({preventScroll: true, focusVisible: true});
  }

  key(event) {
    if (!event.target.matches(".tile-main") || event.altKey || event.ctrlKey || event.metaKey) return;
    const to = this.neighbour(event.key);
    if (to === null) return;
    event.preventDefault();
    this.focus(to);
  }

  /** Where a key leads from the current job; null when it leads nowhere. */
  neighbour(key) {
    const i = this.current, last = this.jobs.length - 1;
    const beside = {ArrowLeft: i - 1, ArrowRight: i + 1, Home: 0, End: last}[key];
    if (beside !== undefined) {
      this.column = null;
      return Math.min(Math.max(beside, 0), last);
    }
    const way = {ArrowUp: -1, ArrowDown: 1}[key];
    const row = this.rows[this.rowOf[i] + (way ?? 0)];
    if (way === undefined || !row) return null;
    // Down and up again leads back: the way stays on the line on which it began.
    const middle = this.column?.at === i ? this.column.middle : this.lefts[i] + this.aspects[i] * this.rows[this.rowOf[i]].height / 2;
    let best = row.from;
    for (let j = row.from; j < row.to; j++) if (this.lefts[j] <= middle) best = j;
    this.column = {at: best, middle};
    return best;
  }

  close() {
    this.list.clear();
  }
}
