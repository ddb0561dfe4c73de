"""Validation: completeness, exact neighbours, recall, relevance, and the record of them."""
