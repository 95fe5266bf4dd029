// Keeps the live page going. In: the JSON in #driver (reports/live_views.py) and, from then on, the
// stream it names; where no stream comes through, the same numbers by asking. What it writes are
// texts and attributes only: everything in a snapshot may come from strangers.
// Nothing moves under the reader: numbers change in their places, rows change their order every few
// seconds and not below a pointer or the focus, the list of events waits while it is read.
(() => {
  const SECOND = 1000;
  const ORDER_EVERY = 4 * SECOND;
  const SPEAK_EVERY = 30 * SECOND;
  const HIDDEN_FOR = 60 * SECOND; // then nobody looks: the stream is given back
  const STREAM_AGAIN = 60 * SECOND;
  const BREAKS = 2; // of the stream, before it is asked for instead
  const SILENT_FOR = 20 * SECOND; // the server says something every five
  const STEADY = 30 * SECOND; // a stream that lasted so long has not broken at once
  const BEFORE_EVERY = 50 * 60 * SECOND; // the line of a week before reaches an hour ahead
  const EVENTS = 50;
  const MOVE = 140; // ms
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  let page = null; // what runs; replaced when #report is swapped

  // -- numbers in words: as in reports/formatting.py ---------------------------------------------

  const isKnown = (value) => value !== null && value !== undefined;
  const exact = (value) => (isKnown(value) ? value.toLocaleString("en") : "nothing");

  function short(value) {
    if (!isKnown(value)) return "-";
    if (value < 10_000) return value.toLocaleString("en");
    for (const [size, letter] of [
      [1e9, "G"],
      [1e6, "M"],
      [1e3, "k"],
    ]) {
      if (value < size * 0.9995) continue;
      const scaled = value / size;
      return scaled.toFixed(scaled < 9.995 ? 2 : scaled < 99.95 ? 1 : 0) + letter;
    }
  }

  function duration(ms) {
    if (!isKnown(ms)) return "-";
    const two = (value) => String(value).padStart(2, "0");
    const seconds = Math.round(ms / 1000);
    if (seconds < 60) return `${seconds}s`;
    const minutes = Math.floor(seconds / 60);
    if (minutes < 60) return `${minutes}m ${two(seconds % 60)}s`;
    return `${Math.floor(minutes / 60)}h ${two(minutes % 60)}m`;
  }

  function share(rate) {
    if (!isKnown(rate)) return "-";
    if (rate > 0 && rate < 0.005) return "<1 %";
    if (rate >= 0.995 && rate < 1) return ">99 %";
    return `${Math.round(rate * 100)} %`;
  }

  // What shows nothing, or turns the text around it, is shown by its number: strangers_text.py.
  const UNSEEN =
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are looked for
    /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ufeff\uffa0\ufff9-\ufffb]/g;
  const visible = (text) =>
    text.replace(UNSEEN, (found) => `\\u${found.charCodeAt(0).toString(16).padStart(4, "0")}`);

  function nameOf(dimension, value, countries) {
    if (value === "") return dimension === "page" ? "(no page)" : "Unknown";
    if (dimension === "country") return visible(countries[value.toUpperCase()] ?? value);
    if (dimension === "device")
      return visible(value[0].toUpperCase() + value.slice(1).toLowerCase());
    return visible(value);
  }

  const TRENDS = {
    gaining: ["▲", "Gaining: more are here than ten minutes ago"],
    losing: ["▼", "Losing: fewer are here than ten minutes ago"],
  };

  // -- the page ----------------------------------------------------------------------------------

  function start() {
    const source = document.getElementById("driver");
    const root = document.getElementById("live");
    if (!source || !root) return;
    page = new Page(root, JSON.parse(source.textContent));
    page.start();
  }

  function stop() {
    page?.end();
    page = null;
  }

  const byId = (id) => document.getElementById(id);
  const write = (element, text) => {
    if (element && element.textContent !== text) element.textContent = text;
  };

  class Page {
    constructor(root, driver) {
      this.root = root;
      this.driver = driver;
      this.paused = false;
      this.latest = null; // snapshot
      this.ahead = 0; // ms by which the server's clock is ahead of this one
      this.heard = Date.now();
      this.days = new Intl.DateTimeFormat("en-GB", {
        dateStyle: "medium",
        timeStyle: "medium",
        timeZone: driver.zone ?? undefined, // undefined: that of the browser
      });
      this.tables = [...root.querySelectorAll("table[data-card]")].map(
        (table) => new Table(table, driver),
      );
      this.feed = byId("feed") ? new Feed(driver) : null;
      this.timers = [];
      this.listeners = new AbortController();
      const place = byId("live-graph");
      this.graph =
        place && window.aktivatGraph
          ? window.aktivatGraph(place, driver.zone, () => place.clientHeight)
          : null;
      this.line = new Line(driver, this);
    }

    start() {
      const { signal } = this.listeners;
      this.graph?.before(this.driver.before ?? []);
      if (this.driver.snapshot) this.take(this.driver.snapshot);
      this.feed?.show();
      this.timers.push(
        setInterval(() => this.tick(), SECOND),
        setInterval(() => this.order(), ORDER_EVERY),
        setInterval(() => this.speak(), SPEAK_EVERY),
        setInterval(() => this.lookBack(), BEFORE_EVERY),
      );
      const pause = byId("live-pause");
      if (pause) {
        pause.hidden = false;
        pause.addEventListener("click", () => this.pause(!this.paused), { signal });
      }
      document.addEventListener("visibilitychange", () => this.line.seen(!document.hidden), {
        signal,
      });
      addEventListener("pagehide", () => this.line.close(), { signal });
      addEventListener("pageshow", (event) => event.persisted && this.line.open(), { signal });
      addEventListener("offline", () => this.line.lost(), { signal });
      addEventListener("online", () => this.line.open(), { signal });
      startWall(signal);
      this.line.open();
      this.tick();
    }

    end() {
      this.line.close();
      this.timers.forEach(clearInterval);
      this.listeners.abort();
      this.graph?.end();
      this.feed?.end();
    }

    pause(is) {
      this.paused = is;
      const button = byId("live-pause");
      button.setAttribute("aria-pressed", String(is));
      button.textContent = is ? "Go on" : "Pause";
      if (!is) {
        if (this.latest) this.show(this.latest);
        this.feed?.show();
      }
      this.line.tell();
    }

    // A snapshot has come.
    take(snapshot) {
      this.latest = snapshot;
      this.heard = Date.now();
      const at = Date.parse(snapshot.at ?? "") || Date.now();
      this.ahead = at - Date.now();
      for (const [second, ...counts] of snapshot.recent ?? []) this.graph?.add(second, counts);
      this.graph?.add(Math.floor(at / SECOND), [snapshot.open, snapshot.active, snapshot.engaged]);
      if (!this.paused) this.show(snapshot);
    }

    show(snapshot) {
      // Paper tells of which moment it is.
      if (snapshot.at) write(byId("live-at"), this.days.format(Date.parse(snapshot.at)));
      for (const name of ["open", "active", "engaged"]) {
        number(`live-${name}`, snapshot[name]);
      }
      for (const [name, value] of Object.entries(snapshot.visits ?? {})) {
        number(`live-${name}`, value);
      }
      for (const [name, value] of Object.entries(snapshot.last_30m ?? {})) {
        if (name === "revenue") write(byId("live-revenue"), money(value, this.driver));
        else number(`live-${name}`, value);
      }
      for (const table of this.tables) table.show(snapshot[table.name] ?? []);
      const empty = byId("live-empty");
      if (empty) empty.hidden = snapshot.open > 0;
      for (const nobody of document.querySelectorAll(".live-nobody")) {
        if (snapshot.open > 0) nobody.hidden = true;
      }
      unusual(snapshot.unusual);
    }

    tick() {
      const now = Date.now() + this.ahead;
      if (!document.hidden && !this.paused) {
        this.graph?.draw(Math.floor(now / SECOND));
        this.feed?.show();
      }
      const clock = byId("wall-clock");
      if (clock) write(clock, clockOf(this.driver.zone, false).format(now));
      this.line.check();
      this.line.tell();
    }

    order() {
      if (this.paused || document.hidden) return;
      for (const table of this.tables) table.order();
    }

    async lookBack() {
      if (document.hidden || this.line.over) return;
      const url = new URL(this.driver.now, location.href);
      url.searchParams.set("before", "1");
      try {
        const answer = await fetch(url, { headers: { "HX-Request": "true" } });
        if (answer.ok) this.graph?.before((await answer.json()).before);
      } catch {
        // Then the line ends there until the next time.
      }
    }

    // For who listens instead of looking: the three numbers, now and then.
    speak() {
      if (!this.latest || this.paused || document.hidden) return;
      const { open, active, engaged } = this.latest;
      write(byId("live-spoken"), `${open} open, ${active} active, ${engaged} engaged`);
    }
  }

  function number(id, value) {
    const element = byId(id);
    if (!element) return;
    write(element, short(value));
    const label = element.title.split(":")[0];
    element.title = `${label}: ${exact(value)}`;
  }

  function money(value, driver) {
    if (!isKnown(value)) return "-";
    const decimals = driver.decimals ?? 2;
    const text = (value / 10 ** decimals).toLocaleString("en", {
      minimumFractionDigits: decimals,
      maximumFractionDigits: decimals,
    });
    return `${text} ${driver.currency}`;
  }

  // In the server's words; nothing when it is as usual, or not known for what is filtered.
  function unusual(found) {
    const mark = byId("live-unusual");
    if (!mark) return;
    mark.hidden = !found?.text;
    write(mark, found?.text ?? "");
  }

  const clocks = new Map();
  function clockOf(zone, withSeconds) {
    const key = `${zone} ${withSeconds}`;
    if (!clocks.has(key)) {
      const parts = { hour: "2-digit", minute: "2-digit" };
      if (zone) parts.timeZone = zone; // else that of the browser
      if (withSeconds) parts.second = "2-digit";
      clocks.set(key, new Intl.DateTimeFormat("en-GB", parts));
    }
    return clocks.get(key);
  }

  // -- ranked rows -------------------------------------------------------------------------------

  class Table {
    constructor(table, driver) {
      this.table = table;
      this.driver = driver;
      this.name = table.dataset.card;
      this.dimension = table.dataset.dimension;
      this.most = Number(table.dataset.most);
      this.body = table.tBodies[0];
      this.empty = table.parentElement.querySelector(".nothing");
      this.blank = table.parentElement.querySelector("template").content.firstElementChild;
      this.rows = new Map([...this.body.rows].map((row) => [row.dataset.key, row]));
      this.wanted = []; // keys, in the order in which they should stand
    }

    get isRead() {
      return this.body.matches(":hover") || this.body.contains(document.activeElement);
    }

    // New numbers in their places; what is new comes at the end while there is room.
    show(found) {
      const first = found.slice(0, this.most);
      const widest = Math.max(1, ...first.map((each) => each.open));
      const shown = new Map(found.map((each) => [String(each[this.dimension]), each]));
      this.wanted = first.map((each) => String(each[this.dimension]));
      for (const [key, row] of this.rows) {
        this.fill(row, shown.get(key), widest);
      }
      for (const each of first) {
        const key = String(each[this.dimension]);
        if (!this.rows.has(key) && this.rows.size < this.most) this.append(key, each, widest);
      }
      if (this.rows.size === 0 || found.length === 0) this.order();
      this.empty.hidden = this.rows.size > 0;
      this.table.hidden = this.rows.size === 0;
      this.found = shown;
      this.widest = widest;
    }

    // The rows as they should stand, unless somebody is about to click one.
    order() {
      if (this.isRead) return;
      const before = new Map([...this.rows].map(([key, row]) => [key, row.offsetTop]));
      const wanted = new Set(this.wanted);
      for (const [key, row] of this.rows) {
        if (wanted.has(key)) continue;
        row.remove();
        this.rows.delete(key);
      }
      this.wanted.forEach((key, at) => {
        if (!this.rows.has(key)) this.append(key, this.found.get(key), this.widest);
        const row = this.rows.get(key);
        if (this.body.rows[at] !== row) this.body.insertBefore(row, this.body.rows[at] ?? null);
      });
      this.empty.hidden = this.rows.size > 0;
      this.table.hidden = this.rows.size === 0;
      if (calm.matches) return;
      for (const [key, row] of this.rows) {
        const by = (before.get(key) ?? row.offsetTop) - row.offsetTop;
        if (by) row.animate([{ transform: `translateY(${by}px)` }, {}], MOVE);
      }
    }

    append(key, found, widest) {
      const row = this.blank.cloneNode(true);
      const link = row.querySelector("a");
      const name = found.name ?? nameOf(this.dimension, key, this.driver.countries);
      row.dataset.key = key;
      const elsewhere = this.dimension === "property" && this.driver.ways[key];
      link.href = elsewhere || this.addressOf(key);
      if (elsewhere) link.setAttribute("hx-boost", "false");
      link.title = name;
      link.firstElementChild.textContent = visible(name);
      this.fill(row, found, widest);
      this.body.append(row);
      this.rows.set(key, row);
      window.htmx?.process(row);
    }

    // The address of this page with one filter more.
    addressOf(key) {
      const params = new URLSearchParams(this.driver.query);
      const wanted = `${this.dimension}:is:${key}`;
      if (!params.getAll("filter").includes(wanted)) params.append("filter", wanted);
      return `?${params}`.replaceAll("%3A", ":").replaceAll("%2F", "/"); // as the server writes it
    }

    fill(row, found, widest) {
      const { open = 0, active = 0, engaged = 0 } = found ?? {};
      row.classList.toggle("is-gone", !open);
      row.querySelector("rect").setAttribute("width", `${((100 * open) / widest).toFixed(1)}%`);
      const cell = row.cells[1];
      cell.title = `${exact(open)} open, ${exact(active)} active, ${exact(engaged)} engaged`;
      write(cell.querySelector(".count"), short(open));
      const [arrow = "", means = ""] = TRENDS[found?.trend] ?? [];
      const trend = cell.querySelector(".trend");
      trend.className = `trend ${TRENDS[found?.trend] ? found.trend : ""}`;
      trend.title = means;
      write(trend, arrow);
      write(row.querySelector(".engaged"), duration(found?.engaged_ms));
      write(
        row.querySelector(".scroll"),
        isKnown(found?.scroll) ? `${Math.round(found.scroll)} %` : "-",
      );
      write(row.querySelector(".new"), share(found?.new));
    }
  }

  // -- events as they come -----------------------------------------------------------------------

  class Feed {
    constructor(driver) {
      this.driver = driver;
      this.list = byId("feed");
      this.more = byId("feed-more");
      this.none = byId("feed-none");
      this.blank = byId("feed-event").content.firstElementChild;
      this.waiting = []; // oldest first
      this.known = new Set();
      this.listeners = new AbortController();
      this.more.addEventListener("click", () => this.show(true), { signal: this.listeners.signal });
      this.list.replaceChildren();
    }

    get isRead() {
      return this.list.matches(":hover, :focus-within") || this.list.scrollTop > 0;
    }

    add(event) {
      if (event.event_id) {
        if (this.known.has(event.event_id)) return; // the stream may repeat itself when it resumes
        this.known.add(event.event_id);
        if (this.known.size > 1000) this.known.delete(this.known.values().next().value);
      }
      this.waiting.push(event);
      if (this.waiting.length > EVENTS) this.waiting.shift();
    }

    // Puts what came on top, once a second; while the list is read it waits behind a button.
    show(asked = false) {
      const wait = this.isRead && !asked && this.list.childElementCount > 0;
      if (this.waiting.length && !wait) {
        this.list.prepend(...this.waiting.map((event) => this.item(event)).reverse());
        while (this.list.childElementCount > EVENTS) this.list.lastElementChild.remove();
        this.waiting = [];
        if (asked) this.list.scrollTop = 0;
      }
      this.none.hidden = this.list.childElementCount > 0;
      this.list.hidden = !this.none.hidden;
      const held = this.waiting.length;
      this.more.hidden = !held;
      if (held) write(this.more, held < EVENTS ? `${held} more` : `${EVENTS} or more`);
    }

    item(event) {
      const item = this.blank.cloneNode(true);
      const time = item.querySelector("time");
      time.dateTime = event.at;
      time.textContent = clockOf(this.driver.zone, true).format(Date.parse(event.at) || Date.now());
      item.querySelector(".feed-name bdi").textContent = visible(event.name ?? "");
      const where = item.querySelector(".feed-page");
      where.title = visible(event.page ?? "");
      where.firstElementChild.textContent = visible(event.title || event.page || "");
      const { countries } = this.driver;
      const whence = ["source", "country", "device"]
        .filter((name) => event[name])
        .map((name) => nameOf(name, event[name], countries));
      if (event.property) whence.unshift(visible(event.property));
      item.querySelector(".feed-from").textContent = whence.join(" · ");
      return item;
    }

    end() {
      this.listeners.abort();
    }
  }

  // -- the line to the server --------------------------------------------------------------------

  class Line {
    constructor(driver, owner) {
      this.driver = driver;
      this.owner = owner;
      this.source = null;
      this.breaks = 0;
      this.last = ""; // id of the last event of the stream
      this.over = ""; // why it is over for good
      this.left = false; // nobody has looked for a while
      this.away = false; // the numbers do not answer
      this.turn = 0; // counts up with each way of asking: answers of earlier ones are late
    }

    open() {
      if (this.over || this.source) return;
      this.close();
      this.left = false;
      if (this.driver.stream && window.EventSource && this.breaks < BREAKS) this.listen();
      else this.ask();
    }

    close() {
      this.turn++;
      this.source?.close();
      this.source = null;
      clearTimeout(this.timer);
      clearTimeout(this.again);
    }

    lost() {
      this.close();
      this.away = true;
      this.tell();
    }

    listen() {
      const url = new URL(this.driver.stream, location.href);
      if (this.last) url.searchParams.set("last_event_id", this.last);
      this.source = new EventSource(url);
      const begun = Date.now();
      const on = (name, take) =>
        this.source.addEventListener(name, (event) => {
          if (event.lastEventId) this.last = event.lastEventId;
          this.away = false;
          take(JSON.parse(event.data));
        });
      on("snapshot", (snapshot) => this.owner.take(snapshot));
      on("feed", (event) => this.owner.feed?.add(event));
      on("gone", ({ message }) => this.finish(message));
      this.source.onerror = () => this.broken(begun);
      this.begun = begun;
    }

    broken(begun) {
      this.away = true;
      this.breaks = Date.now() - begun > STEADY ? 1 : this.breaks + 1;
      // A browser connects again by itself unless the answer was no stream.
      const goesOn = this.source.readyState === EventSource.CONNECTING;
      if (this.breaks >= BREAKS || !goesOn) {
        this.close();
        if (this.breaks >= BREAKS) this.ask();
        else this.timer = setTimeout(() => this.open(), 2 * SECOND);
      }
      this.tell();
    }

    // A stream that is silent for so long is dead: the machine slept, or a proxy forgot it.
    check() {
      const isSilent = Date.now() - Math.max(this.owner.heard, this.begun) > SILENT_FOR;
      if (this.source && isSilent) this.broken(this.begun);
    }

    // Asking instead of listening; the stream gets another chance after a while.
    ask() {
      const turn = ++this.turn;
      this.again = setTimeout(() => {
        this.breaks = BREAKS - 1;
        this.close();
        this.open();
      }, STREAM_AGAIN);
      const once = async () => {
        try {
          const answer = await fetch(this.driver.now, { headers: { "HX-Request": "true" } });
          if (turn !== this.turn) return;
          if (answer.redirected || [401, 403, 404].includes(answer.status)) {
            this.finish("You may no longer see this. Load the page again.");
            return;
          }
          this.away = !answer.ok;
          if (answer.ok) this.owner.take(await answer.json());
        } catch {
          if (turn !== this.turn) return;
          this.away = true;
        }
        this.tell();
        this.timer = setTimeout(once, this.driver.every * SECOND);
      };
      once();
    }

    finish(message) {
      this.over = message;
      this.close();
      this.tell();
    }

    // The tab is looked at, or not.
    seen(is) {
      clearTimeout(this.leaving);
      if (is) {
        if (this.left) this.open();
        return;
      }
      this.leaving = setTimeout(() => {
        this.left = true;
        this.close();
        this.tell();
      }, HIDDEN_FOR);
    }

    // How it stands, as it is.
    tell() {
      const state = byId("live-state");
      if (!state) return;
      const since = clockOf(this.driver.zone, true).format(this.owner.heard + this.owner.ahead);
      let [kind, text] = ["live", "Live"];
      if (this.over) [kind, text] = ["over", this.over];
      else if (this.owner.paused) [kind, text] = ["paused", "Paused"];
      else if (this.left) [kind, text] = ["paused", `Paused since ${since}`];
      else if (this.away) [kind, text] = ["away", `No connection since ${since}`];
      else if (!this.source) text = `Every ${this.driver.every} seconds`;
      else if (this.source.readyState !== EventSource.OPEN) text = "Connecting";
      state.dataset.state = kind;
      write(byId("live-state-text"), text);
    }
  }

  // -- the wall ----------------------------------------------------------------------------------

  // A screen on a wall: full screen at one press, kept awake, nothing else to see.
  function startWall(signal) {
    const button = byId("wall-start");
    if (!button) return;
    const before = byId("wall-before");
    button.hidden = !document.documentElement.requestFullscreen;
    button.addEventListener("click", () => document.documentElement.requestFullscreen(), {
      signal,
    });
    document.addEventListener(
      "fullscreenchange",
      () => {
        before.hidden = document.fullscreenElement !== null;
      },
      { signal },
    );
    const stayAwake = async () => {
      try {
        if (!document.hidden) await navigator.wakeLock?.request("screen");
      } catch {
        // The battery is low, or the browser will not: then the screen may sleep.
      }
    };
    document.addEventListener("visibilitychange", stayAwake, { signal });
    stayAwake();
  }

  document.addEventListener("DOMContentLoaded", start);
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target?.id === "report" && event.detail.shouldSwap) stop();
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target?.id === "report" && !page) start();
  });
})();
