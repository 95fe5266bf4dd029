/**
 * vitals.js: how fast a page felt, in its own optional file (the switch `vitals`).
 *
 * In: the measurements of the library web-vitals, which build.mjs bundles with this module into
 * dist/js/vitals.js, and the instance of trackr.js that asked for the file. Out: one event
 * `web_vitals` a page load, when the page is first left or hidden: whole
 * milliseconds, and the layout shift with four decimals. What was not measured is not in it.
 * A return from the back-forward cache is a load of its own; a route is none.
 */

import { onCLS, onFCP, onINP, onLCP, onTTFB } from "web-vitals";

window.Trackr.use = (...given) => {
  const [, , , on, safely, attempt, , add, makeEvent] = given;
  const leaveWatchers = given.at(-1);

  // The page that was loaded: by the time it is left, a route may have changed the address.
  const { url, referrer, title } = makeEvent("");
  let measured = {};
  let isSent = false;

  const take = safely(({ name, value }) => {
    const unit = name === "CLS" ? 1e4 : 1;
    measured[name.toLowerCase()] = Math.round(value * unit) / unit;
  });
  for (const watch of [onTTFB, onFCP, onLCP, onCLS, onINP]) {
    // All changes: when the page is left it is too late to ask for the last one.
    attempt(() => watch(take, { reportAllChanges: true }));
  }

  leaveWatchers.push(() => {
    if (isSent || !Object.keys(measured).length) return;
    isSent = true;
    add(makeEvent("web_vitals", { url, referrer, title, props: measured }));
  });
  on("pageshow", ({ persisted }) => {
    if (!persisted) return;
    measured = {};
    isSent = false;
  });
};
