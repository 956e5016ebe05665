/* Swagger UI over our own schema. What is tried out goes with the session of whoever looks at the page. */
"use strict";

const explorer = document.getElementById("explorer");

SwaggerUIBundle({
  url: explorer.dataset.schema,
  domNode: explorer,
  deepLinking: true,
  // Swagger's validator is another site's, and nothing of ours leaves this one.
  validatorUrl: null,
  requestInterceptor: (request) => {
    if (new URL(request.url, location.href).origin === location.origin) {
      request.headers["X-CSRFToken"] = explorer.dataset.csrf;
    }
    return request;
  },
});
