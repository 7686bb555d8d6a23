// What a page does by itself: times in the reader's zone, the look, and a log that follows its end.
(() => {
  const $ = (selector, root = document) => root.querySelector(selector);

  // Times: today's without the date, exact ones with tenths of a second; the whole of it is in the title.
  const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
  const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
  const exact = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 1 });
  const writeTimes = () => {
    const today = new Date().toDateString();
    for (const time of document.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      const format = time.hasAttribute("data-exact") ? exact : at.toDateString() === today ? clock : day;
      const text = format.format(at);
      if (time.textContent !== text) time.textContent = text;
    }
  };

  // The look: as the system, light, dark.
  const button = $("#theme");
  button.hidden = false;
  button.addEventListener("click", () => {
    const root = document.documentElement;
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const order = dark ? [undefined, "light", "dark"] : [undefined, "dark", "light"];
    const next = order[(order.indexOf(root.dataset.look) + 1) % order.length];
    if (next) root.dataset.look = next;
    else delete root.dataset.look;
    try {
      if (next) localStorage.setItem("jalebi-look", next);
      else localStorage.removeItem("jalebi-look");
    } catch {
      // it lasts for this page only
    }
  });

  // The log: it sticks to its end only while the reader is there, and keeps the newest lines.
  const MOST_LINES = 2000;
  let following = true;
  const toEnd = () => {
    const log = $("#log");
    if (!log || !following) return;
    for (let extra = log.children.length - MOST_LINES; extra > 0; extra--) log.firstElementChild.remove();
    log.scrollTop = log.scrollHeight;
  };
  document.addEventListener("scroll", (event) => {
    const log = event.target;
    if (log.id !== "log") return;
    following = log.scrollHeight - log.scrollTop - log.clientHeight < 24;
    $("#jump").hidden = following;
  }, true);
  document.addEventListener("click", (event) => {
    if (!event.target.closest("#jump")) return;
    following = true;
    toEnd();
  });

  addEventListener("htmx:after:swap", () => { writeTimes(); toEnd(); });
  writeTimes();
  toEnd();
})();
