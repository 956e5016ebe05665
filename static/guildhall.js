// What makes the pages livelier. Everything works without it.
//
// data-countdown=S      counts S seconds down, in words; at zero
//   data-reload=URL       loads URL once the page is visible
//   data-submit=ID        submits the form with this id once the page is visible
//   data-cooling=TEXT     enables its button again, which then says TEXT
// data-due=S            follows what may change: after S seconds, once the page is visible, it is requested by the event
//                       "poll" where htmx waits for it, else with the page, of which what differs is replaced; also when
//                       the visitor comes back to the page after a while
// data-live             is requested again and again while the page is in use: the bot's events may change it
// data-age=S            keeps "12 minutes ago" current
// data-switch           a link to the list of servers, which opens as a dialog; data-filter is that list's search
// data-copy=ID          a button that copies the text of the element with this id, and then says data-copied
// data-back             a link to the picker that restores its last search
// #notice               says what failed, and that there is no connection
// data-clock            shows a <time> in the reader's own zone; "long" with its date, "date" the date alone
// data-choice           a select whose search field shows only the options that match
// data-picture          an image that gives way to the letters beside it if it cannot be had; data-abc holds such letters
(() => {
  "use strict";
  // The page's language, in the reader's own variety of it where they named one.
  const page = document.documentElement.lang || "en";
  const language = navigator.languages.find((tag) => tag.split("-")[0] === page) || page;
  const MINUTE = 60, HOUR = 3600, MINUTES_END = 90 * MINUTE, SECONDS_END = 90;
  // Milliseconds. Less than AWAY is a glance; a page is in use for IN_USE after the visitor's last action.
  const AWAY = 3000, IN_USE = 60_000, LIVE = 1500, WHILE_ASKING = 300;

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

  // Whether the visitor has typed something that reloading the page would lose.
  const isFilled = (field) =>
    field.type === "checkbox" || field.type === "radio" ? field.checked !== field.defaultChecked
      : field.options ? field.selectedIndex !== Math.max([...field.options].findIndex((option) => option.defaultSelected), 0)
      : field.type !== "hidden" && field.value !== field.defaultValue;
  const hasText = () =>
    [...document.querySelectorAll("input, select, textarea")].some((field) => !field.closest("[role=search]") && isFilled(field));

  const renew = (element) => {
    const asks = element.hasAttribute("hx-get");
    if (window.htmx && (!asks || element.closest("[hx-trigger=due]"))) element.dispatchEvent(new Event("poll"));
    else if (hasText()) return;
    else if (asks) catchUp(element);
    else location.reload();
  };
  let resumesAt = 0;
  // What was asked for and stays as it is, is asked for again. A site that is overloaded says when.
  const follow = (element, status, retryAfter) => {
    if (!status || status >= 400) resumesAt = Date.now() + (Number(retryAfter) || 15) * 1000;
    if (!("follows" in element.dataset) || !element.isConnected) return;
    arrivals.set(element, Date.now());
    element.dataset.due = status === 304 ? 5 : 15;
  };

  // Where the picker's script isn't, the page is brought up to date as a whole, unless it is still the same.
  let catchingUp = false;
  const catchUp = async (element) => {
    if (catchingUp) return;
    catchingUp = true;
    const get = async (url, headers) => {
      const response = await fetch(url, { headers: { "HX-Request": "true", ...headers } });
      follow(element, response.status, response.headers.get("Retry-After"));
      return response;
    };
    try {
      const news = await get(element.getAttribute("hx-get"), JSON.parse(element.getAttribute("hx-headers")));
      if (news.status === 304 || news.status >= 400) return;
      const response = news.headers.has("HX-Refresh") ? news : await get(location.href);
      if (response.status === 429 || response.status >= 500) return;
      if (!response.ok || response.redirected || response.headers.has("HX-Refresh") || response.headers.has("HX-Redirect"))
        location.reload();
      else take(new DOMParser().parseFromString(await response.text(), "text/html"));
    } catch {
      follow(element);
    } finally {
      catchingUp = false;
    }
  };
  const take = (page) => {
    const main = document.getElementById("main"), fresh = page.getElementById("main");
    const folds = main.querySelectorAll("details");
    fresh.querySelectorAll("details").forEach((fold, index) => (fold.open = folds[index]?.open));
    prepare(fresh);
    patch(main, fresh);
    prepare(main);
    hurry();
  };
  // Only what differs is replaced, so that the keyboard and the eye stay where they are.
  const isAlike = (one, other) =>
    one?.nodeName === other?.nodeName && one && (one.nodeType !== 1 || one.cloneNode().isEqualNode(other.cloneNode()));
  const patch = (old, fresh) => {
    if (old.isEqualNode(fresh)) return;
    if (old.nodeType !== 1) old.nodeValue = fresh.nodeValue;
    const gone = [...old.childNodes], come = [...fresh.childNodes];
    while (isAlike(gone[0], come[0])) patch(gone.shift(), come.shift());
    let next = null;
    while (isAlike(gone.at(-1), come.at(-1))) patch((next = gone.pop()), come.pop());
    gone.forEach((node) => node.remove());
    come.forEach((node) => old.insertBefore(node, next));
  };

  // The bot's events change pages that are open. The last action of the visitor says whether one is in use.
  let usedAt = Date.now();
  for (const type of ["focus", "keydown", "pointerdown", "wheel"])
    addEventListener(type, () => (usedAt = Date.now()), { passive: true });
  const watch = () => {
    const now = Date.now(), live = document.querySelector("[data-live]");
    if (live && !document.hidden && now - usedAt < IN_USE && now >= resumesAt) renew(live);
  };
  // Discord mostly answers at once, and so does the page that an event made ask for it.
  const hurry = () => document.querySelector("[data-live][data-due]") && setTimeout(watch, WHILE_ASKING);
  setInterval(watch, LIVE);

  const finish = (element) => {
    if ("cooling" in element.dataset) {
      const button = element.closest("button");
      button.classList.remove("cooling");
      button.removeAttribute("aria-disabled");
      button.textContent = element.dataset.cooling;
    } else if ("reload" in element.dataset && !document.hidden) {
      element.removeAttribute("data-countdown");
      soon(() => location.replace(element.dataset.reload));
    } else if ("submit" in element.dataset && !document.hidden) {
      element.removeAttribute("data-countdown");
      soon(() => document.getElementById(element.dataset.submit).requestSubmit());
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
      // The site's own words are right until another minute has passed.
      const sent = Number(element.dataset.age), age = sent + since(element);
      if (Math.floor(age / MINUTE) > Math.floor(sent / MINUTE)) say(element, ago(age));
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
      "": { hour: "numeric", minute: "2-digit" },
      long: { dateStyle: "medium", timeStyle: "short" },
      date: { dateStyle: "medium" },
    }[element.dataset.clock];
    say(element, new Intl.DateTimeFormat(language, style).format(new Date(element.dateTime)));
  };

  const PICTURES = "[data-picture], [data-abc] img";
  const dropIfBroken = (image) => {
    if (image.complete && image.currentSrc && !image.naturalWidth) image.remove();
  };

  const searchable = (choice) => {
    const search = choice.querySelector("input[type=search]"), select = choice.querySelector("select");
    if (!search?.hidden) return;
    // Some browsers show hidden options, so those that don't match are taken out.
    const children = [...select.children].map((child) => [child, [...child.children]]);
    search.hidden = false;
    search.addEventListener("input", () => {
      const words = plain(search.value).split(/\s+/).filter(Boolean);
      const chosen = select.value; // taking options out would choose another one
      const matches = (option) => option.value && words.every((word) => plain(option.label).includes(word));
      const stays = (option) => !words.length || option.value === chosen || matches(option);
      let found = 0;
      const left = children.filter(([child, options]) => {
        const its = options.length ? options : [child], staying = its.filter(stays);
        if (options.length) child.replaceChildren(...staying);
        found += its.filter(matches).length;
        return staying.length;
      });
      select.replaceChildren(...left.map(([child]) => child));
      select.value = chosen;
      const result = choice.querySelector("output");
      say(result, words.length ? result.dataset.found.replace("#", found) : "");
    });
    // Enter must not send the form.
    search.addEventListener("keydown", (event) => event.key === "Enter" && event.preventDefault());
  };

  const prepare = (piece) => {
    const root = piece.parentNode ?? piece;
    root.querySelectorAll("[data-choice]").forEach(searchable);
    root.querySelectorAll("[data-back]").forEach(restoreSearch);
    root.querySelectorAll("[data-clock]").forEach(showClock);
    root.querySelectorAll(PICTURES).forEach(dropIfBroken);
    root.querySelectorAll(".cooling").forEach((button) => button.setAttribute("aria-disabled", "true"));
    tick();
  };

  document.addEventListener("error", ({ target }) => {
    if (!target.matches?.(PICTURES)) return;
    if (target.src.includes("animated=true")) move(target, false);
    else target.remove();
  }, true);

  // An animated icon moves while the pointer or the keyboard focus is on its server.
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const move = (image, moving) => {
    const still = ".png?", playing = ".webp?animated=true&", [from, to] = moving ? [still, playing] : [playing, still];
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
    const box = document.querySelector("[data-search]"), opener = document.querySelector("[data-switch]");
    if (!box && !opener) return;
    event.preventDefault();
    if (!box) return opener.click();
    box.focus();
    box.select();
  });

  // The search. The page has all servers, unless it was loaded with a search in its address: then it fetches them first.
  const search = document.getElementById("search");
  // As the server compares names: without case, accents and invisible characters.
  const plain = (text) => text.normalize("NFKD").replace(/[\p{M}\p{DI}]/gu, "").toUpperCase();
  const links = () =>
    [...document.querySelectorAll("#servers .servers a:first-child, .switch-list a")].filter((link) => link.checkVisibility());
  const isWhole = () => !document.querySelector("#servers input[name=q], #servers input[name=show]");

  const narrow = () => {
    const query = search.q.value.trim(), show = search.show.value;
    const words = plain(query).split(/\s+/).filter(Boolean);
    const isNarrowed = words.length > 0 || show !== "all";
    let count = 0;
    for (const section of document.querySelectorAll("#servers section")) {
      let here = 0;
      for (const row of section.querySelectorAll(".servers > li")) {
        const { right } = row.dataset, [, id] = row.firstElementChild.getAttribute("href").match(/^(\d+)/);
        const name = plain(row.querySelector("bdi").textContent);
        const wanted = show === "all" || right === "owner" || (show === "manage" && right);
        row.hidden = !(wanted && words.every((word) => name.includes(word) || word === id));
        here += !row.hidden;
      }
      section.hidden = isNarrowed && !here;
      count += here;
      const fold = section.querySelector(".fold");
      if (!fold) continue;
      if (!fold.classList.contains("off")) fold.dataset.open = fold.open || "";
      fold.classList.toggle("off", isNarrowed);
      fold.open = isNarrowed || fold.dataset.open;
    }
    const result = document.getElementById("result"), none = document.getElementById("none");
    say(result, isNarrowed ? result.dataset.found.trim().replace("#", count) : "");
    none.hidden = count > 0;
    for (const reason of none.querySelectorAll("[data-none]"))
      reason.hidden = reason.dataset.none !== (words.length ? "search" : show);
    none.querySelector("bdi").textContent = query;
    const address = new URL(search.action);
    if (query) address.searchParams.set("q", query);
    if (show !== "all") address.searchParams.set("show", show);
    if (address.href !== location.href) history.replaceState(history.state, "", address);
    remember(address.search);
  };
  const find = () => {
    if (isWhole()) narrow();
    else if (window.htmx) document.getElementById("freshness").dispatchEvent(new Event("due"));
    else search.submit();
  };
  // The way back to the picker restores its search. A browser may forbid to store it.
  const remember = (query) => {
    try {
      sessionStorage.picker = query;
    } catch {}
  };
  const restoreSearch = (back) => {
    try {
      back.search = sessionStorage.picker ?? "";
    } catch {}
  };
  if (search) {
    remember(location.search);
    search.addEventListener("input", find);
    search.addEventListener("submit", (event) => {
      event.preventDefault();
      find();
    });
    document.addEventListener("htmx:afterSwap", ({ detail }) => {
      if (detail.target.id === "servers" && isWhole()) narrow();
    });
  }

  // Enter opens the one server that the search has found.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing || !event.target.matches?.("[data-search]")) return;
    const found = links();
    if (found.length !== 1 || new URLSearchParams(location.search).get("q") !== event.target.value.trim()) return;
    event.preventDefault();
    found[0].click();
  });

  // Arrows go from the search to the servers and among them as they stand on the screen: on by one, or a row up or down.
  document.addEventListener("keydown", (event) => {
    if (!event.key.startsWith("Arrow") || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    const shown = links();
    const at = shown.indexOf(event.target);
    const isSearch = event.target.matches?.("[data-search], [data-filter] [type=search]");
    if (at < 0 && !(isSearch && event.key === "ArrowDown")) return;
    const next = isSearch ? shown[0] : neighbour(shown, at, event.key);
    if (!next) return;
    event.preventDefault();
    next.focus();
  });

  const neighbour = (shown, at, key) => {
    const forward = document.dir === "rtl" ? "ArrowLeft" : "ArrowRight";
    if (key === "ArrowLeft" || key === "ArrowRight") return shown[at + (key === forward ? 1 : -1)];
    const here = shown[at].getBoundingClientRect();
    let best = null, least = Infinity;
    for (const link of shown) {
      const there = link.getBoundingClientRect();
      const rows = key === "ArrowDown" ? there.top - here.bottom : here.top - there.bottom;
      // The next row comes first, and in it whatever stands closest.
      const distance = rows * 10 + Math.abs(there.left - here.left);
      if (rows >= -1 && distance < least) [best, least] = [link, distance];
    }
    return best || (key === "ArrowUp" ? document.querySelector("[data-search], [data-filter] [type=search]") : null);
  };

  document.querySelector(".tabs [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });

  // The switcher is a page of its own, which opens in place. Its search narrows the rows and Enter opens the first.
  const dialog = document.createElement("dialog");
  dialog.className = "switcher";
  dialog.addEventListener("click", ({ target }) => target === dialog && dialog.close());
  document.addEventListener("click", async (event) => {
    const opener = event.target.closest?.("[data-switch]");
    if (!opener || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    showBusy(++running > 0);
    try {
      const response = await fetch(opener.href, { headers: { "HX-Request": "true" } });
      if (!response.ok || response.redirected || response.headers.has("HX-Redirect")) throw response;
      dialog.innerHTML = await response.text();
      dialog.setAttribute("aria-label", opener.title);
      document.body.append(dialog);
      dialog.showModal();
      prepare(dialog);
    } catch {
      location.assign(opener.href);
    } finally {
      showBusy(--running > 0);
    }
  });
  document.addEventListener("input", ({ target }) => {
    const form = target.closest?.("[data-filter]");
    if (!form) return;
    const words = plain(target.value).split(/\s+/).filter(Boolean);
    for (const row of form.parentElement.querySelectorAll(".switch-list li")) {
      const name = plain(row.querySelector("bdi").textContent);
      row.hidden = !words.every((word) => name.includes(word));
    }
    for (const section of form.parentElement.querySelectorAll("section"))
      section.hidden = !section.querySelector("li:not([hidden])");
    form.parentElement.querySelector("[data-none]").hidden = links().length > 0;
  });
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("[data-filter]")) return;
    const [first] = links();
    event.preventDefault();
    if (first) first.click();
  });

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
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = !navigator.clipboard;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent.trim());
      say(button, button.dataset.copied);
    });
  }

  // What was typed into a form survives a sign-in in between: it stays in this tab until the same person is back on the
  // form's page, at most half an hour. A form whose answer is a page for a signed-in person was not interrupted.
  const DRAFT_TTL = 1800_000;
  const who = document.querySelector(".who")?.textContent;
  const isTyped = ({ name, type }) => name && !["hidden", "password", "submit", "button", "file"].includes(type);
  const store = (draft) => {
    try {
      if (draft) sessionStorage.draft = JSON.stringify(draft);
      else delete sessionStorage.draft;
    } catch {}
  };
  const stored = () => {
    try {
      return JSON.parse(sessionStorage.draft ?? "null");
    } catch {
      return null;
    }
  };
  document.addEventListener("submit", ({ target: form, defaultPrevented }) => {
    const fields = [...form.elements].filter(isTyped);
    if (defaultPrevented || form.method !== "post" || !fields.some(isFilled)) return;
    const typed = [...new FormData(form)].filter(([name]) => fields.some((field) => field.name === name));
    store({ path: location.pathname, at: Date.now(), who, typed });
  });
  const fill = (form, typed) => {
    for (const field of [...form.elements].filter(isTyped)) {
      const values = typed.filter(([name]) => name === field.name).map(([, value]) => value);
      if (field.type === "checkbox" || field.type === "radio") field.checked = values.includes(field.value);
      else if (field.multiple && field.options) for (const option of field.options) option.selected = values.includes(option.value);
      else if (values.length) [field.value] = values;
    }
  };
  const restore = () => {
    const draft = stored();
    if (!draft) return;
    if (!who) return store({ ...draft, waits: true });
    if (!draft.waits || draft.who !== who || Date.now() - draft.at > DRAFT_TTL) return store(null);
    if (draft.path !== location.pathname) return;
    store(null);
    const form = [...document.forms].find(
      (form) => form.method === "post" && draft.typed.every(([name]) => form.elements[name]),
    );
    if (!form) return;
    fill(form, draft.typed);
    say(document.getElementById("notice"), document.getElementById("notice").dataset.restored);
  };
  restore();

  // A page from the browser's cache may be old, or belong to a person who has signed out since. One with typed text
  // stays.
  addEventListener("pageshow", (event) => {
    if (event.persisted && !hasText()) location.reload();
  });

  // A thin line runs while the visitor waits for an answer; the stylesheet holds it back for a moment.
  let running = 0;
  const showBusy = (is) => document.documentElement.classList.toggle("busy", is);
  addEventListener("beforeunload", () => showBusy(true));
  addEventListener("pageshow", () => showBusy(false));

  const notice = document.getElementById("notice");
  const showConnection = () => say(notice, navigator.onLine ? "" : notice.dataset.offline);
  if (notice) for (const type of ["online", "offline"]) addEventListener(type, showConnection);
  const showFailure = () => say(notice, navigator.onLine ? notice.dataset.failed : notice.dataset.offline);

  // A star turns at once, and back if the site doesn't take it.
  const starOf = ({ parameters }) => parameters.star ?? parameters.unstar;
  const turn = ({ parameters }, back) => {
    const button = document.querySelector(`#servers button[value="${parameters.star ?? parameters.unstar}"]`);
    const on = (parameters.star !== undefined) !== back;
    if (!button) return;
    button.name = on ? "unstar" : "star";
    button.setAttribute("aria-pressed", on);
  };

  // A poll that brought nothing new, or failed, leaves the page as it is and comes again.
  const polls = ({ triggeringEvent }) => triggeringEvent?.type === "poll";
  document.addEventListener("htmx:beforeRequest", ({ detail: { requestConfig } }) => {
    if (polls(requestConfig)) return;
    showBusy(++running > 0);
    if (starOf(requestConfig)) turn(requestConfig, false);
  });
  document.addEventListener("htmx:afterRequest", ({ detail: { requestConfig, successful, xhr } }) => {
    const { elt } = requestConfig;
    if (polls(requestConfig)) return follow(elt, xhr.status, xhr.getResponseHeader("Retry-After"));
    showBusy(--running > 0);
    if (successful) showConnection();
    else showFailure();
    if (!successful && starOf(requestConfig)) turn(requestConfig, true);
  });
  // Whatever is not what was asked for, such as the sign-in, is a page of its own.
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr, pathInfo, requestConfig } = event.detail;
    const moved = xhr.responseURL && new URL(xhr.responseURL).pathname !== new URL(pathInfo.requestPath, location).pathname;
    if (xhr.status < 300 && !moved) return;
    // On other pages than the list of servers, a failure is a small part of the page that stands where it belongs.
    if (xhr.getResponseHeader("HX-Reswap") && !document.getElementById("servers") && !polls(requestConfig)) {
      event.detail.shouldSwap = true;
      return;
    }
    event.preventDefault();
    if (!polls(requestConfig) && (moved || !starOf(requestConfig))) location.assign(pathInfo.finalRequestPath);
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
    const element = held && document.querySelector(held);
    if (!element) return;
    element.closest(".fold")?.setAttribute("open", "");
    element.focus({ preventScroll: true });
  });
  document.addEventListener("htmx:load", ({ target }) => prepare(target));
  document.addEventListener("htmx:afterSettle", hurry);

  // In another tab the bot may have been added meanwhile, or the list refreshed.
  let left = 0;
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) left = Date.now();
    else {
      usedAt = Date.now();
      if (usedAt - left > AWAY) document.querySelectorAll("[hx-trigger=poll]").forEach(renew);
      tick();
    }
  });
  prepare(document);
  setInterval(tick, 1000);
})();
