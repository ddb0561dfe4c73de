"""What can be asked at any time: none of it changes the state of a migration."""
