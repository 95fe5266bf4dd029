// First steps: proposes the account's short name from its name, and the time zone of this browser.
// Never touches what was typed.
(() => {
  const slugField = document.querySelector("[data-slug-of]");
  const zoneField = document.querySelector("input[name=timezone]");

  const slug = (name) =>
    name
      .normalize("NFKD")
      .toLowerCase()
      .replace(/[\u0300-\u036f]/g, "")
      .replace(/[^a-z0-9]+/g, "-")
      .slice(0, 40)
      .replace(/^-+|-+$/g, "");

  if (slugField) {
    const name = document.getElementById(slugField.dataset.slugOf);
    let typed = slugField.value !== "" && slugField.value !== slug(name.value);
    slugField.addEventListener("input", () => {
      typed = slugField.value !== "";
    });
    name.addEventListener("input", () => {
      if (!typed) slugField.value = slug(name.value);
    });
  }

  if (zoneField && zoneField.value === zoneField.defaultValue && zoneField.value === "UTC") {
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if (zone) zoneField.value = zone;
  }
})();
