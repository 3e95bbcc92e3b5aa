// What one thinks of results: picked, rejected, one to five stars, a word. And what one takes away of it.
//
// A live page hands it to the database at once. A page from the disk keeps it in this browser, under the name of the
// workspace, until it is saved and `rivya-batch pick --from` reads it.

const NO_PICK = {verdict: "", rating: 0, word: "", results: [], at: 0};  // results: which are picked of several; none named: all
const UNDOS = 200;
const MARKS = {picked: "picked", rejected: "rejected", unseen: "not judged yet", rated: "rated"};

class Picks {
  constructor(app) {
    this.app = app;
    this.live = Boolean(embedded().live);
    this.key = "";
    this.own = {};       // `row.round`: [verdict, rating, word, ms]; what only this browser knows
    this.onTheWay = new Map();
    this.undos = [];
  }

  /** New data has come: what was said here and is newer lies over it. */
  renew() {
    const {head, jobs} = this.app.model;
    const key = `rivya-batch picks ${head.workspace} ${head.manifest}`;
    if (!this.live && key !== this.key) {
      this.key = key;
      const known = memory.get(key);
      this.own = known && typeof known === "object" ? known : {};
    }
    for (const job of jobs) this.lay(job);
  }

  lay(job) {
    const over = this.onTheWay.get(job.row) ?? this.kept(job);
    if (over && over.at > job.pick.at) job.pick = over;
  }

  kept(job) {
    const said = this.own[`${job.row}.${job.round}`];
    if (!Array.isArray(said)) return null;
    const [verdict, rating, word, at, results] = said;
    return {verdict: verdict in MARKS ? verdict : "", rating: Number(rating) || 0, word: String(word ?? ""), at: Number(at) || 0, results: Array.isArray(results) ? results : []};
  }

  /** Jobs of which something was said on this page that no database knows. */
  unsaved() {
    return this.live ? [] : this.app.model.jobs.filter(job => `${job.row}.${job.round}` in this.own && job.pick.at === this.kept(job)?.at);
  }

  /** Say something of jobs: `{verdict: "picked"}`. */
  set(jobs, change, {undoable = true} = {}) {
    const at = Date.now();
    const before = jobs.map(job => [job.row, job.pick]);
    const whole = "verdict" in change ? {results: []} : {};
    for (const job of jobs) job.pick = {...job.pick, ...whole, ...change, at};
    if (undoable) this.undos = [...this.undos.slice(1 - UNDOS), before];
    return this.keep(jobs, before);
  }

  /** Take back what was said last; returns the job it was about. */
  undo() {
    const last = this.undos.pop();
    if (!last) return null;
    const {model} = this.app;
    const jobs = [];
    const now = [];
    for (const [row, pick] of last) {
      const job = model.jobs[model.byRow.get(row)];
      if (!job) continue;
      now.push([row, job.pick]);
      job.pick = {...pick, at: Date.now()};
      jobs.push(job);
    }
    this.keep(jobs, now);
    return jobs[0] ?? null;
  }

  /** Make the last things that were said one, to be taken back at once. */
  joinLast(number) {
    const joined = this.undos.splice(-number).flat();
    this.undos.push(joined);
  }

  keep(jobs, before) {
    if (this.live) {
      this.send(jobs, before);
      return true;
    }
    for (const {row, round, pick} of jobs) this.own[`${row}.${round}`] = [pick.verdict, pick.rating, pick.word, pick.at, pick.results];
    return memory.set(this.key, this.own);
  }

  async send(jobs, before) {
    for (const job of jobs) this.onTheWay.set(job.row, job.pick);
    const mine = jobs.map(job => [job.row, job.pick]);
    let why = "";
    try {
      const answer = await fetch("picks", {method: "POST", headers: {"content-type": "application/json"}, body: JSON.stringify({
        picks: jobs.map(({row, round, pick: {verdict, rating, word, results}}) => ({row, round, verdict, rating, word, results}))})});
      if (!answer.ok) why = (await answer.text()).trim();
    } catch {
      why = "this page is no longer served";
    }
    for (const [row, pick] of mine) if (this.onTheWay.get(row) === pick) this.onTheWay.delete(row);
    if (!why) return;
    const {model} = this.app;
    for (const [row, pick] of before) {
      const job = model.jobs[model.byRow.get(row)];
      if (job) job.pick = pick;
    }
    this.app.picksChanged();
    say(`Not saved: ${why}`);
  }
}

/** Whether one of a job's results is picked: by its place among them. */
const isPicked = (job, at) => job.pick.verdict === "picked" && (!job.pick.results.length || job.pick.results.includes(at + 1));

/** What picking one of several results, or taking that back, makes of a job. */
const pickOne = (job, at) => {
  const {verdict, results} = job.pick;
  const before = verdict === "picked" ? results : [];
  const now = isPicked(job, at) && before.length ? before.filter(each => each !== at + 1) : [...new Set([...before, at + 1])].sort((a, b) => a - b);
  return now.length ? {verdict: "picked", results: now} : {verdict: "", results: []};
};

