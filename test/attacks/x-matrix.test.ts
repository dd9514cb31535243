/**
 * C1: the layers are independent. Each is taken out of a copy of the program in turn; one attack on each other layer
 * still fails. On the diagonal the attack succeeds: the layer really is out, and the attack is one.
 * Needs root: payloads in living roles, debuggers, memory of processes that are not dumpable.
 * @module
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, fstatSync, openSync, readFileSync, readSync, writeSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Layer } from '../../src/base/errors.ts';
import { layerNames } from '../../src/base/verdict.ts';
import { systemCalls } from '../../src/linux/syscalls.ts';
import { copyInstallation } from '../support/copy.ts';
import { injectWhenIdle } from '../support/inject.ts';
import { scanProcess } from '../../src/cli/prove/memory-scanner.ts';
import { canaryOf, settle, turn } from '../support/mixed.ts';
import type { Server } from '../support/server.ts';
import { alive, launch, root, startServer } from '../support/server.ts';
import { start } from '../support/watchdog.ts';
import { weaken } from '../support/weaken.ts';

const copy = copyInstallation(true);
after(() => {
  copy[Symbol.dispose]();
});

const layers: readonly Layer[] = [1, 2, 3, 4, 5, 6];
const serve = async (acknowledge: readonly string[] = []): Promise<Server> =>
  await startServer({ repository: copy.path, args: ['--scan-interval', '250', '--continue', 'off'], acknowledge });

/** The status of a request as a page that rebinds a name would send it, without a token. */
async function rebound(server: Server): Promise<number> {
  return await new Promise((resolve, reject) => {
    request(
      {
        host: '127.0.0.1',
        port: server.port,
        path: '/v1/models',
        headers: { host: `evil.example:${server.port}`, origin: 'http://evil.example' },
      },
      (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      },
    )
      .on('error', reject)
      .end();
  });
}

/** Whether a start with one byte of a file changed comes to a serving server. */
async function startsWith(
  file: string,
  place: (size: number) => number,
): Promise<{ served: boolean; code: number | null; output: string }> {
  const path = join(copy.path, file);
  const fd = openSync(path, 'r+');
  const at = place(fstatSync(fd).size);
  const byte = Buffer.alloc(1);
  readSync(fd, byte, 0, 1, at);
  writeSync(fd, Buffer.from([(byte[0] ?? 0) ^ 1]), 0, 1, at);
  closeSync(fd);
  try {
    const { process: child, output, ended } = launch({ repository: copy.path });
    const over = ended.then(() => true);
    const look = async (): Promise<boolean> =>
      output().includes('(ready') || (await Promise.race([over, sleep(50, false)]));
    for (let left = 600; left > 0 && !(await look());) left -= 1;
    const served = output().includes('(ready');
    if (served) child.kill('SIGTERM');
    return { served, code: (await ended).code, output: output() };
  } finally {
    const back = openSync(path, 'r+');
    writeSync(back, byte, 0, 1, at);
    closeSync(back);
  }
}

/** A comment of a third-party module: another byte there changes nothing but its digest. */
const module = 'node_modules/@sigstore/bundle/dist/validate.js';
const comment = readFileSync(join(copy.path, module), 'latin1').indexOf('//') + 3;

/** Whether the sources of the copy are those of the repository. */
function isWhole(): boolean {
  return spawnSync('diff', ['-rq', join(root, 'src'), join(copy.path, 'src')]).status === 0;
}

/** One attack on each layer; whether it came through. */
const attacks: Readonly<Record<Layer, (expected: boolean) => Promise<boolean>>> = {
  async 1() {
    const server = await serve();
    try {
      return (await rebound(server)) === 200;
    } finally {
      await server.stop();
    }
  },
  async 2() {
    const server = await serve();
    const outcome = await injectWhenIdle(server.pids()['engine']!, systemCalls.x64['socket']!, [2, 1, 0]);
    server.kill();
    await server.ended;
    return 'answer' in outcome && outcome.answer >= 0;
  },
  async 3(expected) {
    const { served, code, output } = await startsWith(module, () => comment);
    if (!expected) {
      assert.equal(code, 13, output);
      assert.ok(output.includes(module), output);
    }
    return served;
  },
  async 4(expected) {
    const { served, code, output } = await startsWith('models/guide/guide.gguf', (size) => size - 64);
    if (!expected) {
      assert.equal(code, 14, output);
      assert.ok(output.includes('guide.gguf'), output);
    }
    return served;
  },
  async 5() {
    const server = await serve();
    const canary = canaryOf();
    await turn(server, canary);
    await settle(server);
    const { engine = 0, gateway = 0, supervisor = 0 } = server.pids();
    const found = [engine, gateway, supervisor].map((pid) => scanProcess(pid, [canary]).total);
    server.kill();
    await server.ended;
    return found.some((count) => count > 0);
  },
  async 6(expected) {
    // The strace is accepted by name: tracing is what counts.
    const server = await serve(['strace']);
    const tracer = start(['strace', '-o', '/dev/null', '-p', String(server.pids()['gateway'])]);
    const code = await Promise.race([
      server.ended.then((ending) => ending.code),
      sleep(expected ? 3000 : 20_000, undefined, { ref: false }),
    ]);
    await tracer.stop();
    if (code === undefined) {
      assert.ok(alive(server.pid));
      await server.stop();
      return true;
    }
    assert.equal(code, 16, server.output());
    return false;
  },
};

for (const out of layers) {
  describe(`C1 without layer ${out} (${layerNames[out]})`, () => {
    let putBack = (): void => undefined;
    // A hook and not a test: it runs whichever of the cells is chosen, and in whichever order.
    before(() => {
      assert.ok(isWhole(), 'the copy has every layer');
      putBack = weaken(copy.path, out);
    });
    test(`the copy is made without it`, () => {
      assert.ok(!isWhole());
    });
    for (const attacked of layers) {
      test(
        out === attacked
          ? `the attack on layer ${attacked} comes through: it really is out`
          : `layer ${attacked} (${layerNames[attacked]}) still holds`,
        async () => {
          assert.equal(await attacks[attacked](out === attacked), out === attacked);
        },
      );
    }
    after(() => {
      putBack();
    });
  });
}
