// Charts over time: the server's SVG is drawn anew by uPlot, and follows every ten seconds. The table stays as it is.
(() => {
  const EVERY = 10_000; // ms between two looks
  const box = document.querySelector("[data-charts]");
  if (!box || typeof uPlot === "undefined") return;
  const LOOKS = { good: "--good-bar", bad: "--bad-bar", wait: "--wait", run: "--saffron", edge: "--edge" };
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  const colour = (name) => {
    // A token may be light-dark(…), which a canvas does not know: the browser works it out.
    probe.style.setProperty("color", `var(${name})`);
    return getComputedStyle(probe).color;
  };
  const plots = new Map();
  const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

  function shown(unit, value) {
    if (value === null || value === undefined) return "-";
    if (unit !== "seconds") return `${+value.toFixed(2)}${unit === "per_second" ? "/s" : ""}`;
    if (value < 1) return `${Math.round(value * 1000)} ms`;
    return value < 90 ? `${+value.toFixed(1)} s` : `${Math.round(value / 60)} min`;
  }

  function options(chart, width) {
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    return {
      width, height: 150, legend: { show: false }, cursor: { y: false, drag: { x: false, y: false } }, padding: [8, 6, 0, 0],
      scales: { y: { range: (_, __, top) => [0, top > 0 ? top * 1.08 : 1] } },
      axes: [{ ...axis, space: 70, values: (_, ticks) => ticks.map((tick) => clock.format(tick * 1000)) }, { ...axis, size: 58, values: (_, ticks) => ticks.map((tick) => shown(chart.unit, tick)) }],
      series: [{}, ...chart.series.map((one) => ({ label: one.name, stroke: colour(LOOKS[one.look]), width: 2, points: { show: false }, spanGaps: true }))],
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

  function draw(chart) {
    const figure = [...box.querySelectorAll("[data-chart]")].find((one) => one.dataset.chart === chart.name);
    const canvas = figure?.querySelector("[data-canvas]");
    if (!canvas) return;
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
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  new MutationObserver(again).observe(document.documentElement, { attributeFilter: ["data-look"] });
  follow();
})();
