from guilds.hooks import MembershipChange


def greet(change: MembershipChange) -> None:
    if change.is_first:  # they may have been there for years
        return
    for guild_id in change.joined:
        print(f"Welcome to {guild_id}, person {change.user_id}!")
