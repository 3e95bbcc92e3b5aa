// The page for a client: clips, a star, a word; and a file with the answer. It knows no money, no command and no key.

const data = JSON.parse($("data").textContent);
const key = `rivya-batch answer ${data.workspace} ${data.manifest}`;
const known = memory.get(key);
const answer = known && typeof known === "object" ? known : {};

const of = item => answer[item.id] ?? {starred: false, word: ""};

const keep = (item, change) => {
  answer[item.id] = {...of(item), ...change};
  if (!memory.set(key, answer)) say("Kept until you close this page");
  count();
};

const count = () => {
  const starred = data.items.filter(item => of(item).starred).length;
  $("count").textContent = `${plural(data.items.length, "clip")}, ${whole.format(starred)} starred`;
};

/** A frame of a film, for paper: a player prints as nothing. */
const still = video => {
  const canvas = h("canvas", {class: "still", "aria-hidden": "true"});
  video.addEventListener("loadeddata", () => {
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    canvas.getContext("2d").drawImage(video, 0, 0);
  }, {once: true});
  return canvas;
};

const shot = (item, [url, mime]) => {
  const kind = mime.split("/")[0];
  if (kind === "image") return h("img", {src: url, alt: item.title, loading: "lazy"});
  if (kind === "audio") return h("audio", {src: url, controls: true, preload: "metadata", "aria-label": item.title});
  const video = h("video", {src: url, controls: true, playsinline: true, loop: true, preload: "auto", "aria-label": item.title});
  return [video, still(video)];
};

const figure = (item, at) => {
  const star = h("button", {type: "button", class: "client-star", onclick: () => { keep(item, {starred: !of(item).starred}); show(); }}, "★");
  const show = () => {
    star.setAttribute("aria-pressed", of(item).starred);
    star.setAttribute("aria-label", `★ ${item.title}`);
  };
  show();
  const word = h("textarea", {rows: "2", maxlength: "2000", placeholder: "A word about it", "aria-label": `A word about ${item.title}`, oninput: debounced(300, () => keep(item, {word: word.value}))});
  word.value = of(item).word;
  return h("figure", {}, h("div", {class: "client-shot"}, item.files.map(file => shot(item, file))),
    h("figcaption", {}, h("span", {class: "client-name"}, `${at + 1}. ${item.title}`), star),
    item.prompt && h("p", {class: "client-prompt muted"}, item.prompt), word);
};

$("list").append(...data.items.map(figure));
$("print").onclick = () => print();
$("save").onclick = () => {
  for (const [i, word] of [...document.querySelectorAll("textarea")].entries()) keep(data.items[i], {word: word.value});
  const said = data.items.map(item => [item, of(item)]).filter(([, {starred, word}]) => starred || word.trim());
  if (!said.length) return say("Star a clip, or write a word first");
  const text = JSON.stringify({rivya_batch_picks: 1, manifest: data.manifest, workspace: data.workspace,
    picks: said.map(([{id, round}, {starred, word}]) => ({id, round, ...(starred ? {verdict: "picked"} : {}), ...(word.trim() ? {word: word.trim()} : {})}))}, null, 1);
  const name = `${data.manifest}-answer.json`;
  const link = h("a", {href: URL.createObjectURL(new Blob([`${text}\n`], {type: "application/json"})), download: name, class: "offscreen"});
  document.body.append(link);
  link.click();
  link.remove();
  say(`Saved ${name}: send it back`);
};
count();
