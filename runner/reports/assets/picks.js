// Favourites, and what one takes away: ids, or a manifest of its own.

class Favourites {
  constructor(key) {
    this.key = key;
    const known = memory.get(key);
    this.ids = new Set(Array.isArray(known) ? known.filter(id => typeof id === "string") : []);
  }

  has(id) {
    return this.ids.has(id);
  }

  toggle(id) {
    if (!this.ids.delete(id)) this.ids.add(id);
    return memory.set(this.key, [...this.ids]);
  }
}

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

/** A manifest of these jobs, each written out. */
const manifestOf = (head, jobs) => {
  const name = `${head.manifest.slice(0, 53).replace(/-+$/, "")}-selection`;
  const lines = [
    `# ${plural(jobs.length, "job")} chosen from the report of ${head.manifest}.`,
    "# Save it beside that manifest: references are relative to its folder.",
    "# It has its own name, so running it pays for each of these jobs again. Add a cap under `budget:` first.",
    "version: 1",
    `name: ${yamlText(name)}`,
    "jobs:",
  ];
  for (const job of jobs) {
    lines.push(`  - id: ${yamlLiteral(job.id)}`, `    model: ${yamlText(job.model)}`);
    if (job.prompt !== null) lines.push(`    prompt: ${yamlLiteral(job.prompt)}`);
    if (Object.keys(job.params).length) lines.push(`    params: ${yamlValue(job.params)}`);
    if (job.refs.length) lines.push(`    references: ${yamlValue(job.refs.map(nameOf))}`);
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

const openExport = app => {
  const dialog = $("export-dialog");
  const favourites = app.model.jobs.filter(job => app.favourites.has(job.id));
  const {head} = app.model;
  const choices = [["favourites", "Favourites", oneOfEach(favourites)], ["shown", "Jobs shown now", oneOfEach(app.shown)]];
  const first = favourites.length ? 0 : 1;
  const chosen = () => choices.find(([key]) => key === dialog.querySelector("input:checked").value)[2];
  const take = act => () => {
    const jobs = chosen();
    if (!jobs.length) return say("No jobs to export");
    const name = act(jobs);
    dialog.close();
    say(`Saved ${name} (${plural(jobs.length, "job")})`);
  };
  dialog.replaceChildren(
    h("h2", {id: "export-title"}, "Export"),
    h("fieldset", {}, h("legend", {class: "offscreen"}, "Which jobs"), choices.map(([key, name, jobs], i) =>
      h("label", {}, h("input", {type: "radio", name: "which", value: key, checked: i === first, disabled: !jobs.length && i !== first}), `${name} (${whole.format(jobs.length)})`))),
    h("div", {class: "sheet-actions"},
      h("button", {type: "button", id: "export-ids", class: "chip", onclick: take(jobs => download(`${head.manifest}-ids.txt`, "text/plain", `${jobs.map(job => job.id).join("\n")}\n`))}, "Ids (.txt)"),
      h("button", {type: "button", id: "export-manifest", class: "chip strong", onclick: take(jobs => {
        const {name, text} = manifestOf(head, jobs);
        return download(name, "application/yaml", text);
      })}, "New manifest (.yaml)"),
      h("button", {type: "button", class: "chip", onclick: () => dialog.close()}, "Cancel")),
    h("p", {class: "muted"}, "A new manifest lists these jobs under a name of its own, to change them or to run them again (costs credits)."));
  dialog.showModal();
};
