/**
 * An orchestrator that runs a program as an agent, and a tool that reports what it returned.
 *
 *     npx tsc && EXEAT_CONTROL=/run/exeat/control.sock node example.js https://eu.crm.acme.example/v1/orders/7
 */

import { execFileSync } from "node:child_process";
import { Signer, SignerError } from "./exeat-signer.js";

async function main(url: string): Promise<void> {
  const signer = new Signer();
  const session = await signer.open({
    agent: "support/summarizer",
    tenant: "acme",
    user: "u-1042",
    data_class: "internal",
    provenance: ["user"],
  });
  try {
    // The agent's program is any that takes a proxy. In earnest it runs as another user: { uid: agentUid }.
    const agent = (): void => {
      const options = ["--silent", "--show-error", "--output", "/dev/null", "--write-out", "%{http_code}\n", url];
      execFileSync("curl", options, { env: session.environment(), stdio: "inherit" });
    };
    await session.tool("crm.lookup");
    agent();
    await lookUpNotes(signer, session.id);
    agent();
  } finally {
    await session.close();
  }
  try {
    await session.tool("crm.lookup");
  } catch (error) {
    if (!(error instanceof SignerError)) throw error;
    console.log(error.problem.type);
  }
}

/** A tool. It knows that notes hold what customers wrote, and says so before the agent sees them. */
async function lookUpNotes(signer: Signer, sessionId: string): Promise<string> {
  const session = signer.session(sessionId);
  const state = await session.provenance(["third-party"], "confidential");
  console.log(state.provenance.join(" "), state.data_class);
  return "notes";
}

await main(process.argv[2] ?? "");
