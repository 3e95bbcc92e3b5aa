// Words, numbers and nodes. Text of others only ever becomes text: nothing here parses HTML.

const $ = id => document.getElementById(id);

/** A node: h("p", {class: "muted", onclick: f}, "text", node). Absent and false children are left out. */
const h = (tag, props, ...children) => fill(document.createElement(tag), props, children);
const svg = (tag, props, ...children) => fill(document.createElementNS("http://www.w3.org/2000/svg", tag), props, children);

const fill = (node, props, children) => {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter(child => child !== undefined && child !== null && child !== false));
  return node;
};

const whole = new Intl.NumberFormat("en", {maximumFractionDigits: 0});
const hundredths = new Intl.NumberFormat("en", {maximumFractionDigits: 2});
const moment = new Intl.DateTimeFormat("en-GB", {day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit"});
const clock = new Intl.DateTimeFormat("en-GB", {hour: "2-digit", minute: "2-digit"});
const momentWithSeconds = new Intl.DateTimeFormat("en-GB", {day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit"});
const clockWithSeconds = new Intl.DateTimeFormat("en-GB", {hour: "2-digit", minute: "2-digit", second: "2-digit"});

const credits = amount => amount === null || amount === undefined ? "–" : hundredths.format(amount);
const plural = (number, one, many = `${one}s`) => `${whole.format(number)} ${number === 1 ? one : many}`;
const times = number => ["never", "once", "twice"][number] ?? `${whole.format(number)} times`;
const when = ms => ms === null || ms === undefined ? "–" : moment.format(ms);
const whenExactly = ms => ms === null || ms === undefined ? "–" : momentWithSeconds.format(ms);

const span = seconds => {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 90) return `${seconds.toFixed(0)} s`;
  if (seconds < 599.5) return `${Math.floor(Math.round(seconds) / 60)} min ${String(Math.round(seconds) % 60).padStart(2, "0")} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
};

const bytes = count => {
  for (const unit of ["B", "kB", "MB"]) {
    if (count < 1000) return `${count.toFixed(0)} ${unit}`;
    count /= 1000;
  }
  return `${count.toFixed(1)} GB`;
};

const playingTime = seconds =>
  `${Math.floor(Math.round(seconds) / 60)}:${String(Math.round(seconds) % 60).padStart(2, "0")}`;

/** A value as people read it: texts as they are, everything else as JSON. */
const shown = value => typeof value === "string" ? value : value === undefined ? "" : JSON.stringify(value);

/** A word for a shell. */
const quoted = text => /^[\w.,:@%+\/-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`;

/** `{job}` of a command, filled in. */
const commandFor = (template, job) => template.split("{job}").join(quoted(job.id));

const searchable = text => text.normalize("NFC").toLowerCase();

const debounced = (wait, act) => {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => act(...given), wait);
  };
};

/** How much larger than usual text is here: on a wall of a screen, or by the reader's own wish. */
const enlarged = () => parseFloat(getComputedStyle(document.documentElement).fontSize) / 15;

/** Says something to people who look and to those who listen. */
const say = text => {
  const said = $("said");
  if (said.showPopover) {  // above an open dialog; what is shown last lies on top
    said.popover = "manual";
    said.hidePopover();
    said.showPopover();
  }
  said.textContent = text;
  said.classList.add("shown");
  clearTimeout(say.timer);
  say.timer = setTimeout(() => {
    said.classList.remove("shown");
    say.timer = setTimeout(() => said.hidePopover?.(), 300);
  }, 2200);
};

const copy = async text => {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = h("textarea", {class: "offscreen", "aria-hidden": "true"});
    area.value = text;
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    const focused = document.activeElement;
    area.select();
    document.execCommand("copy");
    area.remove();
    focused?.focus();
  }
  say("Copied");
};

/** A line to type, with a button that copies it. */
const commandLine = text => h("div", {class: "command"},
  h("code", {}, text),
  h("button", {type: "button", class: "small", "aria-label": `Copy: ${text}`, onclick: () => copy(text)}, "Copy"));

/** What this browser remembers of this page; pages from the disk may be denied it. */
const memory = {
  get(key) {
    try { return JSON.parse(localStorage.getItem(key)); } catch { return null; }
  },
  set(key, value) {
    try { localStorage.setItem(key, JSON.stringify(value)); return true; } catch { return false; }
  },
};
