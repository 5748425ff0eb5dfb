// What every page has: local times, the choice of how times are written, and buttons that copy.
// Without it times are relative or UTC, and texts are copied by hand.
"use strict";

window.deedbox = (() => {
  const KEY = "deedbox.times";
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "local";
  const two = (value) => String(value).padStart(2, "0");
  const local = (at) => `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} `
    + `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;

  const time = (element) => {
    const at = new Date(element.dateTime);
    if (element.querySelector(".local") || Number.isNaN(at.getTime())) return;
    const words = document.createElement("span");
    words.className = "local";
    words.textContent = local(at);
    element.append(words);
    element.title = `${element.title}\n${local(at)} ${zone}`;
  };

  const copy = async (text, button) => {
    try {
      await navigator.clipboard.writeText(text);
      button.dataset.state = "copied";
      button.textContent = "Copied";
    } catch {
      // Without TLS a browser gives no clipboard: the text is selected, and Ctrl-C copies it.
      getSelection().selectAllChildren(button.previousElementSibling);
      button.textContent = "Press Ctrl-C";
    }
    setTimeout(() => { button.textContent = "Copy"; delete button.dataset.state; }, 2000);
  };

  const copied = (element) => {
    if (element.nextElementSibling?.classList.contains("copy")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.setAttribute("aria-label", `Copy ${element.textContent}`);
    element.after(button);
  };

  // Also for parts of a page that came later; twice does no harm.
  const enhance = (root) => {
    root.querySelectorAll("time[datetime]").forEach(time);
    root.querySelectorAll("[data-copy]").forEach(copied);
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.copy");
    if (button) copy(button.previousElementSibling.textContent.trim(), button);
  });

  const choices = document.querySelectorAll("input[name='times']");
  try {
    const kept = document.getElementById(`times-${localStorage.getItem(KEY)}`);
    if (kept) kept.checked = true;
  } catch { /* a browser that keeps nothing shows relative times first */ }
  choices.forEach((each) => each.addEventListener("change", () => {
    try { localStorage.setItem(KEY, each.value); } catch { /* as above */ }
  }));
  document.getElementById("zone").textContent = zone.replaceAll("_", " ");
  document.getElementById("times-local").parentElement.hidden = zone === "UTC" && !document.getElementById("times-local").checked;
  enhance(document);
  return { enhance };
})();
