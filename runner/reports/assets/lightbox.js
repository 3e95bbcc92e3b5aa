// One job, large: what it made and everything that is known of it. A <dialog> keeps the focus inside and gives it
// back; arrow keys go on to the neighbours in the list one came from.

class Lightbox {
  constructor(app) {
    this.app = app;
    this.dialog = $("lightbox");
    // A player that has the focus would take the arrows for itself.
    this.dialog.addEventListener("keydown", event => this.key(event), true);
    this.dialog.addEventListener("close", () => this.closed());
    this.dialog.addEventListener("click", event => event.target === this.dialog && this.dialog.close());
    this.job = null;
    this.file = 0;
  }

  open(job, {push = true} = {}) {
    preview.stop();
    this.back = document.activeElement;
    this.build();
    if (push) this.app.address.push(() => this.show(job));
    else this.show(job);
    this.dialog.showModal();
    this.title.focus();
    document.documentElement.classList.add("held");
  }

  build() {
    const button = (label, text, act) => h("button", {type: "button", class: "round", "aria-label": label, title: label, onclick: act}, text);
    this.stage = h("div", {class: "stage"});
    this.strip = h("div", {class: "strip"});
    this.info = h("div", {class: "info", tabindex: "0", role: "region", "aria-label": "About this job"});
    this.title = h("h2", {id: "lightbox-title", tabindex: "-1"});
    this.position = h("p", {class: "muted position", role: "status"});
    this.starPlace = h("span", {class: "star-place"});
    this.dialog.replaceChildren(
      h("div", {class: "lightbox-head"}, h("div", {class: "lightbox-title"}, this.title, this.position), this.starPlace,
        button("Previous (←)", "←", () => this.step(-1)), button("Next (→)", "→", () => this.step(1)),
        button("Close (Esc)", "✕", () => this.dialog.close())),
      h("div", {class: "lightbox-body"}, h("div", {class: "stage-side"}, this.stage, this.strip), this.info));
  }

  show(job, file = 0) {
    this.job = job;
    this.file = file;
    this.title.textContent = job.id;
    this.showPosition();
    this.showStar();
    this.showFile();
    this.tell();
    this.info.scrollTop = 0;
    // A film that had the focus has gone, and with it the keys.
    if (this.dialog.open && !this.dialog.contains(document.activeElement)) this.title.focus();
    this.app.address.write();
  }

  /** A star for a result, a switch for what is not sent yet. */
  showStar() {
    const {app, job} = this;
    const focused = this.star && this.star === document.activeElement;
    this.star = app.switches.has(job) ? switchButton(app, job) : starButton(app, job);
    this.star.tabIndex = 0;
    this.starPlace.replaceChildren(this.star);
    if (focused) this.star.focus({preventScroll: true});
  }

  /** The job has gone on while it is looked at; what it shows is disturbed only when that is another thing now. */
  renew() {
    const {app, job: before} = this;
    const job = app.model.jobs[app.model.byRow.get(before.row)];
    if (!job) return;
    this.job = job;
    this.showPosition();
    if (job === before) return;
    this.showStar();
    const showed = before.files[this.file]?.[0], shows = job.files[this.file]?.[0];
    if (showed !== shows || !shows) this.showFile();
    const {scrollTop} = this.info;
    const held = this.info !== document.activeElement && this.info.contains(document.activeElement);
    this.tell();
    this.info.scrollTop = scrollTop;
    if (held) this.info.focus({preventScroll: true});
  }

  /** Say what is known of the job; what was unfolded stays so. */
  tell() {
    const unfolded = this.info.querySelector("details")?.open ?? false;
    this.info.replaceChildren(...about(this.app, this.job, unfolded));
  }

  showPosition() {
    const list = this.app.shown;
    const at = list.indexOf(this.job);
    this.position.textContent = at < 0 ? "" : `${whole.format(at + 1)} of ${whole.format(list.length)}`;
  }

  showFile() {
    const {job} = this;
    this.rest();
    const file = job.files[this.file];
    this.stage.className = `stage ${file ? kindOf(file) : "none"}`;
    this.stage.replaceChildren(file ? large(file, job) : h("div", {class: "no-result"}, stateMark(job.state),
      h("p", {}, job.overdue ? "overdue" : nameOfState(job.state)), job.error?.[2] && h("p", {class: "muted"}, job.error[2]),
      OPEN_STATES.includes(job.state) && job.prompt && h("p", {class: "frame-prompt"}, job.prompt),
      priceOf(job) && h("p", {}, `${priceWords(priceOf(job))} credits`)));
    this.showStrip();
  }

