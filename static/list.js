// The list of jobs: how many are selected, all of the page at once, and new jobs for those who listen. The rest works
// by itself, without a script.
(() => {
  const $ = (selector) => document.querySelector(selector);
  const picks = () => [...document.querySelectorAll(".pick")];
  const write = (element, text) => { if (element.textContent !== text) element.textContent = text; };
  const gone = new Set(); // selected, and no longer on the page: their rows were deleted
  let chosen = new Set();

  function count() {
    const here = new Set(picks().map((one) => one.value));
    const now = new Set(picks().filter((one) => one.checked).map((one) => one.value));
    for (const id of chosen) if (!here.has(id)) gone.add(id);
    for (const id of gone) if (here.has(id) || !now.size) gone.delete(id);
    chosen = now;
    const scope = $("#bulk [name=scope][type=checkbox]");
    if (!scope) return;
    if (!now.size) scope.checked = false; // the bar goes, and must not come back with it
    write($("[data-selected]"), scope.checked ? "Selected:" : `${now.size} selected${gone.size ? `, ${gone.size} gone` : ""}`);
    const all = $("#pick-all");
    all.checked = now.size > 0 && now.size === here.size;
    all.indeterminate = now.size > 0 && now.size < here.size;
  }
  // Also for what a swap has put there.
  function show() {
    const label = $(".pick-all");
    if (label) label.hidden = false;
    count();
    listen();
  }
  document.addEventListener("change", (event) => {
    if (event.target.id === "pick-all") for (const one of picks()) one.checked = event.target.checked;
    if (event.target.matches("#pick-all, .pick, #bulk [name=scope]")) count();
  });
  addEventListener("htmx:after:swap", show);

  // New jobs may come with every tick: they are said at most once in ten seconds, the newest number of them.
  const QUIET = 10_000;
  let said = -QUIET, pending = 0, pill = null;
  const news = new MutationObserver(() => {
    pending ||= setTimeout(tell, Math.max(0, said + QUIET - performance.now()));
  });
  function tell() {
    pending = 0;
    if (!pill || pill.hidden) return;
    said = performance.now();
    document.dispatchEvent(new CustomEvent("jalebi:say", { detail: { text: pill.textContent.split(" — ")[0] } }));
  }
  function listen() {
    if ($("#pill") === pill) return;
    pill = $("#pill");
    news.disconnect();
    if (pill) news.observe(pill, { childList: true, attributeFilter: ["hidden"] });
  }
  show();
})();
