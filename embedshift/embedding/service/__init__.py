"""Models behind HTTP: requests, their limits, and the proof of which model answers."""
