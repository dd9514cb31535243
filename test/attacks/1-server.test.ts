/**
 * Layer 1 on the whole server: what `./kwyre serve` opens, who gets in, and where the token can be seen.
 * Needs root: strangers are other users.
 * @module
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync } from 'node:fs';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { openState } from '../../src/state/state-directory.ts';
import { writePresence } from '../../src/state/presence.ts';
import { makeToken, writeToken } from '../../src/state/token-store.ts';
import { rawRequest, requestText, sleep } from '../support/gateway.ts';
import { asUser, runAs } from '../support/identity.ts';
import type { Server } from '../support/server.ts';
import { alive, call, launch, root, startServer, tree, until } from '../support/server.ts';
import { assertWithin } from '../support/time-bounds.ts';

let server: Server;
before(async () => {
  server = await startServer();
});
after(async () => {
  await server.stop();
});

const kwyre = (...args: string[]) =>
  spawnSync(join(root, 'kwyre'), args, {
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], HOME: '/nonexistent' },
    timeout: 30_000,
  });

/** Everything that listens or receives in any process below `pid`, as `table address:port`. */
function listening(pid: number): string[] {
  const found: string[] = [];
  for (const each of tree(pid)) {
    const inodes = new Set<string>();
    for (const fd of readdirSync(`/proc/${each}/fd`)) {
      try {
        const match = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${each}/fd/${fd}`));
        if (match !== null) inodes.add(match[1]!);
      } catch {
        continue; // closed meanwhile
      }
    }
    // The supervisor's tables too: the listener belongs to its namespace, wherever the role lives now.
    for (const seen of new Set([each, pid])) {
      for (const table of ['tcp', 'tcp6', 'udp', 'udp6', 'udplite', 'raw', 'raw6', 'packet', 'icmp']) {
        let text = '';
        try {
          text = readFileSync(`/proc/${seen}/net/${table}`, 'latin1');
        } catch {
          continue; // this kernel has no such table
        }
        for (const fields of text
          .split('\n')
          .slice(1)
          .map((line) => line.trim().split(/\s+/))) {
          const inode = table === 'packet' ? fields[8] : fields[9];
          if (inode !== undefined && inodes.has(inode) && (!table.startsWith('tcp') || fields[3] === '0A'))
            found.push(`${table} ${fields[1]}`);
        }
      }
      for (const line of readFileSync(`/proc/${seen}/net/unix`, 'latin1').split('\n').slice(1)) {
        const fields = line.trim().split(/\s+/);
        // Flag 0x10000 is __SO_ACCEPTCON: it listens.
        if (inodes.has(fields[6] ?? '') && (Number.parseInt(fields[3] ?? '0', 16) & 0x10000) !== 0)
          found.push(`unix ${fields[7] ?? ''}`);
      }
    }
  }
  return [...new Set(found)].sort();
}
const only = (port: number) => [`tcp 0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`];

test('L1-14 no flag names another address: each is refused with exit code 2', () => {
  for (const args of [
    ['--host', '0.0.0.0'],
    ['--host=::'],
    ['--bind', '0.0.0.0'],
    ['--listen', '0.0.0.0:8000'],
    ['--address', '10.0.0.1'],
    ['--port', '0.0.0.0:8000'],
    ['--port', '-1'],
    ['--port', '65536'],
    ['--port', '8e3'],
    ['0.0.0.0'],
    ['--public'],
    ['--lan'],
    ['--accept-weaker', 'bind'],
    ['--unsafe-allow-non-loopback'],
  ]) {
    const ran = kwyre('serve', ...args);
    assert.equal(ran.status, 2, `${args.join(' ')}: ${ran.status} ${ran.stderr}`);
  }
});

test('L1-14 no variable widens it', async () => {
  const lan =
    Object.values(networkInterfaces())
      .flat()
      .find((each) => each?.family === 'IPv4' && !each.internal)?.address ?? '10.0.0.1';
  const env: Record<string, string> = {
    NODE_OPTIONS: '--inspect=0.0.0.0:0',
    NODE_DEBUG: 'http,net',
    PORT: '1',
    ADDR: lan,
  };
  for (const name of [
    'HOST',
    'HOSTNAME',
    'BIND',
    'BIND_HOST',
    'LISTEN',
    'KWYRE_HOST',
    'KWYRE_BIND',
    'KWYRE_BIND_HOST',
    'OLLAMA_HOST',
    'LLAMA_ARG_HOST',
    'UVICORN_HOST',
  ])
    env[name] = '0.0.0.0';
  const own = await startServer({ env });
  try {
    assert.deepEqual(listening(own.pid), only(own.port));
    for (const address of [lan, '127.0.0.2', '::1']) {
      const answer = await rawRequest(own.port, requestText(own), { host: address, quietMs: 200 });
      assert.ok(answer.reset && answer.text === '', address);
    }
  } finally {
    await own.stop();
  }
});

test('L1-16 the whole process tree has one listening socket, also after work', async () => {
  assert.deepEqual(listening(server.pid), only(server.port));
  const response = await call(server, '/v1/chat/completions', {
    model: 'guide',
    max_tokens: 4,
    messages: [{ role: 'user', content: 'What does layer 1 do?' }],
  });
  assert.equal(response.status, 200);
  await response.text();
  assert.deepEqual(listening(server.pid), only(server.port));
});

test('L1-16 with --socket there is one more, a Unix socket that asks for the token too', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'kwyre-sock-'));
  const path = join(folder, 's', 'kwyre.sock');
  const own = await startServer({ args: ['--socket', path] });
  try {
    assert.deepEqual(listening(own.pid), [...only(own.port), `unix ${path}`]);
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.equal((await rawRequest(path, requestText(own, { host: 'localhost' }))).status, 200);
    assert.equal((await rawRequest(path, requestText(own, { host: 'localhost', token: false }))).status, 401);
  } finally {
    await own.stop();
  }
  assert.throws(() => statSync(path), 'the socket is removed at the end');
  rmSync(folder, { recursive: true });
});

test("L1-17 a taken port ends the start with the holder's pid and name, and the next step", async () => {
  const own = launch({ args: ['--port', String(server.port)] });
  assert.equal((await own.ended).code, 11);
  assert.match(own.output(), new RegExp(`127\\.0\\.0\\.1:${server.port} is in use by pid ${server.pid} \\(.+\\)`));
  assert.match(own.output(), /next: .*--port \d+/);
});

/** A program of another user that listens and keeps what it is sent. */
async function harvester(address: string): Promise<{ port: number; got: () => string; stop: () => void }> {
  const program =
    "let got = ''; const s = require('node:net').createServer((c) => c.on('data', (d) => process.stdout.write(d))).listen(0, process.argv[1], () => console.log(s.address().port));";
  const [file = '', ...args] = asUser(12345, [process.execPath, '-e', program, address]);
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'], env: {} });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  let got = '';
  child.stdout.on('data', (chunk: Buffer) => (got += chunk.toString()));
  return { port: Number(line.toString()), got: () => got, stop: () => child.kill() };
}

test('L1-17 L1-35 after the server ended, a stranger on its port gets no token from our own clients', async () => {
  const squatter = await harvester('127.0.0.1');
  const folder = mkdtempSync(join(tmpdir(), 'kwyre-squat-'));
  try {
    // What a server that was killed leaves behind.
    const state = openState(join(folder, 'state'));
    writeToken(state, makeToken());
    writePresence(state, {
      pid: 1,
      port: squatter.port,
      socket: null,
      model: 'guide',
      startedAt: new Date().toISOString(),
    });
    for (const command of [['status'], ['token'], ['token', 'link'], ['chat']]) {
      const ran = kwyre(...command, '--state', state);
      assert.notEqual(ran.status, 0, command.join(' '));
      assert.match(ran.stderr, /another user \(uid 12345\)/);
      assert.ok(!ran.stdout.includes('kw-'));
    }
    await sleep(100);
    assert.equal(squatter.got(), '');
  } finally {
    squatter.stop();
    rmSync(folder, { recursive: true });
  }
});

/**
 * A program of a user that stands in for the server: answers everything, keeps what it is sent, and takes the lock too.
 */
async function standIn(uid: number, port: number, state: string): Promise<{ got: () => string; stop: () => void }> {
  const program = `const answer = JSON.stringify({ version: '1', pid: 1, uptime_s: 1, status: 'ok', model: { name: 'guide' }, data: [], wiped: 0, layers: [{ layer: 1, name: 'x', status: 'enforced', checks: [] }] });
    const s = require('node:net').createServer((c) => { c.on('data', (d) => { process.stdout.write(d); c.write('HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: ' + answer.length + '\\r\\n\\r\\n' + answer); }); c.on('error', () => 0); }).on('error', (e) => { console.log(e.code); process.exit(1); }).listen(Number(process.argv[1]), '127.0.0.1', () => console.log('listens'));`;
  const [file = '', ...args] = asUser(uid, [
    'flock',
    '--nonblock',
    '--no-fork',
    join(state, 'lock'),
    process.execPath,
    '-e',
    program,
    String(port),
  ]);
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'], env: { PATH: process.env['PATH'] } });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  assert.equal(line.toString().trim(), 'listens');
  let got = '';
  child.stdout.on('data', (chunk: Buffer) => (got += chunk.toString('latin1')));
  return { got: () => got, stop: () => child.kill() };
}

for (const [who, uid] of [
  ['root', 0],
  ['an ordinary user', 12345],
] as const) {
  test(`L1-35 after the server of ${who} was killed, a program of the same user on its port gets neither token nor text`, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'kwyre-fake-'));
    chownSync(folder, uid, uid);
    const state = join(folder, 'state');
    const own = await startServer({ state, ...(uid === 0 ? {} : { uid }) });
    const ask = (command: readonly string[]) => {
      const [file = '', ...args] = asUser(uid, [join(root, 'kwyre'), ...command, '--state', state]);
      return spawnSync(file, args, {
        encoding: 'utf8',
        env: { PATH: process.env['PATH'], HOME: '/nonexistent' },
        input: 'the-words-of-a-person\n',
        timeout: 30_000,
      });
    };
    try {
      const commands = [['status'], ['wipe', '--all'], ['token'], ['token', 'link'], ['chat']];
      for (const command of commands)
        assert.equal(ask(command).status, 0, `${command.join(' ')}: ${ask(command).stderr}`);
      const pids = tree(own.pid);
      own.kill();
      await own.ended;
      await until('the children to end', () => pids.every((pid) => !alive(pid)), 5000);
      assert.ok(existsSync(join(state, 'token')), 'what a killed server leaves');
      const fake = await standIn(uid, own.port, state);
      try {
        for (const command of commands) {
          const ran = ask(command);
          assert.notEqual(ran.status, 0, command.join(' '));
          assert.match(ran.stderr, /\n {2}next: /, command.join(' '));
          assert.ok(!`${ran.stdout}${ran.stderr}`.includes('kw-') && !ran.stdout.includes('enforced'), ran.stdout);
        }
      } finally {
        fake.stop();
      }
      assert.ok(!fake.got().includes(own.token) && !fake.got().includes('the-words'), fake.got());
      await until('its lock to be free', () => ask(['status']).stderr.includes('no server is running'), 10_000);
      assert.ok(
        !existsSync(join(state, 'token')) && !existsSync(join(state, 'authorization')),
        'the void token is taken away',
      );
    } finally {
      own.kill();
      rmSync(folder, { recursive: true, force: true });
    }
  });
}

test("L1-34 [::1] on the server's port cannot be taken by another user", () => {
  const program =
    "require('node:net').createServer().on('error', (e) => console.log(e.code)).listen({ host: '::1', port: Number(process.argv[1]) }, () => { console.log('bound'); process.exit(); })";
  assert.equal(runAs(12345, program, String(server.port)), 'EADDRINUSE');
});

for (const [who, uid, stranger] of [
  ['root', undefined, 12345],
  ['an ordinary user', 12345, 12346],
] as const) {
  test(`L1-18 another user of the machine gets in by no way when ${who} serves`, async () => {
    const own = uid === undefined ? server : await startServer({ uid });
    try {
      const program = `
        const [port, state] = process.argv.slice(1); const fs = require('node:fs'); const out = {};
        for (const file of ['token', 'authorization', 'tokens.json', 'server.json']) try { fs.readFileSync(state + '/' + file); out[file] = 'read'; } catch (e) { out[file] = e.code; }
        try { fs.readdirSync(state); out.folder = 'read'; } catch (e) { out.folder = e.code; }
        (async () => { for (const path of ['/v1/models', '/kwyre/status', '/v1/chat/completions', '/nothing', '/health']) out[path] = (await fetch('http://127.0.0.1:' + port + path)).status; console.log(JSON.stringify(out)); })();`;
      const out = JSON.parse(runAs(stranger, program, String(own.port), own.state)) as Record<string, unknown>;
      for (const file of ['token', 'authorization', 'tokens.json', 'server.json', 'folder'])
        assert.equal(out[file], 'EACCES', file);
      for (const path of ['/v1/models', '/kwyre/status', '/v1/chat/completions', '/nothing'])
        assert.equal(out[path], 401, path);
      assert.equal(out['/health'], 200);
      assert.equal(statSync(own.state).mode & 0o777, 0o700);
      for (const file of ['token', 'authorization']) assert.equal(statSync(join(own.state, file)).mode & 0o777, 0o600);
    } finally {
      if (uid !== undefined) await own.stop();
    }
  });
}

test('L1-22 there is no default key and no well-known one', async () => {
  assert.match(server.token, /^kw-[A-Za-z0-9_-]{43}$/, '256 random bits');
  for (const key of [
    'sk-kwyre-dev-local',
    'sk-no-key-required',
    'no-key',
    'EMPTY',
    'none',
    'null',
    'undefined',
    'ollama',
    'lm-studio',
    'llama.cpp',
    'kwyre',
    'dev',
    'test',
    'token',
    'kw-',
    'sk-1234',
    `kw-${'A'.repeat(43)}`,
    `kw-${'0'.repeat(43)}`,
  ]) {
    const status = (await rawRequest(server.port, requestText({ port: server.port, token: key }))).status;
    assert.ok(status === 401 || status === 429, key);
  }
});

test('L1-22 named tokens open, are revocable one by one, and are kept as digests only', async () => {
  const made = kwyre('token', 'add', 'editor', '--json', '--state', server.state);
  assert.equal(made.status, 0, made.stderr);
  const { token } = JSON.parse(made.stdout) as { token: string };
  assert.notEqual(token, server.token);
  const status = async () => (await rawRequest(server.port, requestText({ port: server.port, token }))).status;
  for (let i = 0; i < 40 && (await status()) !== 200; i += 1) await sleep(100);
  assert.equal(await status(), 200);
  assert.ok(!readFileSync(join(server.state, 'tokens.json'), 'utf8').includes(token));
  assert.equal(kwyre('token', 'revoke', 'editor', '--state', server.state).status, 0);
  for (let i = 0; i < 40 && (await status()) === 200; i += 1) await sleep(100);
  assert.notEqual(await status(), 200);
  assert.equal(
    (await rawRequest(server.port, requestText(server))).status,
    200,
    "the person's own token is not touched",
  );
});

test('L1-23 the token is in no argument, environment, output, log or error of any process', async () => {
  const { token } = server;
  const wrong = 'kw-a-wrong-token-of-somebody';
  await rawRequest(server.port, requestText({ port: server.port, token: wrong }));
  await rawRequest(server.port, requestText(server, { target: `/v1/models?key=${wrong}` }));
  await call(server, '/v1/chat/completions', { model: 'guide', messages: 'x' }).then((response) => response.text());
  const pids = tree(server.pid);
  assert.ok(pids.length >= 3, 'supervisor, gateway and engine');
  for (const pid of pids) {
    for (const file of ['cmdline', 'environ', 'comm']) {
      const text = readFileSync(`/proc/${pid}/${file}`, 'latin1');
      assert.ok(!text.includes(token) && !text.includes(wrong), `/proc/${pid}/${file}`);
    }
  }
  assert.ok(
    !server.output().includes(token) && !server.output().includes(wrong),
    'what is printed to something else than a terminal',
  );
  for (const file of readdirSync(server.state, { recursive: true, encoding: 'utf8' })) {
    const path = join(server.state, file);
    if (!statSync(path).isFile()) continue;
    const text = readFileSync(path, 'utf8');
    assert.ok(!text.includes(wrong), file);
    assert.equal(text.includes(token), file === 'token' || file === 'authorization', file);
  }
  const status = await call(server, '/kwyre/status').then((response) => response.text());
  assert.ok(!status.includes(token));
});

test('L1-35 each start has its own token, the former one is void and its files are gone', async () => {
  const state = join(mkdtempSync(join(tmpdir(), 'kwyre-fresh-')), 'state');
  const tokens: string[] = [];
  const start = async () => {
    const own = launch({ args: ['--state', state] });
    const port = await until(
      'the port',
      () => Number(/on http:\/\/127\.0\.0\.1:(\d+) \(ready/.exec(own.output())?.[1] ?? 0) || undefined,
      60_000,
    );
    tokens.push(readFileSync(join(state, 'token'), 'utf8').trim());
    return { ...own, port, pid: own.process.pid! };
  };
  const first = await start();
  first.process.kill('SIGTERM');
  await first.ended;
  for (const file of ['token', 'authorization', 'server.json']) assert.throws(() => statSync(join(state, file)), file);
  const second = await start();
  // A kill without cleanup leaves the file, but not a token that opens anything.
  const pids = tree(second.pid);
  second.process.kill('SIGKILL');
  await second.ended;
  await until('the children to end', () => pids.every((pid) => !alive(pid)), 5000);
  const third = await start();
  assert.equal(new Set(tokens).size, 3);
  for (const [i, token] of tokens.entries())
    assert.equal((await rawRequest(third.port, requestText({ port: third.port, token }))).status, i === 2 ? 200 : 401);
  third.process.kill('SIGTERM');
  await third.ended;
});

test('L1-27 L1-28 L1-29 hostile JSON: depth, a million keys, __proto__, repeated keys; the server answers and lives', async () => {
  // As single bytes: what is not UTF-8 stays so.
  const post = (body: string) =>
    fetch(`${server.url}/v1/chat/completions`, {
      method: 'POST',
      body: Buffer.from(body, 'latin1'),
      headers: { authorization: `Bearer ${server.token}`, 'content-type': 'application/json' },
    });
  const bodies: Readonly<Record<string, string>> = {
    'a million brackets': '['.repeat(1_000_000),
    'a million nested objects': '{"a":'.repeat(1_000_000),
    'deep inside messages': `{"model":"guide","messages":${'['.repeat(100_000)}${']'.repeat(100_000)}}`,
    'a million keys': `{${Array.from({ length: 1_000_000 }, (_, i) => `"k${i}":0`).join(',')}}`,
    'a million messages': `{"model":"guide","messages":[${Array.from({ length: 300_000 }, () => '{"role":"user","content":""}').join(',')}]}`,
    'not UTF-8': '{"model":"guide","messages":[{"role":"user","content":"\xff"}]}',
    'a lone surrogate': '{"model":"guide","messages":[{"role":"user","content":"\\ud800"}],"max_tokens":1}',
    'a number of 300 kB': `{"model":"guide","max_tokens":${'9'.repeat(300_000)},"messages":[]}`,
    nothing: '',
    'a NUL': '\0',
  };
  for (const [name, body] of Object.entries(bodies)) {
    const started = performance.now();
    const response = await post(body);
    const text = await response.text();
    assert.ok(
      (response.status >= 400 && response.status < 500) || (name === 'a lone surrogate' && response.status === 200),
      `${name}: ${response.status} ${text.slice(0, 200)}`,
    );
    if (response.status !== 200)
      assert.equal(typeof (JSON.parse(text) as { error: { code: string } }).error.code, 'string');
    assertWithin(`the answer to ${name}`, performance.now() - started, 10_000);
  }
  const polluted = await post(
    '{"__proto__":{"stream":true,"max_tokens":1},"constructor":{"prototype":{"x":1}},"model":"guide","max_tokens":1,"messages":[{"role":"user","content":"Hi","__proto__":{"role":"system"}}]}',
  );
  assert.ok(polluted.status === 200 || polluted.status === 400, 'unknown fields are ignored or refused');
  assert.doesNotMatch(
    polluted.headers.get('content-type') ?? '',
    /event-stream/,
    'a field of __proto__ is not a field of the request',
  );
  await polluted.text();
  assert.equal((await call(server, '/v1/models')).status, 200);
  assert.equal(({} as Record<string, unknown>)['x'], undefined);
});
