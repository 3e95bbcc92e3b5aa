// Charts as inline SVG, drawn for the width at hand. Each says in words what it shows.

const CHART = {height: 190, left: 46, right: 12, top: 12, bottom: 26};

/** About `count` round steps from 0 to at least `most`. */
const niceTicks = (most, count = 4) => {
  if (!(most > 0)) return [0, 1];
  const rough = most / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map(each => each * power).find(each => each >= rough);
  const ticks = [];
  for (let i = 0; i === 0 || ticks.at(-1) < most - step * 1e-9; i++) ticks.push(+(i * step).toPrecision(12));
  return ticks;
};

const compact = new Intl.NumberFormat("en", {notation: "compact", maximumFractionDigits: 1});

const frame = (width, label, ticksY, ticksX, x, y) => svg("svg", {
  class: "chart", role: "img", "aria-label": label, viewBox: `0 0 ${width} ${CHART.height}`, width, height: CHART.height,
},
ticksY.map(tick => [
  svg("line", {class: tick === 0 ? "base" : "rule", x1: CHART.left, x2: width - CHART.right, y1: y(tick), y2: y(tick)}),
  svg("text", {class: "tick", x: CHART.left - 8, y: y(tick) + 4, "text-anchor": "end"}, compact.format(tick)),
]),
ticksX.map(([at, text], i) => svg("text", {class: "tick", x: x(at), y: CHART.height - 8,
  "text-anchor": i === 0 ? "start" : i === ticksX.length - 1 ? "end" : "middle"}, text)));

const scale = (from, to, low, high) => value => low + (to === from ? 0.5 : (value - from) / (to - from)) * (high - low);

const pathOf = points => points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

/** Lines that only rise: `series` are `{name, class, steps: [[ms, amount]…]}` with amounts still to be added up. */
const risingChart = (width, title, unit, series) => {
  const sums = series.map(({steps, ...rest}) => {
    let sum = 0;
    return {...rest, points: [...steps].sort((a, b) => a[0] - b[0]).map(([at, amount]) => [at, sum += amount]), total: sum};
  }).filter(each => each.points.length);
  if (!sums.length) return nothing(width);
  const times = sums.flatMap(each => [each.points[0][0], each.points.at(-1)[0]]);
  const from = Math.min(...times), to = Math.max(...times);
  const ticks = niceTicks(Math.max(...sums.map(each => each.total)));
  const x = scale(from, to, CHART.left, width - CHART.right);
  const y = scale(0, ticks.at(-1), CHART.height - CHART.bottom, CHART.top);
  const form = to - from < 600000 ? clockWithSeconds : to - from < 72000000 ? clock : moment;
  const marks = (width < 320 || form === moment ? [from, to] : [from, (from + to) / 2, to]).map(at => [at, form.format(at)])
    .filter(([, text], i, all) => i === 0 || text !== all[i - 1][1]);
  const label = `${title}: ${sums.map(each => `${hundredths.format(each.total)} ${each.name}`).join(", ")} between ${when(from)} and ${when(to)}`;
  const chart = frame(width, label, ticks, marks, x, y);
  for (const {points, name, total} of sums) {
    const thin = thinned([[from, 0], ...points, [to, total]].map(([at, sum]) => [x(at), y(sum)]));
    chart.append(
      svg("path", {class: `area ${name}`, d: `${pathOf(thin)}L${x(to).toFixed(1)} ${y(0)}L${x(from).toFixed(1)} ${y(0)}Z`}),
      svg("path", {class: `line ${name}`, d: pathOf(thin)}));
  }
  return h("div", {}, chart, h("p", {class: "legend"}, sums.map(each => h("span", {class: each.name}, h("i", {}), `${hundredths.format(each.total)} ${unit || each.name}`))));
};

/** At most about one point for each pixel. */
const thinned = points => points.filter((point, i) =>
  i === 0 || i === points.length - 1 || Math.floor(point[0]) !== Math.floor(points[i + 1][0]));

/** How often values fall where. */
const histogram = (width, title, values) => {
  if (!values.length) return nothing(width);
  const sorted = [...values].sort((a, b) => a - b);
  const at = share => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
  // The longest hundredth would flatten everything else; it is counted in the last bar.
  const most = Math.max(at(0.99) * 1.02, 0.1);
  const [unit, name] = most < 150 ? [1, "s"] : most < 7200 ? [60, "min"] : [3600, "h"];
  const ticksX = niceTicks(most / unit, width < 420 ? 3 : 5).map(tick => tick * unit);
  const end = ticksX.at(-1), count = Math.max(8, Math.min(40, Math.round((width - 60) / 14)));
  const bars = new Array(count).fill(0);
  for (const value of sorted) bars[Math.min(count - 1, Math.floor(value / end * count))] += 1;
  const ticks = niceTicks(Math.max(...bars));
  const x = scale(0, end, CHART.left, width - CHART.right);
  const y = scale(0, ticks.at(-1), CHART.height - CHART.bottom, CHART.top);
  const label = `${title}: median ${span(at(0.5))}, 95 of 100 within ${span(at(0.95))}, longest ${span(sorted.at(-1))}`;
  const chart = frame(width, label, ticks.filter(Number.isInteger), ticksX.map(tick => [tick, `${hundredths.format(tick / unit)} ${name}`]), x, y);
  const wide = (width - CHART.left - CHART.right) / count;
  bars.forEach((number, i) => number && chart.append(svg("rect", {
    class: "column", x: CHART.left + i * wide + 1, width: Math.max(1, wide - 2), y: y(number), height: y(0) - y(number), rx: 1.5})));
  chart.append(svg("line", {class: "median", x1: x(at(0.5)), x2: x(at(0.5)), y1: CHART.top, y2: CHART.height - CHART.bottom}));
  return h("div", {}, chart, h("p", {class: "legend"},
    h("span", {}, h("i", {class: "dash"}), `median ${span(at(0.5))}`), h("span", {}, `95 % within ${span(at(0.95))}`), h("span", {}, `longest ${span(sorted.at(-1))}`)));
};

const nothing = () => h("p", {class: "muted none-yet"}, "Nothing to show yet.");
