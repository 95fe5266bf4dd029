// Draws the curve in #chart from the JSON in #curve (reports/pages.py `curve`) with uPlot: the
// period before as a thin line behind, what is not complete yet dashed. Colours are read from the
// page's custom properties and read again when the theme changes. Texts are set as text only.
// Offers window.aktivatChart.draw() to report.js, which calls it after #report was swapped.
(() => {
  const HEIGHT = 220;
  const LETTER = 6.5; // px that one letter of the time axis needs, about
  const TICK_WIDTH = 72; // px between two of its labels, if they are short
  const DASHES = [4, 4];
  const MOST_NOTES = 4; // beside one point
  let plot = null;
  let watcher = null;

  function draw() {
    const place = document.getElementById("chart");
    const source = document.getElementById("curve");
    clear();
    if (!place || !source || !window.uPlot) return;
    const curve = JSON.parse(source.textContent);
    const readout = makeReadout();
    place.replaceChildren(readout);
    plot = new uPlot(options(place, curve, readout), columns(curve), place);
    place.onkeydown = (event) => stepWithKeys(event, curve);
    // A finger reads a value by the tap that would open its period.
    place.onclick = (event) => {
      if ((event.pointerType ?? "mouse") === "mouse" && event.target.closest(".u-over")) open();
    };
    for (const link of ways()) link.tabIndex = -1; // nobody sees that one of them has the focus
    place.classList.toggle("opens", ways().length > 0);
    place.onblur = () => plot?.setCursor({ left: -10, top: -10 });
    watcher = new ResizeObserver(() => plot?.setSize({ width: place.clientWidth, height: HEIGHT }));
    watcher.observe(place);
  }

  function clear() {
    watcher?.disconnect();
    plot?.destroy();
    plot = watcher = null;
  }

  function redraw() {
    const curve = document.getElementById("curve");
    if (plot && curve) draw();
  }

  // x is the number of the period: labels come from the server, in the property's zone.
  function columns(curve) {
    const open = curve.openFrom ?? curve.values.length;
    const closed = curve.values.map((value, at) => (at < open ? value : null));
    // The dashed line starts at the last complete point, so that the two meet.
    const dashed = curve.values.map((value, at) => (at >= open - 1 ? value : null));
    const past = curve.before.length ? curve.before : curve.values.map(() => null);
    // The area comes first, or it would cover the period before.
    return [curve.values.map((_, at) => at), closed, past, closed, dashed];
  }

  function options(place, curve, readout) {
    const colour = coloursOf(place);
    const known = curve.values.filter((value) => value !== null);
    const points = { show: known.length < 3 }; // one or two dots are no line
    return {
      width: place.clientWidth,
      height: HEIGHT,
      padding: [12, 24, 0, 0], // right: half of the last label of the axis
      legend: { show: false },
      cursor: {
        y: false,
        drag: { x: false, y: false },
        points: { size: 7, fill: colour.accent, stroke: colour.surface },
      },
      scales: {
        x: { time: false, range: () => [0, Math.max(1, curve.values.length - 1)] },
        y: { range: (_, __, highest) => [0, ceiling(highest, curve.unit)] },
      },
      axes: [timeAxis(curve, colour), valueAxis(curve, colour)],
      series: [
        {},
        { width: 0, fill: colour.fill, points: { show: false } },
        { stroke: colour.past, width: 1, points: { show: false } },
        { stroke: colour.accent, width: 2, points },
        { stroke: colour.accent, width: 2, dash: DASHES, points },
      ],
      hooks: {
        draw: [(self) => drawFlags(self, curve, colour)],
        setCursor: [(self) => readAt(self, curve, readout)],
      },
    };
  }

  // A thin line with a flag at its top for each period with notes; their words stand below the
  // chart, and in the readout of the period.
  function drawFlags(self, curve, colour) {
    const { ctx, bbox } = self;
    const ratio = devicePixelRatio;
    ctx.save();
    ctx.strokeStyle = colour.text;
    ctx.fillStyle = colour.warn;
    ctx.lineWidth = ratio;
    for (const at of new Set((curve.flags ?? []).map((flag) => flag.at))) {
      const x = Math.round(self.valToPos(at, "x", true)) + 0.5;
      const top = bbox.top - 8 * ratio;
      ctx.setLineDash([2 * ratio, 3 * ratio]);
      ctx.beginPath();
      ctx.moveTo(x, top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      ctx.setLineDash([]);
      ctx.beginPath();
      ctx.moveTo(x, top);
      ctx.lineTo(x + 9 * ratio, top + 3.5 * ratio);
      ctx.lineTo(x, top + 7 * ratio);
      ctx.closePath();
      ctx.fill();
    }
    ctx.restore();
  }

  function coloursOf(place) {
    const style = getComputedStyle(place);
    const of = (name) => style.getPropertyValue(name).trim();
    return {
      accent: of("--accent"),
      fill: of("--accent-soft"),
      past: of("--line-strong"),
      line: of("--line"),
      text: of("--muted"),
      surface: of("--surface"),
      warn: of("--waiting"),
      font: `12px ${of("--font")}`,
    };
  }

  function timeAxis(curve, colour) {
    return {
      stroke: colour.text,
      font: colour.font,
      grid: { show: false },
      ticks: { stroke: colour.line, width: 1, size: 4 },
      size: 32,
      splits: (self) => {
        const longest = Math.max(0, ...curve.ticks.map((tick) => tick.length));
        const room = Math.max(TICK_WIDTH, longest * LETTER + 16);
        const most = Math.max(1, Math.floor(self.bbox.width / devicePixelRatio / room));
        const step = Math.max(1, Math.ceil(curve.ticks.length / most));
        return curve.ticks.map((_, at) => at).filter((at) => at % step === 0);
      },
      values: (_, splits) => splits.map((at) => curve.ticks[at] ?? ""),
    };
  }

  function valueAxis(curve, colour) {
    return {
      stroke: colour.text,
      font: colour.font,
      grid: { stroke: colour.line, width: 1 },
      ticks: { show: false },
      size: 56,
      splits: (_, __, _lowest, highest) => [0, 1, 2, 3, 4].map((part) => (highest * part) / 4),
      values: (_, splits) => splits.map((value) => short(value, curve.unit)),
    };
  }

  // The top of the axis: a round number whose quarters are round, too.
  function ceiling(highest, unit) {
    if (unit === "rate") return highest > 0.5 ? 1 : highest > 0.2 ? 0.5 : 0.2;
    if (!highest) return unit === "count" ? 4 : 60_000;
    if (unit === "duration_ms") return roundSeconds(highest / 1000) * 1000;
    const size = 10 ** Math.floor(Math.log10(highest));
    const steps = [1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10].map((each) => Math.round(each * size));
    return Math.max(4, steps.find((step) => step >= highest && step % 4 === 0) ?? 12);
  }

  function roundSeconds(seconds) {
    const sizes = [4, 8, 20, 40, 60, 120, 240, 480, 1200, 2400, 3600, 7200, 14400];
    return sizes.find((each) => each >= seconds) ?? Math.ceil(seconds / 14400) * 14400;
  }

  function short(value, unit) {
    if (unit === "rate") return `${Math.round(value * 100)} %`;
    if (unit === "duration_ms") return duration(value / 1000);
    if (value >= 1e6) return `${+(value / 1e6).toFixed(2)}M`;
    if (value >= 1e4) return `${+(value / 1e3).toFixed(1)}k`;
    return (+value.toFixed(2)).toLocaleString("en");
  }

  function duration(seconds) {
    if (seconds < 60) return `${Math.round(seconds)}s`;
    if (seconds < 3600)
      return seconds % 60
        ? `${Math.floor(seconds / 60)}m ${Math.round(seconds % 60)}s`
        : `${seconds / 60}m`;
    return seconds % 3600
      ? `${Math.floor(seconds / 3600)}h ${Math.round((seconds % 3600) / 60)}m`
      : `${seconds / 3600}h`;
  }

  // -- reading a point: with the mouse, a finger or the arrow keys --------------------------------

  function makeReadout() {
    const readout = document.createElement("div");
    readout.className = "readout";
    readout.hidden = true;
    readout.setAttribute("role", "status");
    return readout;
  }

  function readAt(self, curve, readout) {
    const at = self.cursor.idx;
    const isOff = at == null || self.cursor.left < 0;
    readout.hidden = isOff;
    if (isOff) return;
    const lines = [line("readout-name", curve.names[at]), line("readout-value", curve.texts[at])];
    if (curve.before.length && curve.beforeNames[at]) {
      lines.push(line("readout-past", `${curve.beforeNames[at]}: ${curve.beforeTexts[at]}`));
    }
    const notes = (curve.flags ?? []).filter((flag) => flag.at === at);
    lines.push(...notes.slice(0, MOST_NOTES).map((flag) => line("readout-note", flag.text)));
    if (notes.length > MOST_NOTES) {
      lines.push(line("readout-past", `and ${notes.length - MOST_NOTES} more notes`));
    }
    readout.replaceChildren(...lines);
    const axis = self.over.offsetLeft;
    const room = self.root.clientWidth - readout.offsetWidth;
    const wanted = axis + self.cursor.left + 12;
    const fits = wanted <= room;
    readout.style.left = `${fits ? wanted : Math.max(0, wanted - readout.offsetWidth - 24)}px`;
  }

  function line(name, text) {
    const element = document.createElement("div");
    element.className = name;
    element.textContent = text;
    return element;
  }

  // The table of the numbers has a link for each period.
  const ways = () => document.querySelectorAll(".chart-numbers tbody a");

  function open() {
    const at = plot?.cursor.left < 0 ? null : plot?.cursor.idx;
    if (at != null) ways()[at]?.click();
  }

  function stepWithKeys(event, curve) {
    if (event.key === "Enter") open();
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || !plot) return;
    event.preventDefault();
    const last = curve.values.length - 1;
    const isOff = plot.cursor.idx == null || plot.cursor.left < 0;
    const at = isOff ? last : Math.min(last, Math.max(0, plot.cursor.idx + by));
    plot.setCursor({ left: plot.valToPos(at, "x"), top: 10 });
  }

  document.addEventListener("DOMContentLoaded", draw);
  document.addEventListener("themechange", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  matchMedia("print").addEventListener("change", redraw); // in the colours and the width of paper
  window.aktivatChart = { draw };
})();
