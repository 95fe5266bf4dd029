// The moving graph of the live page: open as an area, active and engaged as lines, and behind them
// a thin line of how many were open a week before. One point a second, the last MINUTES of them.
// Offers window.aktivatGraph(place, zone) to live.js: add(second, counts), before(points), draw(second).
(() => {
  const MINUTES = 10;
  const SECONDS = MINUTES * 60;
  const HOLDS = 12; // seconds for which a number stands when nobody says otherwise
  const LOWEST_TOP = 4;

  function graph(place, zone, height) {
    const known = new Map(); // second -> [open, active, engaged]
    let weekBefore = new Map(); // minute -> open
    let plot = null;
    let drawn = 0;
    const clock = new Intl.DateTimeFormat("en-GB", {
      timeZone: zone ?? undefined, // undefined: that of the browser
      hour: "2-digit",
      minute: "2-digit",
    });

    const add = (second, counts) => {
      known.set(second, counts);
      // In the order in which they were added, which is nearly that of time.
      for (const old of known.keys()) {
        if (old > second - SECONDS - HOLDS - 60) break;
        known.delete(old);
      }
    };

    const before = (points) => {
      weekBefore = new Map(points);
    };

    // One array a line; null where nobody knows.
    const columns = (until) => {
      const found = [[], [], [], [], []];
      let last = null;
      let since = 0;
      for (let second = until - SECONDS - HOLDS; second <= until; second++) {
        const counts = known.get(second);
        if (counts) {
          last = counts;
          since = second;
        } else if (second - since > HOLDS) last = null;
        if (second < until - SECONDS) continue;
        found[0].push(second);
        found[1].push(weekBefore.get(second - (second % 60)) ?? null);
        for (const each of [0, 1, 2]) found[each + 2].push(last ? last[each] : null);
      }
      return found;
    };

    const draw = (until) => {
      if (!window.uPlot || !place.clientWidth) return;
      drawn = until;
      const data = columns(until);
      if (plot) plot.setData(data);
      else plot = new uPlot(options(place, height(), clock), data, place);
      place.setAttribute("aria-label", inWords(data));
    };

    const redraw = () => {
      plot?.destroy();
      plot = null;
      if (drawn) draw(drawn);
    };
    const watcher = new ResizeObserver(() =>
      plot?.setSize({ width: place.clientWidth, height: height() }),
    );
    watcher.observe(place);
    // Paper has colours and a width of its own.
    const looks = ["(prefers-color-scheme: dark)", "print"].map((look) => matchMedia(look));
    for (const look of looks) look.addEventListener("change", redraw);
    document.addEventListener("themechange", redraw);

    const end = () => {
      watcher.disconnect();
      for (const look of looks) look.removeEventListener("change", redraw);
      document.removeEventListener("themechange", redraw);
      plot?.destroy();
      plot = null;
    };
    return { add, before, draw, end };
  }

  function inWords(data) {
    const open = data[2].filter((value) => value !== null);
    if (!open.length) return "Open visitors of the last ten minutes: not known";
    const [least, most] = [Math.min(...open), Math.max(...open)];
    return `Open visitors of the last ten minutes: now ${open.at(-1)}, at least ${least}, at most ${most}`;
  }

  function options(place, height, clock) {
    const style = getComputedStyle(place);
    const of = (name) => style.getPropertyValue(name).trim();
    const font = `${style.fontSize} ${of("--font")}`;
    const size = Number.parseFloat(style.fontSize);
    const line = (stroke, width, fill) => ({
      stroke,
      width,
      fill,
      points: { show: false },
      spanGaps: false,
    });
    return {
      width: place.clientWidth,
      height,
      padding: [size, size * 2, 0, 0],
      legend: { show: false },
      cursor: { show: false },
      scales: {
        x: { time: false, range: (_, least, most) => [least, most] },
        y: { range: (_, __, most) => [0, ceiling(most ?? 0)] },
      },
      axes: [
        {
          stroke: of("--muted"),
          font,
          grid: { show: false },
          ticks: { stroke: of("--line"), width: 1, size: 4 },
          size: size * 2 + 8,
          splits: (self, _, least, most) => minutes(self, least, most, size),
          values: (_, splits) => splits.map((second) => clock.format(second * 1000)),
        },
        {
          stroke: of("--muted"),
          font,
          grid: { stroke: of("--line"), width: 1 },
          ticks: { show: false },
          size: size * 4 + 8,
          splits: (_, __, ___, most) => [0, 1, 2, 3, 4].map((part) => (most * part) / 4),
          values: (_, splits) => splits.map(short),
        },
      ],
      series: [
        {},
        line(of("--line-strong"), 1),
        line(of("--accent"), 2, of("--accent-soft")),
        line(of("--graph-active"), 1.5),
        line(of("--graph-engaged"), 1.5),
      ],
    };
  }

  // Full minutes, as many as there is room for.
  function minutes(self, least, most, size) {
    const room = Math.max(1, Math.floor(self.bbox.width / devicePixelRatio / (size * 5)));
    const step = [1, 2, 5, 10].find((each) => MINUTES / each <= room) ?? 10;
    const found = [];
    for (let at = Math.ceil(least / 60) * 60; at <= most; at += 60) {
      if ((at / 60) % step === 0) found.push(at);
    }
    return found;
  }

  // A round number whose quarters are round, too, with a little air above the highest.
  function ceiling(highest) {
    if (highest < LOWEST_TOP) return LOWEST_TOP;
    const size = 10 ** Math.floor(Math.log10(highest));
    const steps = [1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10, 12].map((each) =>
      Math.round(each * size),
    );
    return steps.find((step) => step >= highest * 1.05 && step % 4 === 0) ?? 16 * size;
  }

  function short(value) {
    if (value >= 1e6) return `${+(value / 1e6).toFixed(2)}M`;
    if (value >= 1e4) return `${+(value / 1e3).toFixed(1)}k`;
    return value.toLocaleString("en");
  }

  window.aktivatGraph = graph;
})();
