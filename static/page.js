// What every page does by itself: the look, what it says aloud, and the spiral that fills as its jobs advance.
(() => {
  const $ = (selector, root = document) => root.querySelector(selector);

  // The look: as the system, then the other one, then that of the system for good.
  const button = $("#theme");
  button.hidden = false;
  button.addEventListener("click", () => {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const order = dark ? ["system", "light", "dark"] : ["system", "dark", "light"];
    choices.set("look", order[(order.indexOf(choices.get("look")) + 1) % order.length]);
  });

  // One voice: what the reader did is said at once, everything else at most every five seconds, the newest of it.
  // Others use it by an event: jalebi:say with { text, own }.
  const QUIET = 5000;
  let spoke = -QUIET, pending = 0, next = "";
  function say(text, own) {
    if (own) return speak(text);
    next = text;
    pending ||= setTimeout(() => { pending = 0; speak(next); }, Math.max(0, spoke + QUIET - performance.now()));
  }
  function speak(text) {
    const region = $("#say");
    if (!region) return;
    spoke = performance.now();
    region.textContent = region.textContent === text ? `${text}\u00a0` : text; // the same again is to be heard again
  }
  document.addEventListener("jalebi:say", (event) => say(event.detail.text, event.detail.own));

  // A job that fails while the page is open is told; every other state is there to be read.
  let failed = 0;
  const failures = new MutationObserver((changes) => {
    const before = failed;
    for (const { target, oldValue } of changes) {
      const state = target.dataset.state;
      if (state === "failed" && oldValue !== "failed" && target.dataset.job) failed++;
    }
    if (failed > before) say(failed === 1 ? "A job on this page has failed." : `${failed} jobs on this page have failed.`);
  });
  failures.observe($("#main").parentElement, { subtree: true, attributeFilter: ["data-state"], attributeOldValue: true });

  // The spiral: the average of the running bars of the page; whole where none runs.
  const spiral = $("#spiral");
  let drawing = 0, drawn = 100;
  function draw() {
    drawing = 0;
    const bars = [...document.querySelectorAll(":is([data-state='running'], [data-state='cancelling']) progress[value]")];
    const sum = bars.reduce((all, bar) => all + bar.position, 0);
    const value = bars.length ? Math.max(2, Math.round((100 * sum) / bars.length)) : 100;
    if (value === drawn) return;
    drawn = value;
    spiral.setAttribute("stroke-dasharray", `${value} 200`);
  }
  const soon = () => { drawing ||= setTimeout(draw, 500); };
  document.addEventListener("jalebi:bar", soon);
  addEventListener("htmx:after:swap", soon);
  draw();

  // The page one is on is in sight, where the row of pages is wider than the screen.
  const here = $(".top nav [aria-current]"), nav = here?.closest("nav");
  if (here) nav.scrollLeft = here.offsetLeft - (nav.clientWidth - here.offsetWidth) / 2;

  const done = $("#done");
  if (done) setTimeout(() => say(done.textContent.trim(), true), 100); // a region that is filled as it appears is not read
})();
