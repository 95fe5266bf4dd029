// Swagger UI has a dark look of its own, behind a class: on when the reader chose dark, or leaves it
// to a system that is dark. Loaded after theme.js, before anything is painted.
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");

  function apply() {
    const theme = root.dataset.theme || (system.matches ? "dark" : "light");
    root.classList.toggle("dark-mode", theme === "dark");
  }

  apply();
  system.addEventListener("change", apply);
})();
