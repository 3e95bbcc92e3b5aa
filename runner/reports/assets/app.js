// The page: its head, its bar, and which view is shown.

const VIEWS = [["gallery", "Gallery", Gallery], ["grid", "Grid", Grid], ["table", "Table", Table], ["numbers", "Stats", Numbers]];
const THEMES = {auto: ["◐", "system"], light: ["☀", "light"], dark: ["☾", "dark"]};
const MOST_CHOICES = 200;
const MOST_FILTERS = 8;

const KEYS = [
  ["1 2 3 4", "gallery, grid, table, stats"], ["/", "search"], ["← ↑ → ↓", "move between jobs"], ["Enter", "open a job"], ["s", "screening room: takes side by side"], ["c", "in an open job: compare its takes"],
  ["← →", "in an open job: previous, next"], ["Space", "in an open job: play, pause"], ["p", "pick, or not"], ["x", "reject, or not"], ["1 … 9", "in an open job: another of its results"], ["o", "not sent yet: switch off, on"],
  ["u", "undo"], ["v", "picked only"], ["e", "export, print"], [", .", "in an open job: back, forward by a second"], ["t", "theme"], ["Esc", "close; clear the search"], ["?", "this help"],
];

class App {
  constructor() {
    this.model = new Model();
    this.filter = {text: "", state: "", sides: new Map(), mark: "", removed: false};
    this.sort = {key: "order", down: false};
    this.size = memory.get("rivya-batch size") in SIZES ? memory.get("rivya-batch size") : "medium";
    this.shown = [];
    this.view = null;
    this.lightbox = new Lightbox(this);
    this.picks = new Picks(this);
    this.switches = new Switches(this);
    this.room = new Room(this);
    this.address = new Address(this);
  }

  start() {
    this.applyTheme(memory.get("rivya-batch theme") ?? "auto");
    $("theme").onclick = () => this.nextTheme();
    $("help").onclick = () => this.help();
    $("screen").onclick = () => this.room.open();
    $("export").onclick = () => openExport(this);
    $("picked").onclick = () => this.toggleOnlyPicked();
    $("filters-toggle").onclick = () => this.toggleFilters($("filters").hidden);
    $("search").oninput = debounced(120, () => { this.filter.text = $("search").value; this.refresh(); });
    addEventListener("scroll", () => this.soon("draw"), {passive: true});
    addEventListener("resize", () => this.soon("layout"));
    addEventListener("keydown", event => this.key(event));
    // Not by its address: whoever comes back to that would land here again, and not at the clip that was open.
    document.querySelector(".skip").addEventListener("click", event => {
      event.preventDefault();
      $("view").focus();
    });
    new ResizeObserver(() => document.documentElement.style.setProperty("--bar", `${barHeight()}px`)).observe($("bar"));
    this.buildTabs();
    listen(this.model, ({all}) => this.changed(all));
  }

  /** New data has come. */
  changed(all) {
    this.picks.renew();
    this.switches.renew();
    showHead(this);
    // A list that somebody has just opened stays open.
    if (all || !$("filters").contains(document.activeElement)) this.buildFilters();
    if (!this.view) {
      if (innerWidth >= 900 && this.model.jobs.length > 1) this.toggleFilters(true);
      this.address.read();
    } else if (all) this.refresh();
    else this.soon("refresh");
    this.address.openJob();
  }

  /** Do something once in the next frame, however often it is asked for. */
  soon(what) {
    this.asked ??= new Set();
    if (!this.asked.size) {
      requestAnimationFrame(() => {
        const asked = this.asked;
        this.asked = new Set();
        if (asked.has("refresh")) this.refresh();
        else if (asked.has("layout")) this.view?.layout();
        else this.view?.draw();
      });
    }
    this.asked.add(what);
  }

