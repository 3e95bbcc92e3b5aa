// Jobs that are not sent yet, as frames: what they would cost, and a switch for each. What is switched off is not
// submitted, by a run that goes on neither. Only a page that is served has switches; a report shows how they stand.

const OPEN_STATES = ["planned", "uploading", "off"];

class Switches {
  constructor(app) {
    this.app = app;
    this.onTheWay = new Map();  // row: whether it is off
  }

  get can() {
    return this.app.picks.live && !this.app.model.unserved;
  }

  /** Whether a job can be switched: nothing of it was sent. */
  has(job) {
    return this.can && job.listed && OPEN_STATES.includes(job.state);
  }

  /** New data has come: what was said here and is on its way lies over it. */
  renew() {
    for (const [row, off] of this.onTheWay) this.put(row, off ? "off" : "planned");
  }

  /** Give a job that is not sent yet another state; as another object, so that all that shows it is drawn anew. */
  put(row, state) {
    const {model} = this.app;
    const at = model.byRow.get(row);
    const job = model.jobs[at];
    if (job && OPEN_STATES.includes(job.state) && job.state !== state) model.jobs[at] = {...job, state};
  }

  async set(jobs, off) {
    const {app} = this;
    const moved = jobs.filter(job => this.has(job) && (job.state === "off") !== off);
    if (!moved.length) return;
    const before = moved.map(job => [job.row, job.state, job.id]);
    for (const {row} of moved) {
      this.put(row, off ? "off" : "planned");
      this.onTheWay.set(row, off);
    }
    app.switched();
    say(`${moved.length === 1 ? moved[0].id : plural(moved.length, "job")}: switched ${off ? "off" : "on"}`);
    let why = "", sent = [];
    try {
      const answer = await fetch("switches", {method: "POST", headers: {"content-type": "application/json"}, body: JSON.stringify({rows: moved.map(job => job.row), off})});
      if (answer.ok) ({sent} = await answer.json());
      else why = (await answer.text()).trim();
    } catch {
      why = "this page is no longer served";
    }
    for (const {row} of moved) if (this.onTheWay.get(row) === off) this.onTheWay.delete(row);
    if (!why && !sent.length) return;
    const back = new Set(sent);
    for (const [row, state, id] of before) if (why || back.has(id)) this.put(row, state);
    app.switched();
    say(why ? `Not saved: ${why}` : `Left on: ${plural(sent.length, "job")} that ${sent.length === 1 ? "was" : "were"} sent already`);
  }

  toggle(job) {
    if (this.has(job)) this.set([job], job.state !== "off");
  }
}

/** The switch of a frame, where a result has its star. */
const switchButton = (app, job) => {
  const button = h("button", {type: "button", class: "switch", tabindex: "-1", onclick: event => {
    event.stopPropagation();
    app.switches.toggle(button.job);
  }}, h("span", {"aria-hidden": "true"}));
  button.job = job;
  button.show = () => {
    const on = button.job.state !== "off";
    button.setAttribute("aria-pressed", on);
    button.setAttribute("aria-label", `Submit ${button.job.id}`);
    button.title = on ? "Switch off: do not submit (o)" : "Switch on: submit (o)";
  };
  button.show();
  return button;
};

/** What a job is to cost, or what is reserved for it, as [least, expected, most]; null where nothing is known or it has ended. */
const priceOf = job => ["done", "failed", "abandoned"].includes(job.state) ? null : job.price ?? (job.reserved > 0 ? [job.reserved, job.reserved, job.reserved] : null);

/** `10`, `10 to 12`, `at least 10`, of [least, expected, most]. */
const priceWords = ([low, , high]) => high === null ? `at least ${credits(low)}` : high > low + 0.005 ? `${credits(low)} to ${credits(high)}` : credits(low);

/** What jobs come to that would be submitted: their number, and [least, expected, most]. */
const sumOf = jobs => {
  const priced = jobs.filter(job => job.price && OPEN_STATES.includes(job.state) && job.state !== "off");
  const sum = [0, 0, 0];
  for (const {price: [low, expected, high]} of priced) {
    sum[0] += low;
    sum[1] += expected;
    sum[2] = sum[2] === null || high === null ? null : sum[2] + high;
  }
  return {number: priced.length, sum};
};

/** What to know of a plan before it is run, with the switches as they are. */
const planWarnings = ({head: {plan}, jobs}) => {
  const {number, sum: [, expected]} = sumOf(jobs);
  const {last_day: before, max_credits_per_day: day} = plan;
  return [...plan.warnings,
    ...(number && day !== null && before + expected > day + 0.005
      ? [`With the ${credits(before)} credits of the last 24 hours this is more than max_credits_per_day (${credits(day)}): the run will stop there.`] : [])];
};

/** Facts about a plan: what it comes to now, with the switches as they are. */
const planFacts = model => {
  const {plan} = model.head;
  const {number, sum} = sumOf(model.jobs);
  const off = model.jobs.filter(job => job.state === "off");
  const kept = off.reduce((all, job) => all + (job.price?.[1] ?? 0), 0);
  const left = plan.max_credits === null ? null : plan.max_credits - plan.spent - plan.reserved;
  const over = left !== null && sum[1] > left + 0.005;
  return [
    ["To spend", number ? priceWords(sum) : "0", ["credits", left !== null && `${over ? "more than the" : "of a"} cap of ${credits(plan.max_credits)}`,
      plan.balance !== null && `you have ${credits(plan.balance)}`, plan.spent > 0 && `${credits(plan.spent)} spent before`]],
    ["To submit", plural(number, "job"), [off.length > 0 && `${whole.format(off.length)} switched off`, kept > 0 && `${credits(kept)} credits less`,
      plan.seconds && number > 0 && `roughly ${span(plan.seconds)}`]],
  ];
};
