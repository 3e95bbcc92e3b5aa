// The screening room: the takes of one combination side by side and in step, judged by keyboard alone.
//
// What has no result is left out. Unless one asks for all, only combinations with something not judged yet come up.

const MOST_UP = 6;
const DRIFT_S = 0.12;
const TICK_MS = 200;
const STRIP = 4;  // combinations before and after the present one

const ROOM_KEYS = [
  ["← →", "another take"], ["p", "pick it, go on"], ["x", "reject it, go on"], ["1 … 5", "rate it, go on"], ["↓ ↑", "next, previous"],
  ["w", "write a word"], ["k", "two at a time"], ["u", "undo"], ["o", "only what is not judged, or all"], ["Space", "play, pause"], [", .", "back, forward"], ["m", "sound"], ["Esc", "close"],
];

/** Jobs in groups: the takes of one combination, at most six at once. */
const takesOf = (app, jobs) => {
  const axes = app.model.axes.map((axis, at) => [axis.name, at]).filter(([name]) => name !== "take").map(([, at]) => at);
  const groups = new Map();
  for (const job of jobs) {
    const values = axes.map(at => job.axes[at] ?? -1);
    const key = values.some(value => value >= 0) ? `${job.model} ${values.join(" ")}` : `${job.model} id ${job.id.replace(/-\d+$/, "")}`;
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(job);
  }
  const found = [];
  for (const group of groups.values()) for (let i = 0; i < group.length; i += MOST_UP) found.push(group.slice(i, i + MOST_UP));
  return found;
};

class Room {
  constructor(app) {
    this.app = app;
    this.dialog = $("room");
    this.dialog.addEventListener("keydown", event => this.key(event), true);
    this.dialog.addEventListener("close", () => this.closed());
    this.rows = [];      // of the jobs of each group; the jobs themselves are made anew as they change
    this.at = -1;
    this.focus = 0;
    this.all = false;
    this.muted = true;
    this.duel = null;    // {left: [row, …], beaten: [row, …], before: […]}
  }

  get isOpen() {
    return this.dialog.open;
  }

  job(row) {
    const {model} = this.app;
    return model.jobs[model.byRow.get(row)];
  }

  group(at = this.at) {
    return (this.rows[at] ?? []).map(row => this.job(row)).filter(Boolean);
  }

  /** What is on the screen now. */
  up() {
    return this.duel ? this.duel.left.slice(0, 2).map(row => this.job(row)) : this.group();
  }

  open(job = null, {push = true} = {}) {
    const seen = this.app.shown.filter(canBeSeen);
    if (!seen.length) return say("There is nothing to look at yet");
    if (job && !seen.includes(job)) seen.push(job);
    preview.stop();
    this.back = document.activeElement;
    this.rows = takesOf(this.app, seen).map(group => group.map(each => each.row));
    this.all = !seen.some(each => !isJudged(each));
    this.duel = null;
    this.build();
    this.at = job ? this.rows.findIndex(rows => rows.includes(job.row)) : this.wanted(0, 1, true);
    this.focus = job ? Math.max(0, this.rows[this.at].indexOf(job.row)) : this.firstOpen();
    this.dialog.showModal();
    document.documentElement.classList.add("held");
    if (push) this.app.address.push(() => this.show());
    else this.show();
    this.timer = setInterval(() => this.keepStep(), TICK_MS);
  }

  build() {
    this.title = h("h2", {id: "room-title", tabindex: "-1"});
    this.count = h("p", {class: "muted position", role: "status"});
    this.stage = h("div", {class: "room-stage"});
    this.time = h("input", {type: "range", min: "0", max: "1000", value: "0", "aria-label": "Position in all of them", oninput: () => this.seek(Number(this.time.value) / 1000)});
    this.film = h("div", {class: "room-strip", role: "group", "aria-label": "Combinations"});
    const button = (label, text, act) => h("button", {type: "button", class: "small", "aria-label": label, title: label, onclick: act}, text);
    this.mode = h("button", {type: "button", class: "small", title: "All, or only what is not judged yet (o)", onclick: () => this.toggleAll()});
    this.pair = button("Two at a time until one is left (k)", "Two at a time", () => this.knockOut());
    this.dialog.replaceChildren(
      h("div", {class: "lightbox-head"}, h("div", {class: "lightbox-title"}, this.title, this.count), this.mode, this.pair,
        button("Previous (↑)", "↑", () => this.go(-1)), button("Next (↓)", "↓", () => this.go(1)), button("Close (Esc)", "✕", () => this.dialog.close())),
      this.stage,
      h("div", {class: "room-foot"}, this.time, this.film,
        h("p", {class: "room-keys muted"}, ROOM_KEYS.map(([keys, words]) => h("span", {}, keys.split(" ").map(key => h("kbd", {}, key)), words)))));
  }

