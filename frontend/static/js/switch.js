// Tabs inside a card: without this file all panels stand below each other. Arrow keys move, as
// the ARIA pattern asks.
(() => {
  for (const box of document.querySelectorAll("[data-switch]")) {
    const tabs = [...box.querySelectorAll("[role=tab]")];
    const panel = (tab) => document.getElementById(tab.getAttribute("aria-controls"));

    const show = (chosen) => {
      for (const tab of tabs) {
        const is = tab === chosen;
        tab.setAttribute("aria-selected", String(is));
        tab.tabIndex = is ? 0 : -1;
        panel(tab).hidden = !is;
      }
    };

    for (const [index, tab] of tabs.entries()) {
      panel(tab).setAttribute("role", "tabpanel");
      tab.addEventListener("click", () => show(tab));
      tab.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!step) return;
        const next = tabs[(index + step + tabs.length) % tabs.length];
        show(next);
        next.focus();
      });
    }
    box.querySelector("[role=tablist]").hidden = false;
    box.classList.add("switched");
    show(tabs[0]);
  }
})();
