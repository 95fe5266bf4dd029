// Light, dark or as the system says. Loaded in the head and not deferred, so that the choice is
// applied before anything is painted. The choice stays in this browser (localStorage "theme").
(() => {
  const CHOICES = ["auto", "light", "dark"];

  function chosen() {
    const { fixedTheme, theme } = document.documentElement.dataset;
    if (fixedTheme !== undefined) return theme; // the page says so, as on a wall
    try {
      const theme = localStorage.getItem("theme");
      return CHOICES.includes(theme) ? theme : "auto";
    } catch {
      return "auto"; // storage is forbidden: follow the system
    }
  }

  function choose(theme) {
    try {
      localStorage.setItem("theme", theme);
    } catch {
      // Then it holds for this page only.
    }
    apply(theme);
    // Charts draw on canvas and must read the colours again.
    document.dispatchEvent(new CustomEvent("themechange", { detail: theme }));
  }

  function apply(theme) {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    for (const button of document.querySelectorAll("[data-theme-switch] button")) {
      button.setAttribute("aria-pressed", String(button.value === theme));
    }
  }

  apply(chosen());
  document.addEventListener("DOMContentLoaded", () => {
    for (const group of document.querySelectorAll("[data-theme-switch]")) {
      group.hidden = false;
      group.addEventListener("click", (event) => {
        const button = event.target.closest("button");
        if (button) choose(button.value);
      });
    }
    apply(chosen());
  });
})();
