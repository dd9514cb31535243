/**
 * Layer 1: malformed, slow, huge and many, against a real gateway process.
 * @module
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { limits } from '../../src/gateway/http-server.ts';
import { errorCode, rawRequest, requestText, sleep, startGateway } from '../support/gateway.ts';
import type { Gateway } from '../support/gateway.ts';
import { until } from '../support/server.ts';
import { assertWithin } from '../support/time-bounds.ts';

let gateway: Gateway;
before(async () => {
  gateway = await startGateway();
});
after(async () => {
  await gateway.stop();
});

/** The gateway still serves its owner, in the same process. */
async function alive(which: Gateway = gateway): Promise<void> {
  assert.equal((await rawRequest(which.port, requestText(which))).status, 200);
  assert.equal(which.process.exitCode, null);
}

const residentBytes = (pid: number) =>
  Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))![1]) * 1024;

test('L1-25 request smuggling: every ambiguous framing is refused and nothing behind it is served', async () => {
  const open = `Host: 127.0.0.1:${gateway.port}\r\nAuthorization: Bearer ${gateway.token}\r\n`;
  const json = 'Content-Type: application/json\r\n';
  const inner = `GET /v1/models HTTP/1.1\r\n${open}\r\n`;
  const post = `POST /v1/chat/completions HTTP/1.1\r\n${open}${json}`;
  const cases: Readonly<Record<string, string>> = {
    'TE and CL': `${post}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${inner}`,
    'CL and TE': `${post}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n${inner}`,
    'two lengths': `${post}Content-Length: 0\r\nContent-Length: ${inner.length}\r\n\r\n${inner}`,
    'a list of lengths': `${post}Content-Length: 0, ${inner.length}\r\n\r\n${inner}`,
    'a signed length': `${post}Content-Length: +2\r\n\r\n{}${inner}`,
    'a hexadecimal length': `${post}Content-Length: 0x2\r\n\r\n{}${inner}`,
    'a negative length': `${post}Content-Length: -1\r\n\r\n${inner}`,
    'an overlong length': `${post}Content-Length: 18446744073709551618\r\n\r\n{}${inner}`,
    'TE with a space': `${post}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n${inner}`,
    'TE xchunked': `${post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n${inner}`,
    'TE twice': `${post}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n${inner}`,
    'TE chunked alone': `${post}Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n`,
    'a bare LF': `POST /v1/chat/completions HTTP/1.1\nHost: 127.0.0.1:${gateway.port}\nAuthorization: Bearer ${gateway.token}\n${json}Content-Length: 2\n\n{}`,
    'a folded header': `${post}X-A: b\r\n Content-Length: 0\r\n\r\n${inner}`,
    'a space before the colon': `${post}Content-Length : 2\r\n\r\n{}`,
    'a NUL in a header': `${post}X-A: a\0b\r\n\r\n`,
    'a CR in a header': `${post}X-A: a\rb\r\n\r\n`,
    'no header name': `${post}: value\r\n\r\n`,
    'a body on GET': `GET /v1/models HTTP/1.1\r\n${open}Content-Length: ${inner.length}\r\n\r\n${inner}`,
    'a bad version': `GET /v1/models HTTP/9.9\r\n${open}\r\n`,
    'a bad chunk': `${post}Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n`,
    'no HTTP': 'rubbish\r\n\r\n',
    TLS: '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
  };
  for (const [name, bytes] of Object.entries(cases)) {
    const before = gateway.turns.length;
    const answer = await rawRequest(gateway.port, Buffer.from(bytes, 'latin1'), {
      more: true,
      quietMs: name === 'TE chunked alone' ? 1500 : 200,
    });
    const answers = answer.text.match(/HTTP\/1\.1 \d+/g) ?? [];
    assert.ok(answers.length <= 1, `${name}: ${answers.join(', ')}`);
    assert.ok(answers.length === 0 || /HTTP\/1\.1 4\d\d/.test(answers[0]!), `${name}: ${answers.join(', ')}`);
    assert.equal(gateway.turns.length, before, `${name} reached the engine`);
    await alive();
  }
});

