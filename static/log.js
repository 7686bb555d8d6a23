// The log of a job: a window of some lines that follows the end while the reader is there, and fetches the rest as they scroll.
(() => {
  const MOST = 2000, ROOM = 250; // lines in the page, and how many of these are left to what comes next
  const NEAR = 300; // px from an end of the window at which more is fetched
  const FIXED = 2; // children of the log that stay: what an empty one says, and the link to earlier lines
  const $ = (selector, root = document) => root.querySelector(selector);
  let attached = true; // the window reaches the end of the log
  let following = true; // and so does the reader
  let below = 0; // the line after which lines are missing, where it does not reach the end
  let newest = 0, missed = 0, others = 0; // the last line heard of; lines since the reader left the end; those not wanted
  let busy = false, anew = false;

  const far = (log) => log.scrollHeight - log.scrollTop - log.clientHeight;
  const last = (log) => +([...log.querySelectorAll("[data-line]")].at(-1)?.dataset.line ?? 0);

  function address(place) {
    const { log, query } = $("#log-panel").dataset;
    const asked = new URLSearchParams(query);
    for (const [name, value] of Object.entries(place)) asked.set(name, value);
    return `${log}?${asked}`;
  }

  async function fetched(place) {
    if (busy) return null;
    busy = true;
    try {
      const answer = await fetch(address(place), { headers: { "Jalebi-Part": "lines" } });
      if (!answer.ok) return null;
      return new DOMParser().parseFromString(await answer.text(), "text/html").body.firstElementChild;
    } catch {
      return null; // the next scroll tries again
    } finally {
      busy = false;
    }
  }

  // What is above the window.
  function edge(before) {
    const link = $("#earlier");
    link.hidden = !before;
    link.dataset.before = before || "";
    if (before) link.firstElementChild.href = address({ before });
  }

  // The end of the window, after a range was put there.
  function ends(range) {
    attached = !range.dataset.later && newest <= +range.dataset.end; // lines that came meanwhile were not taken
    below = +(range.dataset.later || range.dataset.end);
  }

  function added(log) {
    // Whoever writes the times of the page hears this.
    log.dispatchEvent(new CustomEvent("htmx:after:swap", { bubbles: true, detail: {} }));
  }

  function trimTop(log, most = MOST) {
    const extra = log.childElementCount - FIXED - most;
    if (extra <= 0) return;
    const height = log.scrollHeight, top = log.scrollTop;
    for (const child of [...log.children].slice(FIXED, FIXED + extra)) child.remove();
    edge($("[data-line]", log)?.dataset.line);
    log.scrollTop = top - (height - log.scrollHeight);
  }

  function trimBottom(log) {
    if (log.childElementCount - FIXED <= MOST) return;
    for (const child of [...log.children].slice(FIXED + MOST)) child.remove();
    attached = following = false;
    below = last(log);
  }

  function toEnd(log) {
    trimTop(log);
    log.scrollTop = log.scrollHeight;
    // In a frame of its own nothing that is seen moves by it.
    if (log.childElementCount - FIXED > MOST - ROOM) requestAnimationFrame(() => setTimeout(makeRoom));
  }

  function makeRoom() {
    const log = $("#log");
    if (log && following) trimTop(log, MOST - ROOM);
  }

  function show() {
    $("#log .none").hidden = $("#log").childElementCount > FIXED;
    $("#jump").hidden = following;
    if (following) missed = 0;
    const count = $("#missed");
    count.hidden = !missed;
    count.textContent = missed ? `${missed.toLocaleString()} new` : "";
    const rest = others ? ` ${others.toLocaleString()} newer ${others === 1 ? "line does" : "lines do"} not match.` : "";
    if ($("#others")) $("#others").textContent = `Only lines that match are shown.${rest}`;
  }

  async function goEarlier() {
    const range = await fetched({ before: $("#earlier").dataset.before });
    const log = $("#log");
    if (!range || !log) return;
    const height = log.scrollHeight;
    edge(range.dataset.earlier);
    $("#earlier").after(...range.children);
    log.scrollTop += log.scrollHeight - height;
    trimBottom(log);
    added(log);
    near();
  }

  async function goLater() {
    const range = await fetched({ after: below });
    const log = $("#log");
    if (!range || !log) return;
    log.append(...range.children);
    ends(range);
    trimTop(log);
    added(log);
    near();
  }

  async function goTo(place) {
    const range = await fetched(place);
    const log = $("#log");
    if (!range || !log) return;
    for (const child of [...log.children].slice(FIXED)) child.remove();
    edge(range.dataset.earlier);
    log.append(...range.children);
    ends(range);
    added(log);
    show();
  }

  async function fill(gap) {
    const { after, before } = gap.dataset;
    const range = await fetched({ after, before });
    const log = $("#log");
    if (!range || !gap.isConnected) return;
    gap.before(...range.children);
    const reached = +range.dataset.later;
    if (!reached || reached >= before - 1) gap.remove();
    else {
      gap.dataset.after = reached;
      $("a", gap).href = address({ after: reached, before });
    }
    trimBottom(log);
    added(log);
    show();
  }

  function near() {
    const log = $("#log");
    if (!log || busy) return;
    if (!$("#earlier").hidden && log.scrollTop < NEAR) goEarlier();
    else if (!attached && far(log) < NEAR) goLater();
  }

  document.addEventListener("scroll", (event) => {
    const log = event.target;
    if (log.id !== "log") return;
    following = attached && far(log) < 24;
    show();
    near();
  }, true);

  document.addEventListener("click", async (event) => {
    const link = event.target.closest("#jump, #to-start, #earlier a, .gap a");
    const log = $("#log");
    if (!link || !log || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    if (link.closest(".gap")) return void fill(link.closest(".gap"));
    if (link.closest("#earlier")) return void goEarlier();
    if (link.id === "jump") {
      for (let tries = 0; !attached && tries < 5; tries++) await goTo({});
      following = true;
      toEnd(log);
    } else {
      if (!$("#earlier").hidden) await goTo({ after: 0 });
      following = false;
      log.scrollTop = 0;
    }
    show();
    log.focus({ preventScroll: true });
  });

  // Lines that come where the window does not end are counted, and fetched when the reader gets there.
  addEventListener("htmx:before:swap", (event) => {
    for (const { target, fragment } of event.detail.tasks) {
      const id = typeof target === "string" ? target.slice(1) : target?.id;
      anew ||= id === "main";
      if (id !== "log") continue;
      for (const mark of fragment.querySelectorAll("[data-others]")) {
        others += +mark.dataset.others;
        mark.remove();
      }
      const lines = fragment.querySelectorAll("[data-line]");
      newest = Math.max(newest, +([...lines].at(-1)?.dataset.line ?? 0));
      if (!following) missed += lines.length;
      if (!attached) for (const one of fragment.querySelectorAll("[data-line], .gap")) one.remove();
    }
  });

  addEventListener("htmx:after:swap", () => {
    const log = $("#log");
    if (!log) return;
    if (anew) begin(log);
    if (following) toEnd(log);
    else if (attached) trimBottom(log);
    show();
  });

  function begin(log) {
    anew = false;
    attached = following = true;
    newest = +log.dataset.end;
    missed = others = 0;
  }

  if ($("#log")) {
    begin($("#log"));
    toEnd($("#log"));
    show();
  }
})();
