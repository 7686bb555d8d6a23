// Runs before the page is painted: the reader's choices, kept in this browser, and the look, so that it does not flash.
(() => {
  const now = {}; // where there is no storage, a choice lasts for this page
  const CHOICES = { look: ["system", "light", "dark"], times: ["local", "utc", "relative"], keys: ["on", "off"] };

  function get(name) {
    let kept = now[name];
    try {
      kept = localStorage.getItem(`jalebi-${name}`) ?? kept;
    } catch {
      // no storage
    }
    return CHOICES[name].includes(kept) ? kept : CHOICES[name][0];
  }

  function set(name, value) {
    now[name] = value;
    try {
      if (value === CHOICES[name][0]) localStorage.removeItem(`jalebi-${name}`);
      else localStorage.setItem(`jalebi-${name}`, value);
    } catch {
      // no storage
    }
    if (name === "look") look();
    document.dispatchEvent(new CustomEvent("jalebi:choice", { detail: { name, value: get(name) } }));
  }

  function look() {
    const chosen = get("look"), root = document.documentElement;
    if (chosen === "system") delete root.dataset.look;
    else root.dataset.look = chosen;
  }

  addEventListener("storage", () => { look(); for (const name in CHOICES) set(name, get(name)); }); // chosen in another tab
  window.choices = { get, set };
  look();
})();
