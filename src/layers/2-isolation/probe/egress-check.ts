/**
 * Tests only the firewall rules: a short program connects as the dedicated user, without any other protection.
 *
 * Limits:  the program connects only to loopback, so no packet can leave the machine. The rules treat loopback like any
 *          other destination.
 * Proof:   test/attacks/2-isolate.test.ts
 * @module
 */

/** Errors that show that the kernel blocked the packet; a refused connection shows that it arrived. */
const blocked = new Set(['EPERM', 'EACCES', 'EHOSTUNREACH', 'ENETUNREACH', 'EADDRNOTAVAIL', 'EAFNOSUPPORT']);

/** Tries a closed loopback port with each protocol and prints one JSON object. */
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

/** Returns the attempts that escaped, and all results in words; `undefined` if the output is malformed. */
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
    out: entries.filter(([, answer]) => !blocked.has(answer)).map(([name, answer]) => `${name} ${answer}`),
    seen: entries.map(([name, answer]) => `${name} ${answer}`).join(', '),
  };
}
