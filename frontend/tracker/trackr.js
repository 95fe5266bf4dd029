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
 * where the configuration names them and which plug in by setting `Trackr.use` (see there).
 * One classic script, so it also works unbuilt.
 */
((window, document, location) => {
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
  const BATCH_CHARS = 20000; // at most 60 kB as UTF-8: browsers cap keepalive bodies at 64 kB
  const ANSWER_WITHIN = 20 * SECOND;
  const ORPHAN_AFTER = 30 * SECOND; // by then the tab that made an event has its answer or is gone
  const LONGEST_WAIT = 5 * MINUTE;

  // The modes. Undefined: nobody has said yet, events wait in memory.
  const GRANTED = "granted"; // cookies and storage
  const COOKIELESS = "cookieless"; // neither
  const DENIED = "denied"; // nothing is recorded

  const script = document.currentScript;
  const instances = {}; // account -> API: the same snippet twice on a page counts once

  const home = (script?.src || "").split("/js/")[0]; // the collector of this file

  const safely =
    (fn) =>
    (...args) => {
      try {
        return fn(...args);
      } catch {} // the page matters more than its statistics
    };

  // Storage may be forbidden, full or absent: every access is an attempt.
  const attempt = (fn) => safely(fn)();

  const on = (types, fn) =>
    types.split(" ").map((type) => window.addEventListener(type, safely(fn), true));

  // Plain http pages have no randomUUID; the collector makes a UUID of any text.
  const newId = () => crypto.randomUUID?.() || `${Date.now()}-${Math.random()}`;

  const readCookie = (name) =>
    attempt(() => unescape(`; ${document.cookie}`.split(`; ${name}=`)[1].split(";")[0]));

  const writeCookie = (name, value, seconds) =>
    attempt(() => {
      if (name) {
        document.cookie = `${name}=${escape(value)};path=/;max-age=${seconds};SameSite=Lax${isSecureContext ? ";Secure" : ""}`;
      }
    });

  /**
   * `new Trackr(options)`: starts tracking and returns the API, which is both an object of
   * methods and a function: trackr.track("signup") and trackr("track", "signup") are the same.
   */
  function Trackr(given = {}) {
    const {
      property,
      account = property,
      host = home,
      serverUrl = host,
      trackPath = "/track",
      sessionCookieName = "trackit_session",
      v_visitorCookieName = "trackit_v_visitor",
      visitorCookieName = "trackit_visitor",
      loadstartvariable = "trackrloadstart",
      tabIdPrefix = "trackit_tab_",
      trackTabs = true,
      allowAutomation = false,
    } = given;
    if (instances[account]) return instances[account];

    const prefix = `trackr_${account}_`;
    const WAIT = `${prefix}w`; // Retry-After binds the next page and other tabs
    const LOST = `${prefix}l`; // how many events were dropped since this was last reported
    const CONFIG = `${prefix}c`;
    const QUEUE = `${prefix}q`; // + time, tab, number: an entry each, so tabs overwrite nothing

    let config;
    let mode;
    let said; // what more.js adds to every event: what the visitor agreed to
    let granted; // cookies and storage may be used in this mode
    let open; // events may be sent in this mode
    let disk = {}; // localStorage where it may be used, else as long as the page
    let held = []; // events that wait for the mode
    let number = 1000; // of an event on this page: many have the same time, and keys are sorted
    const kept = {}; // ids of pages that may not set cookies
    let tabId = newId();
    let user; // undefined: as the cookie says; empty: logged out

    let page; // the page view that events belong to
    let manual; // since when trackPageStart was called, if ever: routes are the author's then
    const pageWatchers = [];
    const leaveWatchers = [];

    // --- who

    /** The id in a cookie, made or renewed for `seconds`; undefined when the option is false. */
    const cookieId = (name, seconds) => {
      if (!granted || !name) return;
      const id = readCookie(name) || kept[name] || newId();
      writeCookie(name, id, seconds);
      if (!readCookie(name)) kept[name] = id;
      return id;
    };

    const setUser = (id) => {
      user = `${id}`;
      if (granted) writeCookie(visitorCookieName, user, user ? VISITOR_LIVES : 0);
    };

    // --- events

    const makeEvent = (name, more) => ({
      name,
      event_id: newId(),
      time: Date.now(),
      user,
      ...page,
      title: document.title,
      screen: `${screen.width}x${screen.height}`,
      language: navigator.language,
      ...more,
    });

    // The fragment may carry tokens; it is sent only where it names the page.
    const address = (url) => (/hash/.test(config?.capture) ? url : url?.split("#")[0]);

    /** The event with what may be said in this mode. */
    const complete = (event) => ({
      ...event,
      url: address(event.url),
      referrer: address(event.referrer),
      visitor: cookieId(v_visitorCookieName, VISITOR_LIVES),
      session: cookieId(sessionCookieName, SESSION_LIVES),
      tab: tabId,
      user: event.user ?? readCookie(visitorCookieName),
      ...said,
    });

    /** Sends one request that outlives the page if it can; resolves to the answer, if one comes. */
    const send = async (body) => {
      try {
        return await fetch(serverUrl + trackPath, {
          method: "POST",
          body,
          keepalive: body.length < BATCH_CHARS + 500,
          credentials: "omit",
          signal: AbortSignal.timeout?.(ANSWER_WITHIN),
        });
      } catch {}
    };

    const sendAlone = (event) => send(JSON.stringify({ property: config.property, ...event }));

    const age = (key) => Date.now() - parseInt(key.slice(QUEUE.length));

    const keys = (start = QUEUE) =>
      Object.keys(disk)
        .sort()
        .filter((key) => key.startsWith(start));

    const add = (event) => {
      // A copy: the page may go on to change what it gave.
      if (!mode) held[QUEUE_EVENTS] || held.push(JSON.parse(JSON.stringify(event)));
      if (!open) return;
      const key = `${QUEUE}${event.time}_${tabId}_${number++}`;
      const text = JSON.stringify(complete(event));
      try {
        disk[key] = text;
      } catch {
        disk = { [key]: text }; // full: what is stored already waits for the next page
      }
      keys().forEach((each, i, all) => {
        if (all[i + QUEUE_EVENTS] || age(each) > QUEUE_LIVES) {
          delete disk[each];
          disk[LOST] = ~~disk[LOST] + 1;
        }
      });
    };

    const emit = (name, props, revenue) => {
      settle();
      add(makeEvent(name, { props, revenue }));
      flush();
    };

    // --- the way to the collector: one request at a time in all tabs

    const flying = {};
    let failures = 0;

    /** Milliseconds until the collector may be asked again, if any; none when the clock was set back. */
    const waitLeft = () => {
      const left = disk[WAIT] - Date.now();
      if (left > 9 && left <= LONGEST_WAIT) return left; // timers come a little early
    };

    /** Waits after a failure: as long as was told, and twice as long each time, at random. */
    const backOff = (then, answer) => {
      const wait = Math.min(
        LONGEST_WAIT,
        (SECOND / 2) * (1 + Math.random()) * 2 ** failures++ +
          (answer?.headers.get("Retry-After") * SECOND || 0),
      );
      attempt(() => (disk[WAIT] = Date.now() + wait)); // no room in a storage that is full
      setTimeout(then, wait);
    };

    /** Sends a batch and, once the collector has answered for it, if only with refusals, others. */
    const drain = async () => {
      if (waitLeft()) return;
      let events = "";
      const batch = keys().filter((key) => {
        const fits =
          !flying[key] &&
          // Storage shows what another tab removed a moment late: its fresh events are its own.
          (key.includes(tabId) || age(key) > ORPHAN_AFTER) &&
          // What is longer goes by itself: only itself is lost if it is too long.
          (events && events.length + disk[key].length) < BATCH_CHARS;
        if (fits) {
          flying[key] = true;
          events += `,${disk[key]}`;
        }
        return fits;
      });
      if (!events) return;
      const answer = await send(
        `{"property":"${config.property}","sent_at":${Date.now()},"events":[${events.slice(1)}]}`,
      );
      const isFinal = /202|4(?!08|29)../.test(answer?.status);
      for (const key of batch) {
        delete flying[key];
        if (isFinal) delete disk[key];
      }
      if (isFinal) {
        failures = 0;
        const lost = ~~disk[LOST];
        delete disk[LOST];
        if (lost) add(makeEvent("events_lost", { props: { count: lost } }));
        return drain();
      }
      backOff(flush, answer);
    };

    // One tab at a time. Plain http has no locks; a duplicate is dropped by the collector.
    const flush = () => {
      if (open) attempt(() => navigator.locks.request(WAIT, drain).catch(drain)) || drain();
    };

    // --- presence and engagement: the clock runs from `since` while the state is engaged

    let state;
    let lastActive;
    let since;
    let engaged;
    let heartbeat;
    let lowest; // furthest pixel shown
    let scrollSent;

    const ping = (state, next_ms) =>
      open && sendAlone(complete(makeEvent("ping", { state, next_ms })));

    const measure = () => {
      lowest = Math.max(lowest, scrollY + innerHeight);
    };

    const runClock = () => {
      const time = performance.now(); // the time of day may be set in between
      if (state === "engaged") {
        engaged += Math.max(0, Math.min(time, lastActive + IDLE_AFTER) - since);
      }
      since = time;
    };

    /** What was engaged and seen since the last such event, if it is worth one. */
    const emitEngagement = () => {
      measure();
      runClock();
      const scroll = Math.min(100, (100 * lowest) / document.documentElement.scrollHeight);
      if (engaged >= ENGAGED_WORTH_SENDING || scroll > scrollSent) {
        add(makeEvent("engagement", { engaged_ms: engaged, scroll }));
        engaged = 0;
        scrollSent = scroll;
      }
    };

    /** Says what is, and when it will say so again. */
    const look = safely(() => {
      clearTimeout(heartbeat);
      runClock();
      state =
        document.hasFocus() && since < lastActive + IDLE_AFTER
          ? "engaged"
          : document.visibilityState;
      if (since < lastActive + SILENT_AFTER) {
        ping(state, PING_EVERY[state]);
        heartbeat = setTimeout(look, PING_EVERY[state]);
      }
    });

    const interact = () => {
      runClock(); // ends the engagement before this one, where timers came late
      lastActive = since;
      if (state !== "engaged") look();
    };

    const lookAway = () => {
      look();
      if (document.hidden) sayGoodbye();
      else if (!document.hasFocus()) {
        emitEngagement(); // else focus went into a frame or a field
        flush();
      }
    };

    /** While the page still runs. What gets no answer, or no room, goes from the next page. */
    const sayGoodbye = () => {
      settle();
      leaveWatchers.map(attempt);
      emitEngagement();
      drain();
    };

    // --- pages

    /** The page before is over, a new one begins. */
    const arrive = (referrer, load_ms) => {
      emitEngagement();
      page = { url: location.href, referrer };
      engaged = lowest = 0;
      scrollSent = -1; // the first engagement of a page is always worth sending
      add(makeEvent("pageview", { load_ms }));
      pageWatchers.map(attempt);
      flush();
    };

    /** Notices a new route; a change of the fragment or of the state is none. */
    const settle = () => {
      if (!manual && address(location.href) !== address(page.url)) arrive(page.url);
    };

    const routeChanged = safely(() => {
      emitEngagement(); // while the page before is still there to be measured
      setTimeout(safely(settle), TITLE_DELAY);
    });

    // --- the configuration, and what it allows

    const setMode = (next, told) => {
      said = told;
      mode =
        attempt(() => localStorage.trackr_off) ||
        (next !== DENIED &&
        (navigator.globalPrivacyControl || navigator.doNotTrack > 0) &&
        config.signals !== "ignore"
          ? config.signals
          : next);
      granted = mode === GRANTED;
      open = granted || mode === COOKIELESS;
      disk = attempt(() => localStorage) || {};
      if (granted) {
        if (trackTabs) {
          // A name that the page gave its window is left alone: links may aim at it.
          window.name ||= tabIdPrefix + tabId;
          tabId = window.name.split(tabIdPrefix)[1] || tabId;
        }
        attempt(() => (disk[CONFIG] = JSON.stringify(config)));
      } else {
        [v_visitorCookieName, sessionCookieName, visitorCookieName].map((name) =>
          writeCookie(name, "", 0),
        );
        keys(prefix).map((key) => delete disk[key]);
        disk = {};
      }
      held.map(add);
      held = [];
      user === undefined || setUser(user); // not before: they are older
      look();
      flush();
      setTimeout(flush, waitLeft()); // what the page before was told to wait
    };

    const configure = async () => {
      try {
        const answer = await fetch(`${serverUrl}/js/${account}.json?host=${location.hostname}`, {
          credentials: "omit",
        });
        if (answer.status === 404) return; // there is no such property
        if (answer.ok) config = await answer.json();
      } catch {}
      config ||= attempt(() => JSON.parse(localStorage[CONFIG]));
      if (!config) {
        backOff(configure);
        return;
      }
      // Who once chose less than everything (c..., d...) or nothing yet waits for more.js.
      const isLess = attempt(() => localStorage[`trackr_consent_${account}`] < "g");
      if (!isLess && !/req/.test(config.mode)) setMode(config.mode);
      for (const path of [config.more, config.vitals]) {
        attempt(() => {
          if (!path) return;
          const file = document.createElement("script");
          file.src = serverUrl + path;
          // Runs right after the file, which has set Trackr.use, before any other.
          file.onload = safely(() => {
            // By position: names would have to stand in both files.
            Trackr.use(
              given,
              account,
              config,
              on,
              safely,
              attempt,
              emit,
              add,
              makeEvent,
              flush,
              () => mode,
              setMode,
              complete,
              methods,
              sendAlone,
              pageWatchers,
              leaveWatchers,
            );
            replay();
          });
          document.head.append(file);
        });
      }
    };

    // --- what the author of the page may call

    const optOut = safely((off) => {
      localStorage.trackr_off = off ? DENIED : "";
      if (off) setMode(DENIED);
    });

    const userCall = (name) => (id, data, signupDate) => {
      setUser(id);
      emit(name, { ...data, signupDate });
    };

    const methods = {
      track: emit,
      trackPageStart() {
        emitEngagement();
        manual = since;
      },
      trackPageEnd() {
        runClock();
        arrive(page.url, since - manual);
        manual = {}; // no number: a page that ends again has no duration
      },
      signupUser: userCall("signupUser"),
      loginUser: userCall("loginUser"),
      loginAndImportUser: userCall("importUser"),
      updateUser: (data) => emit("updateUser", data),
      logoutUser() {
        emit("logoutUser");
        setUser("");
      },
      optOut,
    };

    // What was called before this script was here, and what waits for more.js.
    const waiting = attempt(() => [...window.trackr.q]) || [];

    const call = safely((name, ...args) => {
      if (methods[name] && (page || mode)) return methods[name](...args);
      waiting.push([name, ...args]);
    });

    const replay = () => waiting.splice(0).map((args) => call(...args));

    const start = () => {
      arrive(
        document.referrer,
        performance.timing.domInteractive - (window[loadstartvariable] || performance.timeOrigin),
      );
      interact(); // a page that opens in front of somebody is looked at
      on("pagehide", () => {
        sayGoodbye();
        ping("gone", 0);
        lastActive = -Infinity; // silence
      });
      on("pageshow", (event) => {
        if (!event.persisted) return;
        arrive(); // from the back-forward cache: what stood in between is unknown
        interact();
      });
      on("popstate hashchange", routeChanged);
      on("focus scroll pointermove pointerdown keydown", interact);
      on("scroll", measure);
      on("blur visibilitychange", lookAway);
      on("online", () => {
        delete disk[WAIT];
        flush();
      });
      for (const method of ["pushState", "replaceState"]) {
        const original = history[method];
        history[method] = (...args) => {
          original.apply(history, args);
          routeChanged();
        };
      }
      configure();
      replay();
    };

    // trackr.name(...) is trackr("name", ...), for whatever name: more.js may know it later.
    const api = new Proxy(call, {
      // Not "then": a promise may resolve to the API, which is none itself.
      get: (target, name) =>
        target[name] || (name !== "then" && ((...args) => call(name, ...args))),
    });
    call.q = { push: safely((args) => call(...args)) }; // for whoever kept the stub
    instances[account] = api;

    if (location.hash.startsWith("#trackr-o")) optOut(location.hash === "#trackr-off");
    if (
      (navigator.webdriver && allowAutomation === false) ||
      attempt(() => localStorage.trackr_off)
    ) {
      mode = DENIED; // every call is taken and none does anything
    } else if (document.prerendering) {
      on("prerenderingchange", start); // rendered ahead: it may never be seen
    } else if (document.readyState === "loading") {
      on("DOMContentLoaded", start); // before, not even the title is known
    } else {
      attempt(start);
    }
    return api;
  }

  // An element with this id is no tracker.
  if (!window.Trackr?.call) window.Trackr = Trackr;
  if (script?.dataset.property) {
    window.trackr = new window.Trackr({ host: home, ...script.dataset });
  }
})(window, document, location);
