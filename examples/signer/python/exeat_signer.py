"""The control socket of `exeat signer` (docs/signer.md), with the standard library alone.

What an orchestrator does:

    signer = Signer()
    with signer.open(agent="support/summarizer", user="u-1042", provenance=["user"]) as session:
        subprocess.run(["python", "agent.py"], env=session.environment(), user="agent")

What a tool does, before it hands its result to the agent:

    session = signer.session(session_id)
    session.tool("web.search")
    session.provenance("third-party", data_class="internal")

Only users that the signer was told of are let in, and the agent's never is one of them: an agent cannot call this for itself.
"""

import http.client
import json
import os
import socket


class SignerError(Exception):
    """The signer refused; `problem` is its answer (RFC 9457)."""

    def __init__(self, problem):
        super().__init__(f"{problem['title']} {problem['detail']}")
        self.problem = problem


class Signer:
    """A signer, by the path of its control socket."""

    def __init__(self, control=None):
        self.control = control or os.environ.get("EXEAT_CONTROL", "/run/exeat/control.sock")

    def open(self, agent, **facts):
        """Opens a session. `facts` are members of SessionRequest in the signer's OpenAPI description."""
        return Session(self, self.ask("POST", "/v1/sessions", {"agent": agent, **facts}))

    def session(self, session_id):
        """A session that is open already, for tools that are told its id."""
        return Session(self, {"id": session_id})

    def ask(self, method, resource, body=None):
        """One exchange on the control socket."""
        connection = _UnixConnection(self.control)
        try:
            connection.request(method, resource, body=None if body is None else json.dumps(body))
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.status == 204:
            return None
        answer = json.loads(answer)
        if response.status >= 400:
            raise SignerError(answer)
        return answer


class Session:
    """One run of an agent. Leaving a `with` block closes it."""

    def __init__(self, signer, state):
        self.signer, self.state = signer, state

    @property
    def id(self):
        """What names the session on the control socket. No secret, and of no use to the agent."""
        return self.state["id"]

    def environment(self, base=None):
        """Variables for the agent's programs: where their proxy is and which certificate to trust."""
        variables = dict(os.environ if base is None else base)
        for name, value in self.state["environment"].items():
            variables.pop(name, None)
            if value is not None:
                variables[name] = value
        return variables

    def tool(self, name):
        """Reports the tool in use; None when it is none any more."""
        return self._report("tool", {"tool": name})

    def provenance(self, *sources, data_class=None):
        """Reports where what a tool returned came from. The session's provenance and data class grow by it, and never shrink."""
        report = {"provenance": list(sources)}
        if data_class is not None:
            report["data_class"] = data_class
        return self._report("provenance", report)

    def extend(self, seconds):
        """Lets the session end so many seconds from now."""
        return self.signer.ask("PATCH", f"/v1/sessions/{self.id}", {"life": seconds})

    def close(self):
        """Ends the session."""
        self.signer.ask("DELETE", f"/v1/sessions/{self.id}")

    def _report(self, resource, body):
        return self.signer.ask("POST", f"/v1/sessions/{self.id}/{resource}", body)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("signer", timeout=30)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)
