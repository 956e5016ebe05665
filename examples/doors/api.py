from rest_framework.response import Response

from guilds.permissions import CanManageGuild, GuildAPIRequest, ThrottledFirst


class WelcomeMessage(ThrottledFirst):  # an APIView; or a mixin left of other views
    token_scope = "guilds:read"  # for programs with such a token; without it no token is accepted
    # Or InGuild, InGuild.may("kick_members"), CanManageGuild.with_bot(), one after the other in any order.
    permission_classes = [CanManageGuild.within(minutes=5)]

    def get(self, request: GuildAPIRequest, guild_id: int) -> Response:
        return Response({"name": request.guild.name})
