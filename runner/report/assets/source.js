// Where the data comes from: the JSON inside this page, or a stream of events that brings the same.
//
// A stream sends `report` (a whole payload), `jobs` (a payload with some jobs) and `head` (`{"head": …}`); the
// browser connects again by itself and says which event it saw last.

const embedded = () => JSON.parse($("data").textContent);

const listen = (model, changed) => {
  const data = embedded();
  if (!data.live) {
    model.load(data);
    changed({all: true});
    return;
  }
  const stream = new EventSource(data.live);
  stream.addEventListener("report", event => {
    model.load(JSON.parse(event.data));
    changed({all: true});
  });
  for (const kind of ["jobs", "head"]) {
    stream.addEventListener(kind, event => {
      model.merge(JSON.parse(event.data));
      changed({all: false});
    });
  }
};
