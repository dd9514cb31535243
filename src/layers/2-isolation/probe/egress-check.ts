/**
 * A short program that tries to get out as the dedicated user, and what its answers mean: the rules alone, without any
 * other lock, are asked.
 *
 * Limits:  it asks loopback only, so that no packet of it can leave the machine; the rules make no difference there.
 * Proof:   test/attacks/2-isolate.test.ts
 * @module
 */

/** Errors that mean that the kernel held the packet; a refused connection means that it arrived. */
const held = new Set(['EPERM', 'EACCES', 'EHOSTUNREACH', 'ENETUNREACH', 'EADDRNOTAVAIL', 'EAFNOSUPPORT']);

/** Tries a closed port of loopback by each family, and prints one JSON object. */
export const egressCheckProgram = `
const net = require('node:net'), dgram = require('node:dgram');
const answers = {};
const tcp = (host) => new Promise((done) => {
  const s = net.connect({ host, port: 9 });
  const end = (word) => { s.destroy(); done(word); };
  s.on('connect', () => end('connected')); s.on('error', (e) => end(e.code)); s.setTimeout(2000, () => end('TIMEOUT'));
});
const udp = (type, host) => new Promise((done) => {
  const s = dgram.createSocket(type);
  s.on('error', (e) => done(e.code));
  s.send('x', 9, host, (e) => { s.close(); done(e ? e.code : 'sent'); });
});
(async () => {
  answers.tcp4 = await tcp('127.0.0.1'); answers.tcp6 = await tcp('::1');
  answers.udp4 = await udp('udp4', '127.0.0.1'); answers.udp6 = await udp('udp6', '::1');
  console.log(JSON.stringify(answers));
})();`;

/** What got out: names and answers; empty when everything was held. `undefined` when the program told nothing. */
export function judgeEgress(printed: string): { readonly out: readonly string[]; readonly seen: string } | undefined {
  let answers: unknown;
  try {
    answers = JSON.parse(printed);
  } catch {
    return undefined;
  }
  if (typeof answers !== 'object' || answers === null) return undefined;
  const entries = Object.entries(answers).map(
    ([name, answer]) => [name, typeof answer === 'string' ? answer : '?'] as const,
  );
  if (entries.length !== 4) return undefined;
  return {
    out: entries.filter(([, answer]) => !held.has(answer)).map(([name, answer]) => `${name} ${answer}`),
    seen: entries.map(([name, answer]) => `${name} ${answer}`).join(', '),
  };
}
