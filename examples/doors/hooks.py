from guilds.hooks import MembershipChange, on_membership_change


@on_membership_change
def greet(change: MembershipChange) -> None:
    if change.is_first:  # they may have been there for years
        return
    for guild_id in change.joined:
        print(f"Welcome to {guild_id}, person {change.user_id}!")
    for guild_id in change.lost("manage_guild"):
        print(f"Person {change.user_id} no longer manages {guild_id}, or left it.")
