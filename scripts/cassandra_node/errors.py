"""What can go wrong with a node: it cannot be had here, or it could be had and failed.

Exception
├── CassandraUnavailable   this machine lacks Java, Maven, the jars or Linux: tests skip
└── CassandraFailed        a node did not start, did not answer, or was asked for nonsense: tests fail
"""


class CassandraUnavailable(Exception):
    """This machine cannot run Cassandra; ``reason`` says in one line what it lacks."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class CassandraFailed(Exception):
    """A node that should run does not; the message ends with the last errors of its log."""