test('L1-25 mutated requests without the token never reach the engine, and the gateway lives', async () => {
  const before = gateway.turns.length;
  const text = Buffer.from(
    requestText(gateway, {
      method: 'POST',
      target: '/v1/chat/completions',
      token: false,
      headers: [`Authorization: Bearer ${gateway.token.slice(0, -4)}AAAA`],
      body: '{"messages":[]}',
    }),
    'latin1',
  );
  // A fixed generator, so that a failure can be repeated.
  let seed = 0x2545f491;
  const random = (below: number) => {
    seed ^= seed << 13;
    seed ^= seed >>> 17;
    seed ^= seed << 5;
    return (seed >>> 0) % below;
  };
  const spice = [
    '\r\n',
    '\n',
    '\0',
    ' ',
    '\t',
    ':',
    'Transfer-Encoding: chunked\r\n',
    'Content-Length: 1\r\n',
    '\r\n\r\n',
    'GET /v1/models HTTP/1.1\r\n',
    '\xff',
    'Expect: 100-continue\r\n',
    'Upgrade: h2c\r\n',
  ];
  const send = (bytes: Buffer) =>
    new Promise((resolve) => {
      const socket = connect(gateway.port, '127.0.0.1', () => socket.end(bytes));
      socket.resume();
      socket.on('error', () => undefined);
      socket.on('close', resolve);
      socket.setTimeout(3000, () => socket.destroy());
    });
  for (let round = 0; round < 30; round += 1) {
    await Promise.all(
      Array.from({ length: 20 }, () => {
        let bytes = text;
        for (let n = 0; n <= random(3); n += 1) {
          const at = random(bytes.length);
          const kind = random(3);
          if (kind === 0)
            bytes = Buffer.concat([
              bytes.subarray(0, at),
              Buffer.from(spice[random(spice.length)]!, 'latin1'),
              bytes.subarray(at),
            ]);
          else if (kind === 1) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random(8))]);
          else {
            bytes = Buffer.from(bytes);
            bytes[at] = random(256);
          }
        }
        return send(bytes);
      }),
    );
  }
  assert.equal(gateway.turns.length, before);
  await alive();
});

test('L1-25 requests sent ahead (pipelining) are not queued: the connection ends', async () => {
  const slow = await startGateway({ script: (turn) => void setTimeout(() => turn.json({ ok: true }), 200) });
  try {
    const one = requestText(slow, { method: 'POST', target: '/v1/chat/completions', body: '{}' });
    await rawRequest(slow.port, one + one + one, { more: true, quietMs: 600 });
    assert.ok(slow.turns.length <= 1);
    const after = await rawRequest(slow.port, requestText(slow), { quietMs: 1000 });
    assert.equal(after.status, 200);
  } finally {
    await slow.stop();
  }
});

test('L1-25 headers above the limit get a clear answer', async () => {
  const big = await rawRequest(
    gateway.port,
    requestText(gateway, { headers: [`X-Big: ${'a'.repeat(limits.headerBytes)}`] }),
  );
  assert.equal(big.status, 431);
  const target = await rawRequest(gateway.port, requestText(gateway, { target: `/${'a'.repeat(limits.headerBytes)}` }));
  assert.equal(target.status, 431);
  const many = await rawRequest(
    gateway.port,
    requestText(gateway, { headers: Array.from({ length: 64 }, (_, i) => `X-${i}: 1`) }),
  );
  assert.equal(many.status, 431);
  assert.equal(errorCode(many), 'too_many_headers');
  await alive();
});

test('L1-26 headers and paths named after Object.prototype harm nothing', async () => {
  for (const name of [
    '__proto__',
    'constructor',
    'prototype',
    'toString',
    'hasOwnProperty',
    '__defineGetter__',
    'valueOf',
  ]) {
    const answer = await rawRequest(gateway.port, requestText(gateway, { headers: [`${name}: x`, `${name}: y`] }));
    assert.equal(answer.status, 200, name);
    for (const target of [`/${name}`, `/v1/${name}`])
      assert.equal((await rawRequest(gateway.port, requestText(gateway, { target }))).status, 404, target);
  }
  await alive();
});

test('L1-27 a body above the limit is refused by its declared length, before a byte is read', async () => {
  const before = gateway.turns.length;
  const answer = await rawRequest(
    gateway.port,
    requestText(gateway, {
      method: 'POST',
      target: '/v1/chat/completions',
      headers: ['Content-Type: application/json', `Content-Length: ${(32 << 20) + 1}`],
    }),
  );
  assert.equal(answer.status, 413);
  assert.equal(answer.headers['connection'], 'close');
  const waiting = await rawRequest(
    gateway.port,
    requestText(gateway, {
      method: 'POST',
      target: '/v1/chat/completions',
      headers: ['Content-Type: application/json', `Content-Length: ${64 << 20}`, 'Expect: 100-continue'],
    }),
  );
  assert.equal(waiting.status, 413, 'a client that asks first is told at once');
  assert.equal(gateway.turns.length, before);
  await alive();
});

test('L1-27 100-continue is granted only after every check', async () => {
  const closed = await rawRequest(
    gateway.port,
    requestText(gateway, {
      method: 'POST',
      target: '/v1/chat/completions',
      token: false,
      headers: ['Content-Type: application/json', 'Content-Length: 2', 'Expect: 100-continue'],
    }),
  );
  assert.equal(closed.status, 401);
  const odd = await rawRequest(
    gateway.port,
    requestText(gateway, {
      method: 'POST',
      target: '/v1/chat/completions',
      headers: ['Content-Type: application/json', 'Content-Length: 2', 'Expect: 200-ok'],
    }),
  );
  assert.equal(odd.status, 417);
  const open = await rawRequest(
    gateway.port,
    `${requestText(gateway, { method: 'POST', target: '/v1/chat/completions', headers: ['Content-Type: application/json', 'Content-Length: 2', 'Expect: 100-continue'] })}{}`,
    { more: true },
  );
  assert.match(open.text, /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK/);
});