  /** The results of a job that made several, small, each with its number. */
  showStrip() {
    const {job} = this;
    this.strip.replaceChildren(...(job.files.length < 2 ? [] : job.files.map((each, i) => h("button", {
      type: "button", class: `strip-file${isPicked(job, i) ? " is-picked" : ""}`, "aria-pressed": String(i === this.file), "aria-label": `Result ${i + 1}${isPicked(job, i) ? ", picked" : ""}`,
      title: `Result ${i + 1} (${i + 1})`, onclick: () => this.showNumber(i)}, kindOf(each) === "image" ? h("img", {src: each[0], alt: ""}) : "", h("span", {}, `${isPicked(job, i) ? "★ " : ""}${i + 1}`)))));
    if (job.files.length > 1) this.strip.append(h("span", {class: "muted"}, "p picks the one shown"));
  }

  /** Show another of several results. */
  showNumber(i) {
    if (!this.job.files[i] || this.job.files.length < 2) return;
    const held = this.strip.contains(document.activeElement);
    this.file = i;
    this.showFile();
    if (held) this.strip.children[i].focus();
  }

  /** Pick, or take it back: of several results the one that is shown. */
  pick() {
    const {job, app} = this;
    if (job.files.length < 2) return judging(app, () => job).p();
    app.judge([job], pickOne(job, this.file));
    this.showStrip();
  }

  /** All takes of this combination, side by side. */
  compare() {
    const {job} = this;
    if (!canBeSeen(job)) return say("It has no result to compare");
    this.dialog.addEventListener("close", () => setTimeout(() => this.app.room.open(job), 60), {once: true});
    this.dialog.close();
  }

  step(way) {
    const list = this.app.shown;
    const at = list.indexOf(this.job) + way;
    if (at >= 0 && at < list.length) this.show(list[at]);
  }

  key(event) {
    if (event.key === "Tab") return this.hold(event);
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.matches("input, textarea")) return;
    const seek = by => () => {
      const player = this.stage.querySelector("video, audio");
      if (player) player.currentTime = Math.max(0, player.currentTime + by);
    };
    const act = {
      ArrowLeft: () => this.step(-1), ArrowRight: () => this.step(1),
      Home: () => this.show(this.app.shown[0] ?? this.job), End: () => this.show(this.app.shown.at(-1) ?? this.job),
      ...judging(this.app, () => this.job), p: () => this.pick(), f: () => this.pick(),
      ...Object.fromEntries([1, 2, 3, 4, 5, 6, 7, 8, 9].map(n => [n, () => this.showNumber(n - 1)])), o: () => this.app.switches.toggle(this.job), u: () => this.app.undo(), c: () => this.compare(), ",": seek(-1), ".": seek(1),
      " ": () => {
        const player = this.stage.querySelector("video, audio");
        if (!player || event.target.matches("button, a, summary, video, audio")) return false;
        if (player.paused) player.play().catch(() => {});
        else player.pause();
      },
    }[event.key];
    if (!act || act() === false) return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** Tab goes round inside. */
  hold(event) {
    const stops = [...this.dialog.querySelectorAll("button, summary, a[href], video[controls], audio[controls], [tabindex='0']")].filter(each => each.offsetParent !== null);
    const [first, last] = [stops[0], stops.at(-1)];
    const at = document.activeElement;
    if (event.shiftKey ? at === first || at === this.title : at === last) {
      event.preventDefault();
      (event.shiftKey ? last : first).focus();
    }
  }

  rest() {
    const player = this.stage.querySelector("video, audio");
    if (!player) return;
    player.pause();
    player.removeAttribute("src");
    player.load();
  }

  closed() {
    this.rest();
    document.documentElement.classList.remove("held");
    const last = this.job;
    this.job = null;
    this.dialog.replaceChildren();
    this.app.address.leave();
    this.app.lookedAt(last, this.back);
  }
}

/** A result at its full size, with its controls. */
const large = (file, job) => {
  const missing = () => h("div", {class: "no-result"}, h("p", {}, "This file cannot be shown here."), h("p", {class: "muted"}, nameOf(file)));
  const kind = kindOf(file);
  if (kind === "image") {
    const image = h("img", {src: file[0], alt: job.prompt ?? job.id});
    image.onerror = () => image.replaceWith(missing());
    return image;
  }
  if (kind === "video" || kind === "audio") {
    const player = h(kind, {src: file[0], controls: true, playsinline: true, loop: kind === "video", "aria-label": `${job.id}, ${kind}`});
    player.onerror = () => player.replaceWith(missing());
    // Where sound is not allowed without a click, it plays in silence.
    if (!calm.matches) player.play().catch(() => { player.muted = true; player.play().catch(() => {}); });
    return kind === "video" ? player : h("div", {class: "audio-stage"}, waveform(job.id), player);
  }
  return missing();
};

