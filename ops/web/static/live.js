// Keeps an open page up to date: asks for its fragment every 2 s and replaces the parts that changed.
// Without it every page is whole; it only saves the reloading.
"use strict";

(() => {
  const EVERY_MS = 2000;
  const PATIENCE_MS = 8000;
  const STALE_MS = 7000;
  const place = document.getElementById("live");
  const pulse = document.getElementById("pulse");
  if (!place || !pulse) return;

  let seenAt = Date.now();
  let trouble = "";
  let timer = 0;

  const say = (state, label) => {
    const words = pulse.querySelector(".label");
    if (pulse.dataset.state !== state) pulse.dataset.state = state;
    if (words.textContent !== label) words.textContent = label;
  };

  const tell = () => {
    const silentMs = Date.now() - seenAt;
    if (document.hidden) say("paused", "paused");
    else if (trouble || silentMs > STALE_MS) {
      say("stale", `${trouble || "no answer"}, ${Math.round(silentMs / 1000)} s old`);
    } else say("live", "live");
  };

  // A part that holds the focus is replaced too; the same control gets the focus back, and what was unfolded stays so.
  const replace = (old, part) => {
    const open = [...old.querySelectorAll("details")].map((each) => each.open);
    part.querySelectorAll("details").forEach((each, at) => { each.open = open[at] || false; });
    if (old.innerHTML === part.innerHTML) return;
    const controls = "a, button, summary, [tabindex]";
    const focused = old.contains(document.activeElement) ? document.activeElement : null;
    const position = focused ? [...old.querySelectorAll(controls)].indexOf(focused) : -1;
    old.replaceChildren(...[...part.childNodes].map((node) => document.adoptNode(node)));
    if (position >= 0) old.querySelectorAll(controls)[position]?.focus({ preventScroll: true });
  };

  // During an outage the answer has the verdict only: the other parts stay as they were seen last.
  const apply = (html) => {
    const fresh = new DOMParser().parseFromString(html, "text/html");
    window.deedbox.enhance(fresh);
    for (const part of fresh.querySelectorAll("[data-part]")) {
      const old = place.querySelector(`[data-part="${part.dataset.part}"]`);
      if (!old) { location.reload(); return; }
      replace(old, part);
    }
  };

  const ask = async () => {
    try {
      const answer = await fetch(place.dataset.live, { redirect: "manual", signal: AbortSignal.timeout(PATIENCE_MS) });
      if (answer.ok || answer.status === 503) apply(await answer.text());
      if (answer.ok) seenAt = Date.now();
      if (answer.ok) trouble = "";
      else if (answer.status === 503) trouble = "state unavailable";
      else trouble = answer.type === "opaqueredirect" || answer.status === 401 ? "signed out" : `error ${answer.status}`;
    } catch {
      trouble = "ops does not answer";
    }
  };

  const turn = async () => {
    clearTimeout(timer);
    if (!document.hidden) await ask();
    tell();
    clearTimeout(timer);
    if (!document.hidden) timer = setTimeout(turn, EVERY_MS);
  };

  document.addEventListener("visibilitychange", turn);
  setInterval(tell, 1000);
  timer = setTimeout(turn, EVERY_MS);
})();
