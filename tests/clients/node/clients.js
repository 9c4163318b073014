// A GET and a POST of 100 kB by one library, which knows of proxy and certificates only what its environment says.
//
//     node clients.js LIBRARY ORIGIN

const body = JSON.stringify({ customer_id: 'u-1042', text: 'x'.repeat(100_000) });
const headers = { 'content-type': 'application/json' };

const libraries = {
  async axios(get, post) {
    const { default: axios } = await import('axios');
    return [(await axios.get(get)).status, (await axios.post(post, body, { headers })).status];
  },

  // Plain requests through a proxy go into a tunnel unless undici is told otherwise, and the signer ends tunnels that are not
  // TLS.
  async undici(get, post) {
    const { EnvHttpProxyAgent, fetch } = await import('undici');
    const dispatcher = new EnvHttpProxyAgent({ proxyTunnel: false });
    const one = await fetch(get, { dispatcher });
    await one.text();
    const other = await fetch(post, { method: 'POST', body, headers, dispatcher });
    await other.text();
    return [one.status, other.status];
  },
};

const [library, origin] = process.argv.slice(2);
const statuses = await libraries[library](`${origin}/v1/orders/7?customer=u-1042`, `${origin}/v1/search`);
console.log(statuses.join(' '));
