/**
 * trackr.js, the core: turns what happens in a page into events and brings them to the collector.
 *
 * In: the property's configuration (GET {serverUrl}/js/{account}.json), the page (load, routes,
 * visibility, interaction) and calls of its author (`trackr(...)`).
 * Out: POST {serverUrl}{trackPath} with batches and pings. An event waits in localStorage until
 * the collector has answered for it; a ping never waits. Nothing is stored and nothing leaves
 * before the configuration has said how much may be. Nothing here may throw into the page.
 *
 * Every page of every customer pays for this file: at most 3,072 bytes gzipped (build.mjs). What
 * is not needed to count pages and visitors lives in more.js and vitals.js, which the core loads
 * where the configuration names them and which plug in by `Trackr.use` (see `plug` below).
 * One classic script, so it also works unbuilt.
 */
((window, document) => {
  const SECOND = 1000;
  const MINUTE = 60 * SECOND;
  const HOUR = 60 * MINUTE;
  const DAY = 24 * HOUR;

  const IDLE_AFTER = 5 * SECOND; // without interaction the visitor no longer counts as engaged
  const PING_EVERY = { engaged: 5 * SECOND, visible: 15 * SECOND, hidden: MINUTE };
  const SILENT_AFTER = 2 * HOUR; // without interaction: a forgotten tab is nobody's presence
  const ENGAGED_WORTH_SENDING = 3 * SECOND;
  const TITLE_DELAY = 100; // ms: frameworks change the address first and the title a moment later

  const VISITOR_LIVES = (395 * DAY) / SECOND; // 13 months; cookies count in seconds
  const SESSION_LIVES = (30 * MINUTE) / SECOND;

  const QUEUE_EVENTS = 200;
  const QUEUE_LIVES = 7 * DAY; // the collector refuses what is older
  const BATCH_EVENTS = 50;
  const BATCH_CHARS = 20000; // at most 60 kB as UTF-8: browsers cap keepalive bodies at 64 kB
  const ANSWER_WITHIN = 20 * SECOND;
  const ORPHAN_AFTER = 30 * SECOND; // by then the tab that made an event has its answer or is gone
  const LONGEST_WAIT = 5 * MINUTE;

  // The modes. Undefined: nobody has said yet, events wait in memory.
  const GRANTED = "granted"; // cookies and storage
  const COOKIELESS = "cookieless"; // neither
  const DENIED = "denied"; // nothing is recorded
  const DROP = "drop"; // nothing is recorded, but page views are counted as refused

  const OFF = "trackr_off"; // in localStorage: one's own visits are not recorded

  const script = document.currentScript;
  const home = script?.src ? new URL("..", script.src).href : location.origin;
  const instances = {}; // account -> API: the same snippet twice on a page counts once

  const DEFAULTS = {
    account: "",
    serverUrl: home,
    trackPath: "/track",
    trackrClass: "track-it",
    sessionCookieName: "trackit_session",
    v_visitorCookieName: "trackit_v_visitor",
    visitorCookieName: "trackit_visitor",
    loadstartvariable: "trackrloadstart",
    tabIdPrefix: "trackit_tab_",
    trackTabs: true,
    allowAutomation: false,
  };

  const safely =
    (fn) =>
    (...args) => {
      try {
        return fn(...args);
      } catch {} // the page matters more than its statistics
    };

  // Storage may be forbidden, full or absent: every access is an attempt.
  const attempt = (fn) => safely(fn)();

  const on = (target, types, fn) => {
    for (const type of types.split(" ")) {
      target.addEventListener(type, safely(fn), { capture: true, passive: true });
    }
  };

  const later = (fn, ms) => setTimeout(safely(fn), ms);

  /** A version 4 UUID; crypto.randomUUID is missing on plain http pages. */
  const uuid = () =>
    "10000000-1000-4000-8000-100000000000".replace(/[018]/g, (digit) =>
      (digit ^ (crypto.getRandomValues(new Uint8Array(1))[0] & (15 >> (digit / 4)))).toString(16),
    );

  const now = () => performance.now(); // durations: the time of day may be set in between

  /** Whole milliseconds; undefined for what no page load can have taken. */
  const duration = (ms) => (ms >= 0 && ms < HOUR ? Math.round(ms) : undefined);

  const readCookie = (name) =>
    attempt(() => decodeURIComponent(`; ${document.cookie}`.split(`; ${name}=`)[1].split(";")[0]));

  const writeCookie = (name, value, seconds) =>
    attempt(() => {
      const secure = location.protocol === "https:" ? ";Secure" : "";
      document.cookie = `${name}=${encodeURIComponent(value)};path=/;max-age=${seconds};SameSite=Lax${secure}`;
    });

  /** Visits of a browser in which this was set are not recorded; also by #trackr-off and -on. */
  const optOut = (off) =>
    attempt(() => (off ? localStorage.setItem(OFF, 1) : localStorage.removeItem(OFF)));

  const plugged = {}; // address of a file -> promise of what it gave to Trackr.use
  let given;

  const load = (src) => {
    plugged[src] ||= new Promise((resolve) => {
      const file = document.createElement("script");
      file.src = src;
      file.onload = () => resolve(given); // runs right after the file, before any other
      document.head.append(file);
    });
    return plugged[src];
  };

  /** One property on this page: its page views, its presence, its methods. */
  const begin = (options, replay) => {
    const { account, tabIdPrefix, visitorCookieName } = options;
    const server = `${options.serverUrl}`.replace(/\/+$/, "");
    const prefix = `trackr_${account}_`;
    const WAIT = `${prefix}wait`; // Retry-After binds the next page and other tabs
    const LOST = `${prefix}lost`; // how many events were dropped since this was last reported
    const CONFIG = `${prefix}config`;
    const QUEUE = `${prefix}q`; // + time, tab and number: an entry each, so no tab overwrites another's

    let config;
    let mode;
    let limited; // the most that Do Not Track and Global Privacy Control allow
    let disk = {}; // localStorage where it may be used, else as long as the page
    let held = []; // events that wait for the mode
    let number = 1000; // of an event on this page: many have the same time, and keys are sorted
    const kept = {}; // ids of pages that may not set cookies
    let user; // undefined: as the cookie says; empty: logged out

    let page; // the page view that events belong to
    let arriving; // the page view that waits for its title
    let manual; // trackPageStart or trackPageEnd was called: routes are the author's
    let pageStarted;
    const pageWatchers = [];
    const leaveWatchers = [];

    const isRecording = () => mode === GRANTED || mode === COOKIELESS;

    // --- who

    /** The id in a cookie, made or renewed for `seconds`; undefined when the option is false. */
    const cookieId = (name, seconds) => {
      if (!name || mode !== GRANTED) return;
      const found = readCookie(name) || kept[name];
      const id = /^[\w-]{8,64}$/.test(found || "") ? found : uuid(); // the collector refuses long ones
      writeCookie(name, id, seconds);
      kept[name] = id;
      return id;
    };

    const visitor = () => cookieId(options.v_visitorCookieName, VISITOR_LIVES);

    const tab = () => {
      // A name that the page gave its window is left alone: links may aim at it.
      if (mode === GRANTED) {
        if (options.trackTabs && (!window.name || window.name.startsWith(tabIdPrefix))) {
          window.name ||= tabIdPrefix + uuid();
          return window.name.slice(tabIdPrefix.length);
        }
        kept.tab ||= attempt(() => sessionStorage[tabIdPrefix]);
      }
      kept.tab ||= uuid();
      if (mode === GRANTED) attempt(() => (sessionStorage[tabIdPrefix] = kept.tab));
      return kept.tab;
    };

    const saveUser = () => {
      if (mode === GRANTED && visitorCookieName && user !== undefined) {
        writeCookie(visitorCookieName, user, user ? VISITOR_LIVES : 0);
      }
    };

    const setUser = (id) => {
      user = `${id}`;
      saveUser();
    };

    // --- events

    const makeEvent = (name, more) => ({
      name,
      event_id: uuid(),
      time: Date.now(),
      user,
      ...page,
      screen: `${screen.width}x${screen.height}`,
      language: navigator.language,
      ...more,
    });

    // The fragment may carry tokens; it is sent only where it names the page.
    const address = (url) =>
      url && (config.capture.includes("hash_routes") ? url : url.split("#")[0]);

    /** The event with what may be said in this mode. */
    const complete = (event) => ({
      ...event,
      url: address(event.url),
      referrer: address(event.referrer),
      visitor: visitor(),
      session:
        event.name === "ping" && event.state !== "engaged" // an idle tab prolongs no session
          ? readCookie(options.sessionCookieName)
          : cookieId(options.sessionCookieName, SESSION_LIVES),
      tab: tab(),
      user: (event.user ?? (mode === GRANTED && readCookie(visitorCookieName))) || undefined,
      consent: config.mode === "required" ? mode : undefined,
    });

    /** Sends one request that outlives the page if it can; resolves to the answer. */
    const send = async (text) =>
      fetch(server + options.trackPath, {
        method: "POST",
        body: text,
        keepalive: text.length < BATCH_CHARS + 500,
        credentials: "omit",
        signal: AbortSignal.timeout?.(ANSWER_WITHIN),
      });

    const sendAlone = (event) =>
      send(JSON.stringify({ property: config.property, ...event })).catch(() => {});

    // Also what lies in the future is old: the clock was set, or somebody else wrote here.
    const age = (key) => Math.abs(Date.now() - key.slice(QUEUE.length).split("_")[0]);

    const keys = () =>
      Object.keys(disk)
        .filter((key) => key.startsWith(QUEUE))
        .sort();

    const add = (event) => {
      if (!mode) {
        if (held.length < QUEUE_EVENTS) held.push(event);
      } else if (isRecording()) {
        const key = `${QUEUE}${event.time}_${tab()}_${number++}`;
        const text = JSON.stringify(complete(event));
        try {
          disk[key] = text;
        } catch {
          disk = { [key]: text }; // full: what is stored already waits for the next page
        }
        const all = keys();
        all.forEach((each, i) => {
          if (i < all.length - QUEUE_EVENTS || age(each) > QUEUE_LIVES) {
            delete disk[each];
            disk[LOST] = Number(disk[LOST] || 0) + 1;
          }
        });
      } else if (mode === DROP && event.name === "pageview") {
        sendAlone({ name: event.name });
      }
    };

    const emit = (name, props, revenue) => {
      settle();
      // A copy: the page may go on to change the object; what is no JSON throws here.
      add(makeEvent(name, { props: props && JSON.parse(JSON.stringify(props)), revenue }));
    };

    // --- the way to the collector: one request at a time in all tabs

    const flying = new Set();
    let busy;
    let failures = 0;
    let notBefore = 0;
    let limit = BATCH_EVENTS;
    let retry;

    const waitLeft = () => {
      const left = Math.max(notBefore, disk[WAIT] || 0) - Date.now();
      return left > LONGEST_WAIT ? 0 : left; // the clock was set back
    };

    const patience = (answer) => {
      const told = answer?.headers.get("Retry-After") * SECOND || 0;
      const own = SECOND * 2 ** Math.min(failures++, 9) * (0.5 + Math.random() / 2);
      const ms = Math.min(LONGEST_WAIT, told + own);
      notBefore = Date.now() + ms;
      if (told) disk[WAIT] = notBefore;
      return ms;
    };

    const nextBatch = () => {
      let chars = 0;
      return keys()
        .filter(
          // Storage shows what another tab removed a moment late: its fresh events are its own.
          (key) => !flying.has(key) && (key.includes(tab()) || age(key) > ORPHAN_AFTER),
        )
        .slice(0, limit)
        .filter((key, i) => {
          chars += disk[key].length + 1;
          return !i || chars < BATCH_CHARS;
        });
    };

    /** True when the collector has answered for the batch, if only with refusals. */
    const ship = async (batch) => {
      let answer;
      const events = batch.map((key) => disk[key]);
      for (const key of batch) flying.add(key);
      try {
        answer = await send(
          `{"property":"${config.property}","sent_at":${Date.now()},"events":[${events}]}`,
        );
      } catch {}
      for (const key of batch) flying.delete(key);
      const status = answer?.status;
      if (batch[1] && (status === 400 || status === 413)) {
        limit = 1; // one event spoils the envelope: the others must not go down with it
      } else if (/^(202|4(?!29))/.test(status)) {
        for (const key of batch) delete disk[key];
        failures = 0;
        const count = Number(disk[LOST]);
        delete disk[LOST];
        if (count) add(makeEvent("events_lost", { props: { count } }));
      } else {
        later(flush, patience(answer));
        return;
      }
      return true;
    };

    const drain = async () => {
      let batch;
      do {
        batch = nextBatch();
      } while (batch[0] && (await ship(batch)));
      if (!batch[0]) limit = BATCH_EVENTS;
    };

    const flush = async () => {
      clearTimeout(retry);
      if (busy || !isRecording()) return; // the running one looks again before it ends
      const left = waitLeft();
      if (left > 0) {
        retry = later(flush, left);
        return;
      }
      busy = true;
      try {
        await navigator.locks.request(WAIT, drain); // one tab at a time
      } catch {
        await drain(); // no locks on plain http; a duplicate is dropped by the collector
      }
      busy = false;
    };

    /** All at once, while the page still runs. What gets no answer goes again from the next page. */
    const flushNow = () => {
      if (waitLeft() > 0) return;
      for (let batch = nextBatch(); batch[0]; batch = nextBatch()) ship(batch);
    };

    // --- presence and engagement: the clock runs from `since` while the state is engaged

    let state;
    let lastActive = now();
    let since;
    let engaged;
    let nextPing = 0;
    let heartbeat;
    let lowest; // furthest pixel shown
    let height = 1;
    let scrollSent;

    const ping = (next_ms) =>
      isRecording() && sendAlone(complete(makeEvent("ping", { state, next_ms })));

    const measure = () => {
      if (arriving) return; // still the scroll position of the page before
      height = Math.max(document.documentElement.scrollHeight, document.body?.scrollHeight || 1);
      lowest = Math.max(lowest, scrollY + innerHeight);
    };

    const runClock = () => {
      const time = now();
      if (state === "engaged") {
        engaged += Math.max(0, Math.min(time, lastActive + IDLE_AFTER) - since);
      }
      since = time;
      return time;
    };

    /** What was engaged and seen since the last such event, if it is worth one. */
    const emitEngagement = () => {
      if (!page) return;
      runClock();
      const scroll = Math.min(100, Math.round((100 * lowest) / height));
      if (engaged < ENGAGED_WORTH_SENDING && scroll <= scrollSent) return;
      add(makeEvent("engagement", { engaged_ms: Math.round(engaged), scroll }));
      engaged = 0;
      scrollSent = scroll;
    };

    /** Compares what is with what was said last; says it if it changed or if a ping is due. */
    const look = safely(() => {
      clearTimeout(heartbeat);
      measure();
      const time = runClock();
      const is =
        document.visibilityState === "hidden"
          ? "hidden"
          : document.hasFocus() && time < lastActive + IDLE_AFTER
            ? "engaged"
            : "visible";
      if (is !== state || time >= nextPing) {
        state = is;
        if (time - lastActive >= SILENT_AFTER) return;
        nextPing = time + PING_EVERY[is];
        ping(PING_EVERY[is]);
      }
      const change = is === "engaged" ? Math.min(nextPing, lastActive + IDLE_AFTER) : nextPing;
      heartbeat = setTimeout(look, Math.ceil(change - time));
    });

    const interact = () => {
      const time = now();
      if (state === "gone") return;
      if (state !== "engaged" || time >= lastActive + IDLE_AFTER) {
        look(); // ends the engagement before this one, where timers came late
        lastActive = time;
        look();
      }
      lastActive = time;
    };

    const lookAway = () => {
      if (state === "gone") return;
      look();
      if (state === "hidden") sayGoodbye();
      else if (!document.hasFocus()) {
        emitEngagement(); // else focus went into a frame or a field
        flush();
      }
    };

    const sayGoodbye = () => {
      for (const fn of leaveWatchers) fn();
      emitEngagement();
      flushNow();
    };

    // --- pages

    /** The page before is over, a new one begins; it is sent when its title can be known. */
    const arrive = (referrer) => {
      settle();
      emitEngagement();
      arriving = { url: location.href, referrer: referrer || undefined, time: Date.now() };
      engaged = lowest = 0;
      scrollSent = -1; // the first engagement of a page is always worth sending
    };

    const settle = () => {
      if (!arriving) return;
      const { time, load_ms, ...rest } = arriving;
      page = { ...rest, title: document.title || undefined };
      arriving = undefined;
      measure();
      add(makeEvent("pageview", { time, load_ms }));
      for (const fn of pageWatchers) fn();
    };

    const show = () => {
      settle();
      flush();
      look();
    };

    const routeChanged = (replaced) => {
      const shown = arriving || page;
      if (manual || address(location.href) === address(shown.url)) return; // no other page
      if (replaced && arriving && page) {
        arriving.url = location.href; // a redirect inside the application
        return;
      }
      arrive(shown.url);
      later(() => {
        settle();
        flush();
      }, TITLE_DELAY);
    };

    const watchHistory = (method) => {
      const original = history[method];
      history[method] = function (...args) {
        const result = original.apply(this, args);
        attempt(() => routeChanged(method === "replaceState"));
        return result;
      };
    };

    const loadTime = () => {
      const entry = performance.getEntriesByType("navigation")[0];
      return duration(
        entry?.domInteractive
          ? Math.max(0, entry.domInteractive - (entry.activationStart || 0))
          : Date.now() - window[options.loadstartvariable],
      );
    };

    const leave = () => {
      settle();
      measure();
      sayGoodbye();
      clearTimeout(heartbeat);
      state = "gone";
      ping(0);
    };

    const comeBack = ({ persisted }) => {
      if (!persisted) return;
      lastActive = now();
      arrive(); // from the back-forward cache: what stood in between is unknown
      show();
    };

    // --- the configuration, and what it allows

    const setMode = (next) => {
      mode = next === DENIED ? next : limited || next;
      if (mode === GRANTED) {
        disk = attempt(() => localStorage) || {};
        attempt(() => (disk[CONFIG] = JSON.stringify(config)));
      } else {
        for (const name of [
          options.v_visitorCookieName,
          options.sessionCookieName,
          visitorCookieName,
        ]) {
          if (readCookie(name)) writeCookie(name, "", 0);
        }
        attempt(() => {
          for (const key of Object.keys(localStorage)) {
            if (key.startsWith(prefix)) localStorage.removeItem(key);
          }
        });
        disk = {};
      }
      const waiting = held;
      held = [];
      waiting.forEach(add);
      saveUser(); // not before: they were made before somebody logged in
      state = undefined;
      look();
      flush();
    };

    const remembered = () => attempt(() => JSON.parse(localStorage[CONFIG]));

    const configure = async () => {
      try {
        const answer = await fetch(`${server}/js/${account}.json?host=${location.hostname}`, {
          credentials: "omit",
        });
        if (answer.status === 404) {
          mode = DENIED; // there is no such property
          return;
        }
        if (answer.ok) config = await answer.json();
      } catch {}
      config ||= remembered();
      if (config) follow();
      else later(configure, patience());
    };

    const follow = () => {
      const signal = navigator.globalPrivacyControl || navigator.doNotTrack === "1";
      limited = signal && config.signals !== "ignore" && config.signals;
      if (config.mode !== "required") setMode(config.mode);
      const t = {
        options,
        config,
        on,
        safely,
        attempt,
        emit,
        flush,
        page: () => page,
        kept,
        mode: () => mode,
        setMode,
        visitor,
        methods,
        onPage: (fn) => pageWatchers.push(safely(fn)),
        onLeave: (fn) => leaveWatchers.push(safely(fn)),
      };
      const plug = async (path) => {
        if (path) (await load(server + path))(t);
      };
      plug(config.vitals);
      plug(config.more).then(
        () => replay(),
        () => replay(),
      );
    };

    // --- what the author of the page may call

    const emitNow = (...args) => {
      emit(...args);
      flush();
    };

    const userCall = (name) => (id, data, signupDate) => {
      setUser(id);
      emitNow(name, { ...data, signupDate });
    };

    const methods = {
      __proto__: null,
      track: (name, props, revenue) => emitNow(`${name}`, props, revenue),
      trackPageStart() {
        manual = true;
        settle();
        emitEngagement();
        flush();
        pageStarted = now();
      },
      trackPageEnd() {
        manual = true;
        arrive((arriving || page).url);
        arriving.load_ms = duration(now() - pageStarted);
        pageStarted = undefined;
        show();
      },
      signupUser: userCall("signupUser"),
      loginUser: userCall("loginUser"),
      loginAndImportUser: userCall("importUser"),
      updateUser: (data) => emitNow("updateUser", data),
      logoutUser() {
        emitNow("logoutUser");
        setUser("");
      },
      optOut(off) {
        optOut(off);
        if (off) setMode(DENIED);
      },
    };

    arrive(document.referrer);
    on(window, "pagehide", leave);
    on(window, "pageshow", comeBack);
    on(window, "popstate hashchange", () => routeChanged());
    on(window, "focus scroll mousemove mousedown keydown touchstart", interact);
    on(window, "scroll load", measure);
    on(window, "blur", lookAway);
    on(document, "visibilitychange", lookAway);
    on(window, "online", () => {
      notBefore = 0;
      flush();
    });
    watchHistory("pushState");
    watchHistory("replaceState");
    const parsed = () => {
      arriving.load_ms = loadTime();
      lastActive = now(); // a page that opens in front of somebody is looked at
      show();
    };
    if (document.readyState === "loading") on(document, "DOMContentLoaded", parsed);
    else parsed();
    configure();
    return methods;
  };

  const NAMES =
    "track trackPageStart trackPageEnd signupUser loginUser loginAndImportUser updateUser logoutUser optOut convert interest interests variant shop consent notFound";

  /**
   * `new Trackr(options)`: starts tracking and returns the API, which is both an object of
   * methods and a function: trackr.track("signup") and trackr("track", "signup") are the same.
   */
  function Trackr(given) {
    const options = { ...DEFAULTS, ...given };
    const { account } = options;
    if (instances[account]) return instances[account];

    // What the page called before this script was here, and what waits for more.js.
    let waiting = Array.from(window.trackr?.q || []);
    let methods = { optOut };
    const call = safely((name, ...args) => {
      if (methods[name]) return methods[name](...args);
      waiting?.push([name, ...args]);
    });
    /** `left`: where calls of unknown names go, nowhere once more.js is there or will not come. */
    const replay = (left) => {
      const calls = waiting;
      waiting = left;
      for (const args of calls) call(...args);
    };
    const begins = safely(() => {
      methods = begin(options, replay);
      replay([]);
    });

    const automated = navigator.webdriver && !options.allowAutomation && !window.__trackrTest;
    if (location.hash === "#trackr-off") optOut(true);
    if (location.hash === "#trackr-on") optOut();
    if (
      !account ||
      automated ||
      !/^http/.test(location.protocol) ||
      attempt(() => localStorage[OFF])
    ) {
      waiting = undefined; // every call is taken and none does anything
    } else if (document.prerendering) {
      on(document, "prerenderingchange", begins); // rendered ahead: it may never be seen
    } else {
      begins();
    }

    const api = (...args) => call(...args);
    for (const name of NAMES.split(" ")) api[name] = (...args) => call(name, ...args);
    api.q = { push: (args) => call(...args) }; // for whoever kept the stub
    instances[account] = api;
    return api;
  }

  Trackr.use = (fn) => {
    given = fn;
  };

  // An element with this id would be found here, too.
  if (typeof window.Trackr !== "function") window.Trackr = Trackr;
  if (script?.dataset.property) {
    const { dataset } = script;
    const options = { account: dataset.property, serverUrl: dataset.host || home };
    for (const key of Object.keys(DEFAULTS)) {
      const value = dataset[key];
      if (value !== undefined) options[key] = value === "" || (value === "false" ? false : value);
    }
    window.trackr = new window.Trackr(options);
  }
})(window, document);
