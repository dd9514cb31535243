/**
 * The HTTP requests that `kwyre prove` sends to test layer 1: foreign names and origins, missing and wrong tokens,
 * malformed targets. Pure.
 *
 * Source: docs/THREAT-MODEL.md, layer 1
 * Proof:  test/unit/cli/attempt.test.ts, test/e2e/prove.test.ts
 * @module
 */
import type { TargetServer } from './target-server.ts';

type Request = {
  readonly method?: string;
  readonly target?: string;
  readonly version?: string;
  /** `null` omits the header. */
  readonly host?: string | null;
  readonly token?: string | null;
  readonly headers?: readonly string[];
  readonly body?: string;
};

/** One attempt; each of its requests must be answered with one of the expected status codes. */
export type Attempt = {
  /** Attack ids from the threat model. */
  readonly ids: string;
  readonly attempt: string;
  readonly expected: readonly number[];
  readonly requests: readonly Request[];
};

const chat = '{"model":"guide","messages":[{"role":"user","content":"x"}]}';
const json = ['Content-Type: application/json', `Content-Length: ${chat.length}`];

/** Returns the bytes of a request as text; by default, those of a valid request. */
export function requestText(
  server: TargetServer,
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

/** Returns every HTTP attempt. Each request has the right token unless the attempt tests the token check. */
export function httpAttempts({ port, token }: TargetServer): readonly Attempt[] {
  const own = `127.0.0.1:${port}`;
  const asHost = (names: readonly string[]): Request[] => names.map((name) => ({ host: `${name}:${port}` }));
  return [
    {
      ids: 'L1-01',
      attempt: 'a web page whose name resolves to this machine (DNS rebinding)',
      expected: [403],
      requests: [...asHost(['evil.example', 'x.localhost']), { host: 'evil.example' }],
    },
    {
      ids: 'L1-02 L1-03',
      attempt: 'no Host header, an empty one, HTTP/1.0',
      expected: [400, 403],
      requests: [{ host: '' }, { host: null }, { host: null, version: '1.0' }],
    },
    {
      ids: 'L1-04',
      attempt: 'two Host headers, one of them valid',
      expected: [400],
      requests: [{ headers: ['Host: evil.example'] }, { host: 'evil.example', headers: [`Host: ${own}`] }],
    },
    {
      ids: 'L1-05 L1-06',
      attempt: 'host names that resemble this machine',
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
      attempt: 'an absolute URL as the request target',
      expected: [400],
      requests: [{ target: 'http://evil.example/v1/models' }, { target: '//evil.example/v1/models' }],
    },
    { ids: 'L1-08', attempt: 'the host name 0.0.0.0', expected: [403], requests: asHost(['0.0.0.0', '[::]']) },
    {
      ids: 'L1-09 L1-10',
      attempt: 'a page from another origin, or from a null origin',
      expected: [403],
      requests: ['https://evil.example', 'null', `http://127.0.0.1:${port + 1}`].map((origin) => ({
        headers: [`Origin: ${origin}`],
      })),
    },
    {
      ids: 'L1-11',
      attempt: 'a form on another site that starts a generation',
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
      attempt: 'a CORS preflight from another origin',
      expected: [403, 405],
      requests: [
        { method: 'OPTIONS', headers: ['Origin: https://evil.example', 'Access-Control-Request-Method: POST'] },
      ],
    },
    {
      ids: 'L1-13',
      attempt: 'a WebSocket upgrade',
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
      attempt: 'a program on this machine without the token or with a wrong one',
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
      attempt: 'no token, with another spelling of the path or the token in the URL',
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
      attempt: 'request smuggling',
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
      attempt: 'a foreign host name with forwarding headers',
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
