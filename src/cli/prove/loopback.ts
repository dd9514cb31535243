/**
 * The attempts of `kwyre prove` on layer 1: other names, other origins, no token, another address than 127.0.0.1.
 *
 * Promise: nothing is sent to anybody but the second server; its token goes to 127.0.0.1 alone, and only to see that
 *          an honest request is answered, without which a refusal would prove nothing.
 * Proof:   test/e2e/prove.test.ts
 * @module
 */
import { readFileSync } from 'node:fs';
import { listenersOn, loopbackHex } from '../../linux/procfs/net-tables.ts';
import { localAddresses } from '../../linux/procfs/unused-address.ts';
import type { Running } from './target-server.ts';
import type { Proof } from './attempt.ts';
import type { Exchange } from './raw-http.ts';
import { exchange } from './raw-http.ts';

type Request = {
  readonly method?: string;
  readonly target?: string;
  readonly version?: string;
  /** `null` leaves it out. */ readonly host?: string | null;
  readonly token?: string | null;
  readonly headers?: readonly string[];
  readonly body?: string;
};

type Attempt = {
  readonly ids: string;
  readonly attempt: string;
  readonly expected: readonly number[];
  readonly requests: readonly Request[];
};

const chat = '{"model":"guide","messages":[{"role":"user","content":"x"}]}';
const json = ['Content-Type: application/json', `Content-Length: ${chat.length}`];

function textOf(
  server: Running,
  {
    method = 'GET',
    target = '/v1/models',
    version = '1.1',
    host = `127.0.0.1:${server.port}`,
    token = server.token,
    headers = [],
    body = '',
  }: Request,
): string {
  return [
    `${method} ${target} HTTP/${version}`,
    ...(host === null ? [] : [`Host: ${host}`]),
    ...(token === null ? [] : [`Authorization: Bearer ${token}`]),
    ...headers,
    'Connection: close',
    '',
    body,
  ].join('\r\n');
}

/** Every attempt by HTTP; each has the right token unless the token is what is attacked. */
export function httpAttempts({ port, token }: Running): readonly Attempt[] {
  const own = `127.0.0.1:${port}`;
  const asHost = (names: readonly string[]): Request[] => names.map((name) => ({ host: `${name}:${port}` }));
  return [
    {
      ids: 'L1-01',
      attempt: 'a web page under a foreign name that points here (DNS rebinding)',
      expected: [403],
      requests: [...asHost(['evil.example', 'x.localhost']), { host: 'evil.example' }],
    },
    {
      ids: 'L1-02 L1-03',
      attempt: 'no Host, an empty one, HTTP/1.0',
      expected: [400, 403],
      requests: [{ host: '' }, { host: null }, { host: null, version: '1.0' }],
    },
    {
      ids: 'L1-04',
      attempt: 'two Host headers, one of them good',
      expected: [400],
      requests: [{ headers: ['Host: evil.example'] }, { host: 'evil.example', headers: [`Host: ${own}`] }],
    },
    {
      ids: 'L1-05 L1-06',
      attempt: 'names that only look like this machine',
      expected: [400, 403],
      requests: asHost([
        'localhost.evil.example',
        '127.0.0.1.nip.io',
        'localhost.',
        '127.1',
        '2130706433',
        '[::ffff:127.0.0.1]',
        'kwyre.local',
      ]),
    },
    {
      ids: 'L1-07',
      attempt: 'a whole address as the target',
      expected: [400],
      requests: [{ target: 'http://evil.example/v1/models' }, { target: '//evil.example/v1/models' }],
    },
    { ids: 'L1-08', attempt: 'the name 0.0.0.0', expected: [403], requests: asHost(['0.0.0.0', '[::]']) },
    {
      ids: 'L1-09 L1-10',
      attempt: 'a page of another origin, or of none',
      expected: [403],
      requests: ['https://evil.example', 'null', `http://127.0.0.1:${port + 1}`].map((origin) => ({
        headers: [`Origin: ${origin}`],
      })),
    },
    {
      ids: 'L1-11',
      attempt: 'a form of another site that makes the model write',
      expected: [403, 415],
      requests: [
        {
          method: 'POST',
          target: '/v1/chat/completions',
          headers: ['Content-Type: text/plain', `Content-Length: ${chat.length}`],
          body: chat,
        },
        {
          method: 'POST',
          target: '/v1/chat/completions',
          headers: [...json, 'Sec-Fetch-Site: cross-site'],
          body: chat,
        },
      ],
    },
    {
      ids: 'L1-12',
      attempt: 'a preflight request of another origin',
      expected: [403, 405],
      requests: [
        { method: 'OPTIONS', headers: ['Origin: https://evil.example', 'Access-Control-Request-Method: POST'] },
      ],
    },
    {
      ids: 'L1-13',
      attempt: 'an upgrade to a WebSocket',
      expected: [400],
      requests: [
        {
          headers: [
            'Upgrade: websocket',
            'Connection: Upgrade',
            'Sec-WebSocket-Key: eA==',
            'Sec-WebSocket-Version: 13',
          ],
        },
      ],
    },
    {
      ids: 'L1-18',
      attempt: 'another program of this machine without the token, or with another one',
      expected: [401, 429],
      requests: [
        { token: null },
        { token: 'kwyre' },
        { token: `${token.slice(0, -1)}${token.endsWith('a') ? 'b' : 'a'}` },
        { token: null, target: '/kwyre/status' },
        { token: null, method: 'POST', target: '/v1/chat/completions', headers: json, body: chat },
      ],
    },
    {
      ids: 'L1-19 L1-20',
      attempt: 'no token, by another spelling of the path or another place for the token',
      expected: [400, 401, 404],
      requests: [
        '/v1/../v1/models',
        '/V1/models',
        '/v1/models/',
        '/%761/models',
        '/health/../v1/models',
        `/v1/models?token=${token}`,
      ].map((target) => ({ token: null, target })),
    },
    {
      ids: 'L1-25',
      attempt: 'a request hidden behind another one (smuggling)',
      expected: [400],
      requests: [
        {
          method: 'POST',
          target: '/v1/chat/completions',
          headers: [...json, 'Transfer-Encoding: chunked'],
          body: '0\r\n\r\n',
        },
      ],
    },
    {
      ids: 'L1-32',
      attempt: 'a foreign name with forwarding headers that excuse it',
      expected: [403],
      requests: [
        {
          host: 'evil.example',
          headers: [`X-Forwarded-Host: ${own}`, 'X-Forwarded-For: 127.0.0.1', `Forwarded: host=${own}`],
        },
      ],
    },
  ];
}

