/**
 * The control socket of `exeat signer` (docs/signer.md), with Node's own modules alone.
 *
 * What an orchestrator does:
 *
 *     const signer = new Signer();
 *     const session = await signer.open({ agent: "support/summarizer", user: "u-1042", provenance: ["user"] });
 *     spawn("node", ["agent.js"], { env: session.environment(), uid: agentUid });
 *     ...
 *     await session.close();
 *
 * What a tool does, before it hands its result to the agent:
 *
 *     const session = signer.session(sessionId);
 *     await session.tool("web.search");
 *     await session.provenance(["third-party"], "internal");
 *
 * Only users that the signer was told of are let in, and the agent's never is one of them: an agent cannot call this for
 * itself.
 */

import { request } from "node:http";

export type Provenance = "user" | "system" | "internal" | "third-party" | "unknown";
export type DataClass = "public" | "internal" | "confidential" | "restricted";

/** What a session states. SessionRequest in the signer's OpenAPI description says what each member means. */
export interface Facts {
  agent: string;
  session?: string;
  tenant?: string;
  user?: string;
  roles?: string[];
  region?: string;
  delegated_by?: string[];
  scope?: string[];
  session_type?: "interactive" | "batch" | "scheduled";
  data_class?: DataClass;
  provenance?: Provenance[];
  tool?: string;
  reason?: string;
  attributes?: Record<string, string | number | boolean | string[]>;
  destinations?: string[];
  tunnels?: string[];
  life?: number;
  idle?: number;
  uids?: number[];
  listen?: "tcp" | "unix";
}

/** A session as the signer shows it. */
export interface State {
  id: string;
  session: string;
  agent: string;
  tool?: string;
  data_class?: DataClass;
  provenance: Provenance[];
  expires_in: number;
  signed: number;
  refused: number;
}

/** What opening a session gives besides. `proxy` is a secret of the agent's. */
export interface Opened extends State {
  proxy: string;
  ca_pem: string;
  ca_file: string;
  environment: Record<string, string | null>;
}

/** The signer refused; `problem` is its answer (RFC 9457). */
export class SignerError extends Error {
  constructor(readonly problem: { type: string; title: string; status: number; detail: string }) {
    super(`${problem.title} ${problem.detail}`);
  }
}

/** A signer, by the path of its control socket. */
export class Signer {
  constructor(readonly control = process.env["EXEAT_CONTROL"] ?? "/run/exeat/control.sock") {}

  /** Opens a session. */
  async open(facts: Facts): Promise<OpenSession> {
    return new OpenSession(this, await this.ask<Opened>("POST", "/v1/sessions", facts));
  }

  /** A session that is open already, for tools that are told its id. */
  session(id: string): Session {
    return new Session(this, id);
  }

  /** One exchange on the control socket. */
  ask<T>(method: string, path: string, body?: unknown): Promise<T> {
    return new Promise((resolve, reject) => {
      const exchange = request({ socketPath: this.control, method, path, timeout: 30_000 }, (response) => {
        const pieces: Buffer[] = [];
        response.on("data", (piece: Buffer) => pieces.push(piece));
        response.on("error", reject);
        response.on("end", () => {
          const text = Buffer.concat(pieces).toString();
          try {
            const answer = text === "" ? undefined : JSON.parse(text);
            if ((response.statusCode ?? 500) >= 400) throw new SignerError(answer);
            resolve(answer as T);
          } catch (error) {
            reject(error);
          }
        });
      });
      exchange.on("timeout", () => exchange.destroy(new Error("the signer does not answer")));
      exchange.on("error", reject);
      exchange.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }
}

/** One run of an agent, as tools see it. */
export class Session {
  constructor(
    readonly signer: Signer,
    readonly id: string,
  ) {}

  /** Reports the tool in use; null when it is none any more. */
  tool(name: string | null): Promise<State> {
    return this.signer.ask("POST", `/v1/sessions/${this.id}/tool`, { tool: name });
  }

  /** Reports where what a tool returned came from. The session's provenance and data class grow by it, and never shrink. */
  provenance(sources: Provenance[], dataClass?: DataClass): Promise<State> {
    const report = dataClass === undefined ? { provenance: sources } : { provenance: sources, data_class: dataClass };
    return this.signer.ask("POST", `/v1/sessions/${this.id}/provenance`, report);
  }

  /** Lets the session end so many seconds from now. */
  extend(seconds: number): Promise<State> {
    return this.signer.ask("PATCH", `/v1/sessions/${this.id}`, { life: seconds });
  }

  /** Ends the session. */
  async close(): Promise<void> {
    await this.signer.ask("DELETE", `/v1/sessions/${this.id}`);
  }
}

/** One run of an agent, as its opener has it. */
export class OpenSession extends Session {
  constructor(
    signer: Signer,
    readonly opened: Opened,
  ) {
    super(signer, opened.id);
  }

  /** Variables for the agent's programs: where their proxy is and which certificate to trust. */
  environment(base: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
    const variables = { ...base };
    for (const [name, value] of Object.entries(this.opened.environment)) {
      if (value === null) delete variables[name];
      else variables[name] = value;
    }
    return variables;
  }
}
