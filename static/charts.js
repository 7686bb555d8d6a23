// Charts over time: the server's SVG is drawn anew by uPlot, and follows every ten seconds. So does the table, where it is open.
(() => {
  const EVERY = 10_000; // ms between two looks
  const box = document.querySelector("[data-charts]");
  if (!box || typeof uPlot === "undefined") return;
  const LOOKS = { good: "--good-bar", bad: "--bad-bar", wait: "--wait", run: "--saffron", edge: "--soft" };
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  const colour = (name, share = 100) => {
    // A token may be light-dark(…), which a canvas does not know: the browser works it out.
    probe.style.setProperty("color", `color-mix(in srgb, var(${name}) ${share}%, transparent)`);
    return getComputedStyle(probe).color;
  };
  const plots = new Map();
  const HOUR = { hour: "2-digit", minute: "2-digit" };
  const clocks = { local: new Intl.DateTimeFormat(undefined, HOUR), utc: new Intl.DateTimeFormat(undefined, { ...HOUR, timeZone: "UTC", hourCycle: "h23" }) };
  const clock = (at) => (choices.get("times") === "utc" ? clocks.utc : clocks.local).format(at * 1000);

  function shown(unit, value) {
    if (value === null || value === undefined) return "-";
    if (unit !== "seconds") return `${+value.toFixed(2)}${unit === "per_second" ? "/s" : ""}`;
    if (value < 1) return `${Math.round(value * 1000)} ms`;
    return value < 90 ? `${+value.toFixed(1)} s` : `${Math.round(value / 60)} min`;
  }

  function options(chart, width) {
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    return {
      width, height: 150, legend: { show: false }, cursor: { y: false, drag: { x: false, y: false } }, padding: [8, 22, 0, 0],
      scales: { y: { range: (_, __, top) => [0, top > 0 ? top * 1.08 : 1] } },
      axes: [{ ...axis, space: 70, size: 26, values: (_, ticks) => ticks.map(clock) }, { ...axis, size: 58, values: (_, ticks) => ticks.map((tick) => shown(chart.unit, tick)) }],
      series: [{}, ...chart.series.map((one, index) => ({
        label: one.name, stroke: colour(LOOKS[one.look]), width: 2, points: { show: false }, spanGaps: true,
        ...(index ? { dash: [6, 4] } : { fill: colour(LOOKS[one.look], 13) }),
      }))],
      hooks: { setCursor: [(plot) => legend(chart.name, plot)] },
    };
  }

  // What stands beside the names: the newest values, or those under the pointer.
  function legend(name, plot) {
    const held = plots.get(name);
    if (!held) return;
    const at = plot.cursor.idx ?? plot.data[0].length - 1;
    held.figure.querySelectorAll("[data-now]").forEach((text, index) => {
      const said = shown(held.chart.unit, plot.data[index + 1]?.[at]);
      if (text.textContent !== said) text.textContent = said;
    });
  }

  // The table says the same as the picture; it is written anew where it can be seen.
  function write(figure, chart) {
    const rows = figure.querySelectorAll("tbody tr"), last = chart.times.length - 1;
    const step = Math.max(1, Math.floor(chart.times.length / 30)); // as the server writes it
    rows.forEach((row, index) => {
      const at = last - index * step;
      const time = row.querySelector("time"), iso = new Date(chart.times[at] * 1000).toISOString();
      if (time.dateTime !== iso) Object.assign(time, { dateTime: iso, title: iso, textContent: clock(chart.times[at]) });
      row.querySelectorAll("td").forEach((cell, one) => { cell.textContent = shown(chart.unit, chart.series[one].values[at]); });
    });
  }

  function draw(chart) {
    const figure = [...box.querySelectorAll("[data-chart]")].find((one) => one.dataset.chart === chart.name);
    const canvas = figure?.querySelector("[data-canvas]");
    if (!canvas) return;
    if (figure.querySelector("details").open) write(figure, chart);
    const data = [chart.times, ...chart.series.map((one) => one.values)];
    const held = plots.get(chart.name);
    if (held) {
      held.chart = chart;
      held.plot.setData(data);
      return legend(chart.name, held.plot);
    }
    canvas.replaceChildren();
    const plot = new uPlot(options(chart, canvas.clientWidth), data, canvas);
    plots.set(chart.name, { figure, canvas, plot, chart });
    legend(chart.name, plot);
  }

  const frozen = () => document.hidden || document.body.hasAttribute("data-paused");
  async function look() {
    try {
      const answer = await fetch(box.dataset.charts, { headers: { accept: "application/json" } });
      if (answer.ok) (await answer.json()).charts.forEach(draw);
    } catch {
      // the connection's state is told elsewhere
    }
  }
  async function follow() {
    if (!frozen()) await look();
    setTimeout(follow, EVERY);
  }

  function again() {
    for (const { plot, chart, canvas } of [...plots.values()]) {
      plot.destroy();
      plots.delete(chart.name);
      canvas.replaceChildren();
      draw(chart);
    }
  }
  new ResizeObserver(() => plots.forEach(({ plot, canvas }) => plot.width !== canvas.clientWidth && plot.setSize({ width: canvas.clientWidth, height: 150 }))).observe(box);
  document.addEventListener("jalebi:choice", again);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  new MutationObserver(again).observe(document.documentElement, { attributeFilter: ["data-look"] });
  for (const details of box.querySelectorAll("details"))
    details.addEventListener("toggle", () => {
      const held = [...plots.values()].find(({ figure }) => figure.contains(details));
      if (details.open && held) write(held.figure, held.chart);
    });
  follow();
})();
