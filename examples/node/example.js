// Reads an order and searches for others, through the gateway.
//
//   EXEAT_GATEWAY=http://127.0.0.1:10000 EXEAT_KEY=signer.key EXEAT_KEYID=signer-eu-1 \
//     node example.js http://eu.crm.acme.example

import { ExeatClient, loadKey } from './exeat-client.js';

const { EXEAT_GATEWAY, EXEAT_KEY, EXEAT_KEYID } = process.env;
const client = new ExeatClient(EXEAT_GATEWAY, EXEAT_KEYID, loadKey(EXEAT_KEY), {
  agent: 'support/summarizer',
  session: 'node-1',
  tenant: 'acme',
  user: 'u-1042',
});
const lookup = { tool: 'crm.lookup', data_class: 'internal', provenance: ['user'], reason: 'look up "order" 7' };
const [crm] = process.argv.slice(2);

const show = (method, response) => {
  // A refusal is application/problem+json from the gateway; its `reason` is a closed vocabulary.
  const refused = response.headers['content-type'] === 'application/problem+json';
  console.log(method, response.status, refused ? JSON.parse(response.body).reason : 'allowed');
  if (refused) process.exitCode = 1;
};

show('GET', await client.send('GET', `${crm}/v1/orders/7?customer=u-1042`, { context: lookup }));
show(
  'POST',
  await client.send('POST', `${crm}/v1/search`, {
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ customer_id: 'u-1042' }),
    context: { ...lookup, tool: 'crm.search' },
  }),
);
