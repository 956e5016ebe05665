"""Discord's own user-interface names for permissions and features."""

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.discord import Permissions

P = Permissions
PERMISSIONS: dict[Permissions, str | Promise] = {
    P.CREATE_INSTANT_INVITE: _("Create Invite"),
    P.KICK_MEMBERS: _("Kick Members"),
    P.BAN_MEMBERS: _("Ban Members"),
    P.ADMINISTRATOR: _("Administrator"),
    P.MANAGE_CHANNELS: _("Manage Channels"),
    P.MANAGE_GUILD: _("Manage Server"),
    P.ADD_REACTIONS: _("Add Reactions"),
    P.VIEW_AUDIT_LOG: _("View Audit Log"),
    P.PRIORITY_SPEAKER: _("Priority Speaker"),
    P.STREAM: _("Video"),
    P.VIEW_CHANNEL: _("View Channels"),
    P.SEND_MESSAGES: _("Send Messages"),
    P.SEND_TTS_MESSAGES: _("Send Text-to-Speech Messages"),
    P.MANAGE_MESSAGES: _("Manage Messages"),
    P.EMBED_LINKS: _("Embed Links"),
    P.ATTACH_FILES: _("Attach Files"),
    P.READ_MESSAGE_HISTORY: _("Read Message History"),
    P.MENTION_EVERYONE: _("Mention @everyone, @here and All Roles"),
    P.USE_EXTERNAL_EMOJIS: _("Use External Emoji"),
    P.VIEW_GUILD_INSIGHTS: _("View Server Insights"),
    P.CONNECT: _("Connect"),
    P.SPEAK: _("Speak"),
    P.MUTE_MEMBERS: _("Mute Members"),
    P.DEAFEN_MEMBERS: _("Deafen Members"),
    P.MOVE_MEMBERS: _("Move Members"),
    P.USE_VAD: _("Use Voice Activity"),
    P.CHANGE_NICKNAME: _("Change Nickname"),
    P.MANAGE_NICKNAMES: _("Manage Nicknames"),
    P.MANAGE_ROLES: _("Manage Roles"),
    P.MANAGE_WEBHOOKS: _("Manage Webhooks"),
    P.MANAGE_GUILD_EXPRESSIONS: _("Manage Expressions"),
    P.USE_APPLICATION_COMMANDS: _("Use Application Commands"),
    P.REQUEST_TO_SPEAK: _("Request to Speak"),
    P.MANAGE_EVENTS: _("Manage Events"),
    P.MANAGE_THREADS: _("Manage Threads and Posts"),
    P.CREATE_PUBLIC_THREADS: _("Create Public Threads"),
    P.CREATE_PRIVATE_THREADS: _("Create Private Threads"),
    P.USE_EXTERNAL_STICKERS: _("Use External Stickers"),
    P.SEND_MESSAGES_IN_THREADS: _("Send Messages in Threads and Posts"),
    P.USE_EMBEDDED_ACTIVITIES: _("Use Activities"),
    P.MODERATE_MEMBERS: _("Timeout Members"),
    P.VIEW_CREATOR_MONETIZATION_ANALYTICS: _("View Creator Monetization Analytics"),
    P.USE_SOUNDBOARD: _("Use Soundboard"),
    P.CREATE_GUILD_EXPRESSIONS: _("Create Expressions"),
    P.CREATE_EVENTS: _("Create Events"),
    P.USE_EXTERNAL_SOUNDS: _("Use External Sounds"),
    P.SEND_VOICE_MESSAGES: _("Send Voice Messages"),
    P.SET_VOICE_CHANNEL_STATUS: _("Set Voice Channel Status"),
    P.SEND_POLLS: _("Create Polls"),
    P.USE_EXTERNAL_APPS: _("Use External Apps"),
    P.PIN_MESSAGES: _("Pin Messages"),
    P.BYPASS_SLOWMODE: _("Bypass Slowmode"),
}


def in_words(permissions: int) -> str:
    """Return the names of the permissions in the reader's language, separated by commas."""
    return ", ".join(str(PERMISSIONS[flag]) for flag in Permissions(permissions) if flag in PERMISSIONS)


def for_programs(permissions: int) -> str:
    """Return Discord's names of the permissions in lower case, separated by spaces."""
    return " ".join((flag.name or "").lower() for flag in Permissions(permissions))


# The features that mean something to people. Discord adds new ones at any time, and most are internal switches.
FEATURES: dict[str, str | Promise] = {
    "ANIMATED_BANNER": _("Animated banner"),
    "ANIMATED_ICON": _("Animated icon"),
    "AUTO_MODERATION": _("AutoMod"),
    "BANNER": _("Banner"),
    "COMMUNITY": _("Community"),
    "DEVELOPER_SUPPORT_SERVER": _("Support server of an app"),
    "DISCOVERABLE": _("In Server Discovery"),
    "ENHANCED_ROLE_COLORS": _("Enhanced role styles"),
    "GUESTS_ENABLED": _("Guest invites"),
    "GUILD_TAGS": _("Server tag"),
    "INVITE_SPLASH": _("Invite background"),
    "INVITES_DISABLED": _("Invites paused"),
    "MEMBER_VERIFICATION_GATE_ENABLED": _("Rules screening"),
    "NEWS": _("Announcement channels"),
    "PARTNERED": _("Partnered"),
    "PREVIEW_ENABLED": _("Preview before joining"),
    "ROLE_ICONS": _("Role icons"),
    "ROLE_SUBSCRIPTIONS_ENABLED": _("Role subscriptions"),
    "SOUNDBOARD": _("Soundboard"),
    "TICKETED_EVENTS_ENABLED": _("Ticketed events"),
    "VANITY_URL": _("Custom invite link"),
    "VERIFIED": _("Verified"),
    "WELCOME_SCREEN_ENABLED": _("Welcome screen"),
}
