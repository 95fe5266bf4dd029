// What htmx needs to know about the event inspector: pause, nothing asked for in a hidden tab, no
// list swapped away under a click. Without this file the page is a list with a link to look again.
(() => {
  htmx.config.scrollIntoViewOnBoost = false;

  const root = document.documentElement;
  const pause = document.querySelector("[data-pause]");
  let paused = false;
  let pressed = false;
  let newest; // request for the chosen event: the last click wins

  const isList = (event) => event.detail.elt?.id === "events";
  const isSelecting = () => {
    const selection = getSelection();
    const list = document.getElementById("events");
    return !selection.isCollapsed && list?.contains(selection.anchorNode);
  };

  if (pause) {
    pause.hidden = false;
    pause.addEventListener("click", () => {
      paused = !paused;
      pause.setAttribute("aria-pressed", String(paused));
      pause.textContent = paused ? "Go on" : "Pause";
      root.classList.toggle("is-paused", paused);
    });
  }

  addEventListener("pointerdown", () => {
    pressed = true;
  });
  for (const end of ["pointerup", "pointercancel"]) {
    // A click follows in the same task as pointerup at the earliest.
    addEventListener(end, () => setTimeout(() => (pressed = false)));
  }

  const isHeld = () => paused || pressed || document.hidden || isSelecting();

  document.addEventListener("htmx:beforeRequest", (event) => {
    if (isList(event) && isHeld()) event.preventDefault();
    else if (event.detail.target?.id === "event") newest = event.detail.xhr;
  });

  document.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr, target } = event.detail;
    if (target?.id !== "events" && target?.id !== "event") return;
    const expected = target.id === "event" ? 'id="chosen"' : 'id="events"';
    if (xhr.status === 200 && !xhr.responseText.includes(expected)) {
      // Signed out: go there instead of showing it inside this page.
      event.detail.shouldSwap = false;
      location.assign(xhr.responseURL);
    } else if (isList(event) ? isHeld() : xhr !== newest) {
      event.detail.shouldSwap = false; // pressed, or clicked again, while it was on its way
    }
  });

  document.addEventListener("htmx:afterRequest", (event) => {
    if (isList(event)) root.classList.toggle("is-stale", !event.detail.successful);
  });

  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target?.id !== "event") return;
    const chosen = document.getElementById("chosen")?.value;
    for (const row of document.querySelectorAll("#events tbody tr")) {
      const is = row.querySelector("a")?.id === `e-${chosen}`;
      if (is) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    }
  });
})();
