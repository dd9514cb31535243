/**
 * The layer 1 attempts of `kwyre prove`: HTTP requests that must be refused, connections to addresses other than
 * 127.0.0.1, and the kernel's table of listeners.
 *
 * Promise: only the second server is contacted. Its token is sent only to 127.0.0.1. As a control, a valid request must
 *          be answered, because otherwise a refusal would prove nothing.
 * Proof:   test/e2e/prove.test.ts, test/unit/cli/attempt.test.ts
 * @module
 */
import { readFileSync } from 'node:fs';
import { listenersOn, loopbackHex } from '../../linux/procfs/net-tables.ts';
import { localAddresses } from '../../linux/procfs/unused-address.ts';
import type { Proof } from './attempt.ts';
import type { Attempt } from './loopback-attempts.ts';
import { httpAttempts, requestText } from './loopback-attempts.ts';
import type { Exchange } from './raw-http.ts';
import { exchange } from './raw-http.ts';
import type { TargetServer } from './target-server.ts';

/** Describes a response in a few words. */
const describe = (answer: Exchange): string =>
  answer.failed ?? (answer.status === 0 ? 'no answer' : String(answer.status));

/** Turns the responses to one attempt into a verdict: held if every response is an expected refusal. @internal */
export function judgeExchanges({ ids, attempt, expected }: Attempt, answers: readonly Exchange[]): Proof {
  const got = [...new Set(answers.map(describe))].join(', ');
  const readable = answers.some((answer) => /^access-control-allow-origin:/im.test(answer.head));
  const through = answers.some((answer) => answer.status > 0 && answer.status < 400);
  // A connection that is closed without a response counts as refused. One that could not be made proves nothing.
  const refused = answers.every(
    (answer) => answer.failed === undefined && (answer.status === 0 || expected.includes(answer.status)),
  );
  const verdict = through || readable ? 'breached' : refused ? 'held' : 'not-proved';
  return {
    layer: 1,
    ids,
    attempt: `${attempt} (${answers.length === 1 ? '1 request' : `${answers.length} requests`})`,
    where: 'server',
    expected: `refused with ${expected.join(' or ')}`,
    got: readable ? `${got}, readable to another origin` : got,
    verdict,
  };
}

function readTable(name: string): string {
  try {
    return readFileSync(`/proc/self/net/${name}`, 'latin1');
  } catch {
    return ''; // a kernel without IPv6 has no such table
  }
}

/** Proves that every other address of this machine refuses connections to the server's port. */
async function otherAddresses({ port }: TargetServer): Promise<Proof> {
  const addresses = [
    ...localAddresses(readTable('fib_trie'))
      .map((address) => address.join('.'))
      .filter((address) => address !== '127.0.0.1'),
    '127.0.0.2',
    '::1',
  ];
  const got = await Promise.all(
    addresses.map(async (host) => ({
      host,
      answer: await exchange(host, port, `GET /health HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`),
    })),
  );
  const reached = got.filter(({ answer }) => answer.failed === undefined);
  const refusals = new Set(['ECONNREFUSED', 'EADDRNOTAVAIL', 'ENETUNREACH', 'EAFNOSUPPORT', 'EHOSTUNREACH']);
  const odd = got.filter(({ answer }) => answer.failed !== undefined && !refusals.has(answer.failed));
  return {
    layer: 1,
    ids: 'L1-14 L1-34',
    where: 'server',
    attempt: `the port on ${addresses.length} other addresses of this machine, including IPv6`,
    expected: 'connection refused',
    got:
      reached.length > 0
        ? `${reached.map(({ host }) => host).join(', ')} answered`
        : [...new Set(got.map(({ answer }) => describe(answer)))].join(', '),
    verdict: reached.length > 0 ? 'breached' : odd.length > 0 ? 'not-proved' : 'held',
  };
}

/** Proves that the kernel lists only one listener, on 127.0.0.1. */
function kernelTable({ port }: TargetServer): Proof {
  const listeners = listenersOn(port, [readTable('tcp'), readTable('tcp6')]);
  const only = listeners.length === 1 && listeners[0]?.local === loopbackHex(port);
  return {
    layer: 1,
    ids: 'L1-16',
    attempt: "the kernel's list of listening sockets",
    where: 'server',
    expected: 'one listener, 127.0.0.1',
    got: only ? 'one listener, 127.0.0.1' : `${listeners.length} listeners`,
    verdict: only ? 'held' : listeners.length === 0 ? 'not-proved' : 'breached',
  };
}

/** Makes every attempt on layer 1; `tell` is called with each result. */
export async function proveLoopback(server: TargetServer, tell: (proofs: readonly Proof[]) => void): Promise<Proof[]> {
  const proofs: Proof[] = [];
  const add = (proof: Proof): void => {
    proofs.push(proof);
    tell([proof]);
  };
  const honest = await exchange('127.0.0.1', server.port, requestText(server, {}));
  const answers200 = honest.status === 200;
  add({
    layer: 1,
    ids: '',
    attempt: 'a valid request is answered (control)',
    where: 'server',
    expected: '200',
    got: describe(honest),
    verdict: answers200 ? 'held' : 'not-proved',
  });
  for (const attempt of httpAttempts(server)) {
    const answers: Exchange[] = [];
    for (const request of attempt.requests)
      answers.push(await exchange('127.0.0.1', server.port, requestText(server, request)));
    const proof = judgeExchanges(attempt, answers);
    add(answers200 || proof.verdict === 'breached' ? proof : { ...proof, verdict: 'not-proved' });
  }
  add(await otherAddresses(server));
  add(kernelTable(server));
  return proofs;
}

/** Returns all attempts as not proved, for a second server that did not start. */
export function unprovenLoopback(reason: string): Proof[] {
  return httpAttempts({ port: 0, token: '', pid: 0 }).map(({ ids, attempt, expected }) => ({
    layer: 1,
    ids,
    attempt,
    where: 'server',
    expected: `refused with ${expected.join(' or ')}`,
    got: `the second server did not start: ${reason}`,
    verdict: 'not-proved',
  }));
}
