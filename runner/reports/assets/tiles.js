// One job to look at: its picture, or what there is to say instead; and lists that draw only what is visible.

const GLYPHS = {
  done: "M3.5 8.5l3 3 6-7", failed: "M4.5 4.5l7 7m0-7l-7 7", uncertain: "M6 6a2 2 0 1 1 2.6 1.9c-.4.2-.6.5-.6 1v.6M8 12v.1",
  waiting: "M8 4.5V8l2.5 1.5", downloading: "M8 3.5v6m-2.5-2.5L8 9.5 10.5 7M4.5 12.5h7",
};

/** The sign of a state: never colour alone. */
const stateMark = state => svg("svg", {class: `mark ${state}`, viewBox: "0 0 16 16", "aria-hidden": "true"},
  svg("circle", {cx: 8, cy: 8, r: 7}),
  GLYPHS[state] ? svg("path", {d: GLYPHS[state]}) : null);

const starButton = (app, job) => {
  const button = h("button", {type: "button", class: "star", tabindex: "-1", onclick: event => {
    event.stopPropagation();
    app.judge([job], {verdict: job.pick.verdict === "picked" ? "" : "picked"});
  }}, svg("svg", {viewBox: "0 0 16 16", "aria-hidden": "true"},
    svg("path", {d: "M8 1.8l1.9 3.9 4.3.6-3.1 3 .7 4.3L8 11.6l-3.8 2 .7-4.3-3.1-3 4.3-.6z"})));
  button.job = job;
  button.show = () => {
    button.setAttribute("aria-pressed", button.job.pick.verdict === "picked");
    button.setAttribute("aria-label", `Pick ${button.job.id}`);
    const place = button.closest(".tile, tr");
    place?.classList.toggle("rejected", button.job.pick.verdict === "rejected");
    place?.querySelectorAll(".several .cell").forEach((cell, i) => cell.classList.toggle("is-picked", button.job.pick.results.includes(i + 1)));
    const stars = place?.querySelector(".stars");
    if (stars) stars.textContent = button.job.pick.rating ? "★".repeat(button.job.pick.rating) : "";
  };
  button.show();
  return button;
};

const MOST_OF_ONE = 4;  // pictures of one job that are shown on its tile

/** What a job made, as a small picture. `close()` must be called when it leaves the page. */
const picture = (app, job, shape = null) => {
  const file = job.files[0];
  const kind = file ? kindOf(file) : "";
  const place = h("div", {class: `picture ${kind || "none"}`, "aria-hidden": "true"});
  place.close = () => {};
  const several = job.files.length > 1 && job.files.every(each => kindOf(each) === "image");
  if (several) {
    // All that was paid for is shown: four at most, and how many more there are.
    const shots = job.files.slice(0, MOST_OF_ONE).map((each, i) => ({each, cell: h("span", {class: job.pick.results.includes(i + 1) ? "cell is-picked" : "cell"})}));
    place.classList.add("several");
    place.append(...shots.map(({cell}) => cell));
    const closing = shots.map(({each, cell}) => wantPicture(each, poster => cell.replaceChildren(poster ? poster.node : "–")));
    place.close = () => closing.forEach(close => close());
  } else if (kind === "image" || kind === "video") {
    place.close = wantPicture(file, poster => {
      if (!poster) {
        place.append(h("span", {class: "nothing"}, kind === "video" ? "▶" : "", h("small", {}, app.model.unserved ? "no longer served" : app.model.head.now ? "cannot be opened" : "cannot be opened: keep this page in its folder")));
        return;
      }
      place.prepend(poster.node);
      // A little is cropped where the place has about this shape; else it is shown whole, also while it plays.
      place.classList.toggle("whole", shape === null || Math.abs(Math.log(poster.aspect / shape)) > 0.25);
      if (poster.seconds) place.append(h("span", {class: "length"}, playingTime(poster.seconds)));
    });
  } else if (kind === "audio") {
    place.append(h("span", {class: "words"}, job.prompt ?? ""), waveform(job.id), h("span", {class: "length"}, "audio"));
  } else {
    place.append(h("span", {class: "words"}, file ? nameOf(file) : job.error?.[2] ?? job.prompt ?? ""),
      h("span", {class: "state-word"}, stateMark(job.state), job.overdue ? "overdue" : nameOfState(job.state)));
    if (OPEN_STATES.includes(job.state)) {
      place.classList.add("frame-only");
      const reference = job.refs.find(each => each[0] && kindOf(each) === "image");
      if (reference) {
        const thumb = h("img", {class: "ref", src: reference[0], alt: "", loading: "lazy", decoding: "async"});
        thumb.onerror = () => thumb.remove();
        place.prepend(thumb);
      }
    }
    const price = priceOf(job);
    if (price) {
      if (job.state === "planned") place.lastChild.remove();  // its price says as much
      place.append(h("span", {class: "price"}, priceWords(price).replace("at least ", "≥ "), h("span", {class: "unit"}, price[0] === 1 && price[1] === 1 ? " credit" : " credits")));
    } else if (job.state === "planned" && app.model.head.now?.phase === "planned") {
      place.lastChild.lastChild.textContent = "not in this run";  // it waits for other jobs, or was not asked for
    }
  }
  const hidden = job.files.length - (several ? MOST_OF_ONE : 1);
  if (hidden > 0) place.append(h("span", {class: "more"}, `+${hidden}`));
  return place;
};