  show(name) {
    const [, , View] = VIEWS.find(each => each[0] === name);
    this.view?.close();
    this.name = name;
    $("panel").setAttribute("aria-labelledby", `tab-${name}`);
    $("panel").className = "panel";
    this.view = new View(this, $("panel"));
    for (const [each] of VIEWS) {
      const tab = $(`tab-${each}`);
      tab.setAttribute("aria-selected", each === name);
      tab.tabIndex = each === name ? 0 : -1;
    }
    this.buildFilters();
    this.refresh();
    const top = $("bar").offsetTop;
    if (scrollY > top) scrollTo({top});
  }

  refresh() {
    this.shown = this.model.select(this.filter, this.sort);
    const all = this.model.jobs.filter(job => job.listed).length;
    const n = this.shown.length;
    const paid = this.shown.reduce((sum, job) => sum + (job.charged ?? 0), 0);
    $("summary").replaceChildren(
      !this.model.jobs.length ? "" : n === all && !this.narrowed() ? plural(n, "job") : `${whole.format(n)} of ${plural(all, "job")}`,
      paid > 0 && this.narrowed() ? `, ${credits(paid)} credits` : "",
      ...(this.narrowed() ? [h("button", {type: "button", class: "link", onclick: () => this.clear()}, "Clear filters")] : []), ...this.switchAll());
    this.view.update(this.shown);
    this.address.write();
    if (this.lightbox.job) this.lightbox.renew();
    const empty = $("nothing");
    empty?.remove();
    if (!n && this.name !== "numbers") $("panel").append(h("div", {class: "empty", id: "nothing"}, this.model.jobs.length
      ? h("p", {}, "No jobs match these filters.")
      : [h("p", {}, "No jobs yet."), h("p", {class: "muted"}, "They appear here once you run:"), commandLine(this.model.head.commands.run ?? "rivya-batch run")]));
    const active = [this.filter.state, ...this.filter.sides.values()].filter(Boolean).length;
    $("filters-toggle").textContent = active ? `Filters (${active})` : "Filters";
    this.showPicked();
  }

  /** Of what is shown: a button that switches all of it that is not sent yet. */
  switchAll() {
    const open = this.shown.filter(job => this.switches.has(job));
    if (!open.length || !(this.narrowed() || open.some(job => job.state === "off"))) return [];
    const on = open.filter(job => job.state !== "off"), off = open.filter(job => job.state === "off");
    const button = (words, jobs, way) => jobs.length > 0 && h("button", {type: "button", class: "link", onclick: () => this.switches.set(jobs, way)}, words);
    return [button(`Switch these ${whole.format(on.length)} off`, this.narrowed() ? on : [], true), button(`Switch ${whole.format(off.length)} on`, off, false)].filter(Boolean);
  }

  narrowed() {
    const {text, state, sides, mark, removed} = this.filter;
    return Boolean(text.trim() || state || sides.size || mark || removed);
  }

  clear() {
    this.filter = {text: "", state: "", sides: new Map(), mark: "", removed: false};
    $("search").value = "";
    this.buildFilters();
    this.refresh();
    $("search").focus();
  }

  /** The commands that do something about what needs attention, in sight. */
  showRemedies() {
    this.show("numbers");
    const card = $("panel").querySelector(".attention");
    if (!card) return;
    card.tabIndex = -1;
    card.focus({preventScroll: true});
    scrollTo({top: card.getBoundingClientRect().top + scrollY - barHeight() - 12});
  }

  showState(state) {
    this.filter.state = state;
    this.filter.sides.clear();
    this.filter.mark = "";
    this.toggleFilters(true);
    this.show(this.name === "numbers" ? "gallery" : this.name);
  }

  sortBy(key, down) {
    this.sort = {key, down};
    this.buildFilters();
    this.refresh();
  }

  open(job, options) {
    this.lightbox.open(job, options);
  }

  /** The lightbox has closed: the focus goes to the job last looked at where it is drawn, else where it came from. */
  lookedAt(job, back) {
    if (this.name === "gallery") {
      const at = this.shown.indexOf(job);
      if (at >= 0) return this.view.focus(at);
    }
    if (back?.isConnected) back.focus({preventScroll: true});
  }