/** Whether anything was decided about a job. */
const isJudged = job => Boolean(job.pick.verdict || job.pick.rating);

/** Whether a job has a result to look at. */
const canBeSeen = job => job.files.length > 0;

const markFits = (job, mark) => {
  switch (mark) {
    case "": return true;
    case "unseen": return canBeSeen(job) && !isJudged(job);
    case "rated": return job.pick.rating > 0;
    default: return /^[1-5]$/.test(mark) ? job.pick.rating >= Number(mark) : job.pick.verdict === mark;
  }
};

const ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"};

/** A YAML text in double quotes: everything that is not plainly printable is escaped. */
const yamlText = text => `"${text.replace(/["\\\p{C}\p{Zl}\p{Zp}]/gu, char => {
  if (ESCAPES[char]) return ESCAPES[char];
  const code = char.codePointAt(0).toString(16);
  return code.length <= 2 ? `\\x${code.padStart(2, "0")}` : code.length <= 4 ? `\\u${code.padStart(4, "0")}` : `\\U${code.padStart(8, "0")}`;
})}"`;

/** A text in which `${` is meant as it stands: of dollars before a brace, a manifest reads every two as one. */
const yamlLiteral = text => yamlText(text.replace(/\$+(?=\{)/g, dollars => dollars + dollars));

const yamlValue = value => {
  if (typeof value === "string") return yamlLiteral(value);
  if (Array.isArray(value)) return `[${value.map(yamlValue).join(", ")}]`;
  if (value !== null && typeof value === "object") {
    return `{${Object.entries(value).map(([key, each]) => `${yamlText(key)}: ${yamlValue(each)}`).join(", ")}}`;
  }
  return JSON.stringify(value);
};

/** `resolution=720p duration=10` as [[key, value], …]; an empty value takes a param out. */
const changesOf = text => text.split(/\s+/).filter(each => each.includes("=")).map(each => {
  const at = each.indexOf("=");
  const value = each.slice(at + 1);
  return [each.slice(0, at).replace(/^params\./, ""), /^-?\d+(\.\d+)?$/.test(value) ? Number(value) : ["true", "false"].includes(value) ? value === "true" : value];
});

/** A manifest of these jobs as a person would write it: what all have in common once, at the top. */
const manifestOf = (head, jobs, {changes = [], takes = 0} = {}) => {
  const name = `${head.manifest.slice(0, 53).replace(/-+$/, "")}-selection`;
  const all = jobs.map(job => {
    const params = {...job.params};
    let {model, prompt} = job;
    for (const [key, value] of changes) {
      if (key === "model") model = String(value);
      else if (key === "prompt") prompt = String(value);
      else if (value === "") delete params[key];
      else params[key] = value;
    }
    return {id: job.id, model, prompt, params, refs: job.refs.map(file => file[5] ?? nameOf(file))};
  });
  const same = of => all.length > 1 && all.every(each => JSON.stringify(of(each)) === JSON.stringify(of(all[0])));
  const shared = Object.keys(all[0]?.params ?? {}).filter(key => all.every(each => JSON.stringify(each.params[key]) === JSON.stringify(all[0].params[key])));
  const oneModel = all.every(each => each.model === all[0].model), onePrompt = same(each => each.prompt) && all[0].prompt !== null, oneRefs = same(each => each.refs) && all[0].refs.length > 0;
  const before = jobs.reduce((sum, job) => sum + (spent(job) || job.estimated || 0) / Math.max(job.round, 1), 0) * Math.max(takes, 1);
  const lines = [
    "# yaml-language-server: $schema=manifest.schema.json",
    `# ${plural(jobs.length, "job")} chosen from the page of ${head.manifest}${takes > 1 ? `, ${takes} takes of each` : ""}.`,
    "# Save it beside that manifest: references are relative to its folder. It has its own name, so each job is paid for again.",
    `#   rivya-batch plan ${name}.yaml    what would run and what it would cost; sends nothing`,
    `#   rivya-batch run ${name}.yaml     for real`,
    "version: 1",
    `name: ${yamlText(name)}`,
    ...(oneModel && all.length ? [`model: ${yamlText(all[0].model)}`] : []),
    ...(onePrompt ? [`prompt: ${yamlLiteral(all[0].prompt)}`] : []),
    ...(oneRefs ? [`references: ${yamlValue(all[0].refs)}`] : []),
    ...(shared.length ? ["params:", ...shared.map(key => `  ${yamlText(key)}: ${yamlValue(all[0].params[key])}`)] : []),
    "budget:",
    `  max_credits: ${Math.max(1, Math.ceil(before))}   # what these jobs cost ${takes > 1 ? "for so many takes, " : ""}as they were; \`plan\` tells what they cost now`,
    "jobs:",
  ];
  for (const job of all) {
    lines.push(`  - id: ${yamlLiteral(job.id)}`);
    if (!oneModel) lines.push(`    model: ${yamlText(job.model)}`);
    if (job.prompt !== null && !onePrompt) lines.push(`    prompt: ${yamlLiteral(job.prompt)}`);
    const own = Object.fromEntries(Object.entries(job.params).filter(([key]) => !shared.includes(key)));
    if (Object.keys(own).length) lines.push(`    params: ${yamlValue(own)}`);
    if (job.refs.length && !oneRefs) lines.push(`    references: ${yamlValue(job.refs)}`);
    if (takes > 0) lines.push(`    repeat: ${takes}`);
  }
  return {name: `${name}.yaml`, text: `${lines.join("\n")}\n`};
};

/** Jobs with one id each: a manifest lists an id once. */
const oneOfEach = jobs => [...new Map([...jobs].sort((a, b) => a.listed - b.listed).map(job => [job.id, job])).values()].sort((a, b) => a.order - b.order);

/** Have the browser save a file; returns its name. */
const download = (name, type, text) => {
  const link = h("a", {href: URL.createObjectURL(new Blob([text], {type})), download: name, class: "offscreen"});
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  return name;
};

/** A file of picks, as `rivya-batch pick --from` reads it. */
const picksFile = (head, jobs) => `${JSON.stringify({
  rivya_batch_picks: 1, manifest: head.manifest, workspace: head.workspace,
  picks: jobs.map(({id, round, pick: {verdict, rating, word, results}}) => ({id, round, verdict, rating, word, ...(results.length ? {results} : {})})),
}, null, 1)}\n`;

const openExport = app => {
  const dialog = $("export-dialog");
  const picked = app.model.jobs.filter(job => job.listed && job.pick.verdict === "picked");
  const unsaved = app.picks.unsaved();
  const {head} = app.model;
  const choices = [["picked", "Picked", oneOfEach(picked)], ["shown", "Jobs shown now", oneOfEach(app.shown)]];
  const first = picked.length ? 0 : 1;
  const chosen = () => choices.find(([key]) => key === dialog.querySelector("input:checked").value)[2];
  const take = act => () => {
    const jobs = chosen();
    if (!jobs.length) return say("No jobs to export");
    const name = act(jobs);
    if (!name) return;
    dialog.close();
    say(`Saved ${name} (${plural(jobs.length, "job")})`);
  };
  dialog.replaceChildren(
    h("h2", {id: "export-title"}, "Export"),
    h("fieldset", {}, h("legend", {class: "offscreen"}, "Which jobs"), choices.map(([key, name, jobs], i) =>
      h("label", {}, h("input", {type: "radio", name: "which", value: key, checked: i === first, disabled: !jobs.length && i !== first}), `${name} (${whole.format(jobs.length)})`))),
    h("fieldset", {class: "sheet-fields"}, h("legend", {class: "offscreen"}, "Of a new manifest"),
      h("label", {}, "Change", h("input", {id: "export-changes", type: "text", placeholder: "resolution=720p duration=10", spellcheck: "false", autocomplete: "off"})),
      h("label", {}, "Takes", h("input", {id: "export-takes", type: "number", min: "1", max: "99"}))),
    h("div", {class: "sheet-actions"},
      unsaved.length > 0 && h("button", {type: "button", id: "export-picks", class: "chip strong", onclick: () => {
        say(`Saved ${download(`${head.manifest}-picks.json`, "application/json", picksFile(head, unsaved))} (${plural(unsaved.length, "job")})`);
        dialog.close();
      }}, "Picks (.json)"),
      h("button", {type: "button", id: "export-ids", class: "chip", onclick: take(jobs => download(`${head.manifest}-ids.txt`, "text/plain", `${jobs.map(job => job.id).join("\n")}\n`))}, "Ids (.txt)"),
      h("button", {type: "button", id: "export-manifest", class: "chip strong", onclick: take(jobs => {
        const early = jobs.find(job => job.refs.some(file => file[5] === ""));
        if (early) return void say(`${early.id} takes a result that is not on this disk yet (${nameOf(early.refs.find(file => file[5] === ""))})`);
        const {name, text} = manifestOf(head, jobs, {changes: changesOf($("export-changes").value), takes: Number($("export-takes").value) || 0});
        return download(name, "application/yaml", text);
      })}, "New manifest (.yaml)"),
      h("button", {type: "button", id: "export-print", class: "chip", onclick: () => { dialog.close(); printSheet(app); }}, "Contact sheet (print)"),
      h("button", {type: "button", class: "chip", onclick: () => dialog.close()}, "Cancel")),
    ...(!unsaved.length ? [] : [h("p", {class: "muted"}, `What you said of ${plural(unsaved.length, "job")} is in this browser only. Save the picks, then hand them over:`),
      commandLine(`${head.commands.pick} --from ${quoted(`${head.manifest}-picks.json`)}`)]),
    h("p", {class: "muted"}, "A new manifest lists these jobs under a name of its own, with the changes above; running it costs credits."));
  dialog.showModal();
};