test('L1-27 compressed bodies (gzip bombs) are refused unread', async () => {
  const bomb = gzipSync(Buffer.alloc(16 << 20));
  for (const encoding of ['gzip', 'deflate', 'br', 'zstd', 'gzip, gzip']) {
    const head = requestText(gateway, {
      method: 'POST',
      target: '/v1/chat/completions',
      headers: ['Content-Type: application/json', `Content-Encoding: ${encoding}`, `Content-Length: ${bomb.length}`],
    });
    const answer = await rawRequest(gateway.port, Buffer.concat([Buffer.from(head), bomb]));
    assert.equal(answer.status, 415, encoding);
  }
  await alive();
});

test('L1-27 slow headers (slowloris) and silent connections are cut off in time', async () => {
  const started = performance.now();
  const closed = (bytes: string, dripEveryMs = 0) =>
    new Promise<number>((resolve) => {
      const socket = connect(gateway.port, '127.0.0.1', () => socket.write(bytes));
      const drip = dripEveryMs === 0 ? undefined : setInterval(() => socket.write('X-A: b\r\n'), dripEveryMs);
      socket.resume();
      socket.on('error', () => undefined);
      socket.on('close', () => {
        clearInterval(drip);
        resolve(performance.now() - started);
      });
    });
  const held = [
    closed(''),
    closed('GET / HTTP/1.1\r\n'),
    closed(`GET / HTTP/1.1\r\nHost: 127.0.0.1:${gateway.port}\r\n`, 500),
  ];
  for (const ms of await Promise.all(held))
    assertWithin('a silent connection is cut off', ms, limits.headerTimeoutMs + 2500);
  await alive();
});

test('L1-27 a stranger who owes a body is answered and not waited for', async () => {
  const started = performance.now();
  await new Promise((resolve) => {
    const socket = connect(gateway.port, '127.0.0.1', () =>
      socket.write(
        requestText(gateway, {
          method: 'POST',
          token: false,
          target: '/v1/chat/completions',
          headers: ['Content-Type: application/json', 'Content-Length: 100000'],
        }),
      ),
    );
    const drip = setInterval(() => socket.write('x'), 200);
    socket.once('data', (bytes: Buffer) => assert.match(bytes.toString('latin1'), /^HTTP\/1\.1 401/));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      clearInterval(drip);
      resolve(undefined);
    });
  });
  assertWithin('a stranger who owes a body is cut off', performance.now() - started, 2500);
});

test('L1-27 more connections than the limit: the surplus is closed, the owner is served again', async () => {
  const crowded = await startGateway();
  const sockets: Socket[] = [];
  try {
    for (let i = 0; i < limits.connections + 100; i += 1) {
      const socket = connect(crowded.port, '127.0.0.1');
      socket.on('error', () => undefined);
      sockets.push(socket);
    }
    await sleep(800);
    const open = readFileSync('/proc/self/net/tcp', 'latin1')
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter(
        (f) => f[1]?.endsWith(`:${crowded.port.toString(16).toUpperCase().padStart(4, '0')}`) && f[3] === '01',
      ).length;
    // Closed ones of the surplus may still be in the table for a moment, but not as established ones of the server.
    assert.ok(open > 0 && open <= limits.connections, `${open} connections are open`);
    for (const socket of sockets.splice(0)) socket.destroy();
    await sleep(200);
    await alive(crowded);
  } finally {
    for (const socket of sockets) socket.destroy();
    await crowded.stop();
  }
});

test('L1-27 a client that takes nothing of its answer stops the engine, not the gateway', async () => {
  let sent = 0;
  const chunk = Buffer.alloc(32 * 1024, 0x61);
  const own = await startGateway({
    script(turn) {
      turn.head(200, 2);
      const pump = setInterval(() => {
        while (!turn.aborted && sent - turn.credit + chunk.length <= 256 * 1024 && sent < 64 << 20) {
          turn.send(chunk);
          sent += chunk.length;
        }
        if (turn.aborted) clearInterval(pump);
      }, 5);
    },
  });
  try {
    const before = residentBytes(own.pid);
    const socket = connect(own.port, '127.0.0.1', () =>
      socket.write(requestText(own, { method: 'POST', target: '/v1/chat/completions', body: '{}' })),
    );
    socket.on('error', () => undefined);
    socket.pause();
    await sleep(1500);
    const stalledAt = sent;
    await sleep(300);
    assert.equal(sent, stalledAt, 'no credit comes back while the client takes nothing');
    assert.ok(stalledAt < 16 << 20, `${stalledAt} bytes went out`);
    assert.ok(residentBytes(own.pid) - before < 32 << 20);
    await alive(own);
    socket.destroy();
    await sleep(200);
    assert.equal(own.turns[0]?.aborted, true, 'the client went away, the engine is told');
  } finally {
    await own.stop();
  }
});

