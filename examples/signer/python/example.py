"""An orchestrator that runs a program as an agent, and a tool that reports what it returned.

    EXEAT_CONTROL=/run/exeat/control.sock python example.py https://eu.crm.acme.example/v1/orders/7
"""

import subprocess
import sys

from exeat_signer import Signer, SignerError


def main(url):
    signer = Signer()
    facts = {"tenant": "acme", "user": "u-1042", "data_class": "internal", "provenance": ["user"]}
    with signer.open("support/summarizer", **facts) as session:
        agent = ["curl", "--silent", "--show-error", "--output", "/dev/null", "--write-out", "%{http_code}\n", url]
        # The agent's program is any that takes a proxy. In earnest it runs as another user: subprocess.run(..., user="agent").
        session.tool("crm.lookup")
        subprocess.run(agent, env=session.environment(), check=True)

        look_up_notes(signer, session.id)
        subprocess.run(agent, env=session.environment(), check=True)
    try:
        session.tool("crm.lookup")
    except SignerError as error:
        print(error.problem["type"])


def look_up_notes(signer, session_id):
    """A tool. It knows that notes hold what customers wrote, and says so before the agent sees them."""
    session = signer.session(session_id)
    state = session.provenance("third-party", data_class="confidential")
    print(" ".join(state["provenance"]), state["data_class"], flush=True)
    return "notes"


if __name__ == "__main__":
    main(sys.argv[1])
