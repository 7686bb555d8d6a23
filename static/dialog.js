// A question that a page of its own would ask is asked in a dialog: the same page, fetched; without scripts it is just that.
(() => {
  let dialog = null;
  function open(section) {
    dialog?.close();
    dialog = document.createElement("dialog");
    dialog.setAttribute("aria-labelledby", "question-title");
    section.querySelector("h1")?.setAttribute("id", "question-title");
    dialog.className = "question";
    dialog.append(section);
    // What is behind is out of reach for everybody, assistive technology too.
    const behind = [...document.body.children].filter((one) => !one.hasAttribute("aria-hidden"));
    for (const one of behind) one.setAttribute("aria-hidden", "true");
    const own = dialog;
    document.body.append(own);
    own.addEventListener("close", () => { for (const one of behind) one.removeAttribute("aria-hidden"); own.remove(); });
    dialog.showModal();
  }
  document.addEventListener("submit", async (event) => {
    const form = event.target, button = event.submitter;
    if (form.getAttribute("method") !== "get" || !form.matches("[data-dialog], dialog form")) return;
    event.preventDefault();
    const address = new URL(form.getAttribute("action"), location); // form.action may be a button of that name
    address.search = new URLSearchParams(new FormData(form, button));
    try {
      const answer = await fetch(address, { headers: { accept: "text/html" } });
      const section = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("#main > section");
      if (section && !answer.redirected) return open(section);
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
})();
