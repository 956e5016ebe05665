from django.apps import AppConfig


class ExamplesConfig(AppConfig):
    name = "examples"
    # What the bot needs for these pages, so that the picker says where it lacks it. Views check it with `bot=`.
    bot_permissions = ("send_messages",)
