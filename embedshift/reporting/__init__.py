"""The report of a validation, for people: one page of HTML, or Markdown for a pull request."""