  /** The next group, from one on, that one wants to see; -1 where there is none. */
  wanted(from, way, here = false) {
    for (let at = here ? from : from + way; at >= 0 && at < this.rows.length; at += way) {
      if (this.all || this.group(at).some(job => !isJudged(job))) return at;
    }
    return -1;
  }

  firstOpen() {
    return Math.max(0, this.group().findIndex(job => !isJudged(job)));
  }

  /** Draw what is up; films that stay go on. */
  show() {
    const up = this.up();
    const first = up[0];
    const {axes} = this.app.model;
    this.title.textContent = !first ? "All judged" : axes.map((axis, at) => axis.name !== "take" && axis.values.length > 1 && first.axes[at] !== undefined ? shown(axis.values[first.axes[at]]) : "").filter(Boolean).join(" · ") || first.id;
    this.stage.replaceChildren(...(up.length ? up.map((job, i) => this.clip(job, i)) : [this.end()]));
    this.stage.dataset.up = up.length;
    this.focus = Math.min(this.focus, Math.max(0, up.length - 1));
    this.tell();
    this.showStrip();
    this.app.address.write();
    if (!this.dialog.contains(document.activeElement) || document.activeElement === this.dialog) this.title.focus();
  }

  clip(job, i) {
    const file = job.files[0], kind = kindOf(file);
    const missing = () => h("p", {class: "muted"}, "clip not found: keep this page in its folder");
    const node = kind === "image" ? h("img", {src: file[0], alt: job.prompt ?? job.id})
      : kind === "video" ? h("video", {src: file[0], playsinline: true, loop: true, preload: "auto", "aria-label": `${job.id}, video`})
        : kind === "audio" ? h("audio", {src: file[0], controls: true, "aria-label": `${job.id}, audio`}) : missing();
    node.onerror = () => node.replaceWith(missing());
    if (kind === "video") {
      node.muted = this.muted || i > 0;
      if (!calm.matches) node.play().catch(() => {});
    }
    const {axes} = this.app.model;
    const take = axes.findIndex(axis => axis.name === "take");
    const name = take >= 0 && job.axes[take] !== undefined ? `take ${shown(axes[take].values[job.axes[take]])}` : job.id;
    const button = (label, text, act) => h("button", {type: "button", class: "small", "aria-label": `${label} ${job.id}`, onclick: () => { this.focus = i; act(); }}, text);
    const several = job.files.length > 1 && job.files.every(each => kindOf(each) === "image");
    const frame = several ? h("div", {class: "clip-frame several"}, job.files.map((each, at) => h("button", {type: "button", class: "clip-one", "aria-pressed": isPicked(job, at) && job.pick.results.length > 0,
      "aria-label": `Pick result ${at + 1} of ${job.id}`, title: `Pick result ${at + 1}`, onclick: () => this.pickOne(i, at)}, h("img", {src: each[0], alt: ""}))))
      : h("div", {class: "clip-frame"}, node);
    const figure = h("figure", {class: "clip", onclick: event => {
      if (event.target.closest("button")) return;
      this.focus = i;
      if (this.duel) this.win(i);
      else this.tell();
    }}, frame, h("figcaption", {}, h("span", {class: "id", title: job.id}, name), h("span", {class: "clip-mark"}), h("span", {class: "clip-buttons"},
      this.duel ? button("This one:", "This one", () => this.win(i)) : [button("Pick", "Pick", () => this.judge({verdict: "picked"})), button("Reject", "Reject", () => this.judge({verdict: "rejected"}))])));
    figure.row = job.row;
    return figure;
  }

  end() {
    const {shown: list} = this.app;
    const picked = list.filter(job => job.pick.verdict === "picked").length;
    return h("div", {class: "no-result"}, h("p", {}, `Nothing is left to judge. ${plural(picked, "job")} picked.`),
      commandLine(`${this.app.model.head.commands.pick.replace("rivya-batch pick", "rivya-batch again")} --picked --set resolution=720p`),
      h("p", {class: "muted"}, "o shows all again; Esc goes back to the page."));
  }

