"""The steps of a migration, from prepare to retire, and the commands that run them in order."""
