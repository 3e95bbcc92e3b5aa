// A page that follows a run: the stream of events it is fed from, and the strip that says what happens now.
//
// A stream sends `report` (a whole payload), `jobs` (a payload with some jobs), `head` (`{"head": …}`) and at last
// `end`; the browser connects again by itself and says which event it saw last.

const follow = (url, model, changed) => {
  const strip = new Strip(model);
  const stream = new EventSource(url);
  const take = (kind, act) => stream.addEventListener(kind, event => {
    act(JSON.parse(event.data));
    strip.reached = true;
    strip.show();
  });
  take("report", data => {
    model.load(data);
    changed({all: true});
  });
  for (const kind of ["jobs", "head"]) {
    take(kind, data => {
      model.merge(data);
      changed({all: false});
    });
  }
  stream.addEventListener("end", () => {
    stream.close();
    strip.over = model.unserved = true;
    strip.show();
  });
  stream.onopen = () => {
    strip.reached = true;
    strip.show();
  };
  stream.onerror = () => {
    strip.reached = false;
    // The browser gives up by itself when it is told no: then there is nobody to come back to.
    if (stream.readyState === EventSource.CLOSED) strip.over = model.unserved = true;
    strip.show();
  };
};

const PHASES = {
  running: "Running", held: "Paused", stopping: "Stopping", ended: "The run has ended", killed: "The run was killed", paused: "Suspended (Ctrl-Z)", none: "Never run", planned: "Nothing is sent yet",
};
const PHASE_WORDS = {
  planned: "Switch off what you do not want; the price follows. Then run it: the frames fill.",
  held: "No new jobs are submitted; those at the service continue.",
  stopping: "Finishing open requests. Jobs keep running at the service.",
  killed: "Run it again to continue; nothing is paid twice.",
  paused: "Type `fg` in its terminal to continue.",
};
const ERRORS_SHOWN = 3;

/** What is happening now, and a hand on it. */
class Strip {
  constructor(model) {
    this.model = model;
    this.reached = false;
    this.over = false;
    this.sign = h("span", {class: "pulse", "aria-hidden": "true"});
    this.phase = h("strong", {role: "status"});
    this.words = h("span", {class: "muted now-words"});
    this.facts = h("dl", {class: "now-facts"});
    this.cap = h("div", {class: "cap", hidden: true}, h("span", {class: "spent"}), h("span", {class: "kept"}));
    const button = (text, title, act) => h("button", {type: "button", class: "chip", title, onclick: act}, text);
    this.hold = button("Pause", "Submit no new jobs; those at the service continue", () => this.order("hold"));
    this.goOn = button("Resume", "Submit jobs again", () => this.order("go on"));
    this.stop = button("Stop…", "Stop this run safely", () => this.ask());
    this.buttons = h("div", {class: "now-buttons", hidden: true}, this.hold, this.goOn, this.stop);
    this.errors = h("ul", {class: "now-errors", "aria-label": "Latest errors"});
    this.warnings = h("ul", {class: "now-errors", "aria-label": "Warnings"});
    this.command = h("div", {class: "now-command"});
    this.dialog = h("dialog", {class: "sheet", "aria-labelledby": "stop-title"});
    this.node = h("section", {class: "now", id: "now", "aria-label": "What is happening now"},
      h("div", {class: "now-line"}, h("p", {class: "now-phase"}, this.sign, this.phase, this.words), this.facts, this.buttons),
      this.cap, this.errors, this.warnings, this.command);
    document.querySelector(".top").before(this.node);
    document.body.append(this.dialog);
    this.show();
  }

  show() {
    const {now, charged = 0, reserved = 0, commands = {}} = this.model.head;
    const lost = !this.reached && !this.over;
    const alive = ["running", "held", "stopping", "paused"].includes(now?.phase);
    const going = alive && !this.over;
    this.node.className = `now ${lost ? "lost" : alive && this.over ? "left" : now?.phase ?? "none"}`;
    this.phase.textContent = lost ? (now ? "Reconnecting…" : "Connecting…") : alive && this.over ? "No longer updated" : PHASES[now?.phase] ?? "";
    this.words.textContent = !now ? "" : lost ? "Numbers are not updated until then." : alive && this.over ? "This page is no longer served." : this.note(now);
    this.showFacts(going ? this.numbers(now, charged, reserved) : []);
    this.showCap(now?.cap, charged, reserved + (now?.phase === "planned" ? sumOf(this.model.jobs).sum[1] : 0));
    this.buttons.hidden = !now?.hand || !going || lost;
    this.offer({hold: now?.phase === "running", goOn: now?.phase === "held", stop: now?.phase !== "stopping"});
    this.showErrors(now?.errors ?? []);
    const warnings = now?.phase === "planned" && this.model.head.plan ? planWarnings(this.model) : [];
    this.warnings.replaceChildren(...warnings.map(words => h("li", {}, words)));
    this.warnings.hidden = !warnings.length;
    const lines = [
      !going && !(alive && this.over) && this.more() && commands.run && [now?.phase === "planned" ? "To run it:" : "To continue:", commands.run],
      !this.over && this.model.head.plan?.trouble && ["The manifest was changed, and has mistakes now:", commands.validate],
      this.over && now?.phase === "ended" && ["The report on disk:", now.report],
      this.over && now && ["To open this page again:", now.serve],
    ].filter(Boolean);
    const key = JSON.stringify(lines);
    if (this.lines !== key) {
      this.lines = key;
      this.command.replaceChildren(...lines.map(([words, line]) => h("div", {}, h("span", {class: "muted"}, words), commandLine(line))));
    }
  }

