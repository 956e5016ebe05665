"""What pages and the API add to Discord's list of a person's servers: the bot, favourites, search, names in words."""
