"""What can be run at any time: none of it changes the state of a migration."""
