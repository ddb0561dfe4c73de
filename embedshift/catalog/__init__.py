"""The tables that embedshift writes about itself: migrations, token ranges, the alias and its history, dead letters."""
