"""What is written down: migrations, ranges done, the alias and its history, dead letters."""