  /** Say what one thinks of jobs, and show it everywhere. */
  judge(jobs, change) {
    const kept = this.picks.set(jobs, change);
    const of = change.results?.length ? `, result ${change.results.join(", ")}` : "";
    const name = jobs.length === 1 ? `${jobs[0].id}${of}` : plural(jobs.length, "job");
    const what = change.verdict === "picked" ? "picked" : change.verdict === "rejected" ? "rejected" : change.verdict === "" ? "no longer marked" : change.rating ? `${change.rating} of 5` : "noted";
    say(kept ? `${name}: ${what}` : "Kept until you close this page: this browser cannot store it");
    this.picksChanged();
  }

  /** Jobs were switched off, or on: all that shows it, at once. */
  switched() {
    const held = document.activeElement?.matches(".switch") ? document.activeElement.getAttribute("aria-label") : null;
    const {counts} = this.model.head;
    const now = this.model.jobs.filter(job => job.listed && OPEN_STATES.includes(job.state));
    for (const state of OPEN_STATES) counts[state] = now.filter(job => job.state === state).length;
    showHead(this);
    this.buildFilters();
    this.refresh();
    if (held !== null) [...document.querySelectorAll(".switch")].find(each => each.getAttribute("aria-label") === held)?.focus({preventScroll: true});
  }

  undo() {
    const job = this.picks.undo();
    say(job ? `Undone: ${job.id}` : "Nothing to undo");
    this.picksChanged();
    return job;
  }

  picksChanged() {
    for (const star of document.querySelectorAll("button.star")) star.show?.();
    this.showPicked();
    if (this.room.isOpen) this.room.tell();
    else if (this.filter.mark && !this.lightbox.job) this.refresh();
  }

  showPicked() {
    const button = $("picked");
    const number = this.model.jobs.filter(job => job.listed && job.pick.verdict === "picked").length;
    button.textContent = `★ ${whole.format(number)}`;
    button.setAttribute("aria-pressed", this.filter.mark === "picked");
    button.setAttribute("aria-label", `Picked only, ${number} picked`);
    button.title = "Picked only (v)";
  }

  toggleOnlyPicked() {
    this.filter.mark = this.filter.mark === "picked" ? "" : "picked";
    this.buildFilters();
    this.refresh();
  }

  toggleFilters(on) {
    $("filters").hidden = !on;
    $("filters-toggle").setAttribute("aria-expanded", on);
    this.soon("layout");
  }

  buildTabs() {
    $("tabs").replaceChildren(...VIEWS.map(([name, title], i) => h("button", {
      type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "panel", title: `${title} (${i + 1})`, onclick: () => this.show(name),
    }, title)));
    $("tabs").onkeydown = event => {
      const way = {ArrowLeft: -1, ArrowRight: 1}[event.key];
      if (!way) return;
      event.preventDefault();
      const at = VIEWS.findIndex(([name]) => name === this.name);
      const [name] = VIEWS[(at + way + VIEWS.length) % VIEWS.length];
      this.show(name);
      $(`tab-${name}`).focus();
    };
  }

