/**
 * A file that nobody declared, mapped as code in a living process of ours: the watchdog finds it, and the server ends
 * with 16. Needs root: payloads in living processes, whose maps are hidden from others.
 * @module
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { after, describe, test } from 'node:test';
import { executableMappings } from '../../src/layers/3-dependencies/runtime-check.ts';
import { systemCalls } from '../../src/linux/syscalls.ts';
import { approve, makeState } from '../support/approved.ts';
import { tinyShape, writeModel } from '../support/gguf.ts';
import type { Argument } from '../support/inject.ts';
import { injectWhenIdle } from '../support/inject.ts';
import type { Server } from '../support/server.ts';
import { startServer } from '../support/server.ts';
import { makeTree } from '../support/trees.ts';

const place = makeTree({});
after(() => {
  place[Symbol.dispose]();
});
const executable = 5; // PROT_READ and PROT_EXEC
const mapPrivate = 2;

async function makes(pid: number, name: string, ...args: Argument[]): Promise<number> {
  const outcome = await injectWhenIdle(pid, systemCalls.x64[name]!, args);
  assert.ok('answer' in outcome && outcome.answer >= 0, `${name}: ${JSON.stringify(outcome)}`);
  return outcome.answer;
}

const mapped = (pid: number) =>
  executableMappings(fs.readFileSync(`/proc/${pid}/maps`, 'latin1')).map(({ path }) => path);

async function start(t: TestContext, state: string, ...args: string[]): Promise<Server> {
  const server = await startServer({ state, args: ['--scan-interval', '250', ...args] });
  t.after(() => {
    server.kill();
  });
  return server;
}

async function found(server: Server, words: RegExp): Promise<void> {
  // Maps are long, and read every twenty seconds only.
  const { code } = await server.ended;
  assert.equal(code, 16, server.output());
  assert.match(server.output(), words);
  assert.equal(
    (JSON.parse(fs.readFileSync(join(server.state, 'violation.json'), 'utf8')) as { detector: string }).detector,
    'mappings',
  );
}

// Each server waits up to twenty seconds for the scan of its mappings: they wait side by side.
describe('a file mapped as code', { concurrency: true }, () => {
  test('in the engine: the file of the model itself, mapped as code by its own descriptor', async (t) => {
    using state = makeState();
    writeModel(join(place.path, 'tiny.gguf'), tinyShape);
    approve(state.path, join(place.path, 'tiny.gguf'), 'tiny');
    const server = await start(t, state.path, '--model', 'tiny', '--weights', 'file');
    const pid = server.pids()['engine']!;
    const fd = fs
      .readdirSync(`/proc/${pid}/fd`)
      .find((name) => fs.readlinkSync(`/proc/${pid}/fd/${name}`).endsWith('/tiny.gguf'))!;
    await makes(pid, 'mmap', 0, 4096, executable, mapPrivate, Number(fd), 0);
    assert.ok(mapped(pid).includes(join(place.path, 'tiny.gguf')));
    await found(server, /undeclared files are mapped as code in the engine/);
  });

  test('in the supervisor: a library of the system that Node does not need, from the folder of those that it needs', async (t) => {
    using state = makeState();
    const server = await start(t, state.path);
    const before = mapped(server.pid);
    const folder = dirname(before.find((path) => path.includes('/libc.so'))!);
    const library = fs
      .readdirSync(folder)
      .map((name) => join(folder, name))
      .find((path) => /\.so[.\d]*$/.test(path) && fs.lstatSync(path).isFile() && !before.includes(path))!;
    const fd = await makes(server.pid, 'openat', -100, Buffer.from(`${library}\0`), 0, 0);
    await makes(server.pid, 'mmap', 0, 4096, executable, mapPrivate, fd, 0);
    assert.deepEqual(
      mapped(server.pid).filter((path) => !before.includes(path)),
      [library],
    );
    await found(server, /undeclared files are mapped as code in the supervisor/);
  });

  test('in the supervisor: memory under the very name of ours, mapped as code', async (t) => {
    using state = makeState();
    const server = await start(t, state.path);
    const fd = await makes(server.pid, 'memfd_create', Buffer.from('kwyre-node\0'), 0);
    await makes(server.pid, 'ftruncate', fd, 4096);
    await makes(server.pid, 'mmap', 0, 4096, executable, mapPrivate, fd, 0);
    assert.equal(mapped(server.pid).filter((path) => path === '/memfd:kwyre-node (deleted)').length, 2);
    await found(server, /undeclared files are mapped as code in the supervisor/);
  });
});
