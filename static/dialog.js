// A question that a page of its own would ask is asked in a dialog: the same page, fetched; without scripts it is just that.
(() => {
  let dialog = null, behind = [];

  // What is behind is out of reach for everybody, from the click on and until the answer.
  function hide() {
    reveal();
    behind = [...document.body.children].filter((one) => !one.hasAttribute("aria-hidden") && one.tagName !== "DIALOG");
    for (const one of behind) one.setAttribute("aria-hidden", "true");
  }
  function reveal() {
    for (const one of behind) one.removeAttribute("aria-hidden");
    behind = [];
  }

  function open(section, opener) {
    const before = dialog;
    dialog = document.createElement("dialog");
    dialog.className = "question";
    dialog.setAttribute("aria-labelledby", "question-title");
    section.querySelector("h1")?.setAttribute("id", "question-title");
    dialog.append(section);
    document.body.append(dialog);
    const own = dialog;
    own.addEventListener("close", () => {
      own.remove();
      if (dialog !== own) return;
      reveal();
      // The event comes after the keys that follow an Escape: whoever moved on since then is left alone.
      if (!document.activeElement || document.activeElement === document.body) opener?.focus();
    });
    before?.remove();
    own.showModal();
    own.querySelector("[data-close]")?.focus(); // whoever goes on typing answers nothing by it
  }

  document.addEventListener("submit", async (event) => {
    const form = event.target, button = event.submitter;
    if (form.getAttribute("method") !== "get" || !form.matches("[data-dialog], dialog form")) return;
    event.preventDefault();
    const address = new URL(form.getAttribute("action"), location); // form.action may be a button of that name
    address.search = new URLSearchParams(new FormData(form, button));
    if (!form.closest("dialog")) hide();
    try {
      const answer = await fetch(address, { headers: { accept: "text/html" } });
      const section = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("#main > section");
      if (section && !answer.redirected) return open(section, button);
    } catch {
      // the page itself will say what is wrong
    }
    location.assign(address);
  });
  document.addEventListener("click", (event) => {
    if (!event.target.closest("dialog.question [data-close]")) return;
    event.preventDefault();
    dialog.close();
  });
  addEventListener("pageshow", reveal); // the way back to a page that was left with a question open
})();
