// The list of jobs: how many are selected, and all of the page at once. The rest works by itself, without a script.
(() => {
  const $ = (selector) => document.querySelector(selector);
  const picks = () => [...document.querySelectorAll(".pick")];
  const gone = new Set(); // selected, and no longer on the page: their rows were deleted
  let chosen = new Set();

  function count() {
    const now = new Set(picks().filter((one) => one.checked).map((one) => one.value));
    const here = new Set(picks().map((one) => one.value));
    for (const id of chosen) if (!here.has(id)) gone.add(id);
    chosen = now;
    const text = $("[data-selected]");
    if (!text) return;
    const said = `${now.size} selected${gone.size ? `, ${gone.size} gone` : ""}`;
    if (text.textContent !== said) text.textContent = said;
    const all = $("#pick-all");
    all.checked = now.size > 0 && now.size === here.size;
    all.indeterminate = now.size > 0 && now.size < here.size;
  }
  function show() {
    const label = $(".pick-all");
    if (label) label.hidden = false;
    count();
  }
  document.addEventListener("change", (event) => {
    if (event.target.id === "pick-all") for (const one of picks()) one.checked = event.target.checked;
    if (event.target.matches("#pick-all, .pick")) count();
  });
  addEventListener("htmx:after:swap", show);
  show();
})();