  /** Say how things stand: marks, what is left, which clip has the keys. */
  tell() {
    const up = this.up();
    [...this.stage.querySelectorAll(".clip")].forEach((figure, i) => {
      const job = up[i];
      if (!job) return;
      figure.classList.toggle("now", i === this.focus);
      figure.dataset.verdict = job.pick.verdict;
      figure.setAttribute("aria-label", `${job.id}${i === this.focus ? ", has the keys" : ""}`);
      figure.querySelector(".clip-mark").textContent = [job.pick.results.length ? `picked: ${job.pick.results.join(", ")}` : job.pick.verdict, "★".repeat(job.pick.rating), job.pick.word].filter(Boolean).join(" ");
    });
    const seen = this.rows.flatMap((_, at) => this.group(at));
    const left = seen.filter(job => !isJudged(job)).length;
    const of = verdict => seen.filter(job => job.pick.verdict === verdict).length;
    this.count.textContent = `${whole.format(left)} of ${whole.format(seen.length)} left · ${whole.format(of("picked"))} picked · ${whole.format(of("rejected"))} rejected`
      + (this.duel ? ` · ${plural(this.duel.left.length, "take")} in the contest` : "");
    this.mode.textContent = this.all ? "All" : "Not judged yet";
    this.mode.setAttribute("aria-pressed", !this.all);
    this.pair.setAttribute("aria-pressed", Boolean(this.duel));
  }

  showStrip() {
    for (const node of this.film.children) node.shot?.close();
    const from = Math.max(0, this.at - STRIP), to = Math.min(this.rows.length, Math.max(this.at, 0) + STRIP + 1);
    this.film.replaceChildren(...Array.from({length: to - from}, (_, i) => from + i).map(at => {
      const group = this.group(at);
      if (!group.length) return "";
      const shot = picture(this.app, group.find(job => job.pick.verdict === "picked") ?? group[0]);
      const done = group.every(isJudged);
      const node = h("button", {type: "button", class: `strip-shot${done ? " judged" : ""}`, "aria-current": at === this.at ? "true" : undefined,
        "aria-label": `${group[0].id}${done ? ", judged" : ""}`, onclick: () => { this.duel = null; this.at = at; this.focus = this.firstOpen(); this.show(); }}, shot);
      node.shot = shot;
      return node;
    }));
  }

  go(way) {
    this.duel = null;
    const to = this.wanted(this.at, way);
    if (to < 0 && way < 0) return say("This is the first");
    this.at = to < 0 ? (this.wanted(0, 1, true) >= 0 ? this.wanted(0, 1, true) : this.rows.length) : to;
    this.focus = this.firstOpen();
    this.show();
  }

  /** Say something of the clip that has the keys, and go on to what is not judged. */
  judge(change) {
    const job = this.up()[this.focus];
    if (!job) return;
    this.app.judge([job], change);
    const group = this.group();
    const next = [...group.keys()].map(i => (this.focus + 1 + i) % group.length).find(i => !isJudged(group[i]));
    if (next === undefined && !this.duel) return this.go(1);
    this.focus = next ?? this.focus;
    this.tell();
  }

  /** Pick one of several pictures of a job, or take that back; one stays where one is. */
  pickOne(i, at) {
    this.focus = i;
    const job = this.up()[i];
    this.app.judge([job], pickOne(job, at));
    [...this.stage.querySelectorAll(".clip")[i].querySelectorAll(".clip-one")].forEach((each, n) => each.setAttribute("aria-pressed", job.pick.results.includes(n + 1)));
    this.tell();
  }

  undo() {
    if (this.duel?.before.length) {
      const {left, beaten} = this.duel.before.pop();
      this.duel = {...this.duel, left, beaten};
      return this.show();
    }
    this.duel = null;
    const job = this.app.undo();
    const at = job ? this.rows.findIndex(rows => rows.includes(job.row)) : -1;
    if (at < 0) return;
    const other = at !== this.at;
    this.at = at;
    this.focus = this.rows[at].indexOf(job.row);
    if (other) this.show();
    else this.tell();
  }

  /** Two at a time until one is left: it is picked, and the others are rejected. */
  knockOut() {
    const left = this.group().filter(job => job.pick.verdict !== "rejected").map(job => job.row);
    if (this.duel || left.length < 2) {
      if (!this.duel) say("It takes two");
      this.duel = null;
      return this.show();
    }
    this.duel = {left, beaten: [], before: []};
    this.focus = 0;
    this.show();
  }

