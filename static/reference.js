// Lets people fill in an operation's parameters, which its command follows, and send the request with their session.
(() => {
  "use strict";
  const addressOf = (form) => {
    let { path } = form.dataset;
    const query = new URLSearchParams();
    for (const field of form.elements) {
      if (!field.name || !field.value) continue;
      if ("path" in field.dataset) path = path.replace(`{${field.name}}`, encodeURIComponent(field.value));
      else query.set(field.name, field.value);
    }
    // In the command, the address stands in single quotes.
    return `${path}${query.size ? `?${query}` : ""}`.replaceAll("'", "%27");
  };

  const send = async (form) => {
    const headers = { Accept: "application/json" };
    const { method } = form.dataset;
    if (method !== "GET") headers["X-CSRFToken"] = document.querySelector("[name=csrfmiddlewaretoken]").value;
    const response = await fetch(addressOf(form), { method, headers });
    const text = await response.text();
    return [`${response.status} ${response.statusText}`, text && JSON.stringify(JSON.parse(text), null, 2)];
  };

  const show = (output, status, text) => {
    const line = document.createElement("strong"), body = document.createElement("pre");
    line.textContent = status;
    body.textContent = text;
    // It scrolls, so people without a mouse must be able to reach it.
    body.tabIndex = 0;
    output.replaceChildren(line, ...(text ? [body] : []));
    output.hidden = false;
  };

  for (const form of document.querySelectorAll("[data-command]")) {
    const command = document.getElementById(form.dataset.command), template = command.textContent;
    const button = form.querySelector("[data-send]");
    if (button) button.hidden = false;
    form.addEventListener("input", () => {
      command.textContent = template.replace(form.dataset.path, () => addressOf(form));
    });
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (!button || button.disabled) return;
      button.disabled = true;
      try {
        show(form.querySelector("output"), ...(await send(form)));
      } catch (error) {
        show(form.querySelector("output"), String(error), "");
      } finally {
        button.disabled = false;
      }
    });
  }
})();
