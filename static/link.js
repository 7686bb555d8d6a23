// How the page's connection is: what the chip and the banner say, the pause, and what is done where WebSockets are blocked.
(() => {
  if (!live) return;
  const $ = (selector) => document.querySelector(selector);
  const { state } = live;
  const now = () => performance.now();
  const STALE = 10_000; // ms without a frame after which the page says that it may be wrong
  const DEAD = 12_500; // ms without a frame after which a socket is given up, whatever it says of itself
  const EVERY = 10_000; // ms between two fetches where there is no socket
  const TRIES = 3; // handshakes that failed before the first that went well
  const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
  let polling = false, polled = 0; // whether the page is fetched now and then; when that last went well

  // The state comes from one clock, the time since the last frame: a half-open connection fires no event.
  function look() {
    const quiet = now() - state.last;
    if (state.paused) return ["stale", "Paused"];
    if (state.up && quiet < 1.6 * state.beat) return ["live", "Live"];
    if (polling && polled && now() - polled < EVERY + 3000) return ["live", `Refreshing every ${EVERY / 1000} s`];
    if (quiet < STALE) return ["reconnecting", state.everUp ? "Reconnecting…" : "Connecting…"];
    return ["stale", "Not connected"];
  }

  function show() {
    const [name, text] = look(), chip = $("[data-live]");
    if ($("#chip-text").textContent !== text) $("#chip-text").textContent = text;
    if (chip.dataset.live === name && document.body.hasAttribute("data-paused") === state.paused) return;
    const back = state.everUp && name === "live" && chip.dataset.live !== "live";
    chip.dataset.live = name;
    document.body.toggleAttribute("data-paused", state.paused);
    document.body.toggleAttribute("data-old", name !== "live" && state.everUp && !state.paused);
    const banner = $("#banner");
    banner.hidden = name !== "stale" || state.paused;
    const since = clock.format(state.lastAt);
    banner.textContent = banner.hidden ? "" : `Not connected since ${since}; what you see may be out of date. Trying again…`;
    if (back) say(`Live again at ${clock.format(new Date())}`);
    document.dispatchEvent(new CustomEvent("jalebi:live", { detail: { state: name } }));
  }
  const say = (text, own = false) => document.dispatchEvent(new CustomEvent("jalebi:say", { detail: { text, own } }));

  function watch() {
    const quiet = now() - state.last;
    if (!document.hidden && !state.paused) {
      if (quiet > DEAD && now() - state.tried > DEAD) live.remount();
      if (!state.up && !polling && ((!state.everUp && state.tries > TRIES) || quiet > 2 * DEAD)) poll();
    }
    show();
  }

  // A handshake that is refused may say that the session is over: then the page's own address leads to the login and back.
  async function knock() {
    show();
    if (state.up || state.paused || state.tries < 2 || document.hidden) return;
    const answer = await fetch($("#help-link").href, { method: "HEAD", cache: "no-store" }).catch(() => null);
    if (answer?.status === 401) location.reload();
  }

  // No socket gets through, but requests may: the page is fetched now and then, and the socket goes on trying.
  async function poll() {
    polling = !state.up && !state.paused;
    if (!polling) return;
    if (!document.hidden && (await live.fetchAnew())) {
      polled = now();
      state.lastAt = new Date();
    }
    show();
    setTimeout(poll, EVERY);
  }

  const button = $("#pause");
  if (button) {
    button.hidden = false;
    button.addEventListener("click", () => {
      state.paused = !state.paused;
      button.setAttribute("aria-pressed", state.paused);
      if (state.paused) live.hangUp();
      else live.remount(); // what has happened since comes as it does after any cut
      if (!state.paused) state.last = now();
      say(state.paused ? "Paused: this page stays as it is." : "Live again.", true);
      show();
    });
  }
  document.addEventListener("jalebi:link", knock);

  document.addEventListener("click", async (event) => {
    const link = event.target.closest("#pill");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || link.href !== location.href) return;
    event.preventDefault();
    await live.refresh();
    scrollTo({ top: 0 });
    $("[data-list] a")?.focus({ preventScroll: true });
  });

  setInterval(watch, 500);
  show();
})();
