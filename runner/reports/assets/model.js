// The jobs as objects, and what is asked of them: filter, sort, group.

const STATES = ["planned", "uploading", "submitting", "uncertain", "waiting", "downloading", "done", "failed", "abandoned", "off"];
const STATE_NAMES = {off: "switched off"};  // of what is called otherwise in the database
const nameOfState = state => STATE_NAMES[state] ?? state;
const ATTENTION = "attention";
const STUCK = job => (job.state === "waiting" || job.state === "downloading") && Boolean(job.error?.[1]);
const NEEDS_A_PERSON = job => job.state === "failed" || job.state === "uncertain" || job.overdue || STUCK(job);

class Model {
  constructor() {
    this.head = {counts: {}, credits: [], runs: [], failures: [], categories: {}, commands: {}};
    this.jobs = [];
    this.axes = [];
    this.byRow = new Map();
    this.unserved = false;  // a live page whose server has gone
  }

  /** Take a whole report. */
  load(payload) {
    this.head = payload.head;
    this.jobs = [];
    this.axes = [];
    this.byRow = new Map();
    this.merge(payload);
  }

  /** Take jobs as columns: new ones are added, known ones replaced. */
  merge(payload) {
    if (payload.head) this.head = payload.head;
    if (!payload.jobs) return;
    const {jobs: column, tables, start} = payload;
    const axes = payload.axes.map(each => ({jobs: each.jobs, numbers: this.numbersOf(each), at: this.axisNamed(each.name)}));
    const time = since => since === null ? null : (start + since) * 1000;
    column.row.forEach((row, i) => {
      const job = {
        row,
        id: column.id[i],
        listed: column.listed[i] === 1,
        state: tables.state[column.state[i]],
        model: tables.model[column.model[i]],
        prompt: tables.prompt[column.prompt[i]],
        params: tables.params[column.params[i]],
        refs: tables.refs[column.refs[i]],
        axes: [],
        round: column.round[i],
        task: column.task[i],
        estimated: column.estimated[i],
        reserved: column.reserved[i],
        charged: column.charged[i],
        submitted: time(column.submitted[i]),
        finished: time(column.finished[i]),
        duration: column.duration[i],
        attempts: column.attempts[i],
        polls: column.polls[i],
        overdue: column.overdue[i] === 1,
        error: tables.error[column.error[i]],
        files: column.files[i],
        pick: NO_PICK,
        price: null,
      };
      for (const axis of axes) job.axes[axis.at] = axis.jobs[i] < 0 ? undefined : axis.numbers[axis.jobs[i]];
      const known = this.byRow.get(row);
      job.order = known === undefined ? this.jobs.length : known;
      this.byRow.set(row, job.order);
      this.jobs[job.order] = job;
    });
    for (const i of payload.off ?? []) this.jobs[this.byRow.get(column.row[i])].state = "off";
    for (const [i, price] of payload.prices ?? []) this.jobs[this.byRow.get(column.row[i])].price = tables.price[price];
    for (const [i, verdict, rating, word, at, results = []] of payload.picks ?? []) this.jobs[this.byRow.get(column.row[i])].pick = {verdict, rating, word, results, at: at * 1000};
  }

  axisNamed(name) {
    const at = this.axes.findIndex(axis => axis.name === name);
    if (at >= 0) return at;
    this.axes.push({name, values: [], known: new Map()});
    return this.axes.length - 1;
  }

  /** The number each value of a payload's axis has here. */
  numbersOf(each) {
    const axis = this.axes[this.axisNamed(each.name)];
    return each.values.map(value => {
      const key = JSON.stringify(value);
      if (!axis.known.has(key)) {
        axis.known.set(key, axis.values.length);
        axis.values.push(value);
      }
      return axis.known.get(key);
    });
  }

  category(job) {
    return this.head.categories[job.model] ?? "";
  }

  /** What can be a side of the grid or a filter: `{key, name, values, of(job) → number of a value}`. */
  sides() {
    const models = [...new Set(this.jobs.map(job => job.model))];
    const numbers = new Map(models.map((name, number) => [name, number]));
    const sides = this.axes.map((axis, at) => ({
      key: `axis ${axis.name}`, name: axis.name, values: axis.values.map(value => value === null ? "(empty)" : shown(value)), of: job => job.axes[at],
    }));
    sides.push({key: "model", name: "model", values: models, of: job => numbers.get(job.model)});
    return sides;
  }

  /** The sides that are worth a filter: some of their values are shared by jobs; what differs for each is searched for. */
  filterable(most) {
    return this.sides().filter(side => {
      const {length} = side.values;
      if (length < 2 || length > most) return false;
      const seen = new Set();
      for (const job of this.jobs) {
        const value = side.of(job);
        if (value === undefined) continue;
        if (seen.has(value)) return true;
        seen.add(value);
      }
      return false;
    });
  }

  /** Jobs that pass a filter, sorted. */
  select(filter, sort) {
    const words = searchable(filter.text).split(/\s+/).filter(Boolean);
    const sides = this.sides().filter(side => filter.sides.has(side.key)).map(side => [side, filter.sides.get(side.key)]);
    const found = this.jobs.filter(job =>
      (filter.removed || job.listed || filter.state === "removed")
      && stateFits(job, filter.state)
      && markFits(job, filter.mark)
      && sides.every(([side, value]) => side.values[side.of(job)] === value)
      && words.every(word => haystack(job).includes(word)));
    const by = SORTS[sort.key] ?? SORTS.order;
    const way = sort.down ? -1 : 1;
    return found.sort((a, b) => {
      const x = by.of(a), y = by.of(b);
      // What has no value comes last, whichever way.
      if (x === null || y === null) return (x === null) - (y === null) || a.order - b.order;
      return (x < y ? -way : x > y ? way : 0) || a.order - b.order;
    });
  }
}

const stateFits = (job, state) => {
  if (!state) return true;
  if (state === ATTENTION) return NEEDS_A_PERSON(job);
  if (state === "removed") return !job.listed;
  const [name, cls] = state.split(": ");
  return job.state === name && (cls === undefined || classOf(job) === cls);
};

/** What kind of trouble a job ended in, or is in. */
const classOf = job => (job.state === "waiting" || job.state === "downloading" ? job.error?.[1] : job.error?.[0]) ?? "other";

const haystack = job => job.haystack ??= searchable([
  job.id, job.prompt, job.model, job.state, job.task, ...(job.error ?? []), ...job.files.map(nameOf), ...job.files.map(file => file[4] ?? ""), ...job.refs.map(nameOf),
].filter(Boolean).join("\n"));

const nameOf = file => file[3] ?? file[0];

const spent = job => job.charged || job.reserved || (job.estimated === null ? null : 0);

const SORTS = {
  order: {name: "Manifest order", of: job => job.order},
  finished: {name: "Finished", of: job => job.finished},
  submitted: {name: "Submitted", of: job => job.submitted},
  duration: {name: "Duration", of: job => job.duration},
  credits: {name: "Credits", of: spent},
  id: {name: "Id", of: job => job.id},
  state: {name: "State", of: job => STATES.indexOf(job.state)},
  model: {name: "Model", of: job => job.model},
  polls: {name: "Polls", of: job => job.polls},
  round: {name: "Round", of: job => job.round},
};
