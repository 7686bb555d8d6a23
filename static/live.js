// The page's WebSocket on top of hx-ws, which swaps the HTML that comes: here are the resume cursor, bars, flow control,
// and the state of the connection. It must run before htmx starts (when the page is parsed), or misses its first event.
(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  if (!$("#live")) return; // the page of the login
  const now = () => performance.now();
  const STALE = 10_000; // ms without a frame after which the page says that it may be wrong
  const DEAD = 12_500; // ms without a frame after which a socket is given up, whatever it says of itself
  const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
  let connection = null;
  let up = false, everUp = false, last = now(), lastAt = new Date(); // hello came: on this socket, on any; the last frame
  let beat = 5000, tried = now(), fetching = false;

  // The state comes from one clock, the time since the last frame: a half-open connection fires no event.
  function show() {
    const quiet = now() - last;
    const state = up && quiet < 1.6 * beat ? "live" : quiet < STALE ? "reconnecting" : "stale";
    const chip = $("[data-live]");
    const text = { live: "Live", reconnecting: everUp ? "Reconnecting…" : "Connecting…", stale: "Not connected" }[state];
    if ($("#chip-text").textContent !== text) $("#chip-text").textContent = text;
    if (chip.dataset.live === state) return;
    const back = everUp && state === "live" && chip.dataset.live !== "live";
    chip.dataset.live = state;
    document.body.toggleAttribute("data-old", state !== "live" && everUp);
    const banner = $("#banner");
    banner.hidden = state !== "stale";
    const since = clock.format(lastAt);
    banner.textContent = banner.hidden ? "" : `Not connected since ${since}; what you see may be out of date. Trying again…`;
    if (back) $("#say").textContent = `Live again at ${clock.format(new Date())}`;
  }

  function watch() {
    if (!document.hidden && now() - last > DEAD && now() - tried > DEAD) remount();
    show();
  }

  // hx-ws has no reconnect(): aborting makes a dead socket inert, a new owner element connects anew.
  function remount() {
    tried = now();
    up = false;
    const owner = $("#live"), next = owner.cloneNode();
    next.removeAttribute("data-htmx-powered");
    clearTimeout(connection?.timer);
    connection?.abortController?.abort();
    connection?.socket?.close();
    owner.replaceWith(next);
    htmx.process(next);
  }

  // Fetches what the page shows anew, and lets the socket go on from there.
  async function refresh(address = location.href) {
    if (fetching) return;
    fetching = true;
    try {
      await htmx.ajax("GET", address, { target: "#main", select: "#main", swap: "outerMorph" });
    } catch {
      await new Promise((done) => setTimeout(done, 1000)); // the server is gone again; the socket will tell
    }
    fetching = false;
    remount();
  }

  addEventListener("htmx:ws:before:connection", (event) => { connection = event.detail.connection; tried = now(); });
  addEventListener("htmx:ws:after:connection", (event) => {
    const rows = {};
    for (const row of document.querySelectorAll("main [data-job][data-v]")) rows[row.dataset.job] = +row.dataset.v;
    const line = +([...document.querySelectorAll("[data-line]")].at(-1)?.dataset.line ?? 0);
    const trouble = $("#trouble").textContent.trim();
    event.detail.connection.socket.send(JSON.stringify({ after: $("#main").dataset.after, rows, line, trouble }));
  });
  addEventListener("htmx:ws:close", (event) => {
    up = false;
    show();
    // After these hx-ws does not try again.
    const code = event.detail.code;
    if (code === 1000 || code === 1008 || code >= 4000) setTimeout(() => up || fetching || remount(), 2000);
  });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) last = now(); });
  addEventListener("pageshow", (event) => event.persisted && location.reload());

  addEventListener("htmx:ws:before:message:incoming", (event) => {
    const message = JSON.parse(event.detail.message.data);
    last = now();
    lastAt = new Date();
    if (message.cursor) $("#main").dataset.after = message.cursor;
    if (message.k === "html") return; // htmx swaps it
    event.preventDefault();
    if (message.k === "hello") { beat = message.beat * 1000; up = everUp = true; show(); }
    if (message.k === "bars") bars(message);
    if (message.k === "new") pill(message.n);
    if (message.k === "resync") refresh();
  });

  // An older fragment never takes the place of a newer one, and no line of a log comes twice.
  addEventListener("htmx:before:swap", (event) => {
    const tasks = event.detail.tasks;
    for (let i = tasks.length - 1; i >= 0; i--) {
      const fresh = tasks[i].fragment?.firstElementChild;
      const shown = typeof tasks[i].target === "string" ? $(tasks[i].target) : tasks[i].target;
      if (fresh?.id && fresh.id === shown?.id && +fresh.dataset.v < +shown.dataset.v) tasks.splice(i, 1);
      if (shown?.id !== "log") continue;
      const end = +(shown.querySelector("[data-line]:last-child")?.dataset.line ?? 0);
      for (const line of fresh.querySelectorAll("[data-line]")) if (+line.dataset.line <= end) line.remove();
    }
  });

  // Bars: the newest value of each is kept until the next frame is painted; then the server may send more.
  const waiting = new Map();
  let frame = 0, painting = 0;
  function bars(message) {
    frame = message.f;
    for (const bar of message.bars) waiting.set(bar[0], bar);
    painting ||= requestAnimationFrame(paint);
  }
  function paint() {
    painting = 0;
    for (const [id, seq, value, reached, note, stalled] of waiting.values()) {
      const row = document.getElementById(`job-${id}`) ?? $(`#top-of-job[data-job="${id}"]`);
      const bar = row && $("[data-bar]", row);
      if (!bar || +row.dataset.v > seq) continue; // of an attempt that is over
      if (value === null) bar.removeAttribute("value");
      else bar.value = value;
      write($("[data-reached]", row), reached);
      write($("[data-note]", row), note);
      if (row.hasAttribute("data-stalled") !== stalled) row.toggleAttribute("data-stalled", stalled);
    }
    waiting.clear();
    if (connection?.socket?.readyState === 1) connection.socket.send(JSON.stringify({ seen: frame }));
  }
  const write = (element, text) => { if (element && element.textContent !== text) element.textContent = text; };

  // Jobs that are new to the list: it does not move under the reader; an empty list shows them at once.
  function pill(count) {
    if ($("[data-empty]") && count) return void refresh();
    const link = $("#pill");
    if (!link) return;
    link.hidden = !count;
    link.textContent = `${count} new ${count === 1 ? "job" : "jobs"} — show`;
  }
  document.addEventListener("click", async (event) => {
    const link = event.target.closest("#pill");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || link.href !== location.href) return;
    event.preventDefault();
    await refresh();
    scrollTo({ top: 0 });
    $("[data-list] a")?.focus({ preventScroll: true });
  });

  setInterval(watch, 500);
  show();
})();
