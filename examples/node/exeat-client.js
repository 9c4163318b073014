// Requests that carry a signed context (docs/signed-context.md) to an Exeat gateway.
//
//   const client = new ExeatClient('http://127.0.0.1:10000', 'signer-eu-1', key, {agent: 'support/summarizer', session: 's-1'});
//   await client.send('GET', 'http://eu.crm.acme.example/v1/orders/7', {context: {tool: 'crm.lookup', provenance: ['user']}});
//
// Write URLs with http:// even where the destination speaks HTTPS: this process speaks plain HTTP to the gateway next to it,
// and the gateway goes on over TLS. Each request is signed when it is sent, with a nonce of its own: a retry needs a new one.

import { createHash, createPrivateKey, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { createSigner, httpbis } from 'http-message-signatures';
import { serializeDictionary, Token } from 'structured-headers';

// Members of the context whose values are words of a closed list, not strings.
const WORDS = new Set(['session_type', 'data_class', 'scope', 'provenance']);

/** The private key as `exeat key new` writes it: base64 of the 32-byte seed. */
export function loadKey(path) {
  const seed = Buffer.from(readFileSync(path, 'ascii').trim(), 'base64');
  if (seed.length !== 32) throw new Error(`${path} does not hold base64 of 32 bytes`);
  // RFC 8410: what stands before the seed in PKCS #8.
  const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]);
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
}

export class ExeatClient {
  /** `context` holds for every request of this client: agent and session at least. */
  constructor(gateway, keyid, key, context) {
    this.gateway = new URL(gateway);
    this.signer = createSigner(key, 'ed25519', keyid);
    this.context = context;
  }

  /** Signs and sends. `context` are members for this request alone, such as tool and provenance. */
  async send(method, url, { headers = {}, body, context = {} } = {}) {
    const target = Object.assign(new URL(url), { hash: '', username: '', password: '' });
    const signed = await this.sign({ method, url: target, headers: { ...headers }, body }, context);
    // Not `pathname` and `search`, which hide a lone `?`.
    const path = target.href.slice(target.origin.length);
    return new Promise((resolve, reject) => {
      const { hostname, port } = this.gateway;
      // The gateway is where it goes; `Host` says where it is meant for.
      const options = { hostname, port, method, path, headers: { ...signed.headers, host: target.host } };
      const sent = httpRequest(options, (response) => {
        const pieces = [];
        response.on('data', (piece) => pieces.push(piece));
        response.on('error', reject);
        response.on('end', () => {
          const { statusCode: status, headers } = response;
          resolve({ status, headers, body: Buffer.concat(pieces).toString() });
        });
      });
      sent.on('error', reject);
      sent.end(body);
    });
  }

  /** Adds Agent-Context, Content-Digest, Signature-Input and Signature. */
  async sign(message, context) {
    if (message.url.protocol !== 'http:') throw new Error('write the URL with http://; the gateway is the one that speaks TLS');
    const { headers, body, url } = message;
    headers['agent-context'] = agentContext({ ...this.context, ...context });
    const fields = ['@method', '@authority', '@path', 'agent-context'];
    if (url.href.includes('?')) fields.push('@query');
    if (body?.length) {
      headers['content-digest'] = `sha-256=:${createHash('sha256').update(body).digest('base64')}:`;
      headers['content-length'] = String(Buffer.byteLength(body));
      const present = Object.keys(headers).map((name) => name.toLowerCase());
      fields.push('content-digest', ...['content-type', 'content-encoding'].filter((name) => present.includes(name)));
    }
    return httpbis.signMessage(
      {
        key: this.signer,
        name: 'exeat',
        fields,
        params: ['created', 'nonce', 'keyid', 'alg', 'tag'],
        paramValues: { nonce: randomBytes(16).toString('base64'), tag: 'exeat' },
      },
      message,
    );
  }
}

/** The dictionary of RFC 9651 that the gateway reads. */
export function agentContext(members) {
  const member = ([name, given]) => {
    const bare = (text) => (WORDS.has(name) ? new Token(text) : String(text));
    const item = (text) => [bare(text), new Map()];
    return [name, Array.isArray(given) ? [given.map(item), new Map()] : item(given)];
  };
  return serializeDictionary(new Map(Object.entries(members).map(member)));
}
