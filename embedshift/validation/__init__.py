"""The proof: completeness, exact neighbours, recall, relevance, and the report of it."""
