// The page's WebSocket on top of hx-ws, which swaps the HTML that comes: here are the resume cursor, the bars, and flow
// control. It must run before htmx starts (when the page is parsed), or misses its first event. link.js, beside it, says
// how the connection is.
const live = (() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const now = () => performance.now();
  const state = { up: false, everUp: false, paused: false, beat: 5000, last: now(), lastAt: new Date(), tried: now(), tries: 0 };
  if (!$("#live")) return null; // the page of the login
  let connection = null, fetching = false, fetched = -Infinity, filling = 0;
  const list = { since: $("#main").dataset.after, new: 0 }; // the cursor of what was fetched; how many jobs are new to it

  // Ends the socket for good, whatever it says of itself: hx-ws has no close(), but aborting makes it inert.
  function hangUp() {
    state.up = false;
    clearTimeout(connection?.timer);
    connection?.abortController?.abort();
    connection?.socket?.close();
  }

  // Connects anew, by a new owner element.
  function remount() {
    if (state.paused) return;
    state.tried = now();
    hangUp();
    const owner = $("#live"), next = owner.cloneNode();
    next.removeAttribute("data-htmx-powered");
    owner.replaceWith(next);
    htmx.process(next);
  }

  // Fetches what the page shows anew; true where that went well. A session that is over leads to the login (HX-Redirect).
  async function fetchAnew(address = location.href) {
    if (fetching) return false;
    fetching = true;
    let well = false;
    const note = (event) => { well ||= event.detail.ctx?.response?.status < 500; };
    addEventListener("htmx:after:request", note);
    try {
      await htmx.ajax("GET", address, { target: "#main", select: "#main", swap: "outerMorph" });
    } catch {
      await new Promise((done) => setTimeout(done, 1000)); // the server is gone again; the socket will tell
    }
    removeEventListener("htmx:after:request", note);
    [fetching, fetched] = [false, now()];
    if (well) Object.assign(list, { since: $("#main").dataset.after, new: 0 });
    return well;
  }

  // The same, and lets the socket go on from there.
  const refresh = (address) => fetchAnew(address).then(remount);

  const tell = () => document.dispatchEvent(new CustomEvent("jalebi:link"));
  addEventListener("htmx:ws:before:connection", (event) => { connection = event.detail.connection; state.tried = now(); state.tries++; });
  addEventListener("htmx:ws:after:connection", (event) => {
    const rows = {};
    for (const row of document.querySelectorAll("main [data-job][data-v]")) rows[row.dataset.job] = +row.dataset.v;
    const line = +([...document.querySelectorAll("[data-line]")].at(-1)?.dataset.line ?? 0);
    const trouble = $("#trouble").textContent.trim();
    event.detail.connection.socket.send(JSON.stringify({ after: $("#main").dataset.after, rows, line, trouble, ...list }));
  });
  addEventListener("htmx:ws:close", (event) => {
    state.up = false;
    tell();
    // After these hx-ws does not try again.
    const code = event.detail.code;
    if (code === 1000 || code === 1008 || code >= 4000) setTimeout(() => state.up || fetching || remount(), 2000);
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return;
    state.last = now();
    clearTimeout(connection?.timer); // hx-ws connects at once, and would again
  });
  addEventListener("pageshow", (event) => event.persisted && location.reload());

  addEventListener("htmx:ws:before:message:incoming", (event) => {
    if (state.paused) return event.preventDefault(); // what was on its way when the reader paused
    const message = JSON.parse(event.detail.message.data);
    state.last = now();
    state.lastAt = new Date();
    if (message.k === "html") return; // htmx swaps it
    event.preventDefault();
    if (message.k === "hello") { state.beat = message.beat * 1000; state.up = state.everUp = true; state.tries = 0; tell(); }
    if (message.k === "bars") bars(message);
    if (message.k === "new") pill(message);
    if (message.k === "resync") refresh();
  });
  // The cursor moves on only once its fragments are in the page.
  addEventListener("htmx:ws:after:message:incoming", (event) => {
    const message = JSON.parse(event.detail.message.data);
    if (message.k !== "html") return;
    if (message.cursor) $("#main").dataset.after = message.cursor;
    seen(message.f);
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
  function seen(number) {
    frame = Math.max(frame, number);
    painting ||= requestAnimationFrame(paint);
  }
  function bars(message) {
    for (const bar of message.bars) waiting.set(bar[0], bar);
    seen(message.f);
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
      document.dispatchEvent(new CustomEvent("jalebi:bar", { detail: { id, value, reached } }));
    }
    waiting.clear();
    if (connection?.socket?.readyState === 1) connection.socket.send(JSON.stringify({ seen: frame }));
  }
  const write = (element, text) => { if (element && element.textContent !== text) element.textContent = text; };

  // Jobs that are new to the list: it does not move under the reader; an empty list shows them at once, now and then.
  function pill({ n, more, f }) {
    seen(f);
    list.new = n;
    const fill = () => { filling = 0; if ($("[data-empty]")) refresh(); };
    if ($("[data-empty]") && n) return void (filling ||= setTimeout(fill, Math.max(0, fetched + 3000 - now())));
    const link = $("#pill");
    if (!link) return;
    link.hidden = !n;
    link.textContent = `${n}${more ? "+" : ""} new ${n === 1 && !more ? "job" : "jobs"} — show`;
  }
  return { state, hangUp, remount, refresh, fetchAnew };
})();
