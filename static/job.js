// The page of a job: its tab's title and icon, a notification when it ends, and buttons that copy.
(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const SPIRAL = $("#swirl").getAttribute("d"); // the brand at the top of the page
  const MARKS = { completed: "✓", failed: "✗", cancelled: "⊘" };
  const COLOURS = { completed: "#3f9e5c", failed: "#d2453a", cancelled: "#8b7f72", running: "#f98a16", cancelling: "#8b7f72" };
  const EVERY = 1000; // ms between two looks of the tab
  const POLL = 5_000, POLL_IDLE = 30_000; // ms between two questions of a hidden tab, whose socket is closed
  let told = null; // what a hidden tab has heard

  function news() {
    const top = $("#top-of-job");
    if (!top) return null;
    if (told) return told;
    const bar = $("[data-bar]", top);
    return {
      state: top.dataset.state,
      value: bar?.hasAttribute("value") ? bar.value : null,
      reached: $("[data-reached]", top)?.textContent ?? "",
      more: $(".line", top)?.textContent.replace(/\s+/g, " ").trim() ?? "",
    };
  }

  const say = (text, own) => document.dispatchEvent(new CustomEvent("jalebi:say", { detail: { text, own } }));
  const over = (state) => state in MARKS;

  // The tab: the title, and a jalebi that fills up.
  let shown = "", at = 0, timer = 0;
  function soon() {
    timer ||= setTimeout(draw, Math.max(0, at + EVERY - performance.now()));
  }
  function draw() {
    timer = 0;
    const now = news();
    if (!now) return;
    at = performance.now();
    const mark = MARKS[now.state] ?? (now.state in COLOURS ? now.reached : "");
    const title = `${mark} ${$("#top-of-job").dataset.kind}`.trim() + " · Jalebi";
    if (document.title !== title) document.title = title;
    const part = now.state === "completed" || (now.value === null && now.state in COLOURS) ? 100 : Math.floor(now.value ?? 0);
    const look = `${COLOURS[now.state] ?? "#8b7f72"} ${over(now.state) && now.state !== "cancelled" ? 100 : part}`;
    if (look === shown) return;
    shown = look;
    icon(...look.split(" "));
  }
  function icon(colour, part) {
    const line = (stroke, dashes) =>
      `<path d="${SPIRAL}" fill="none" stroke="${stroke}" stroke-width="7" stroke-linecap="round" pathLength="100" ${dashes}/>`;
    const full = part > 0 ? line(colour, `stroke-dasharray="${part} 100"`) : "";
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64">${line("#8b7f7255", "")}${full}</svg>`;
    const link = $("link[rel=icon]");
    const next = link.cloneNode(); // some browsers look at a new element only
    next.href = `data:image/svg+xml,${encodeURIComponent(svg)}`;
    next.dataset.part = part;
    next.dataset.colour = colour;
    link.replaceWith(next);
  }

  // The notification: asked for on a click only, remembered for this tab.
  const key = () => `jalebi-notify-${$("#top-of-job")?.dataset.job}`;
  function watched(wish) {
    try {
      if (wish === true) sessionStorage.setItem(key(), "1");
      if (wish === false) sessionStorage.removeItem(key());
      return sessionStorage.getItem(key()) === "1";
    } catch {
      return false;
    }
  }
  function offer() {
    const button = $("#notify"), now = news();
    if (!button || !now) return;
    button.hidden = !("Notification" in window) || Notification.permission === "denied" || over(now.state);
    button.setAttribute("aria-pressed", watched());
  }
  function notify(now) {
    if (!now || !over(now.state) || !watched()) return;
    watched(false);
    const name = $("#top-of-job").dataset.kind;
    try {
      const note = new Notification(`${MARKS[now.state]} ${name}: ${now.state}`, { body: now.more, tag: key(), icon: $("link[rel=icon]").href });
      note.onclick = () => { focus(); note.close(); };
    } catch {
      say(`${name} is ${now.state}.`, true); // where only a service worker may notify
    }
  }
  async function choose() {
    if (watched()) watched(false);
    else if ((await Notification.requestPermission()) === "granted") watched(true);
    else say("The browser does not let this page notify you.", true);
    offer();
    notify(news()); // it may have ended while the browser asked
  }

  // A hidden tab has no socket: it asks, more often while a notification is wished for.
  let next = 0;
  function ask() {
    clearTimeout(next);
    const now = news();
    if (!document.hidden || !now || over(now.state)) return;
    next = setTimeout(poll, watched() ? POLL : POLL_IDLE);
  }
  async function poll() {
    try {
      const answer = await fetch($("#top-of-job").dataset.api);
      if (answer.status === 404) return;
      const job = answer.ok ? await answer.json() : null;
      if (job && document.hidden) heard(job);
    } catch {
      // the server is away; it is asked again
    }
    ask();
  }
  function heard(job) {
    const part = job.progress?.fraction ?? null;
    const value = part === null ? (job.progress || !job.started_at ? null : 0) : Math.floor(part * 100);
    told = { state: job.state, value, reached: part === null ? "" : `${value} %`, more: job.error?.message ?? "" };
    soon();
    notify(told);
  }

  async function copy(button) {
    const shown = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(shown.textContent);
    } catch { // not a secure context
      getSelection().selectAllChildren(shown);
      document.execCommand("copy");
    }
    say("Copied.", true);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("#notify, [data-copy]");
    if (button) button.id === "notify" ? choose() : copy(button);
  });
  document.addEventListener("visibilitychange", () => {
    ask();
    soon();
  });
  document.addEventListener("jalebi:bar", () => { told = null; soon(); });
  addEventListener("htmx:after:swap", () => { told = null; soon(); offer(); notify(news()); });

  if (news() && over(news().state)) watched(false);
  offer();
  ask();
  draw();
})();
