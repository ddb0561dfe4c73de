"""Text in, vectors out: template, model, batching, precision, digests."""