test('L1-27 bodies wait for the engine: an engine that reads nothing does not fill the gateway', async () => {
  const own = await startGateway({ bodyBytes: 64 << 20, keepBodies: false });
  try {
    own.pauseEngine();
    const before = residentBytes(own.pid);
    const length = 48 << 20;
    const socket = connect(own.port, '127.0.0.1', () => {
      socket.write(
        requestText(own, {
          method: 'POST',
          target: '/v1/chat/completions',
          headers: ['Content-Type: application/json', `Content-Length: ${length}`],
        }),
      );
      socket.write(Buffer.alloc(length, 0x20));
    });
    let answer = '';
    socket.on('data', (bytes: Buffer) => (answer += bytes.toString('latin1')));
    await sleep(1000);
    const grown = residentBytes(own.pid) - before;
    assert.ok(grown < 24 << 20, `the gateway grew by ${(grown / 1e6).toFixed(0)} MB`);
    own.resumeEngine();
    for (let i = 0; i < 100 && answer === ''; i += 1) await sleep(50);
    assert.match(answer, /^HTTP\/1\.1 200/);
    socket.destroy();
  } finally {
    await own.stop();
  }
});

test('L1-27 the sum of open bodies and the number of open requests are limited', async () => {
  const own = await startGateway({ script: () => undefined, keepBodies: false });
  const sockets: Socket[] = [];
  try {
    const ask = (length: number) => {
      const asked = { status: 0 };
      const socket = connect(own.port, '127.0.0.1', () =>
        socket.write(
          requestText(own, {
            method: 'POST',
            target: '/v1/chat/completions',
            headers: ['Content-Type: application/json', `Content-Length: ${length}`],
          }),
        ),
      );
      sockets.push(socket);
      socket.on('error', () => undefined);
      socket.on('data', (bytes: Buffer) => (asked.status = Number(/ (\d+) /.exec(bytes.toString('latin1'))?.[1])));
      return asked;
    };
    const refused = (all: readonly { status: number }[]) => all.filter(({ status }) => status === 503).length;
    const large = Array.from({ length: 6 }, () => ask(32 << 20));
    await until('two large ones to be refused', () => refused(large) === 2);
    const small = Array.from({ length: 130 }, () => ask(0));
    await until('more than 128 at a time to be told to come again', () => refused(small) >= 6);
    assert.deepEqual(large.map(({ status }) => status).sort(), [0, 0, 0, 0, 503, 503]);
  } finally {
    for (const socket of sockets) socket.destroy();
    await own.stop();
  }
});

test('L1-27 L1-28 L1-29 deep, wide and hostile JSON passes the gateway as bytes: it parses none of it', async () => {
  const bodies = [
    '['.repeat(1_000_000),
    `{${Array.from({ length: 200_000 }, (_, i) => `"k${i}":0`).join(',')}}`,
    '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}',
    '\xff\xfe\0not json',
  ];
  for (const body of bodies) {
    const started = performance.now();
    const answer = await rawRequest(
      gateway.port,
      requestText(gateway, { method: 'POST', target: '/v1/chat/completions', body }),
    );
    assert.equal(answer.status, 200);
    assert.equal(
      (JSON.parse(answer.body.slice(answer.body.indexOf('{'), answer.body.lastIndexOf('}') + 1)) as { length: number })
        .length,
      Buffer.byteLength(body),
    );
    assertWithin(`${body.length} bytes of hostile JSON pass`, performance.now() - started, 2000);
    assert.deepEqual(gateway.turns.at(-1)?.body, Buffer.from(body), 'what arrives is what was sent');
  }
  const source = ['local-response', 'admission', 'status-page', 'relay', 'routes', 'lifecycle', 'http-server', 'status']
    .map((name) => readFileSync(new URL(`../../src/gateway/${name}.ts`, import.meta.url), 'utf8'))
    .join('\n');
  assert.doesNotMatch(
    source,
    /JSON\.parse|headersDistinct|trailersDistinct|\.trailers|setEncoding/,
    'nothing of a client is parsed as JSON (L1-28, L1-29), headersDistinct is not touched (L1-26)',
  );
  await alive();
});

test('L1-29 the pinned Node is past the releases that seeded its hashes and mended the parser', () => {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  assert.ok(major > 26 || (major === 26 && minor >= 10), process.versions.node);
});
