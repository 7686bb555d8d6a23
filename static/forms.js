// Rows of a form are added and removed at once. Without this, the same buttons ask the server, and nothing is lost either.
(() => {
  // A field may be called like anything that a form has of its own: nothing is asked of the form by name.
  const form = document.getElementById("form");
  if (!form) return;
  const { getAttribute } = Element.prototype, { submit } = HTMLFormElement.prototype;
  const say = (text) => document.dispatchEvent(new CustomEvent("jalebi:say", { detail: { text, own: true } }));
  const first = (node) => node?.querySelector("input:not([type=hidden]), select, textarea");

  // The server makes the row; files stay here, and everything else in the form stays as it is.
  async function add(button, list) {
    const data = new FormData(form, button);
    for (const [name, value] of [...data]) if (value instanceof File) data.delete(name);
    const answer = await fetch(getAttribute.call(form, "action"), { method: "POST", body: data, headers: { accept: "text/html" } });
    if (!answer.ok || answer.redirected) throw new Error(answer.status);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const inside = ":scope > .inside > .entries", here = list.querySelector(inside);
    const there = page.getElementById(list.id)?.querySelector(inside);
    if (there?.childElementCount !== here.childElementCount + 1) throw new Error("no row came"); // and the page says why
    const row = there.lastElementChild;
    here.append(row);
    first(row)?.focus();
    say("Added.");
  }

  function remove(button, list) {
    const row = button.closest(".entry"), beside = row.nextElementSibling ?? row.previousElementSibling;
    row.remove();
    (first(beside) ?? list.querySelector(":scope > .inside > button"))?.focus();
    say("Removed.");
  }

  let busy = false;
  document.addEventListener("click", async (event) => {
    const button = event.target.closest('#form button[name="option:do"]'), list = button?.closest(".rows");
    if (!list || !/^(add|drop) /.test(button.value)) return;
    event.preventDefault();
    if (busy) return;
    if (button.value.startsWith("drop ")) return remove(button, list);
    busy = true;
    try {
      await add(button, list);
    } catch {
      busy = false;
      const asked = document.createElement("input"); // the way it goes without a script
      Object.assign(asked, { type: "hidden", name: button.name, value: button.value });
      button.after(asked);
      submit.call(form);
    }
    busy = false;
  });

  // What is wrong is told first, and read out.
  document.getElementById("faults")?.focus({ preventScroll: true });
})();
