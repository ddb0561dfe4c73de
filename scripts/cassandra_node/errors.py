"""What can go wrong with a node: it is not available here, or it is available and failed.

Exception
├── CassandraUnavailable   this machine lacks Java, Maven, the jars or Linux: tests skip
└── CassandraFailed        a node did not start, did not answer, or was asked for nonsense: tests fail
"""


class CassandraUnavailable(Exception):
    """This machine cannot run Cassandra; ``reason`` says in one line what is missing."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class CassandraFailed(Exception):
    """A node that should be running is not; the message ends with the last errors of its log."""