/** Bars that look like sound and are the same each time; they show nothing but that this is audio. */
const waveform = text => {
  let seed = 7;
  for (const char of text) seed = (seed * 31 + char.codePointAt(0)) % 65521;
  const bars = Array.from({length: 36}, (_, i) => {
    seed = (seed * 75 + 74) % 65537;
    const high = 3 + (seed / 65537) * 17 * Math.sin(Math.PI * (i + 1) / 37);
    return svg("rect", {x: i * 4, y: 12 - high / 2, width: 2, height: high, rx: 1});
  });
  return svg("svg", {class: "wave", viewBox: "0 0 142 24", "aria-hidden": "true"}, bars);
};

const describe = job => [job.id, job.overdue ? "overdue" : nameOfState(job.state),
  job.files[0] ? kindOf(job.files[0]) : priceOf(job) ? `${priceWords(priceOf(job))} credits` : "no result"].join(", ");

/** A job as its picture under a button that opens it. */
const tile = (app, job, {caption = true, label = describe(job), shape = null, note = ""} = {}) => {
  const shot = picture(app, job, shape);
  if (note) shot.append(h("span", {class: "note"}, note));
  // The button lies over the picture, not around it: its name says it all, and what is written on the picture is not part of it.
  const main = h("button", {type: "button", class: "tile-main", tabindex: "-1", "aria-label": label, onclick: () => app.open(job)});
  const star = app.switches.has(job) ? switchButton(app, job) : starButton(app, job);
  const node = h("div", {class: `tile ${job.state}`}, h("div", {class: "frame"}, shot, main), star,
    caption && h("p", {class: "caption", "aria-hidden": "true"}, stateMark(job.state), h("span", {class: "id"}, job.id), h("span", {class: "stars"}),
      h("span", {class: "muted"}, job.duration === null ? "" : span(job.duration))));
  const file = job.files[0];
  if (file && kindOf(file) === "video") {
    let timer = 0;
    const play = () => {
      clearTimeout(timer);
      timer = setTimeout(() => node.isConnected && preview.start(file, shot), 90);
    };
    const rest = () => {
      clearTimeout(timer);
      if (preview.video && shot.contains(preview.video)) preview.stop();
    };
    node.addEventListener("pointerenter", event => event.pointerType === "mouse" && play());
    node.addEventListener("pointerleave", rest);
    main.addEventListener("focus", () => main.matches(":focus-visible") && play());
    main.addEventListener("blur", rest);
  }
  node.job = job;
  node.main = main;
  node.star = star;
  star.show();
  node.close = () => {
    shot.close();
    if (preview.video && shot.contains(preview.video)) preview.stop();
  };
  return node;
};

/** Keeps exactly the wanted nodes in a place, in order: `wanted` are numbers, `make(n)` gives their nodes. */
class Visible {
  constructor(place, make) {
    this.place = place;
    this.make = make;
    this.nodes = new Map();
  }

  show(wanted) {
    const keep = new Set(wanted);
    for (const [number, node] of this.nodes) {
      if (keep.has(number)) continue;
      // Whoever has the keyboard's attention does not vanish under it.
      if (node.contains(document.activeElement)) {
        wanted = [...wanted, number].sort((a, b) => a - b);
        continue;
      }
      this.drop(number, node);
    }
    let before = null;
    for (const number of wanted) {
      let node = this.nodes.get(number);
      if (!node) {
        node = this.make(number);
        this.nodes.set(number, node);
      }
      const after = before ? before.nextSibling : this.first();
      if (node !== after) this.place.insertBefore(node, after);
      before = node;
    }
  }

  /** Where the nodes begin; a table keeps a spacer before them. */
  first() {
    return this.place.firstChild;
  }

  drop(number, node) {
    this.nodes.delete(number);
    node.close?.();
    node.remove();
  }

  clear() {
    for (const [number, node] of this.nodes) this.drop(number, node);
  }

  /** Drop the nodes for which `still(number, node)` is false; returns the number that had the keyboard's attention. */
  keep(still) {
    let focused = null;
    for (const [number, node] of this.nodes) {
      if (still(number, node)) continue;
      if (node.contains(document.activeElement)) focused = number;
      this.drop(number, node);
    }
    return focused;
  }
}

/** Where a job stands in a list now; where it is gone, what stands in its place. -1: the list is empty. */
const placeOf = (jobs, job, before) => {
  const at = jobs.findIndex(each => each.row === job.row);
  return at >= 0 ? at : Math.min(before, jobs.length - 1);
};

const AROUND = 0.4;  // screens above and below that are drawn too

/** The part of a place that can be seen, and a little around it, in the place's own pixels. */
const visiblePart = place => {
  const top = place.getBoundingClientRect().top;
  const high = innerHeight;
  return {from: -top - high * AROUND, to: -top + high * (1 + AROUND)};
};

/** How much of the window's top the bar covers; on a phone it scrolls away. */
const barHeight = () => getComputedStyle($("bar")).position === "sticky" ? $("bar").offsetHeight : 0;

/** Scroll so that a stretch of a place can be seen below the bar. */
const bringIntoView = (place, top, height) => {
  const offset = place.getBoundingClientRect().top + scrollY;
  const bar = barHeight() + 12;
  const above = offset + top - bar, below = offset + top + height + 12 - innerHeight;
  if (scrollY > above) scrollTo({top: above});
  else if (scrollY < below) scrollTo({top: below});
};
