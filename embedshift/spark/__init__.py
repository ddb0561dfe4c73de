"""Spark: the session, and the work on one token range in one worker process."""
