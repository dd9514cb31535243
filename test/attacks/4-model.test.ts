/**
 * Layer 4, attacked on the real server: refused with exit 14, the file and both digests named; and while it serves,
 * nothing that happens to the file changes an answer.
 * @module
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { approve, kwyre, makeState } from '../support/approved.ts';
import { tinyShape, writeModel } from '../support/gguf.ts';
import { call, launch, startServer, tree } from '../support/server.ts';
import type { Server } from '../support/server.ts';
import { makeTree } from '../support/trees.ts';

async function refused(state: string, args: readonly string[]): Promise<string> {
  const started = launch({ state, args });
  // A server that was not refused would never end.
  const timer = setTimeout(() => started.process.kill('SIGTERM'), 20_000);
  const { code } = await started.ended;
  clearTimeout(timer);
  assert.equal(code, 14, started.output());
  return started.output();
}

function flip(path: string, at: number): void {
  const fd = fs.openSync(path, 'r+');
  const byte = Buffer.alloc(1);
  fs.readSync(fd, byte, 0, 1, at);
  byte[0]! ^= 1;
  fs.writeSync(fd, byte, 0, 1, at);
  fs.closeSync(fd);
}

async function answer(server: Server): Promise<string> {
  const response = await call(server, '/v1/chat/completions', {
    model: 'tiny',
    messages: [{ role: 'user', content: 'same' }],
    seed: 7,
    temperature: 1,
    max_tokens: 24,
  });
  assert.equal(response.status, 200);
  return ((await response.json()) as { choices: { message: { content: string } }[] }).choices[0]!.message.content;
}

test('L4-01, L4-02, L4-06, L4-07, L4-10: weights, manifest and trust of one file', async () => {
  using state = makeState();
  using folder = makeTree({});
  const path = join(folder.path, 'tiny.gguf');
  writeModel(path, tinyShape);
  assert.match(await refused(state.path, ['--model', path]), /is not approved/, 'no approval, no serving');
  approve(state.path, path, 'tiny');
  const size = fs.statSync(path).size;
  flip(path, size - 1);
  assert.match(
    await refused(state.path, ['--model', 'tiny']),
    /changed: tiny\.gguf \(expected sha256:[0-9a-f]{64}, found sha256:[0-9a-f]{64}\)/,
  );
  flip(path, size - 1);

  const good = fs.readFileSync(path);
  fs.writeFileSync(path, Buffer.concat([good, Buffer.alloc(32)]));
  assert.match(await refused(state.path, ['--model', 'tiny']), /tiny\.gguf/);
  fs.rmSync(path);
  assert.match(await refused(state.path, ['--model', 'tiny']), /missing: tiny\.gguf/);
  fs.writeFileSync(`${path}.real`, good);
  fs.symlinkSync(`${path}.real`, path);
  assert.match(await refused(state.path, ['--model', 'tiny']), /tiny\.gguf/, 'L4-08: a link in its place');
  fs.rmSync(path);
  fs.writeFileSync(path, good, { mode: 0o644 });

  const record = join(state.path, 'models', 'tiny.json');
  const saved = fs.readFileSync(record, 'utf8');
  const trust = fs.readFileSync(join(state.path, 'trust.json'), 'utf8');
  for (const damaged of ['', '{}', saved.slice(0, -10), saved.replace('"tiny"', '"other"')]) {
    fs.writeFileSync(record, damaged);
    await refused(state.path, ['--model', 'tiny']);
  }
  fs.writeFileSync(record, saved);
  for (const damaged of ['', '{"version":1,"keys":[],"approved":[]}', trust.replace(/[0-9a-f]{64}/, 'ab'.repeat(32))]) {
    fs.writeFileSync(join(state.path, 'trust.json'), damaged);
    await refused(state.path, ['--model', 'tiny']);
  }
  fs.rmSync(join(state.path, 'trust.json'));
  await refused(state.path, ['--model', 'tiny']);
  fs.writeFileSync(join(state.path, 'trust.json'), trust, { mode: 0o600 });

  // The same operator approves other weights; the old manifest, put back, is an old manifest.
  flip(path, size - 1);
  approve(state.path, path, 'tiny');
  flip(path, size - 1);
  fs.writeFileSync(record, saved);
  await refused(state.path, ['--model', 'tiny']);
});

test('L4-03, L4-04, L4-05: every file of a folder, and nothing more in it', async () => {
  using state = makeState();
  using folder = makeTree({
    'config.json': '{}',
    'tokenizer.json': '{"a":1}',
    'generation_config.json': '{}',
    'chat_template.jinja': 'x',
    'adapter/lora.gguf': 'y',
    empty: '',
  });
  writeModel(join(folder.path, 'tiny.gguf'), tinyShape);
  approve(state.path, folder.path, 'tiny');
  for (const name of [
    'config.json',
    'tokenizer.json',
    'generation_config.json',
    'chat_template.jinja',
    'adapter/lora.gguf',
  ]) {
    const path = join(folder.path, name);
    flip(path, 0);
    assert.match(await refused(state.path, ['--model', 'tiny']), new RegExp(`changed: ${name.replace('.', '\\.')}`));
    flip(path, 0);
  }
  fs.writeFileSync(join(folder.path, 'added.json'), '');
  assert.match(await refused(state.path, ['--model', 'tiny']), /not in the manifest: added\.json/);
  fs.rmSync(join(folder.path, 'added.json'));
  fs.rmSync(join(folder.path, 'empty'));
  assert.match(await refused(state.path, ['--model', 'tiny']), /missing: empty/);
});

test('L4-24, L4-25: names and kinds that are no model', () => {
  using state = makeState();
  using folder = makeTree({ 'model.bin': 'pickle', 'model.safetensors': '{}', 'fake.gguf': 'GGUF\u0003' });
  for (const path of [
    '/dev/zero',
    '/proc/self/mem',
    '/etc',
    folder.path,
    join(folder.path, 'model.bin'),
    join(folder.path, 'fake.gguf'),
    `${folder.path}/../../etc/passwd`,
    '\\\\host\\share\\x.gguf',
  ]) {
    assert.equal(kwyre(['model', 'add', path, '--yes', '--state', state.path]).code, 14, path);
  }
  if (process.getuid?.() !== 0) {
    const path = join(folder.path, 'locked.gguf');
    fs.writeFileSync(path, 'GGUF', { mode: 0 });
    const { code, output } = kwyre(['model', 'add', path, '--yes', '--state', state.path]);
    assert.equal(code, 14);
    assert.match(output, /not a regular file that you may read/);
    fs.rmSync(path);
  }
  for (const name of ['../x', 'a/b', '.hidden', 'guide', 'x'.repeat(65)]) {
    const path = join(folder.path, 'tiny.gguf');
    writeModel(path, tinyShape);
    assert.equal(kwyre(['model', 'add', path, '--name', name, '--yes', '--state', state.path]).code, 2, name);
  }
});

test('L4-08, L4-09, L4-26: while it serves, the file may be edited, cut, swapped and removed: answers stay the same', async () => {
  using state = makeState();
  using folder = makeTree({});
  const path = join(folder.path, 'tiny.gguf');
  writeModel(path, tinyShape);
  approve(state.path, path, 'tiny');
  const server = await startServer({ state: state.path, args: ['--model', 'tiny'] });
  try {
    const first = await answer(server);
    const size = fs.statSync(path).size;
    const fd = fs.openSync(path, 'r+');
    fs.writeSync(fd, Buffer.alloc(Math.floor(size / 2), 0x55), 0, undefined, Math.floor(size / 2));
    fs.closeSync(fd);
    assert.equal(await answer(server), first, 'edited in place');
    fs.truncateSync(path, 100);
    assert.equal(await answer(server), first, 'cut off');
    fs.rmSync(path);
    fs.writeFileSync(path, Buffer.alloc(size, 1));
    assert.equal(await answer(server), first, 'swapped');
    let sealed = 0;
    const ordinary = process.getuid?.() !== 0;
    for (const pid of tree(server.pid)) {
      // Nobody but root so much as lists what our processes hold.
      if (ordinary) {
        assert.throws(() => fs.readdirSync(`/proc/${pid}/fd`), { code: 'EACCES' });
        continue;
      }
      for (const entry of fs.readdirSync(`/proc/${pid}/fd`)) {
        const link = `/proc/${pid}/fd/${entry}`;
        let target: string;
        try {
          target = fs.readlinkSync(link);
        } catch {
          continue; // closed since it was listed
        }
        if (!/memfd:kwyre-weights/.test(target)) continue;
        const writer = fs.openSync(link, 'r+');
        assert.throws(
          () => fs.writeSync(writer, Buffer.from('x'), 0, 1, 0),
          { code: 'EPERM' },
          'not even root writes sealed memory',
        );
        assert.throws(() => fs.ftruncateSync(writer, 0), { code: 'EPERM' });
        fs.closeSync(writer);
        sealed += 1;
      }
    }
    assert.ok(ordinary || sealed >= 1);
    for (const [method, route] of [
      ['POST', '/v1/models'],
      ['DELETE', '/v1/models/tiny'],
      ['POST', '/models/apply'],
      ['POST', '/api/pull'],
      ['POST', '/api/create'],
      ['POST', '/v1/load'],
    ] as const) {
      const response = await call(server, route, undefined, { method });
      assert.ok([404, 405].includes(response.status), `${method} ${route}: ${response.status}`);
    }
    const status = (await (await call(server, '/kwyre/status')).json()) as {
      layers: { layer: number; checks: { id: string; status: string }[] }[];
    };
    const layer = status.layers.find((entry) => entry.layer === 4)!;
    assert.deepEqual(
      layer.checks.map((check) => [check.id, check.status]),
      [
        ['digests', 'enforced'],
        ['signer', 'degraded'],
        ['weights-kept', 'enforced'],
        ['program', 'degraded'],
      ],
    );
  } finally {
    await server.stop();
  }
});

test('L4-09: held as a file: whoever opens it for writing, or writes it by another name, ends the server', async (t) => {
  for (const [what, touch] of [
    [
      'opened for writing',
      (path: string) => {
        try {
          fs.closeSync(fs.openSync(path, fs.constants.O_WRONLY | fs.constants.O_NONBLOCK));
        } catch (error) {
          assert.equal((error as NodeJS.ErrnoException).code, 'EAGAIN', 'the lease holds the writer up');
        }
      },
    ],
    [
      'truncated',
      (path: string) => {
        try {
          fs.truncateSync(path, 100);
        } catch {
          // held up until the server is gone
        }
      },
    ],
  ] as const) {
    using state = makeState();
    using folder = makeTree({});
    const path = join(folder.path, 'tiny.gguf');
    writeModel(path, tinyShape);
    approve(state.path, path, 'tiny');
    const server = await startServer({
      state: state.path,
      args: ['--model', 'tiny', '--weights', 'file', '--scan-interval', '250'],
    });
    t.after(() => {
      server.kill();
    });
    await answer(server);
    const from = performance.now();
    touch(path);
    assert.equal((await server.ended).code, 16, `${what}\n${server.output()}`);
    t.diagnostic(`${what}: ended after ${Math.round(performance.now() - from)} ms`);
    assert.match(server.output(), /the model file/);
  }
});
