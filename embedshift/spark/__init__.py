"""Spark: the context, and the work on one token range in one worker process."""