  buildFilters() {
    const {model, filter} = this;
    const pick = (name, value, options, act, usual = "") => {
      const select = h("select", {"aria-label": name, class: value !== usual ? "on" : "", onchange: () => act(select.value)},
        options.map(([key, text]) => h("option", {value: key}, text)));
      select.value = value;
      return h("label", {class: "pick"}, h("span", {"aria-hidden": "true"}, name), select);
    };
    const counts = new Map();
    let attention = 0, removed = 0;
    for (const job of model.jobs) {
      if (!job.listed) removed += 1;
      else counts.set(job.state, (counts.get(job.state) ?? 0) + 1);
      if (NEEDS_A_PERSON(job)) attention += 1;
    }
    const classes = new Map();
    for (const job of model.jobs) if (job.listed && job.state === "failed") classes.set(classOf(job), (classes.get(classOf(job)) ?? 0) + 1);
    const states = [["", "any"], ...STATES.filter(state => counts.has(state)).flatMap(state => [[state, `${nameOfState(state)} (${counts.get(state)})`],
      ...(state === "failed" && classes.size > 1 ? [...classes].map(([cls, number]) => [`failed: ${cls}`, `failed: ${cls} (${number})`]) : [])])];
    if (attention) states.push([ATTENTION, `needs attention (${attention})`]);
    if (removed) states.push(["removed", `no longer in the manifest (${removed})`]);
    if (filter.state && !states.some(([key]) => key === filter.state)) states.push([filter.state, `${filter.state} (0)`]);
    const sides = model.filterable(MOST_CHOICES).slice(0, MOST_FILTERS);
    sides.push(...model.sides().filter(side => filter.sides.has(side.key) && !sides.some(({key}) => key === side.key)));
    const focused = document.activeElement?.getAttribute("aria-label");
    $("filters").replaceChildren(
      pick("State", filter.state, states, value => { filter.state = value; this.buildFilters(); this.refresh(); }),
      ...sides.map(side => pick(side.key === "model" ? "Model" : side.name, filter.sides.get(side.key) ?? "", [["", "any"], ...side.values.map(value => [value, value || "(empty)"])], value => {
        if (value) filter.sides.set(side.key, value);
        else filter.sides.delete(side.key);
        this.buildFilters();
        this.refresh();
      })),
      pick("Picks", filter.mark, this.marks(), value => { filter.mark = value; this.buildFilters(); this.refresh(); }),
      pick("Sort", `${this.sort.key}${this.sort.down ? " down" : ""}`, Object.entries(SORTS).flatMap(([key, {name}]) =>
        key === "order" ? [[key, name]] : [[key, `${name} ↑`], [`${key} down`, `${name} ↓`]]), value => {
        const [key, down] = value.split(" ");
        this.sortBy(key, Boolean(down));
      }, "order"),
      pick("Size", this.size, Object.keys(SIZES).map(size => [size, size]), value => {
        this.size = value;
        memory.set("rivya-batch size", value);
        this.buildFilters();
        this.view.layout();
      }, this.size));
    if (focused) [...$("filters").querySelectorAll("select")].find(each => each.getAttribute("aria-label") === focused)?.focus();
  }

  marks() {
    const {jobs} = this.model;
    const of = mark => jobs.filter(job => job.listed && markFits(job, mark)).length;
    return [["", "any"], ...Object.entries(MARKS).map(([mark, words]) => [mark, `${words} (${of(mark)})`]),
      ...[1, 2, 3, 4, 5].map(n => [String(n), n === 5 ? "5 stars" : `${n} stars or more`])];
  }

  applyTheme(theme) {
    this.theme = theme in THEMES ? theme : "auto";
    document.documentElement.dataset.theme = this.theme;
    const [sign, words] = THEMES[this.theme];
    $("theme").textContent = sign;
    $("theme").setAttribute("aria-label", `Theme: ${words}`);
    $("theme").title = `Theme: ${words} (t)`;
  }

  nextTheme() {
    const names = Object.keys(THEMES);
    this.applyTheme(names[(names.indexOf(this.theme) + 1) % names.length]);
    memory.set("rivya-batch theme", this.theme);
  }

  help() {
    const dialog = $("help-dialog");
    dialog.replaceChildren(h("h2", {id: "help-title"}, "Keyboard shortcuts"),
      h("dl", {class: "keys"}, KEYS.map(([keys, words]) => h("div", {}, h("dt", {}, keys.split(" ").map(key => h("kbd", {}, key))), h("dd", {}, words)))),
      h("p", {class: "muted"}, this.picks.live ? "Picks are kept in the database. Everything on this page comes from this machine; it sends nothing anywhere else."
        : "Picks stay in this browser until you save them (e). Everything on this page comes from this file and the results beside it; it sends nothing anywhere."),
      h("div", {class: "sheet-actions"}, h("button", {type: "button", class: "chip strong", onclick: () => dialog.close()}, "Close")));
    dialog.showModal();
  }

  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.defaultPrevented || document.querySelector("dialog[open]")) return;
    if (event.target.matches("input, select, textarea")) {
      if (event.key === "Escape" && event.target === $("search")) {
        if (!$("search").value) return void $("view").focus({preventScroll: true});
        $("search").value = this.filter.text = "";
        this.refresh();
      }
      return;
    }
    const job = (event.target.closest(".tile, tr") ?? document.querySelector(".tile:hover, .jobs tr:hover"))?.job;
    const act = {
      "/": () => { $("search").focus(); $("search").select(); }, "?": () => this.help(), t: () => this.nextTheme(), s: () => this.room.open(), e: () => openExport(this),
      v: () => this.toggleOnlyPicked(), u: () => this.undo(),
      ...judging(this, () => job), o: () => job && this.switches.toggle(job),
      1: () => this.show("gallery"), 2: () => this.show("grid"), 3: () => this.show("table"), 4: () => this.show("numbers"),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }
}