const words = (answer: Exchange): string =>
  answer.failed ?? (answer.status === 0 ? 'no answer' : String(answer.status));

/** Judges the answers to one attempt: every one must be a refusal. */
export function judgeAnswers({ ids, attempt, expected }: Attempt, answers: readonly Exchange[]): Proof {
  const got = [...new Set(answers.map(words))].join(', ');
  const readable = answers.some((answer) => /^access-control-allow-origin:/im.test(answer.head));
  const through = answers.some((answer) => answer.status > 0 && answer.status < 400);
  // A connection that is closed without a word refuses too; one that could not be made shows nothing.
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

/** Other addresses of this machine: nobody may answer there on our port. */
async function otherAddresses({ port }: Running): Promise<Proof> {
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
    attempt: `the port at ${addresses.length} other addresses of this machine, IPv6 included`,
    expected: 'a refused connection',
    got:
      reached.length > 0
        ? `${reached.map(({ host }) => host).join(', ')} answered`
        : [...new Set(got.map(({ answer }) => words(answer)))].join(', '),
    verdict: reached.length > 0 ? 'breached' : odd.length > 0 ? 'not-proved' : 'held',
  };
}

/** What the kernel says: one listener, on 127.0.0.1. */
function kernelTable({ port }: Running): Proof {
  const listeners = listenersOn(port, [readTable('tcp'), readTable('tcp6')]);
  const only = listeners.length === 1 && listeners[0]?.local === loopbackHex(port);
  return {
    layer: 1,
    ids: 'L1-16',
    attempt: "the kernel's table of listening sockets",
    where: 'server',
    expected: 'one listener, 127.0.0.1',
    got: only ? 'one listener, 127.0.0.1' : `${listeners.length} listeners`,
    verdict: only ? 'held' : listeners.length === 0 ? 'not-proved' : 'breached',
  };
}

/** Makes every attempt on layer 1. */
export async function proveLoopback(server: Running, tell: (proofs: readonly Proof[]) => void): Promise<Proof[]> {
  const proofs: Proof[] = [];
  const add = (proof: Proof): void => {
    proofs.push(proof);
    tell([proof]);
  };
  const honest = await exchange('127.0.0.1', server.port, textOf(server, {}));
  const lives = honest.status === 200;
  add({
    layer: 1,
    ids: '',
    attempt: 'an honest request, so that the refusals mean something',
    where: 'server',
    expected: '200',
    got: words(honest),
    verdict: lives ? 'held' : 'not-proved',
  });
  for (const attempt of httpAttempts(server)) {
    const answers: Exchange[] = [];
    for (const request of attempt.requests)
      answers.push(await exchange('127.0.0.1', server.port, textOf(server, request)));
    const proof = judgeAnswers(attempt, answers);
    add(lives || proof.verdict === 'breached' ? proof : { ...proof, verdict: 'not-proved' });
  }
  add(await otherAddresses(server));
  add(kernelTable(server));
  return proofs;
}

/** The same list when there is nothing to attack. */
export function unprovenLoopback(reason: string): Proof[] {
  return httpAttempts({ port: 0, token: '', pid: 0 }).map(({ ids, attempt, expected }) => ({
    layer: 1,
    ids,
    attempt,
    where: 'server',
    expected: `refused with ${expected.join(' or ')}`,
    got: `the server to attack did not start: ${reason}`,
    verdict: 'not-proved',
  }));
}
