/**
 * trackr.js: turns what happens in a page into events and brings them to the collector.
 *
 * In: the page (load, routes, visibility, interaction) and calls of its author (`trackr(...)`).
 * Out: POST {serverUrl}/track with batches and pings, or GET {serverUrl}/track/it for an account
 * slug. An event waits in localStorage until the collector has answered for it; a ping never
 * waits. Nothing here may throw into the page. One classic script, so it also works unbuilt.
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

  const script = document.currentScript;
  const instances = { __proto__: null }; // account -> API: the same snippet twice on a page counts once

  const DEFAULTS = {
    account: "",
    serverUrl: "",
    trackrClass: "track-it",
    sessionCookieName: "trackit_session",
    v_visitorCookieName: "trackit_v_visitor",
    visitorCookieName: "trackit_visitor",
    loadstartvariable: "trackrloadstart",
    tabIdPrefix: "trackit_tab_",
    trackTabs: true,
    allowAutomation: false,
  };

  const safely = (fn) =>
    function (...args) {
      try {
        return fn.apply(this, args);
      } catch {} // the page matters more than its statistics
    };

  const on = (target, types, fn) => {
    for (const type of types.split(" ")) {
      target.addEventListener(type, safely(fn), { capture: true, passive: true });
    }
  };

  // Storage may be forbidden, full or absent: every access is an attempt.
  const attempt = (fn) => {
    try {
      return fn();
    } catch {}
  };

  /** A version 4 UUID; crypto.randomUUID is missing on plain http pages. */
  const uuid = () => {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    bytes[6] = (bytes[6] & 15) | 64;
    bytes[8] = (bytes[8] & 63) | 128;
    const hex = Array.from(bytes, (byte) => (byte + 256).toString(16).slice(1)).join("");
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  };

  // Without the fragment: it may carry tokens, and the collector has no use for it.
  const here = () => location.origin + location.pathname + location.search;

  const readCookie = (name) =>
    attempt(() => {
      const found = document.cookie.split("; ").find((pair) => pair.startsWith(`${name}=`));
      return decodeURIComponent(found.slice(name.length + 1));
    });

  const writeCookie = (name, value, seconds) =>
    attempt(() => {
      const secure = location.protocol === "https:" ? ";Secure" : "";
      document.cookie = `${name}=${encodeURIComponent(value)};path=/;max-age=${seconds};SameSite=Lax${secure}`;
    });

  const kept = {}; // ids of pages that may not set cookies: as long as the page

  /** The id in a cookie, made or renewed for `seconds`; undefined when the option is false. */
  const cookieId = (name, seconds) => {
    if (!name) return;
    const found = readCookie(name) || kept[name];
    const id = /^[\w-]{8,64}$/.test(found || "") ? found : uuid(); // the collector refuses long ones
    writeCookie(name, id, seconds);
    kept[name] = readCookie(name) ? undefined : id;
    return id;
  };

  const tabId = (prefix, inWindowName) => {
    // A name that the page gave its window is left alone: links may aim at it.
    if (inWindowName && (!window.name || window.name.startsWith(prefix))) {
      window.name = window.name || prefix + uuid();
      return window.name.slice(prefix.length);
    }
    const key = `${prefix}id`;
    kept[key] = attempt(() => sessionStorage.getItem(key)) || kept[key] || uuid();
    attempt(() => sessionStorage.setItem(key, kept[key]));
    return kept[key];
  };

  /** What the author of the page wrote, over the defaults; own keys only, nothing inherited. */
  const optionsFrom = (given) => {
    const options = { __proto__: null, ...DEFAULTS };
    for (const key of Object.keys(given || {})) {
      if (given[key] !== undefined) options[key] = given[key];
    }
    options.account = `${options.account}`;
    options.tabIdPrefix = options.tabIdPrefix || "";
    const origin = script?.src ? new URL(script.src).origin : location.origin;
    options.serverUrl = `${options.serverUrl || origin}`.replace(/\/+$/, "");
    return options;
  };

  /** data-track-tabs="false" and so on; data-property and data-host are the usual short names. */
  const optionsOfScript = ({ dataset }) => {
    const given = { account: dataset.property, serverUrl: dataset.host };
    for (const key of Object.keys(DEFAULTS)) {
      const value = dataset[key];
      if (value !== undefined) given[key] = value === "" || (value === "false" ? false : value);
    }
    return given;
  };

  /** The wire of a property key: one JSON envelope as text/plain, which needs no preflight. */
  const jsonWire = ({ account, serverUrl }) => ({
    batch: BATCH_EVENTS,
    accepted: 202,
    ping: (event) => [`${serverUrl}/track`, JSON.stringify({ property: account, ...event })],
    request: (events) => [
      `${serverUrl}/track`,
      JSON.stringify({ property: account, events, sent_at: Date.now() }),
    ],
  });

  /** The wire of an account slug: one GET per event, with the names of the first trackr.js. */
  const pixelWire = ({ account, serverUrl }) => {
    const ping = (event) => {
      const { name, url, visitor, session, tab, user, screen, props, ...rest } = event;
      const type = { pageview: "pageloaded", engagement: "visitDuration" }[name] || name;
      const [width, height] = screen.split("x");
      const page = new URL(url);
      const fields = {
        trackr_event_type: `trackr_${type}_event`,
        trackr_page_loadtime: rest.load_ms,
        trackr_visit_time: rest.engaged_ms,
        config_account: account,
        config_screen_width: width,
        config_screen_height: height,
        config_cookies_session: session,
        config_cookies_v_visitor: visitor,
        config_cookies_visitor: user || "undefined",
        config_tab: tab,
        hostname: page.hostname,
        path: page.pathname,
        hash: "",
        ...rest,
      };
      for (const [key, value] of page.searchParams) fields[`args_${key}`] = value;
      for (const key of Object.keys(props || {})) fields[`props_${key}`] = props[key];
      for (const key of Object.keys(fields)) if (fields[key] === undefined) delete fields[key];
      return [`${serverUrl}/track/it?${new URLSearchParams(fields)}`];
    };
    return { batch: 1, accepted: 200, ping, request: ([event]) => ping(event) };
  };

  /** Sends one request that outlives the page if it can; resolves to the answer. */
  const send = ([url, body], leaving) => {
    if (leaving && body && !("keepalive" in Request.prototype)) {
      navigator.sendBeacon(url, body);
      return Promise.reject(); // a beacon has no answer: the events stay in the queue
    }
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), ANSWER_WITHIN);
    return fetch(url, {
      method: body ? "POST" : "GET",
      body,
      keepalive: !body || body.length <= BATCH_CHARS + 500,
      credentials: "omit",
      cache: "no-store",
      signal: abort.signal,
    }).finally(() => clearTimeout(timer));
  };

  /**
   * Events that the collector has not answered for. Each is a storage entry of its own, named by
   * time and id, so that two tabs never overwrite each other's list.
   */
  const makeQueue = (account) => {
    const prefix = `trackr_${account}_`;
    const memory = {}; // what storage would not take

    const read = (key) => attempt(() => JSON.parse(memory[key] || localStorage.getItem(key)));

    const drop = (key) => {
      delete memory[key];
      attempt(() => localStorage.removeItem(key));
    };

    const keys = () =>
      (attempt(() => Object.keys(localStorage)) || [])
        .filter((key) => key.startsWith(prefix))
        .concat(Object.keys(memory))
        .sort();

    const add = (event) => {
      const key = `${prefix}${event.time}_${event.event_id}`;
      const text = JSON.stringify(event); // throws here, if ever: nothing unsendable is queued
      try {
        localStorage.setItem(key, text);
      } catch {
        memory[key] = text;
      }
      const tooOld = prefix + (Date.now() - QUEUE_LIVES);
      const all = keys();
      all.forEach((each, i) => {
        if (each < tooOld || i < all.length - QUEUE_EVENTS) drop(each);
      });
    };

    return { add, keys, read, drop };
  };

  /**
   * Brings the queue to the collector: at most one request at a time in all tabs, until the
   * queue is empty or an answer asks for patience.
   */
  const makeTransport = (account, wire, queue, ownTab) => {
    const waitKey = `trackr-wait_${account}`; // Retry-After binds the next page and other tabs
    const flying = new Set();
    let busy = false;
    let failures = 0;
    let notBefore = 0;
    let limit = wire.batch;
    let timer;

    const waitLeft = (...alsoNotBefore) => {
      const told = Number(attempt(() => localStorage.getItem(waitKey)));
      const left = Math.max(told, ...alsoNotBefore) - Date.now();
      return left > LONGEST_WAIT ? 0 : left; // the clock was set back
    };

    const nextBatch = () => {
      const batch = { keys: [], events: [] };
      let chars = 0;
      for (const key of queue.keys()) {
        if (flying.has(key)) continue;
        const event = queue.read(key);
        if (!event?.url) {
          queue.drop(key); // somebody else wrote here: it would spoil the whole batch
          continue;
        }
        // Storage shows what another tab removed a moment late: its fresh events are its own.
        if (event.tab !== ownTab() && Date.now() - event.time < ORPHAN_AFTER) continue;
        chars += JSON.stringify(event).length + 1;
        if (batch.keys.length && chars > BATCH_CHARS) break;
        batch.keys.push(key);
        batch.events.push(event);
        if (batch.keys.length === limit) break;
      }
      if (batch.keys.length) return batch;
      limit = wire.batch;
    };

    const backOff = (retryAfter) => {
      const told = Number(retryAfter)
        ? retryAfter * SECOND
        : Math.max(0, Date.parse(retryAfter) - Date.now()) || 0;
      const own = SECOND * 2 ** Math.min(failures++, 9) * (0.5 + Math.random() / 2);
      notBefore = Date.now() + Math.min(LONGEST_WAIT, told + own);
      if (told) attempt(() => localStorage.setItem(waitKey, notBefore));
      flushLater();
    };

    /** True when the collector has answered for the batch, if only with refusals. */
    const ship = async ({ keys, events }, leaving) => {
      let answer;
      for (const key of keys) flying.add(key);
      try {
        answer = await send(wire.request(events), leaving);
      } catch {}
      for (const key of keys) flying.delete(key);
      const status = answer?.status;
      if (keys.length > 1 && (status === 400 || status === 413)) {
        limit = 1; // one event spoils the envelope: the others must not go down with it
        return true;
      }
      if (status === wire.accepted || (status >= 400 && status < 500 && status !== 429)) {
        keys.forEach(queue.drop);
        failures = 0;
        return true;
      }
      backOff(answer?.headers.get("Retry-After"));
    };

    const flushLater = () => {
      clearTimeout(timer);
      timer = setTimeout(flush, waitLeft(notBefore));
    };

    const drain = async () => {
      try {
        for (let batch = nextBatch(); batch && (await ship(batch)); ) batch = nextBatch();
      } catch {} // a page that replaced fetch by something else
      busy = false;
    };

    const flush = async () => {
      if (busy) return; // the running one looks again before it ends
      if (waitLeft(notBefore) > 0) return flushLater();
      busy = true;
      try {
        await navigator.locks.request(waitKey, drain); // one tab at a time
      } catch {
        await drain(); // no locks on plain http; a duplicate is dropped by the collector
      }
    };

    /** All at once, while the page still runs. What gets no answer goes again from the next page. */
    const flushNow = () => {
      if (waitLeft() > 0) return;
      for (let batch = nextBatch(); batch; batch = nextBatch()) ship(batch, true).catch(() => {});
    };

    on(window, "online", () => {
      notBefore = 0;
      flush();
    });

    const ping = (event) => send(wire.ping(event), event.state === "gone").catch(() => {});

    return { flush, flushNow, ping };
  };

  /** One property on this page: its page views, its presence, its methods. */
  const begin = (options) => {
    const queue = makeQueue(options.account);
    const wire = /^AK-/.test(options.account) ? jsonWire(options) : pixelWire(options);
    const ownTab = () => tabId(options.tabIdPrefix, options.trackTabs);
    const { flush, flushNow, ping } = makeTransport(options.account, wire, queue, ownTab);
    const now = () => performance.now(); // durations: the time of day may be set in between

    let page; // the page view that events belong to
    let arriving; // the page view that waits for its title
    let manual = false; // trackPageStart or trackPageEnd was called: routes are the author's
    let pageStarted;
    let user; // for pages without a cookie for it

    // Presence and engagement. The clock runs from `since` while the state is engaged.
    let state;
    let lastActive = now();
    let since = 0;
    let engaged = 0;
    let nextPing = 0;
    let heartbeat;
    let lowest = 0; // furthest pixel shown
    let height = 1;
    let scrollSent;

    const makeEvent = (name, more) => ({
      name,
      event_id: uuid(),
      time: Date.now(),
      visitor: cookieId(options.v_visitorCookieName, VISITOR_LIVES),
      session:
        name === "ping" && more.state !== "engaged" // an idle tab does not prolong a session
          ? readCookie(options.sessionCookieName)
          : cookieId(options.sessionCookieName, SESSION_LIVES),
      tab: ownTab(),
      user: readCookie(options.visitorCookieName) || user,
      url: page.url,
      referrer: page.referrer || undefined,
      title: page.title || undefined,
      screen: `${screen.width}x${screen.height}`,
      language: navigator.language,
      ...more,
    });

    const emit = (name, more) => {
      settle();
      queue.add(makeEvent(name, more));
    };

    /** Whole milliseconds; undefined for what no page load can have taken. */
    const duration = (ms) => (ms >= 0 && ms < HOUR ? Math.round(ms) : undefined);

    const loadTime = () => {
      const entry = performance.getEntriesByType("navigation")[0];
      return duration(
        entry?.domInteractive
          ? Math.max(0, entry.domInteractive - (entry.activationStart || 0))
          : Date.now() - window[options.loadstartvariable],
      );
    };

    // --- engagement

    const measure = () => {
      if (arriving || !page) return; // still the scroll position of the page before
      const root = document.documentElement;
      height = Math.max(root.scrollHeight, document.body?.scrollHeight || 0, 1);
      lowest = Math.max(lowest, window.scrollY + window.innerHeight);
    };

    const runClock = () => {
      if (state !== "engaged") return;
      const time = now();
      engaged += Math.max(0, Math.min(time, lastActive + IDLE_AFTER) - since);
      since = time;
    };

    /** What was engaged and seen since the last such event, if it is worth one. */
    const emitEngagement = () => {
      if (!page) return;
      runClock();
      const scroll = Math.min(100, Math.round((100 * lowest) / height));
      if (engaged < ENGAGED_WORTH_SENDING && scroll <= scrollSent) return;
      queue.add(makeEvent("engagement", { engaged_ms: Math.round(engaged), scroll }));
      engaged = 0;
      scrollSent = scroll;
    };

    /** Compares what is with what was said last; says it if it changed or if a ping is due. */
    const look = safely(() => {
      clearTimeout(heartbeat);
      measure();
      runClock();
      const time = now();
      const is =
        document.visibilityState === "hidden"
          ? "hidden"
          : document.hasFocus() && time < lastActive + IDLE_AFTER
            ? "engaged"
            : "visible";
      if (is === "engaged" && state !== is) since = time;
      if (is !== state || time >= nextPing) {
        state = is;
        if (time - lastActive >= SILENT_AFTER) return;
        nextPing = time + PING_EVERY[is];
        ping(makeEvent("ping", { state, next_ms: PING_EVERY[is] }));
      }
      const change = is === "engaged" ? Math.min(nextPing, lastActive + IDLE_AFTER) : nextPing;
      heartbeat = setTimeout(look, Math.ceil(change - time));
    });

    const interact = () => {
      const time = now();
      if (!page || state === "gone") return;
      if (state !== "engaged" || time >= lastActive + IDLE_AFTER) {
        look(); // ends the engagement before this one, where timers came late
        lastActive = time;
        look();
      }
      lastActive = time;
    };

    const lookAway = () => {
      if (!page || state === "gone") return;
      look();
      if (document.hasFocus() && state !== "hidden") return; // focus went into a frame or a field
      emitEngagement();
      if (state === "hidden") flushNow();
      else flush();
    };

    // --- pages

    /** The page before is over, a new one begins; it is sent when its title can be known. */
    const arrive = (referrer) => {
      settle();
      emitEngagement();
      arriving = { url: here(), referrer, time: Date.now(), load_ms: undefined };
      engaged = lowest = 0;
      scrollSent = -1; // the first engagement of a page is always worth sending
    };

    const settle = () => {
      if (!arriving) return;
      const { time, load_ms, ...rest } = arriving;
      page = { ...rest, title: document.title };
      arriving = undefined;
      measure();
      queue.add(makeEvent("pageview", { time, load_ms }));
    };

    const show = () => {
      settle();
      flush();
      look();
    };

    const routeChanged = (replaced) => {
      const shown = arriving || page;
      if (manual || here() === shown.url) return; // a fragment or a state is no page
      if (replaced && arriving && page) {
        arriving.url = here(); // a redirect inside the application
        return;
      }
      arrive(shown.url);
      setTimeout(
        safely(() => {
          settle();
          flush();
        }),
        TITLE_DELAY,
      );
    };

    const watchHistory = (method) => {
      const original = history[method];
      history[method] = function (...args) {
        const result = original.apply(this, args);
        safely(routeChanged)(method === "replaceState");
        return result;
      };
    };

    const leave = () => {
      settle();
      measure();
      emitEngagement();
      clearTimeout(heartbeat);
      state = "gone";
      ping(makeEvent("ping", { state, next_ms: 0 }));
      flushNow();
    };

    const comeBack = ({ persisted }) => {
      if (!persisted) return;
      lastActive = now();
      arrive(); // from the back-forward cache: what stood in between is unknown
      show();
    };

    const start = () => {
      on(window, "pagehide", leave);
      on(window, "pageshow", comeBack);
      on(window, "popstate", () => routeChanged());
      on(window, "focus scroll mousemove mousedown keydown touchstart", interact);
      on(window, "scroll load", measure);
      on(window, "blur", lookAway);
      on(document, "visibilitychange", lookAway);
      watchHistory("pushState");
      watchHistory("replaceState");
      const parsed = safely(() => {
        if (arriving) arriving.load_ms = loadTime();
        lastActive = now(); // a page that opens in front of somebody is looked at
        show();
      });
      if (document.readyState === "loading") on(document, "DOMContentLoaded", parsed);
      else parsed();
    };

    arrive(document.referrer);
    start();

    // --- what the author of the page may call

    return {
      track(name, props, revenue) {
        emit(`${name}`, { props, revenue });
        flush();
      },
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
      loginUser(id) {
        user = `${id}`;
        if (options.visitorCookieName) writeCookie(options.visitorCookieName, id, VISITOR_LIVES);
        emit("loginUser", { user });
        flush();
      },
      logoutUser() {
        emit("logoutUser");
        user = undefined;
        writeCookie(options.visitorCookieName, "", 0);
        flush();
      },
    };
  };

  const METHODS = ["track", "trackPageStart", "trackPageEnd", "loginUser", "logoutUser"];

  /**
   * `new Trackr(options)`: starts tracking and returns the API, which is both an object of
   * methods and a function: trackr.track("signup") and trackr("track", "signup") are the same.
   */
  function Trackr(given) {
    const options = optionsFrom(given);
    const { account } = options;
    if (instances[account]) return instances[account];

    const stub = window.trackr?.q; // what the page called before this script was here
    const waiting = Array.isArray(stub) ? [...stub] : [];
    let methods;
    const call = safely((name, ...args) => {
      if (!METHODS.includes(name)) return;
      if (methods) methods[name]?.(...args);
      else waiting.push([name, ...args]);
    });
    const begins = safely(() => {
      methods = begin(options);
      for (const args of waiting) call(...args);
    });

    const automated = navigator.webdriver && !options.allowAutomation && !window.__trackrTest;
    if (!account || automated || !/^http/.test(location.protocol)) {
      methods = {}; // every call is taken and none does anything
    } else if (document.prerendering) {
      on(document, "prerenderingchange", begins); // rendered ahead: it may never be seen
    } else {
      begins();
    }

    const api = (...args) => call(...args);
    for (const name of METHODS) api[name] = (...args) => call(name, ...args);
    api.q = { push: (args) => call(...args) }; // for whoever kept the stub
    instances[account] = api;
    return api;
  }

  // An element with this id would be found here, too.
  if (typeof window.Trackr !== "function") window.Trackr = Trackr;
  if (script?.dataset.property) window.trackr = new window.Trackr(optionsOfScript(script));
})(window, document);
