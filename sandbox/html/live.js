// Keeps the mood and the requests up to date. Without it, the page shows them as of when it was loaded.
const PAUSE = 1000;
const toggle = document.querySelector("[data-live-switch]");

function show(page) {
  document.title = page.title;
  for (const old of document.querySelectorAll("[data-live]")) {
    const fresh = page.querySelector(`[data-live="${old.dataset.live}"]`);
    if (!fresh) continue;
    // Only what differs, so that screen readers announce changes alone.
    if (old.className !== fresh.className) old.className = fresh.className;
    if (old.innerHTML !== fresh.innerHTML) old.innerHTML = fresh.innerHTML;
  }
}

async function update() {
  if (toggle.querySelector("input").checked && !document.hidden) {
    try {
      const response = await fetch("/_sandbox/");
      if (response.ok) show(new DOMParser().parseFromString(await response.text(), "text/html"));
    } catch {
      document.querySelector('[data-live="totals"]').textContent = "The sandbox doesn't respond.";
    }
  }
  setTimeout(update, PAUSE);
}

toggle.hidden = false;
document.querySelector("[data-live-reload]").hidden = true;
setTimeout(update, PAUSE);
