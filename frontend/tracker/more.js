/**
 * more.js: what a property may switch on beyond page views, and the calls that go with it.
 *
 * In: the same page, and the instance of trackr.js that asked for this file (`use`, see there).
 * Out: events through `send` and `add`, methods in `methods`. Each part below stands for one switch of
 * the property (properties/capture.py); a switch that is off leaves no listener behind.
 * Everything listens passively on the document: nodes may come later, and nothing in the page is
 * delayed or prevented. One classic script that makes no global.
 */
((window, document) => {
  const HALF_LIFE = 30 * 24 * 3600 * 1000; // ms until an interest weighs half
  const MOST_INTERESTS = 50;
  const MOST_OF_A_PAGE = 200; // element events of one kind in one page view, but for these:
  const MOST = { mouseover: 50, shown: 100 };
  const HOVER_PAUSE = 3000; // ms between two mouseover events of one element
  const SOON = 500; // ms in which element events are gathered into one request
  const SHOWN_AFTER = 1000; // ms with half of it in view: the usual rule for advertisements
  const PARTS = [...Array(51).keys()].map((part) => part / 100); // at which the browser looks anew

  // Fields of which not even the focus is an event.
  const SECRET =
    "[type=password],[autocomplete*=password i],[autocomplete*=cc- i],[autocomplete*=one-time-code i]";

  const FILES =
    /\.(7z|apk|avi|bin|bz2|csv|deb|dmg|docx?|epub|exe|gz|ics|iso|jar|key|mkv|mobi|mov|mp[34]|mpe?g|msi|numbers|odp|ods|odt|ogg|pages|pdf|pkg|pps|pptx?|rar|rpm|rtf|tar|tgz|txt|wav|webm|wmv|xlsx?|xz|zip)$/i;

  // Of the data layer, which is made for others, only what e-commerce is.
  const SHOP_EVENTS =
    /^(view_(item(_list)?|cart|promotion)|select_(item|promotion)|add_to_(cart|wishlist)|add_(shipping|payment)_info|remove_from_cart|begin_checkout|purchase|refund)$/;
  const SHOP_FIELDS =
    /^(transaction_id|value|currency|tax|shipping(_tier)?|coupon|affiliation|customer_type|payment_type|item_list_(id|name)|promotion_(id|name)|creative_(name|slot)|items)$/;

  /** A number from 0 to 1 that is always the same for a text, and evenly spread over texts. */
  const lot = (text) => {
    let hash = 0;
    for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
  };

  /** The elements from the innermost outwards, through open shadow roots too. */
  const pathOf = (event) => event.composedPath().filter((each) => each.matches);

  const use = (
    options,
    account,
    config,
    on,
    safely,
    attempt,
    send,
    add,
    makeEvent,
    flush,
    mode,
    setMode,
    complete,
    methods,
    sendAlone,
    pageWatchers,
    leaveWatchers,
  ) => {
    const isOn = (name) => config.capture.includes(name);
    const isGranted = () => mode() === "granted";

    // What is remembered: in storage in mode granted, otherwise as long as the page. The core
    // erases what begins like this when a mode forbids it.
    let memory = {};
    const keyOf = (name) => `trackr_${account}_${name}`;
    const recall = (name) =>
      memory[name] || (isGranted() && attempt(() => JSON.parse(localStorage[keyOf(name)])));
    const remember = (name, value) => {
      memory[name] = value;
      if (!isGranted()) return;
      attempt(() => {
        localStorage[keyOf(name)] = JSON.stringify(value);
        delete memory[name];
      });
    };

    // --- elements: class and data-trackr-type, -label, -position

    if (isOn("elements") || isOn("shown")) {
      const named = CSS.escape(`${options.trackrClass || "track-it"}`.replace(/^\./, ""));
      const tracked = `.${named}[data-trackr-type][data-trackr-label][data-trackr-position]`;
      const secrets = new WeakSet(); // a password that was made readable is still one
      const hovered = new WeakMap();
      const keys = new Map(); // element -> key strokes since its last event
      let counts = {};
      let timer;
      pageWatchers.push(() => {
        counts = {};
      });

      const isSecret = (element) =>
        element.matches(SECRET) ? secrets.add(element) : secrets.has(element);

      /** The closest tracked element, unless the event is of a secret field. */
      const trackedOf = (event) => {
        const path = pathOf(event);
        return path.some(isSecret) ? undefined : path.find((each) => each.matches(tracked));
      };

      const tell = (event, element, count) => {
        counts[event] = (counts[event] || 0) + 1;
        if (counts[event] > (MOST[event] || MOST_OF_A_PAGE)) return;
        const { trackrType, trackrLabel, trackrPosition } = element.dataset;
        const props = { type: trackrType, label: trackrLabel, position: trackrPosition, count };
        // A name of its own: to be shown something is nothing that a visitor does.
        if (event === "shown") add(makeEvent("element_shown", { props }));
        else add(makeEvent("element", { props: { event, ...props } }));
        clearTimeout(timer);
        timer = setTimeout(flush, event === "click" ? 0 : SOON);
      };

      const tellKeys = (element) => {
        const count = keys.get(element);
        if (keys.delete(element)) tell("keys", element, count);
      };

      if (isOn("elements")) {
        on("click focus blur", (event) => {
          const element = trackedOf(event);
          if (!element) return;
          if (event.type === "blur") tellKeys(element);
          tell(event.type, element);
        });
        on("mouseover", (event) => {
          const element = trackedOf(event);
          if (!element || element.contains(event.relatedTarget)) return;
          const now = performance.now();
          if (hovered.get(element) > now - HOVER_PAUSE) return;
          hovered.set(element, now);
          tell("mouseover", element);
        });
        on("keydown", (event) => {
          const element = trackedOf(event);
          if (element && !event.repeat) keys.set(element, (keys.get(element) || 0) + 1);
        });
        leaveWatchers.push(() => {
          for (const element of keys.keys()) tellKeys(element);
        });
      }

      if (isOn("shown")) {
        const timers = new Map(); // of elements that are in view
        let told = {}; // by type, label and position: nodes are made anew for the same thing
        let due;

        const observer = new IntersectionObserver(
          safely((entries) => {
            for (const { target, intersectionRatio, intersectionRect } of entries) {
              // What is higher than two windows never shows half of itself, but fills half of one.
              const { height } = intersectionRect;
              if (!height || (intersectionRatio < 0.5 && height < innerHeight / 2)) {
                clearTimeout(timers.get(target));
                timers.delete(target);
              } else if (!timers.has(target)) {
                timers.set(
                  target,
                  setTimeout(() => tellShown(target), SHOWN_AFTER),
                );
              }
            }
          }),
          { threshold: PARTS },
        );

        const tellShown = safely((element) => {
          const { trackrType, trackrLabel, trackrPosition } = element.dataset;
          const key = JSON.stringify([trackrType, trackrLabel, trackrPosition]);
          if (!told[key]) tell("shown", element);
          told[key] = true;
        });

        const look = safely(() => {
          due = undefined;
          if (document.hidden) return;
          for (const element of document.querySelectorAll(tracked)) {
            if (!isSecret(element)) observer.observe(element);
          }
        });

        /** Nobody sees a hidden page: what is in view when it is back begins its second anew. */
        const begin = () => {
          observer.disconnect();
          timers.forEach(clearTimeout);
          timers.clear();
          look();
        };

        on("visibilitychange", begin);
        pageWatchers.push(() => {
          told = {};
          begin();
        });
        new MutationObserver(() => {
          if (!due) due = setTimeout(look, SOON);
        }).observe(document, { childList: true, subtree: true });
        begin();
      }
    }

    // --- links to other hosts and to files; one click is one event

    if (isOn("outbound") || isOn("downloads")) {
      on("click auxclick", (event) => {
        const link = pathOf(event).find((each) => each.matches("a[href],area[href]"));
        if (!link || event.button > 1) return; // 1: the middle button opens a tab
        const url = new URL(link.href.baseVal ?? link.href, document.baseURI);
        if (!/^http/.test(url.protocol)) return;
        url.username = url.password = url.hash = ""; // may be secrets
        const isFile = link.hasAttribute("download") || FILES.test(url.pathname);
        if (isFile && isOn("downloads")) send("download", { url: url.href });
        else if (url.hostname !== location.hostname && isOn("outbound")) {
          send("outbound", { url: url.href });
        }
      });
    }

    // --- forms: which one, never what was filled in

    if (isOn("forms")) {
      on("submit", ({ target }) => {
        const attribute = (name) => target.getAttribute(name); // form.id may be a field
        const action = () => new URL(attribute("action") || "", document.baseURI).pathname;
        send("form_submit", { form: attribute("id") || attribute("name") || action() });
      });
    }

    // --- pages that are not there, once each

    if (isOn("not_found")) {
      let told;
      methods.notFound = () => {
        if (told !== location.href) send("not_found");
        told = location.href;
      };
      const look = safely(() => {
        if (performance.getEntriesByType("navigation")[0].responseStatus === 404) {
          methods.notFound();
        }
      });
      if (document.readyState === "loading") on("DOMContentLoaded", look);
      else look();
    }

    // --- calls

    /** [{category, weight}], heaviest first, decayed to now. */
    const interests = () => {
      const { at, list } = recall("interests") || { list: [] };
      const left = Math.min(1, 2 ** ((at - Date.now()) / HALF_LIFE));
      return list.map(({ category, weight }) => ({ category, weight: weight * left }));
    };

    const arms = (experiment) => {
      const { experiments } = options;
      // An object in the first tracker's options, text in the attribute of the script.
      const told = (typeof experiments === "string" ? JSON.parse(experiments) : experiments)[
        experiment
      ];
      return Array.isArray(told) ? told.map((name) => [name, 1]) : Object.entries(told);
    };

    const draw = (all, text) => {
      let left = lot(text) * all.reduce((sum, [, weight]) => sum + weight, 0);
      for (const [name, weight] of all) {
        left -= weight;
        if (left < 0) return name;
      }
      return all[0][0];
    };

    const session = () => complete({}).session;

    const assign = (experiment) => {
      const all = arms(experiment);
      const { visitor } = complete({});
      // Without an id the next page would draw again: everybody gets the same, nothing is measured.
      if (!visitor) return all[0][0];
      const others = (recall("variants") || []).filter(([name]) => name !== experiment);
      const known = (recall("variants") || []).find(([name]) => name === experiment) || [];
      const isThere = all.some(([name]) => name === known[1]);
      const variant = isThere ? known[1] : draw(all, `${experiment}\n${visitor}`);
      if (!isThere || known[2] !== session()) send("exposure", { experiment, variant });
      remember("variants", [...others, [experiment, variant, session()]]);
      return variant;
    };

    if (isOn("calls")) {
      Object.assign(methods, {
        convert(goal, value) {
          const { amount = value, currency } = Object(value);
          const revenue =
            value == null ? undefined : { amount: `${+(+amount).toFixed(6)}`, currency };
          send("conversion", { goal: `${goal}` }, revenue);
        },
        interest(category, given = 1) {
          const weight = +given;
          if (!Number.isFinite(weight)) return;
          const list = interests();
          const own = list.find((each) => each.category === category);
          if (own) own.weight += weight;
          else list.push({ category, weight });
          list.sort((a, b) => b.weight - a.weight).splice(MOST_INTERESTS);
          remember("interests", { at: Date.now(), list });
          send("interest", { category, weight });
        },
        interests(callback) {
          const list = interests();
          if (callback) Promise.resolve(list).then(callback); // its errors are the page's own
          return list;
        },
        variant(experiment, callback) {
          const variant = attempt(() => assign(experiment));
          if (callback) Promise.resolve(variant).then(callback);
          return variant;
        },
        shop: (name, fields) => send(`${name}`, fields),
      });
    }

    // --- e-commerce that the page tells its data layer anyway

    if (isOn("data_layer")) {
      const read = safely((entry) => {
        // gtag("event", name, fields) pushes its arguments, tag managers push one object.
        const [name, fields] = entry.event
          ? [entry.event, entry.ecommerce]
          : [entry[0] === "event" && entry[1], entry[2]];
        if (!SHOP_EVENTS.test(name) || !(fields.items || fields.transaction_id)) return;
        const known = Object.entries(fields).filter(([field]) => SHOP_FIELDS.test(field));
        send(name, Object.fromEntries(known));
      });
      window.dataLayer ||= [];
      const layer = window.dataLayer;
      const { push } = layer;
      layer.push = function (...entries) {
        const result = push.apply(this, entries);
        entries.forEach(read);
        return result;
      };
      layer.forEach(read);
    }

    // --- page views of those whom signals hide: counted as refused, and nothing said of them

    const countDropped = () => {
      if (mode() === "drop") sendAlone({ name: "pageview" });
    };
    pageWatchers.push(countDropped);
    countDropped();

    // --- consent

    const CHOICE = `trackr_consent_${account}`;

    /** Nobody can agree to more than the property records. */
    const follow = (choice) => {
      if (choice !== "granted") memory = {};
      setMode(
        choice === "granted" && config.mode === "cookieless" ? config.mode : choice,
        config.mode === "required" ? { consent: choice } : undefined,
      );
      countDropped();
    };

    methods.consent = (choice) => {
      if (/^(granted|cookieless|denied)$/.test(choice)) {
        attempt(() => (localStorage[CHOICE] = choice));
        follow(choice);
      }
      return mode();
    };

    const remembered = attempt(() => localStorage[CHOICE]);
    if (remembered) follow(remembered);
  };

  window.Trackr.use = use;
})(window, document);