  /** Whether there is something left that a run would do. */
  more() {
    return Object.entries(this.model.head.counts).some(([state, number]) => number && !["done", "failed", "uncertain", "abandoned", "off"].includes(state));
  }

  /** Show these buttons; one that goes leaves the keyboard's attention to the first that stays. */
  offer(which) {
    const focused = document.activeElement;
    for (const [name, on] of Object.entries(which)) this[name].hidden = !on;
    if (focused?.hidden && this.buttons.contains(focused)) [...this.buttons.children].find(each => !each.hidden)?.focus();
  }

  note(now) {
    if (now.phase === "running") return now.note ? now.note[0].toUpperCase() + now.note.slice(1) : "";
    if (now.phase === "ended") return now.exit_code === null ? "" : now.exit_code === 0 ? "All done." : `Exit code ${now.exit_code}.`;
    return PHASE_WORDS[now.phase] ?? "";
  }

  numbers(now, charged, reserved) {
    const left = now.eta_s;
    return [
      ["Rate", now.rate_per_s ? `${now.rate_per_s.toFixed(1)}/s` : "–", "requests"],
      ["In flight", now.in_flight === null ? "–" : whole.format(now.in_flight), "at the service"],
      ["Time left", left === null || now.phase !== "running" ? "–" : span(left), left === null || now.phase !== "running" ? "" : `done about ${clock.format(Date.now() + left * 1000)}`],
      ["Credits", credits(charged + reserved), now.cap === null ? "no cap" : `of ${credits(now.cap)}`],
    ];
  }

  showFacts(facts) {
    this.facts.replaceChildren(...facts.map(([name, value, more]) => h("div", {}, h("dt", {}, name), h("dd", {}, h("b", {}, value), h("span", {}, more)))));
  }

  showCap(cap, charged, reserved) {
    this.cap.hidden = !cap;
    if (!cap) return;
    const [spent, kept] = this.cap.children;
    spent.style.width = `${Math.min(100, charged / cap * 100)}%`;
    kept.style.width = `${Math.max(0, Math.min(100 - charged / cap * 100, reserved / cap * 100))}%`;
    this.cap.setAttribute("role", "img");
    this.cap.setAttribute("aria-label", `${credits(charged)} credits charged and ${credits(reserved)} reserved or planned of a cap of ${credits(cap)}`);
    this.cap.title = this.cap.getAttribute("aria-label");
  }

  showErrors(errors) {
    const lines = errors.slice(0, ERRORS_SHOWN).map(error => h("li", {}, stateMark(error.state), h("span", {class: "id"}, error.job),
      h("span", {class: "muted"}, [error.class, error.message].filter(Boolean).join(": ")),
      h("time", {class: "muted", datetime: error.at}, clockWithSeconds.format(Date.parse(error.at)))));
    const next = h("ul", {}, lines);
    if (next.innerHTML !== this.errors.innerHTML) this.errors.replaceChildren(...lines);
    this.errors.hidden = !lines.length;
  }

  async order(what) {
    const buttons = [this.hold, this.goOn, this.stop];
    for (const each of buttons) each.setAttribute("aria-disabled", "true");
    try {
      const answer = await fetch("control", {method: "POST", headers: {"content-type": "application/json"}, body: JSON.stringify({do: what})});
      if (!answer.ok) say(`Not done: ${(await answer.text()).trim()}`);
    } catch {
      say("Not done: the run cannot be reached");
    }
    for (const each of buttons) each.removeAttribute("aria-disabled");
  }

  ask() {
    this.dialog.replaceChildren(h("h2", {id: "stop-title"}, "Stop this run?"),
      h("p", {}, "No new jobs are submitted. Those at the service keep running and stay paid; run the same command again to collect them."),
      h("div", {class: "sheet-actions"},
        h("button", {type: "button", class: "chip strong", onclick: () => { this.dialog.close(); this.order("stop"); }}, "Stop"),
        h("button", {type: "button", class: "chip", onclick: () => this.dialog.close()}, "Keep running")));
    this.dialog.showModal();
  }
}