/** What keys say of a job: p and f pick it, x rejects it; each again takes it back. */
const judging = (app, of) => {
  const toggle = verdict => () => {
    const job = of();
    if (job) app.judge([job], {verdict: job.pick.verdict === verdict ? "" : verdict});
  };
  return {p: toggle("picked"), f: toggle("picked"), x: toggle("rejected")};
};

/** A number stays beside the word that it belongs to. */
const together = text => text.replace(" ", "\u00a0");

const factLines = facts => facts.map(([name, value, more]) => h("div", {}, h("dt", {}, name), h("dd", {}, h("b", {}, value),
  h("span", {}, more.filter(Boolean).map(together).join("\u00a0· ")))));

/** How the runs went, for those who ask. */
const runFacts = head => {
  const ran = head.runs.filter(run => run.seconds !== null);
  const sum = of => ran.reduce((all, run) => all + (of(run) ?? 0), 0);
  const seconds = sum(run => run.seconds), rejections = sum(run => run.rejections);
  const speed = seconds > 0 ? sum(run => run.done) / seconds : 0;
  return h("dl", {class: "facts"}, factLines([
    ["Duration", seconds ? span(seconds) : "–", [head.runs.length > 1 ? "all runs" : ""]],
    ["Rate", speed >= 1 ? `${speed.toFixed(1)}/s` : speed > 0 ? `${(speed * 60).toFixed(1)}/min` : "–", ["finished jobs"]],
    ["Requests", whole.format(sum(run => run.requests)), [rejections ? `slowed down ${times(rejections)} (429)` : "never slowed down"]],
  ]));
};

