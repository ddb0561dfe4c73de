"""What a run tells about itself: log, metrics, lines on the terminal."""
