// What htmx needs to know about report pages. Without this file, and without htmx, every link and
// form is a plain page load; with it, #report is swapped in place and the address bar follows.
(() => {
  htmx.config.scrollIntoViewOnBoost = false;

  // Who is here now, and how many the filters let pass: parts that are asked for by themselves.
  const isLive = (event) => ["now", "count"].includes(event.detail.elt?.id);

  document.addEventListener("htmx:beforeRequest", (event) => {
    // Nobody looks at a hidden tab: do not ask for it.
    const waits = event.detail.elt?.matches("#first-event, #first-count");
    if ((isLive(event) || waits) && document.hidden) event.preventDefault();
  });

  document.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr } = event.detail;
    if (isLive(event) || xhr.status === 204) return; // 204: all is as it was
    if (!xhr.responseText.includes('id="report"')) {
      // Signed out, or another kind of page: go there instead of showing it inside this one.
      event.detail.shouldSwap = false;
      location.assign(xhr.responseURL);
    } else if (xhr.status === 400) {
      event.detail.shouldSwap = true; // the page says what is wrong and keeps what was typed
      event.detail.isError = false;
    }
  });

  // Whoever chose in a menu comes back to it. The builder of filters stays open (filters.js).
  let chosenIn = "";
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (isLive(event)) return;
    chosenIn = event.detail.elt?.closest?.("details.menu[id]:not(#filter-menu)")?.id ?? "";
  });

  document.addEventListener("htmx:afterSwap", (event) => {
    if (isLive(event)) {
      event.detail.elt.classList.remove("is-stale");
      return;
    }
    window.aktivatChart?.draw(); // the live page has a graph of its own
    // What had the focus is gone: go on from the top of the report, without moving the page.
    if (document.activeElement === document.body) {
      const menu = chosenIn && document.getElementById(chosenIn);
      const next = menu ? menu.querySelector("summary") : document.getElementById("report");
      next?.focus({ preventScroll: true });
    }
  });

  for (const failure of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) {
    document.addEventListener(failure, (event) => {
      if (isLive(event)) event.detail.elt.classList.add("is-stale");
    });
  }
})();
