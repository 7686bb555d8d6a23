// Runs before the page is painted, so that a chosen look does not flash.
(() => {
  try {
    const look = localStorage.getItem("jalebi-look");
    if (look === "light" || look === "dark") document.documentElement.dataset.look = look;
  } catch {
    // no storage: the system's look it is
  }
})();
