"""What a run reports about itself: log, metrics, lines on the terminal."""
