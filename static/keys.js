// Keys for those who like them, and the dialog that lists them. All of it can be reached by other means too.
(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const help = $("#help-link");
  if (!help) return; // the page of the login
  const root = help.getAttribute("href").replace(/\/help$/, "");
  const GO = { o: "/", j: "/jobs", k: "/kinds", q: "/queues", w: "/workers", s: "/schedules", e: "/errors", y: "/system" };
  const ROWS = "main :is(.job, tbody tr, .card, [data-row])";
  const LEAD = 1500; // ms in which the second key has to come
  let lead = 0;

  function rows() {
    return [...document.querySelectorAll(ROWS)].filter((row) => $("a[href]", row) && row.getClientRects().length);
  }

  function step(by) {
    const all = rows(), at = all.findIndex((row) => row.contains(document.activeElement));
    const to = all[at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, at + by))];
    if (to) $("a[href]", to).focus();
  }

  function search() {
    const field = $("main input[type=search]");
    if (!field) return void (location.href = `${root}/jobs#search`);
    field.focus();
    field.select();
  }

  const acts = {
    "/": search,
    j: () => step(1),
    k: () => step(-1),
    x: () => document.activeElement.closest(ROWS)?.querySelector("input[type=checkbox]")?.click(),
    p: () => $("#pause")?.click(),
    g: () => { lead = performance.now(); },
    "?": () => void open(),
  };

  const typing = (target) => target.closest?.("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]");
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || event.defaultPrevented || event.repeat && !"jk".includes(event.key)) return;
    if (choices.get("keys") === "off" || typing(event.target) || $("dialog[open]")) return;
    const after = performance.now() - lead < LEAD && lead;
    lead = 0;
    if (after && GO[event.key]) {
      event.preventDefault();
      location.href = root + GO[event.key];
    } else if (Object.hasOwn(acts, event.key)) {
      event.preventDefault();
      acts[event.key]();
    }
  });

  // The help, from its own page; where that does not come, the link leads there.
  const dialog = document.createElement("dialog");
  dialog.className = "help-dialog";
  dialog.setAttribute("aria-labelledby", "help-title");
  async function open() {
    if ($("main #help")) return $("#help-title").focus();
    if (!dialog.firstChild) {
      const content = await fetch(help.href, { headers: { "HX-Request": "true" } })
        .then((answer) => (answer.ok && !answer.redirected ? answer.text() : ""), () => "");
      const found = new DOMParser().parseFromString(content, "text/html").querySelector("#help");
      if (!found) return void (location.href = help.href);
      const close = document.createElement("button");
      close.type = "button";
      close.textContent = "Close";
      close.addEventListener("click", () => dialog.close());
      $(".head", found).append(close);
      dialog.replaceChildren(found);
      document.body.append(dialog);
    }
    ready();
    if (!dialog.open) dialog.showModal();
    $("#help-title").focus();
  }
  help.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    open();
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  // The browser leads back by itself to what had the focus; whoever moved on since then is left alone.
  dialog.addEventListener("close", () => {
    const now = document.activeElement;
    if (!now || now === document.body || dialog.contains(now)) help.focus();
  });

  // The reader's settings, on the help page and in the dialog.
  function ready() {
    for (const part of document.querySelectorAll("[data-scripted]")) part.hidden = false;
    for (const input of document.querySelectorAll("[data-choice]")) input.checked = choices.get(input.dataset.choice) === input.value;
  }
  document.addEventListener("change", (event) => {
    const name = event.target.dataset?.choice;
    if (name) choices.set(name, event.target.value);
  });
  document.addEventListener("jalebi:choice", ready);
  ready();
  if (location.hash === "#search") search();
})();
