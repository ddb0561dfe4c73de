"""A hook that writes one line into a chat: run as a command, it posts to the webhook in CHAT_WEBHOOK.

    hooks:
      on_failure:    [python3, docs/examples/chat_message.py]
      after_cutover: [python3, docs/examples/chat_message.py]

The body is {"text": "…"}. The address is a secret: it comes from the environment and is not printed.
"""

import json
import os
import sys
import urllib.request


def message(facts: dict[str, str]) -> str:
    """The line for people."""
    what = f"{facts['EMBEDSHIFT_ALIAS']}: {facts['EMBEDSHIFT_MIGRATION'] or 'no migration'}"
    if facts["EMBEDSHIFT_EVENT"] == "on_failure":
        return f"{what}: {facts['EMBEDSHIFT_STEP']} failed. {facts['EMBEDSHIFT_ERROR']}"
    if facts["EMBEDSHIFT_EVENT"] == "after_cutover":
        return f"{what}: {facts['EMBEDSHIFT_TARGET']} is live, embedded with {facts['EMBEDSHIFT_MODEL']}"
    return f"{what} is {facts['EMBEDSHIFT_STATE']}"


def main() -> int:
    """Post the line; exit 1 if that fails."""
    body = json.dumps({"text": message(dict(os.environ))}).encode()
    try:
        request = urllib.request.Request(
            os.environ["CHAT_WEBHOOK"], data=body, headers={"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=10).close()
    except KeyError:
        print("CHAT_WEBHOOK is not set", file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        print(f"the chat cannot be reached ({type(error).__name__})", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
