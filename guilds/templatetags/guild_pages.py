"""What apps add to a server's page, such as a link to their own page about that server."""

from django import template
from django.apps import apps
from django.template import Context, TemplateDoesNotExist
from django.utils.safestring import SafeString, mark_safe

register = template.Library()


@register.simple_tag(takes_context=True)
def pages_of_apps(context: Context) -> SafeString:
    """Render the template `LABEL/_guild_pages.html` of each app that has one, in the order of `INSTALLED_APPS`.

    The templates see the page's variables, such as `server` (the person's membership) and `guild_list`. Returns an
    empty string if no template renders anything.
    """
    found = []
    for app in apps.get_app_configs():
        try:
            part = context.template.engine.get_template(f"{app.label}/_guild_pages.html")  # type: ignore[union-attr]
        except TemplateDoesNotExist:
            continue
        with context.push():
            found.append(part.render(context).strip())
    return mark_safe("\n".join(filter(None, found)))  # noqa: S308 - the templates' own output, escaped by them