/** The head of the page: what it was, how it went, what needs attention. */
const showHead = app => {
  const {head, jobs} = app.model;
  $("name").textContent = head.manifest;
  document.title = `${head.manifest} · rivya-batch`;
  $("badge").hidden = !head.sandbox;
  $("badge").textContent = "sandbox";
  const total = Object.entries(head.counts).reduce((sum, [state, number]) => sum + (state === "off" ? 0 : number), 0);
  const done = head.counts.done ?? 0;
  const last = head.runs.at(-1);
  const going = last && !last.ended_at && head.now?.phase !== "ended";
  $("subtitle").textContent = !head.runs.length ? `${plural(total + (head.counts.off ?? 0), "job")} · ${head.plan ? "a plan: nothing is sent yet" : "never run"}` : [
    plural(total, "job"),
    going ? `run started ${when(Date.parse(last.started_at))}` : `ended ${when(Date.parse(last.ended_at ?? head.written_at))}`,
    plural(head.runs.length, "run"),
  ].join(" · ");
  const segments = ["done", "failed", "uncertain", "downloading", "waiting", "submitting", "uploading", "planned", "abandoned", "off"]
    .filter(state => head.counts[state]);
  $("progress").replaceChildren(...segments.map(state => {
    const part = h("span", {class: state});
    part.style.flexGrow = head.counts[state];
    return part;
  }));
  $("progress").setAttribute("aria-label", segments.map(state => `${head.counts[state]} ${nameOfState(state)}`).join(", ") || "no jobs");
  $("progress").hidden = !segments.length;
  const released = head.credits.reduce((sum, line) => sum + line.released, 0);
  const estimated = head.credits.reduce((sum, line) => sum + line.estimated, 0);
  const open = total - done - (head.counts.failed ?? 0) - (head.counts.abandoned ?? 0) - (head.counts.uncertain ?? 0);
  const facts = [
    ["Done", total ? `${whole.format(done)}` : "0", [`of ${whole.format(total)}`, ...["failed", "uncertain", "abandoned"].map(state => head.counts[state] > 0 && `${whole.format(head.counts[state])} ${state}`), open > 0 && `${whole.format(open)} left`, head.counts.off > 0 && `${whole.format(head.counts.off)} switched off`, head.orphaned && `${whole.format(head.orphaned)} no longer in the manifest`]],
    ["Credits", credits(head.charged), ["charged", `${credits(estimated)} estimated`, head.reserved > 0 && `${credits(head.reserved)} reserved`, released > 0 && `${credits(released)} released`]],
  ];
  $("facts").replaceChildren(...factLines(head.plan && head.now?.phase === "planned" ? planFacts(app.model) : facts));
  const troubled = jobs.filter(NEEDS_A_PERSON).length;
  const words = head.failures.map(group => `${whole.format(group.count)} ${group.state === "uncertain" ? "uncertain" : `${group.state}: ${group.error_class}`}`);
  const overdue = jobs.filter(job => job.overdue).length;
  if (overdue) words.push(`${whole.format(overdue)} overdue`);
  const notice = h("div", {}, troubled ? h("div", {class: "notice", role: "note"}, stateMark("failed"),
    h("p", {}, h("strong", {}, `${plural(troubled, "job needs", "jobs need")} attention`), h("span", {class: "muted"}, words.join(" · "))),
    h("button", {type: "button", class: "chip", onclick: () => app.showState(ATTENTION)}, "Show them"),
    h("button", {type: "button", class: "chip", onclick: () => app.showRemedies()}, "How to fix")) : null);
  if (notice.textContent !== $("notice").textContent) $("notice").replaceChildren(...notice.childNodes);
  $("foot").textContent = `Written ${when(Date.parse(head.written_at))} by rivya-batch ${head.version ?? ""} from ${head.manifest_file ?? ""}. Press ? for keyboard shortcuts.`;
};

/** What the page shows is in its address: a reload, Back and a link lead to it again. */
class Address {
  constructor(app) {
    this.app = app;
    this.screen = "";     // a job of what the screening room is to show
    this.wanted = "";     // a job that has not come yet
    this.pushed = false;  // the open job has an entry of its own in the history
    this.quiet = true;    // until the address was read once
    addEventListener("popstate", () => this.back());
  }

  text() {
    const {app} = this;
    const {text, state, sides, mark, removed} = app.filter;
    const said = new URLSearchParams();
    const put = (key, value) => value && said.set(key, value);
    put("q", text.trim());
    put("state", state);
    put("picks", mark);
    put("removed", removed ? "1" : "");
    for (const [key, value] of sides) put(`by ${key}`, value);
    put("sort", app.sort.key === "order" ? "" : `${app.sort.key}${app.sort.down ? " down" : ""}`);
    put("screen", app.room.isOpen ? app.room.group()[0]?.id ?? "end" : this.screen);
    put("job", app.lightbox.job?.id ?? this.wanted);
    const more = said.toString();
    return more || app.name !== "gallery" ? `#${app.name}${more && `?${more}`}` : location.pathname + location.search;
  }

  write() {
    if (this.quiet || !this.app.name) return;
    const text = this.text();
    if (text === this.here()) return;
    try { history.replaceState(history.state, "", text); } catch { /* some hosts of a page forbid it */ }
  }

  /** Do what opens something, which Back closes again. */
  push(act) {
    try {
      history.pushState(null, "", location.href);
      this.pushed = true;
    } catch { /* as above */ }
    act();
  }

  /** What was opened has been closed. */
  leave() {
    if (this.pushed && !this.quiet) history.back();
    else this.write();
    this.pushed = false;
  }

