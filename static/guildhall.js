// What makes the pages livelier. Everything works without it.
//
// data-countdown=S      counts S seconds down, in words; at zero
//   data-reload=URL       loads URL, once somebody looks
//   data-cooling          lets its button be pressed again
// data-due=S            follows what may change: after S seconds, once somebody looks, it is asked for by the event
//                       "poll" where htmx waits for it, else with the whole page; by that event also when
//                       somebody comes back to the page after a while
// data-age=S            keeps "12 minutes ago" current
// data-clock            shows a <time> in the reader's own zone; "long" with its date, "date" the date alone
// data-picture          an image that gives way to the letters beside it if it cannot be had; data-abc holds such letters
(() => {
  "use strict";
  // The page's language, in the reader's own variety of it where they named one.
  const page = document.documentElement.lang || "en";
  const language = navigator.languages.find((tag) => tag.split("-")[0] === page) || page;
  const MINUTE = 60, HOUR = 3600, MINUTES_END = 90 * MINUTE, SECONDS_END = 90;
  const AWAY = 3000; // milliseconds; less is a glance

  const unit = (name, count) =>
    new Intl.NumberFormat(language, { style: "unit", unit: name, unitDisplay: "long" }).format(count);
  const span = (left) =>
    left < SECONDS_END ? unit("second", left)
      : left < MINUTES_END ? unit("minute", Math.ceil(left / MINUTE))
      : unit("hour", Math.ceil(left / HOUR));
  // Made when it is needed: it costs more than the rest of the script.
  let relative;
  const ago = (age) => {
    relative ??= new Intl.RelativeTimeFormat(language);
    return age < MINUTES_END ? relative.format(-Math.floor(age / MINUTE), "minute")
      : relative.format(-Math.floor(age / HOUR), "hour");
  };

  // Seconds since the element came, by this machine's clock: only differences count, so it may be wrong.
  const arrivals = new WeakMap();
  const since = (element) => {
    if (!arrivals.has(element)) arrivals.set(element, Date.now());
    return (Date.now() - arrivals.get(element)) / 1000;
  };
  const say = (element, words) => {
    if (element.textContent !== words) element.textContent = words;
  };

  // Many people wait for the same moment; they needn't come in the same instant.
  const soon = (act) => setTimeout(act, Math.random() * 1000);

  // Whether somebody has filled something in that loading the page anew would lose.
  const isFilled = (field) =>
    field.type === "checkbox" || field.type === "radio" ? field.checked !== field.defaultChecked
      : field.options ? field.selectedIndex !== Math.max([...field.options].findIndex((option) => option.defaultSelected), 0)
      : field.type !== "hidden" && field.value !== field.defaultValue;
  const hasText = () =>
    [...document.querySelectorAll("input, select, textarea")].some((field) => !field.closest("[role=search]") && isFilled(field));

  const renew = (element) => {
    if (window.htmx) element.dispatchEvent(new Event("poll"));
    else if (!hasText()) location.reload();
  };
  // What was asked for and stays as it is, is asked for again.
  const follow = (element, seconds) => {
    if (!element.isConnected) return;
    arrivals.set(element, Date.now());
    element.dataset.due = seconds;
  };

  const finish = (element) => {
    if ("cooling" in element.dataset) {
      const button = element.closest("button");
      button.classList.remove("cooling");
      button.removeAttribute("aria-disabled");
      element.remove();
    } else if ("reload" in element.dataset && !document.hidden) {
      element.removeAttribute("data-countdown");
      soon(() => location.replace(element.dataset.reload));
    }
  };

  const tick = () => {
    for (const element of document.querySelectorAll("[data-countdown]")) {
      if (!element.dataset.countdown) continue;
      const left = Math.max(Math.ceil(element.dataset.countdown - since(element)), 0);
      say(element, "cooling" in element.dataset && left < SECONDS_END ? `${left} s` : span(left));
      if (!left) finish(element);
    }
    for (const element of document.querySelectorAll("[data-age]")) {
      const age = Number(element.dataset.age) + since(element);
      if (age >= MINUTE) say(element, ago(age));
    }
    for (const element of document.querySelectorAll("[data-due]")) {
      if (document.hidden || since(element) < Math.max(element.dataset.due, 3)) continue;
      element.removeAttribute("data-due");
      element.dataset.follows = "";
      soon(() => renew(element));
    }
  };

  const showClock = (element) => {
    const style = {
      "": { hour: "2-digit", minute: "2-digit" },
      long: { dateStyle: "medium", timeStyle: "short" },
      date: { dateStyle: "medium" },
    }[element.dataset.clock];
    say(element, new Intl.DateTimeFormat(language, style).format(new Date(element.dateTime)));
  };

  const PICTURES = "[data-picture], [data-abc] img";
  const dropIfBroken = (image) => {
    if (image.complete && image.currentSrc && !image.naturalWidth) image.remove();
  };

  const prepare = (piece) => {
    const root = piece.parentNode ?? piece;
    root.querySelectorAll("[data-clock]").forEach(showClock);
    root.querySelectorAll(PICTURES).forEach(dropIfBroken);
    root.querySelectorAll(".cooling").forEach((button) => button.setAttribute("aria-disabled", "true"));
    tick();
  };

  document.addEventListener("error", ({ target }) => {
    if (!target.matches?.(PICTURES)) return;
    if (target.src.includes(".gif?")) move(target, false);
    else target.remove();
  }, true);

  // An icon that can move does so while somebody points at its server, or has come to it by keyboard.
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const move = (image, moving) => {
    const [from, to] = moving ? [".png?", ".gif?"] : [".gif?", ".png?"];
    if (!image.src.includes(from)) return;
    image.srcset = image.srcset.replaceAll(from, to);
    image.src = image.src.replace(from, to);
  };
  const animate = (event, moving) => {
    const host = event.target.closest?.("#servers li, .headline");
    if (!host || host.contains(event.relatedTarget) || (moving && calm.matches)) return;
    const image = host.querySelector('[data-abc] img[src*="/a_"]');
    if (image) move(image, moving);
  };
  for (const [type, moving] of Object.entries({ mouseover: true, focusin: true, mouseout: false, focusout: false }))
    document.addEventListener(type, (event) => animate(event, moving));

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") closeMenus(null, true);
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input:not([type=radio]), textarea, select, [contenteditable]")) return;
    const search = document.querySelector("[data-search]");
    if (!search) return;
    event.preventDefault();
    search.focus();
    search.select();
  });

  // Enter opens the one server that the search has found, if the list shown is that of the words in the box.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing || !event.target.matches?.("[data-search]")) return;
    const links = document.querySelectorAll("#servers li > a:first-child");
    const shown = document.querySelector("#servers input[name=q]");
    if (links.length !== 1 || shown?.value !== event.target.value.trim()) return;
    event.preventDefault();
    links[0].click();
  });

  // Arrows go from the search to the servers and among them as they stand on the screen: on by one, or a row up or down.
  document.addEventListener("keydown", (event) => {
    if (!event.key.startsWith("Arrow") || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    const links = [...document.querySelectorAll("#servers li > a:first-child")];
    const at = links.indexOf(event.target);
    const isSearch = event.target.matches?.("[data-search]");
    if (at < 0 && !(isSearch && event.key === "ArrowDown")) return;
    const next = isSearch ? links[0] : neighbour(links, at, event.key);
    if (!next) return;
    event.preventDefault();
    next.focus();
  });

  const neighbour = (links, at, key) => {
    const forward = document.dir === "rtl" ? "ArrowLeft" : "ArrowRight";
    if (key === "ArrowLeft" || key === "ArrowRight") return links[at + (key === forward ? 1 : -1)];
    const here = links[at].getBoundingClientRect();
    let best = null, least = Infinity;
    for (const link of links) {
      const there = link.getBoundingClientRect();
      const rows = key === "ArrowDown" ? there.top - here.bottom : here.top - there.bottom;
      // The next row comes first, and in it whatever stands closest.
      const distance = rows * 10 + Math.abs(there.left - here.left);
      if (rows >= -1 && distance < least) [best, least] = [link, distance];
    }
    return best || (key === "ArrowUp" ? document.querySelector("[data-search]") : null);
  };

  const closeMenus = (inside, refocus) => {
    for (const menu of document.querySelectorAll("[data-menu][open]")) {
      if (menu.contains(inside)) continue;
      menu.open = false;
      if (refocus) menu.querySelector("summary").focus();
    }
  };
  document.addEventListener("click", (event) => closeMenus(event.target));
  document.addEventListener("focusin", (event) => closeMenus(event.target));

  // A form that asks Discord is sent once, and not while its button cools down.
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("[data-once]")) return;
    const button = event.target.querySelector("button");
    if (button.classList.contains("cooling")) event.preventDefault();
    else {
      button.classList.add("cooling");
      button.setAttribute("aria-disabled", "true");
    }
  });
  // A page that the browser kept may be old, or of somebody who has signed out since; one with typed text in it stays.
  addEventListener("pageshow", (event) => {
    if (event.persisted && !hasText()) location.reload();
  });

  // htmx: an empty search has an address without "?q=", and whatever is not the list is a page of its own.
  document.addEventListener("htmx:configRequest", ({ detail }) => {
    if (!detail.parameters.q) delete detail.parameters.q;
    if (detail.parameters.show === "all") delete detail.parameters.show;
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr, pathInfo, requestConfig } = event.detail;
    const moved = xhr.responseURL && new URL(xhr.responseURL).pathname !== new URL(pathInfo.requestPath, location).pathname;
    if (xhr.status < 300 && !moved) return;
    event.preventDefault();
    if (!polls(requestConfig)) location.assign(pathInfo.finalRequestPath);
  });
  // A poll that brought nothing new, or failed, leaves the page as it is and comes again.
  const polls = ({ triggeringEvent }) => triggeringEvent?.type === "poll";
  document.addEventListener("htmx:afterRequest", ({ detail }) => {
    const { elt } = detail.requestConfig;
    if (polls(detail.requestConfig) && "follows" in elt.dataset) follow(elt, detail.xhr.status === 304 ? 5 : 15);
  });
  for (const type of ["htmx:sendError", "htmx:timeout"])
    document.addEventListener(type, ({ detail }) => {
      const result = document.getElementById("result");
      if (result && detail.elt.id === "search") say(result, result.dataset.lost);
    });
  // The keyboard stays with the server it was at, wherever the new list has it.
  let held = "";
  document.addEventListener("htmx:beforeSwap", () => {
    const element = document.activeElement;
    held = !element.closest("#servers") ? ""
      : element.matches("button") ? `#servers button[value="${element.value}"]`
      : element.matches("a") ? `#servers a[href="${element.getAttribute("href")}"]`
      : "";
  });
  document.addEventListener("htmx:afterSwap", () => {
    if (held) document.querySelector(held)?.focus({ preventScroll: true });
  });
  document.addEventListener("htmx:load", ({ target }) => prepare(target));

  // In another tab the bot may have been added meanwhile, or the list refreshed.
  let left = 0;
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) left = Date.now();
    else {
      if (window.htmx && Date.now() - left > AWAY) document.querySelectorAll("[hx-trigger=poll]").forEach(renew);
      tick();
    }
  });
  prepare(document);
  setInterval(tick, 1000);
})();
