// Thumbnails, few at a time. A video's poster is one frame, painted by one of a few shared players; a player
// of its own exists only while somebody looks at that video.

const LOADS_AT_ONCE = 5;
const POSTERS_KEPT = 120;
const POSTER_WIDTH = 640;
const PATIENCE_MS = 10000;
const REST_MS = 70;  // what only flies past is not loaded

const kindOf = file => file[1].split("/")[0];
const calm = matchMedia("(prefers-reduced-motion: reduce)");

const posters = new Map();  // url → {canvas, seconds}, the latest used last
const queue = [];           // what is wanted and not begun
let loading = 0;

/** Ask for the picture of a file; returns a function that takes the wish back. */
const wantPicture = (file, done) => {
  const known = posters.get(file[0]);
  if (known) {
    posters.delete(file[0]);
    posters.set(file[0], known);
    done(known.node.isConnected ? {...known, node: copyOf(known.node)} : known);
    return () => {};
  }
  const wish = {file, done, stop: null, at: Math.floor(performance.now() / REST_MS)};
  queue.push(wish);
  setTimeout(serve, REST_MS);
  return () => {
    const at = queue.indexOf(wish);
    if (at >= 0) queue.splice(at, 1);
    wish.done = () => {};
    wish.stop?.();
  };
};

/** What is looked at now comes first, and of that what stands first on the page. */
const nextWish = () => {
  const {at} = queue.at(-1);
  return queue.splice(queue.findIndex(wish => wish.at === at), 1)[0];
};

const serve = () => {
  while (loading < LOADS_AT_ONCE && queue.length) {
    const wish = nextWish();
    loading += 1;
    let over = false;
    const finish = result => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      loading -= 1;
      wish.done(result);
      serve();
    };
    const timer = setTimeout(() => wish.stop?.(), PATIENCE_MS);
    (kindOf(wish.file) === "video" ? loadFrame : loadImage)(wish, finish);
  }
};

const loadImage = (wish, finish) => {
  const image = h("img", {alt: "", decoding: "async"});
  wish.stop = () => { image.removeAttribute("src"); finish(null); };
  image.onload = () => finish({node: image, aspect: image.naturalWidth / image.naturalHeight});
  image.onerror = () => finish(null);
  image.src = wish.file[0];
};

const loadFrame = (wish, finish) => {
  const video = h("video", {preload: "auto", playsinline: true});
  video.muted = true;
  const end = result => {
    video.onloadeddata = video.onseeked = video.onerror = null;
    video.removeAttribute("src");
    video.load();
    finish(result);
  };
  wish.stop = () => end(null);
  const paint = () => {
    const {videoWidth: width, videoHeight: height, duration} = video;
    // What broke off on the way has a shape, but no frame to paint.
    if (!width || video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return end(null);
    const canvas = h("canvas", {"aria-hidden": "true"});
    canvas.width = Math.min(width, POSTER_WIDTH);
    canvas.height = Math.round(canvas.width * height / width);
    canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
    const poster = {node: canvas, seconds: duration, aspect: width / height};
    posters.set(wish.file[0], poster);
    if (posters.size > POSTERS_KEPT) posters.delete(posters.keys().next().value);
    end(poster);
  };
  // Films fade in: a moment later there is more to see than in the first frame.
  video.onloadeddata = () => {
    if (!(video.duration > 0) || !isFinite(video.duration)) return paint();
    video.onseeked = paint;
    video.currentTime = Math.min(1, video.duration * 0.2);
  };
  video.onerror = () => end(null);
  video.src = wish.file[0];
};

/** Two jobs may have one file; a node stands in one place only. */
const copyOf = canvas => {
  const copied = h("canvas", {"aria-hidden": "true"});
  [copied.width, copied.height] = [canvas.width, canvas.height];
  copied.getContext("2d").drawImage(canvas, 0, 0);
  return copied;
};

/** The one video that plays because somebody points at it. */
const preview = {
  video: null,
  start(file, place) {
    this.stop();
    if (calm.matches) return;
    const video = h("video", {class: "moving", playsinline: true, loop: true, "aria-hidden": "true", tabindex: "-1"});
    video.muted = true;
    video.onplaying = () => video.classList.add("playing");
    video.src = file[0];
    place.append(video);
    video.play().catch(() => {});
    this.video = video;
  },
  stop() {
    if (!this.video) return;
    this.video.onplaying = null;
    this.video.pause();
    this.video.removeAttribute("src");
    this.video.load();
    this.video.remove();
    this.video = null;
  },
};

const NAMED_SHAPE = /^(square|portrait|landscape)(?:_hd)?(?:_(\d+)_(\d+))?$/;

/** Width by height of what a job makes, as far as its params tell. */
const aspectOf = (job, category) => {
  for (const key of ["aspect_ratio", "aspectRatio", "image_size", "size", "resolution"]) {
    const text = String(job.params[key] ?? "");
    const ratio = /^(\d+(?:\.\d+)?)\s*[:x×*]\s*(\d+(?:\.\d+)?)$/.exec(text);
    if (ratio) return bounded(ratio[1] / ratio[2]);
    const named = NAMED_SHAPE.exec(text);
    if (named) {
      const [long, short] = [Math.max(named[2] ?? 1, named[3] ?? 1), Math.min(named[2] ?? 1, named[3] ?? 1)];
      return bounded(named[1] === "portrait" ? short / long : long / short);
    }
  }
  return category === "image" ? 1 : 16 / 9;
};

const bounded = ratio => Number.isFinite(ratio) && ratio > 0 ? Math.min(2.4, Math.max(0.5, ratio)) : 1;