  here() {
    return location.hash || location.pathname + location.search;
  }

  /** One has gone back, or on. */
  back() {
    const {app} = this;
    if (app.lightbox.job && !/[?&]job=/.test(location.hash)) {
      this.pushed = false;
      app.lightbox.dialog.close();
    }
    if (app.room.isOpen && !/[?&]screen=/.test(location.hash)) {
      this.pushed = false;
      app.room.dialog.close();
    }
    if (this.text() !== this.here()) this.read();
  }

  /** Show what the address says. */
  read() {
    const {app} = this;
    const [name, more = ""] = location.hash.slice(1).split("?");
    const said = new URLSearchParams(more);
    const [key, down] = (said.get("sort") ?? "order").split(" ");
    this.quiet = true;
    app.filter = {text: said.get("q") ?? "", state: said.get("state") ?? "", mark: said.get("picks") ?? "", removed: said.has("removed"),
      sides: new Map([...said].filter(([each]) => each.startsWith("by ")).map(([each, value]) => [each.slice(3), value]))};
    app.sort = {key: key in SORTS ? key : "order", down: Boolean(down)};
    $("search").value = app.filter.text;
    this.wanted = said.get("job") ?? "";
    this.screen = said.get("screen") ?? "";
    app.show(VIEWS.some(([each]) => each === name) ? name : "gallery");
    this.quiet = false;
    this.openJob();
  }

  /** Open the job that the address names, once it is there. */
  openJob() {
    const {app} = this;
    if (this.screen && !app.room.isOpen && app.shown.some(canBeSeen)) {
      const first = app.shown.find(job => job.id === this.screen && canBeSeen(job)) ?? null;
      this.screen = "";
      return app.room.open(first, {push: false});
    }
    if (!this.wanted || app.lightbox.job?.id === this.wanted) return;
    const found = app.model.jobs.filter(job => job.id === this.wanted);
    const job = found.find(each => each.listed) ?? found[0];
    if (!job) return;
    this.wanted = "";
    if (app.lightbox.job) app.lightbox.show(job);
    else app.open(job, {push: false});
  }
}

/** All that is shown, small, as it is printed: pictures that are known already, and others as they come. */
const sheetOfAll = async app => {
  document.querySelector(".sheet-of-all")?.remove();
  const coming = [];
  // Of a job that made several pictures, each; of one of which some are picked, these.
  const shots = app.shown.flatMap(job => {
    const all = job.files.map((file, at) => ({job, file, at})).filter(({file}) => job.files.length === 1 || kindOf(file) === "image");
    const some = job.pick.results.length ? all.filter(({at}) => isPicked(job, at)) : all;
    return some.length ? some : [{job, file: job.files[0], at: 0}];
  });
  const sheet = h("section", {class: "sheet-of-all", "aria-hidden": "true"}, shots.map(({job, file, at}) => {
    const shot = h("div", {class: "shot"}, file ? "" : nameOfState(job.state));
    if (file && ["image", "video"].includes(kindOf(file))) coming.push(new Promise(done => {
      wantPicture(file, poster => {
        if (poster) shot.replaceChildren(poster.node.isConnected && poster.node.matches("canvas") ? copyOf(poster.node) : poster.node);
        done();
      });
    }));
    return h("figure", {}, shot, h("figcaption", {}, isPicked(job, at) ? "★ " : "", job.id, job.files.length > 1 ? `, ${at + 1}` : "", job.pick.rating ? ` ${"★".repeat(job.pick.rating)}` : "",
      job.pick.word && h("div", {}, job.pick.word)));
  }));
  document.body.append(sheet);
  await Promise.all(coming);
};

const printSheet = async app => {
  say("Getting the pictures ready to print…");
  await sheetOfAll(app);
  sheetOfAll.ready = true;
  print();
};

addEventListener("beforeprint", () => { if (!sheetOfAll.ready) sheetOfAll(app); });
addEventListener("afterprint", () => {
  sheetOfAll.ready = false;
  document.querySelector(".sheet-of-all")?.remove();
});

const app = new App();
app.start();
