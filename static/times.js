// Times as the reader wants them: local, UTC, or how long ago. The whole of each is in its title, always.
(() => {
  const ZONE = { timeZone: "UTC" };
  const CLOCK = { timeStyle: "medium" };
  const DAY = { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" };
  const EXACT = { hour: "numeric", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 1 };
  const ROUND = { ...ZONE, hourCycle: "h23" };
  const format = (options) => new Intl.DateTimeFormat(undefined, options);
  const local = { clock: format(CLOCK), day: format(DAY), exact: format(EXACT) };
  const utc = { clock: format({ ...CLOCK, ...ROUND }), day: format({ ...DAY, ...ROUND }), exact: format({ ...EXACT, ...ROUND }) };
  const ago = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "narrow" });
  const STEPS = [[60, "second", 1], [3600, "minute", 60], [86_400, "hour", 3600], [Infinity, "day", 86_400]];
  const NAMES = { local: "Local", utc: "UTC", relative: "Ago" };
  const EVERY = 10_000; // ms between two looks at the relative times
  const written = new WeakMap(); // for each element, of which moment its text is

  function relative(at) {
    const seconds = (at - Date.now()) / 1000;
    if (Math.abs(seconds) < 10) return ago.format(0, "second");
    const [, unit, size] = STEPS.find(([below]) => Math.abs(seconds) < below);
    const step = unit === "second" ? 10 : 1; // it is looked at every ten seconds
    return ago.format(Math.trunc(seconds / size / step) * step, unit);
  }

  function text(time, mode) {
    const at = new Date(time.dateTime);
    const exact = time.hasAttribute("data-exact");
    if (mode === "relative" && !exact) return relative(at);
    const zone = mode === "utc" ? utc : local;
    const day = mode === "utc" ? (date) => date.toISOString().slice(0, 10) : (date) => date.toDateString();
    const today = day(at) === day(new Date());
    const shown = (exact ? zone.exact : today ? zone.clock : zone.day).format(at);
    return mode === "utc" ? `${shown} UTC` : shown;
  }

  // Most of what a swap leaves alone is left alone here too: a page may have some thousand times.
  function write(anew = false) {
    const mode = choices.get("times");
    for (const time of document.querySelectorAll("time[datetime]:not([data-since])")) {
      const known = written.get(time);
      if (!anew && known?.of === time.dateTime && known.text === time.textContent) continue;
      const shown = text(time, mode);
      if (time.textContent !== shown) time.textContent = shown;
      written.set(time, { of: time.dateTime, text: shown });
    }
  }

  // How long something has been going on. It stands still while the page does not know whether it still does.
  function run() {
    const since = document.querySelectorAll("time[data-since]");
    if (!since.length || document.querySelector("[data-live]")?.dataset.live !== "live") return;
    for (const time of since) {
      const seconds = Math.max(0, Math.floor((Date.now() - new Date(time.dateTime)) / 1000));
      const two = (value) => String(value).padStart(2, "0");
      const hours = Math.floor(seconds / 3600);
      const shown = `for ${hours ? `${hours}:` : ""}${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
      if (time.textContent !== shown) time.textContent = shown;
    }
  }

  const button = document.querySelector("#times");
  const name = () => { document.querySelector("#times-text").textContent = NAMES[choices.get("times")]; };
  button.hidden = false;
  button.addEventListener("click", () => {
    const order = Object.keys(NAMES);
    choices.set("times", order[(order.indexOf(choices.get("times")) + 1) % order.length]);
  });
  document.addEventListener("jalebi:choice", (event) => {
    if (event.detail.name !== "times") return;
    name();
    write(true);
  });
  addEventListener("htmx:after:swap", () => { write(); run(); });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) write(true); });
  setInterval(() => { if (!document.hidden && choices.get("times") === "relative") write(true); }, EVERY);
  setInterval(() => { if (!document.hidden) run(); }, 1000);
  name();
  write();
  run();
})();
