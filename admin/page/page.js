"use strict";

// Fetches the page again and puts its live part in the place of the old one, so
// that the reader's place on it stays. Without scripts the page reloads itself.

const every = 2000; // milliseconds
const patience = 10000;

// origin, since a base URL with credentials in it may not be fetched from.
const page = location.origin + "/";

async function refresh() {
  const silence = document.getElementById("silence");
  try {
    const answer = await fetch(page, { cache: "no-store", signal: AbortSignal.timeout(patience) });
    if (!answer.ok) throw new Error("it answered " + answer.status);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.getElementById("live").replaceWith(document.adoptNode(fresh.getElementById("live")));
    document.title = fresh.title;
    silence.hidden = true;
    document.body.classList.remove("stale");
  } catch (error) {
    document.getElementById("silence-why").textContent = error.message;
    document.getElementById("silence-since").textContent = document.getElementById("now").textContent;
    silence.hidden = false;
    document.body.classList.add("stale");
  }
}

// Whoever is selecting text to copy it would lose it.
function busy() {
  return document.hidden || !getSelection().isCollapsed;
}

async function live() {
  if (!busy()) await refresh();
  setTimeout(live, every);
}

setTimeout(live, every);
