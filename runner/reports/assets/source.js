// Where the data comes from: the JSON inside this page, or a stream of events that brings the same.

const embedded = () => JSON.parse($("data").textContent);

const listen = (model, changed) => {
  const data = embedded();
  if (data.live) return follow(data.live, model, changed);  // only a live page has that part
  model.load(data);
  changed({all: true});
};