const about = (app, job, unfolded) => {
  const {commands} = app.model.head;
  const axes = app.model.axes.map((axis, at) => [axis.name, job.axes[at] === undefined ? null : shown(axis.values[job.axes[at]])]).filter(([, value]) => value !== null);
  const rest = Object.entries(job.params);
  const lines = rows => h("dl", {class: "lines"}, rows.filter(([, value]) => value !== null && value !== undefined && value !== false)
    .map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
  const part = (title, ...content) => h("section", {}, h("h3", {}, title), content);
  return [
    h("p", {class: `state-line ${job.state}`}, stateMark(job.state), h("strong", {}, job.overdue ? "overdue" : nameOfState(job.state)),
      !job.listed && " · no longer in the manifest", job.round > 1 && ` · round ${job.round}`),
    (job.error?.[0] || job.error?.[2]) && part("Error", h("div", {class: `trouble ${job.state}`},
      h("p", {}, h("strong", {}, job.error[0] ?? "other"), job.error[1] && job.error[1] !== job.error[0] ? ` (${job.error[1]})` : ""),
      job.error[2] && h("p", {class: "message"}, job.error[2]),
      ADVICE[job.error[0]] && job.state === "failed" && h("p", {class: "muted"}, ADVICE[job.error[0]]))),
    job.state === "failed" && job.listed && part("Try again (costs credits)", commandLine(commandFor(commands.retry, job))),
    job.state === "uncertain" && part("How to fix: one of these", h("p", {class: "muted"}, ADVICE.uncertain),
      ["--attach TASK_ID", "--resend", "--abandon"].map(flag => commandLine(`${commandFor(commands.resolve, job)} ${flag}`))),
    job.state === "off" && part("Switched off", h("p", {class: "muted"}, "It is not submitted until it is switched on again (o)."),
      !app.switches.can && commandLine(`${commands.switch} ${quoted(job.id)} --on`)),
    !["done", "failed", "uncertain", "abandoned", "off"].includes(job.state) && part(job.price ? "To run it" : "To continue", commandLine(commands.run)),
    job.prompt !== null && part("Prompt", h("p", {class: "prompt"}, job.prompt),
      h("button", {type: "button", class: "small", onclick: () => copy(job.prompt)}, "Copy prompt")),
    part("Job", lines([["model", job.model], ...axes])),
    rest.length > 0 && part("Params", lines(rest.map(([name, value]) => [name, shown(value)]))),
    job.refs.length > 0 && part("References", h("ul", {class: "refs"}, job.refs.map(reference))),
    part("Credits", lines([["price", job.price ? priceWords(job.price) : null], ["estimated", job.estimated === null ? null : credits(job.estimated)],
      ["reserved", job.reserved ? credits(job.reserved) : null],
      ["charged", job.charged === null ? (job.price ? null : "nothing yet") : credits(job.charged)]])),
    job.submitted !== null && part("Times", lines([["submitted", whenExactly(job.submitted)], ["finished", whenExactly(job.finished)]])),
    job.submitted !== null && h("details", {open: unfolded}, h("summary", {}, "Details"), lines([["duration", span(job.duration)],
      ["polls", String(job.polls)], ["attempts", String(job.attempts)], ["round", String(job.round)]])),
    job.task && part("Task", commandLine(job.task)),
    job.files.length > 0 && part("Files", h("ul", {class: "files"}, job.files.map(file =>
      h("li", {}, h("a", {href: file[0], target: "_blank", rel: "noopener noreferrer"}, nameOf(file)), h("span", {class: "muted"}, `${file[1]}, ${bytes(file[2])}`),
        file[4] && h("p", {class: "warning"}, file[4]))))),
  ].filter(Boolean);
};

const reference = file => {
  if (!file[0] && !file[2]) return h("li", {}, nameOf(file), h("span", {class: "muted"}, "not there yet"));
  // Nothing leads from a page in a bucket to a file on somebody's disk.
  const thumb = file[0] && kindOf(file) === "image" ? h("img", {src: file[0], alt: "", loading: "lazy"}) : null;
  if (thumb) thumb.onerror = () => thumb.remove();
  return h("li", {}, thumb, file[0] ? h("a", {href: file[0], target: "_blank", rel: "noopener noreferrer"}, nameOf(file)) : nameOf(file), h("span", {class: "muted"}, `${file[1]}, ${bytes(file[2])}`));
};
