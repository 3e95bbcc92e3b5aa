// The stats: charts, credits by model, failures with the command that does something about them, runs.

class Numbers {
  constructor(app, panel) {
    this.app = app;
    this.panel = panel;
  }

  update(jobs) {
    this.jobs = jobs;
    // Whoever reads or copies something here is not disturbed by what comes in meanwhile.
    if (this.drawn && this.panel.contains(document.activeElement)) return;
    this.layout();
  }

  layout() {
    const room = this.panel.clientWidth;
    if (!room) return;
    const columns = room >= 1240 ? 3 : room >= 780 ? 2 : 1;
    const width = Math.floor((room - 20 * (columns - 1)) / columns) - 42;
    const {head} = this.app.model;
    const finished = state => this.jobs.filter(job => job.state === state && job.finished !== null).map(job => [job.finished, 1]);
    const paid = this.jobs.filter(job => job.charged > 0 && (job.finished ?? job.submitted) !== null).map(job => [job.finished ?? job.submitted, job.charged]);
    const all = h("div", {class: "numbers"},
      card("Jobs over time", risingChart(width, "Jobs over time", "", [{name: "done", steps: finished("done")}, {name: "failed", steps: finished("failed")}])),
      card("Task duration", histogram(width, "Task duration", this.jobs.map(job => job.duration).filter(seconds => seconds !== null))),
      card("Credits over time", risingChart(width, "Credits over time", "credits", [{name: "charged", steps: paid}])),
      card("Credits by model", creditsTable(head), "wide"),
      head.failures.length > 0 && card("Needs attention", head.failures.map(group => failure(this.app, group)), "wide attention"),
      card("Runs", [runFacts(head), runsTable(head)], "wide"));
    all.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
    this.panel.replaceChildren(all);
    this.drawn = true;
  }

  draw() {}
  close() {}
}

const card = (title, content, kind = "") => h("section", {class: `card ${kind}`}, h("h2", {}, title), content);

const plainTable = (heads, rows, foot) => h("div", {class: "table-wrap", tabindex: "0", role: "region", "aria-label": heads[0]}, h("table", {class: "plain"},
  h("thead", {}, h("tr", {}, heads.map((text, i) => h("th", {scope: "col", class: i ? "number" : ""}, text)))),
  h("tbody", {}, rows.map(cells => h("tr", {}, cells.map((text, i) => h(i ? "td" : "th", {scope: i ? undefined : "row", class: i ? "number" : ""}, text))))),
  foot && h("tfoot", {}, h("tr", {}, foot.map((text, i) => h(i ? "td" : "th", {scope: i ? undefined : "row", class: i ? "number" : ""}, text))))));

const creditsTable = head => {
  if (!head.credits.length) return nothing();
  // A column of noughts says nothing, and takes the room of one that does.
  const names = ["payments", "estimated", "reserved", "charged", "released"].filter(name => !["reserved", "released"].includes(name) || head.credits.some(line => line[name]));
  const total = names.map(name => credits(head.credits.reduce((sum, line) => sum + line[name], 0)));
  return plainTable(["Model", ...names.map(name => name[0].toUpperCase() + name.slice(1))],
    head.credits.map(line => [line.model, ...names.map(name => credits(line[name]))]),
    head.credits.length > 1 ? ["All", ...total] : null);
};

const runsTable = head => head.runs.length === 0 ? nothing() : plainTable(
  ["Run", "Duration", "Exit code", "Submitted", "Done", "Failed", "Requests", "429s", "Request rate"],
  [...head.runs].reverse().map(run => [
    when(Date.parse(run.started_at)), run.seconds === null ? (run.ended_at ? "–" : "not ended") : span(run.seconds),
    run.exit_code ?? "–", run.accepted ?? "–", run.done ?? "–", run.failed ?? "–", run.requests ?? "–", run.rejections ?? "–",
    run.rate_per_s ? `${run.rate_per_s.toFixed(1)}/s` : "–",
  ].map(String)));

const ADVICE = {
  policy: "Refused for its content, and likely to be refused again. Edit the prompt.",
  validation: "The request was rejected as invalid. Trying again will not help: edit the job.",
  credits: "The account had too few credits. Top it up first.",
  generation: "The task ran and failed. Trying again costs credits, and may work.",
  unknown_task: "The service has not known this task for a day. The next run asks again, free. Or abandon it, or start it again (costs credits).",
  odd_end: "The task ended in an undocumented way. The next run asks again, free. Or abandon it, or start it again (costs credits).",
  no_result: "The task succeeded but names no result. The next run asks again, free. Or abandon it, or start it again (costs credits).",
  not_fetched: "The next run tries again, free: mend or move away what keeps it, if you can. Or accept what is there, abandon it, or start it again (costs credits).",
  uncertain: "The service may or may not have accepted it. Check the account's history first.",
};

const failure = (app, group) => h("div", {class: `failure ${group.state}`},
  h("h3", {}, stateMark(group.state), `${whole.format(group.count)} ${group.state}: ${group.error_class}`),
  group.message && h("p", {class: "message"}, group.message),
  h("p", {class: "muted"}, ADVICE[group.state === "uncertain" ? "uncertain" : group.error_class] ?? "Trying again costs credits."),
  commandLine(group.command),
  h("button", {type: "button", class: "small", onclick: () => app.showState(`${group.state}: ${group.error_class}`)}, "Show these jobs"));
