"""End a node when the program that started it has gone, however that program ended.

Run as ``python watch.py OWNER_FD NODE_FD``: two pidfds, inherited. A death signal (prctl PR_SET_PDEATHSIG)
would be shorter, but it fires when the *thread* that started the node ends, and tests restart nodes from
threads. This file stands alone: it runs isolated, without the project on its path.
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
