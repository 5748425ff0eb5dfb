// Follows the clean stream from where the page's list ends. Without it the page is the list.
"use strict";

(() => {
  const STEPS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const table = document.getElementById("events");
  const follow = document.getElementById("follow");
  const hold = document.getElementById("hold");
  const body = table.tBodies[0];
  const pattern = document.getElementById("event");
  const address = new URL(table.dataset.stream, location.href);
  const keep = Number(table.dataset.keep);

  let stream = null;
  let held = false;
  let waiting = [];

  const say = (state, label) => {
    follow.dataset.state = state;
    follow.querySelector(".label").textContent = label;
  };

  // Characters that would steer the page's text, such as those that reverse its direction, are shown as one sign.
  const harmless = (text) => String(text ?? "").replace(/\p{C}/gu, "�");

  const ago = (seconds) => {
    const [unit, size] = STEPS.find(([, each]) => seconds >= each) || ["s", 1];
    return seconds < 1 ? "now" : `${Math.floor(seconds / size)} ${unit} ago`;
  };

  const tick = () => {
    for (const each of body.querySelectorAll("time")) {
      each.querySelector(".rel").textContent = ago((Date.now() - Date.parse(each.dateTime)) / 1000);
    }
  };

  const row = (event) => {
    const made = pattern.content.firstElementChild.cloneNode(true);
    const part = (name) => made.querySelector(`[data-is='${name}']`);
    const at = new Date(event.released_at * 1000).toISOString();
    const time = made.querySelector("time");
    time.dateTime = `${at.slice(0, 19)}Z`;
    time.title = `${at.slice(0, 10)} ${at.slice(11, 19)} UTC`;
    time.querySelector(".abs").textContent = time.title;
    part("type").textContent = harmless(event.type);
    part("late").hidden = !event.late;
    part("source").textContent = harmless(event.source);
    part("trust").textContent = event.trust || "–";
    const link = document.createElement("a");
    link.className = "id";
    link.href = `${table.dataset.requests}/${encodeURIComponent(event.source)}/${event.ordering_key.split("/").map(encodeURIComponent).join("/")}`;
    link.textContent = harmless(event.ordering_key.replace(/^signature_request\//, ""));
    part("request").replaceChildren(link);
    return made;
  };

  const show = (events) => {
    for (const event of events) body.prepend(row(event));
    while (body.rows.length > keep) body.rows[body.rows.length - 1].remove();
    document.getElementById("none").hidden = body.rows.length > 0;
    window.deedbox.enhance(body);
    tick();
  };

  const tell = () => {
    if (held) say("paused", `paused, ${waiting.length} new`);
    else if (stream?.readyState === EventSource.OPEN) say("live", "live");
    else if (stream?.readyState === EventSource.CLOSED) say("stale", "not connected; reload the page");
    else say("stale", "connecting");
  };

  // A hidden page gives its place back: the number of clients that may follow at a time is bounded.
  const connect = () => {
    stream?.close();
    stream = null;
    if (document.hidden) return;
    stream = new EventSource(address);
    stream.onopen = tell;
    stream.onerror = tell;
    const seen = (message) => { if (message.lastEventId) address.searchParams.set("after", message.lastEventId); };
    stream.addEventListener("progress", seen);
    stream.onmessage = (message) => {
      seen(message);
      const event = JSON.parse(message.data);
      if (held) waiting = [...waiting, event].slice(-keep);
      else show([event]);
      tell();
    };
    stream.addEventListener("problem", () => { stream.close(); tell(); });
  };

  hold.addEventListener("click", () => {
    held = !held;
    hold.textContent = held ? "Continue" : "Pause";
    hold.setAttribute("aria-pressed", String(held));
    if (!held) { show(waiting); waiting = []; }
    tell();
  });
  document.addEventListener("visibilitychange", connect);
  setInterval(tick, 1000);
  connect();
})();
