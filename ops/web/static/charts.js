// Draws the time series with uPlot. The sentence and the table below each chart say the same without it.
"use strict";

(() => {
  const EVERY_MS = 10000;
  const HEIGHT = 190;
  const history = document.getElementById("history");
  if (!history || typeof uPlot === "undefined") return;

  const drawn = new Map();
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const short = (value) => {
    if (value === null || value === undefined) return "–";
    if (Math.abs(value) >= 1e6) return `${+(value / 1e6).toFixed(1)}M`;
    if (Math.abs(value) >= 1e4) return `${+(value / 1e3).toFixed(1)}k`;
    return String(Math.abs(value) >= 100 ? Math.round(value) : +value.toPrecision(3));
  };

  const options = (chart, width) => {
    const quiet = style("--quiet");
    const axis = {
      stroke: quiet, font: "12px system-ui, sans-serif",
      grid: { stroke: style("--line"), width: 1 }, ticks: { stroke: style("--line"), width: 1, size: 4 },
    };
    return {
      width, height: HEIGHT,
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      cursor: { sync: { key: "deedbox" }, drag: { x: false, y: false }, points: { size: 6 } },
      legend: { live: true },
      scales: { y: { range: (_plot, _low, high) => [0, Math.max(high * 1.1 || 0, 1)] } },
      axes: [
        { ...axis, values: (_plot, ticks) => ticks.map((at) => new Date(at * 1000).toISOString().slice(11, 16)), space: 64 },
        { ...axis, size: 48, values: (_plot, ticks) => ticks.map(short) },
      ],
      series: [
        { label: "UTC", value: (_plot, at) => (at ? new Date(at * 1000).toISOString().slice(11, 19) : "–") },
        ...chart.series.map((line, index) => ({
          label: line.label, stroke: style(line.colour), width: 1.75, points: { size: 4 },
          fill: chart.series.length < 4 && index === 0 ? `${style(line.colour)}1f` : undefined,
          value: (_plot, value) => short(value),
        })),
      ],
    };
  };

  const draw = (page) => {
    for (const chart of page.charts) {
      const figure = history.querySelector(`[data-chart="${chart.name}"]`);
      if (!figure) continue;
      // Lines that are always zero would only hide the others; the sentence below says that they are.
      const lines = chart.series.map((line, index) => ({ ...line, colour: `--c${(index % 7) + 1}` }))
        .filter((line) => line.values.some((value) => value));
      figure.classList.toggle("empty", !lines.length);
      const summary = figure.querySelector(".summary");
      if (summary.textContent !== chart.summary) summary.textContent = chart.summary;
      if (!lines.length) continue;
      const data = [page.times, ...lines.map((line) => line.values)];
      const names = lines.map((line) => line.name).join();
      const known = drawn.get(chart.name);
      if (known && known.names === names) {
        known.plot.setData(data);
        continue;
      }
      if (known) known.plot.destroy();
      const plot = figure.querySelector(".plot");
      const made = new uPlot(options({ ...chart, series: lines }, plot.clientWidth), data, plot);
      drawn.set(chart.name, { plot: made, names });
    }
  };

  let latest = null;
  const redraw = () => {
    drawn.forEach((each) => each.plot.destroy());
    drawn.clear();
    if (latest) draw(latest);
  };

  const turn = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(history.dataset.charts, { redirect: "manual", signal: AbortSignal.timeout(8000) });
      if (!answer.ok) {
        history.querySelectorAll(".summary").forEach((each) => { each.textContent = "No data: Redis cannot be read."; });
        return;
      }
      latest = await answer.json();
      draw(latest);
    } catch { /* the pulse in the header says that ops does not answer */ }
  };

  new ResizeObserver(() => {
    drawn.forEach((each) => {
      const width = each.plot.root.parentElement.clientWidth;
      if (width && width !== each.plot.width) each.plot.setSize({ width, height: HEIGHT });
    });
  }).observe(history);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  document.addEventListener("visibilitychange", turn);
  setInterval(turn, EVERY_MS);
  turn();
})();