  win(i) {
    const {left, beaten, before} = this.duel;
    const [a, b, ...others] = left;
    const [winner, loser] = i === 0 ? [a, b] : [b, a];
    before.push({left, beaten});
    // The winner keeps its side, so that the eye need not look for it.
    const rest = i === 0 ? [winner, ...others] : others.length ? [others[0], winner, ...others.slice(1)] : [winner];
    this.duel = {left: rest, beaten: [...beaten, loser], before};
    if (rest.length > 1) return this.show();
    const lost = this.duel.beaten.map(row => this.job(row));
    this.duel = null;
    this.app.judge([this.job(winner)], {verdict: "picked"});
    this.app.judge(lost, {verdict: "rejected"});
    this.app.picks.joinLast(2);
    this.go(1);
  }

  word() {
    const job = this.up()[this.focus];
    if (!job) return;
    const place = this.stage.querySelectorAll(".clip .clip-mark")[this.focus];
    const input = h("input", {type: "text", maxlength: "300", "aria-label": `A word about ${job.id}`, value: job.pick.word});
    const end = keep => {
      input.onblur = null;
      if (keep && input.value.trim() !== job.pick.word) this.app.judge([job], {word: input.value.trim()});
      this.tell();
      this.title.focus();
    };
    input.onkeydown = event => {
      if (event.key !== "Enter" && event.key !== "Escape") return;
      event.preventDefault();
      event.stopPropagation();
      end(event.key === "Enter");
    };
    input.onblur = () => end(true);
    place.replaceChildren(input);
    input.focus();
  }

  toggleAll() {
    this.all = !this.all;
    if (!this.all && this.wanted(this.at, 1, true) !== this.at) return this.go(1);
    if (this.all && this.at >= this.rows.length) this.at = 0;
    this.show();
  }

  players() {
    return [...this.stage.querySelectorAll("video")];
  }

  /** The first film leads; others that have drifted follow. */
  keepStep() {
    const [lead, ...others] = this.players();
    if (!lead || !(lead.duration > 0)) return;
    for (const each of others) {
      if (each.duration > 0 && Math.abs(each.currentTime - lead.currentTime) > DRIFT_S && lead.currentTime <= each.duration) each.currentTime = lead.currentTime;
    }
    if (document.activeElement !== this.time) this.time.value = 1000 * lead.currentTime / lead.duration;
  }

  seek(part) {
    for (const each of this.players()) if (each.duration > 0) each.currentTime = part * each.duration;
  }

  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.key === "Tab") return;
    if (event.target.matches("input")) return;
    const step = by => () => { for (const each of this.players()) each.currentTime = Math.max(0, each.currentTime + by); };
    const aside = by => () => {
      const {length} = this.up();
      if (this.duel) return this.win(by < 0 ? 0 : 1);
      if (length) this.focus = (this.focus + by + length) % length;
      this.tell();
    };
    const act = {
      ArrowLeft: aside(-1), ArrowRight: aside(1), ArrowDown: () => this.go(1), ArrowUp: () => this.go(-1), n: () => this.go(1),
      p: () => this.judge({verdict: "picked"}), f: () => this.judge({verdict: "picked"}), x: () => this.judge({verdict: "rejected"}),
      u: () => this.undo(), k: () => this.knockOut(), o: () => this.toggleAll(), w: () => this.word(), ",": step(-1), ".": step(1),
      m: () => { this.muted = !this.muted; this.players().forEach((each, i) => { each.muted = this.muted || i !== this.focus; }); },
      " ": () => {
        if (event.target.matches("button")) return false;
        const players = this.players();
        const paused = players.some(each => each.paused);
        for (const each of players) paused ? each.play().catch(() => {}) : each.pause();
      },
      ...Object.fromEntries([1, 2, 3, 4, 5].map(rating => [rating, () => this.judge({rating})])),
    }[event.key];
    if (!act || act() === false) return;
    event.preventDefault();
    event.stopPropagation();
  }

  closed() {
    clearInterval(this.timer);
    for (const each of this.players()) {
      each.pause();
      each.removeAttribute("src");
      each.load();
    }
    for (const node of this.film.children) node.shot?.close();
    this.dialog.replaceChildren();
    document.documentElement.classList.remove("held");
    const last = this.group()[this.focus];
    this.at = -1;
    this.app.address.leave();
    this.app.refresh();
    this.app.lookedAt(last, this.back);
  }
}
