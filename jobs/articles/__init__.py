"""What an application does with articles: search, insert, update, delete through the alias."""
