// The filter builder of the bar: offers values while somebody types, and keeps the panel open when a
// link or the form inside it shows another view. Without this file it is a plain form.
(() => {
  const PROPS = "props:";
  const OF_VISITORS = ["event", "page"]; // what "visitor has done" can be asked of
  const NAMED = ["goal", "segment"]; // these are compared as a whole
  const $ = (id) => document.getElementById(id);

  const dimension = () => {
    const chosen = $("filter-dimension").value;
    return chosen === PROPS ? PROPS + $("filter-prop").value.trim() : chosen;
  };

  const offer = (list, pairs) => {
    list.replaceChildren(
      ...pairs.map(([value, label]) => {
        const option = document.createElement("option");
        option.value = value;
        if (label) option.label = label;
        return option;
      }),
    );
  };

  const allowed = (name, operator) => {
    if (NAMED.includes(name)) return ["is", "is_not"].includes(operator);
    return OF_VISITORS.includes(name) || !operator.startsWith("has_");
  };

  const showOperators = () => {
    const select = $("filter-operator");
    const name = dimension();
    for (const option of select.options) {
      option.hidden = option.disabled = !allowed(name, option.value);
    }
    if (select.selectedOptions[0]?.disabled) select.value = "is";
  };

  let asked = 0;
  const showValues = async () => {
    const form = $("filter-form");
    const list = $("filter-values");
    const name = dimension();
    const mine = ++asked;
    const names = JSON.parse($("filter-names").textContent)[name];
    if (names) return offer(list, names);
    if (!form.dataset.values || name === PROPS) return offer(list, []);
    const query = new URLSearchParams({ range: form.dataset.range, limit: 20 });
    if ($("filter-value").value) query.set("search", $("filter-value").value);
    const url = `${form.dataset.values}/${encodeURIComponent(name)}/values?${query}`;
    try {
      const answer = await fetch(url, { headers: { Accept: "application/json" } });
      const body = answer.ok ? await answer.json() : { values: [] };
      // Somebody who typed on meanwhile has asked again.
      if (mine === asked)
        offer(
          $("filter-values"),
          body.values.map((each) => [each.value]),
        );
    } catch {
      // No connection: the field takes what is typed all the same.
    }
  };

  const showProps = async () => {
    const form = $("filter-form");
    if (!form.dataset.values || $("filter-props").options.length) return;
    const query = new URLSearchParams({ range: form.dataset.range });
    try {
      const answer = await fetch(`${form.dataset.values}?${query}`);
      const { properties } = answer.ok ? await answer.json() : { properties: [] };
      offer(
        $("filter-props"),
        properties.map((each) => [each.name.slice(PROPS.length)]),
      );
    } catch {
      // As above.
    }
  };

  let waiting;
  const soon = () => {
    clearTimeout(waiting);
    waiting = setTimeout(showValues, 200);
  };

  document.addEventListener("input", ({ target }) => {
    if (target.id === "filter-value") soon();
  });

  document.addEventListener("change", ({ target }) => {
    if (!["filter-dimension", "filter-prop"].includes(target.id)) return;
    showOperators();
    if (dimension() === PROPS) showProps();
    soon();
  });

  document.addEventListener("focusin", ({ target }) => {
    if (target.id === "filter-value") soon();
    if (target.id === "filter-prop") showProps();
  });

  // `toggle` does not bubble.
  document.addEventListener(
    "toggle",
    ({ target }) => {
      if (target.id === "filter-menu" && target.open) showOperators();
    },
    true,
  );

  let stays = false;
  document.addEventListener("htmx:beforeSwap", ({ detail }) => {
    const from = detail.requestConfig?.elt;
    if (from && from.id !== "count" && from.id !== "now") {
      stays = $("filter-menu")?.contains(from) ?? false;
    }
  });

  document.addEventListener("htmx:afterSwap", ({ detail }) => {
    if (!stays || ["count", "now"].includes(detail.elt?.id)) return;
    stays = false;
    const menu = $("filter-menu");
    if (!menu) return;
    menu.open = true;
    $("filter-value").focus({ preventScroll: true });
  });
})();
