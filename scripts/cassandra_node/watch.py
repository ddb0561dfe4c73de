"""End a node when the program that started it has ended, however it ended.

Run as ``python watch.py OWNER_FD NODE_FD``: two inherited pidfds. A death signal (prctl PR_SET_PDEATHSIG) would be
simpler, but it fires when the *thread* that started the node ends, and tests restart nodes from threads. This file is
independent: it runs isolated, without the project on its path.
"""

import select
import signal
import sys


def watch(owner: int, node: int) -> None:
    """Wait for either process to end; a node that outlives its owner is killed."""
    poll = select.poll()
    poll.register(owner, select.POLLIN)
    poll.register(node, select.POLLIN)
    ended = {descriptor for descriptor, _ in poll.poll()}
    if node not in ended:
        signal.pidfd_send_signal(node, signal.SIGKILL)


if __name__ == "__main__":
    watch(int(sys.argv[1]), int(sys.argv[2]))
