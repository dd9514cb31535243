/**
 * Layer 3 while it serves: a file that is changed after the start is not evaluated by the processes that start later.
 * @module
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { sealedBytes } from '../../src/linux/memory/memfd.ts';
import { loadListDescriptor } from '../../src/layers/3-dependencies/load-list.ts';
import { executableMappings } from '../../src/layers/3-dependencies/runtime-check.ts';
import { copyInstallation } from '../support/copy.ts';
import { natives } from '../support/sealed.ts';
import type { Server } from '../support/server.ts';
import { call, startServer, until } from '../support/server.ts';
import { stripped } from '../support/stripped.ts';

const copy = copyInstallation(true);
const marks = fs.mkdtempSync(join(tmpdir(), 'kwyre-marks-'));
after(() => {
  copy[Symbol.dispose]();
  fs.rmSync(marks, { recursive: true, force: true });
});
const at = (name: string) => join(copy.path, name);
const marker = join(marks, 'MARKER');
// Everybody may leave the mark, whoever the payload runs as; not in the installation, which would not start then.
fs.chmodSync(marks, 0o777);
const payload = `import { createRequire } from 'node:module'; createRequire('/')('node:fs').writeFileSync(${JSON.stringify(marker)}, 'ran');\n`;

/** Ends the engine, and waits until the next one answers. */
async function replaceEngine(server: Server): Promise<number> {
  const engine = server.pids()['engine']!;
  process.kill(engine, 'SIGKILL');
  const next = await until('the next engine', () => {
    const pid = server.pids()['engine'];
    return pid !== undefined &&
      pid !== engine &&
      fs.readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('kwyre: engine')
      ? pid
      : undefined;
  });
  await until('the word about it', () => server.output().includes('starting again'));
  let status = 0;
  for (let tries = 0; tries < 100 && status !== 200; tries += 1) {
    status = (await call(server, '/v1/models').catch(() => undefined))?.status ?? 0;
    if (status !== 200) await sleep(100);
  }
  assert.equal(status, 200, server.output());
  return next;
}

test('L3-12: the JavaScript of koffi is changed after the verification: the next engine reads none of it', async () => {
  const server = await startServer({ repository: copy.path });
  const changed = ['index.js', 'src/koffi/index.js', 'package.json'].map((name) => at(`node_modules/koffi/${name}`));
  const kept = changed.map((path) => [path, fs.readFileSync(path)] as const);
  for (const path of changed) fs.writeFileSync(path, payload);
  try {
    await replaceEngine(server);
    assert.ok(!fs.existsSync(marker), 'the payload ran');
    assert.equal((await server.stop()).code, 0, server.output());
  } finally {
    for (const [path, bytes] of kept) fs.writeFileSync(path, bytes);
    server.kill();
  }
});

test('L3-12: koffi and every library of llama.cpp are replaced after the verification: the next engine runs the verified ones', async () => {
  const server = await startServer({ repository: copy.path });
  const kept = natives.map((name) => [at(name), fs.readFileSync(at(name))] as const);
  for (const [path] of kept) {
    fs.rmSync(path);
    fs.writeFileSync(path, payload);
  }
  try {
    const next = await replaceEngine(server);
    const maps = () => fs.readFileSync(`/proc/${next}/maps`, 'latin1');
    if (process.getuid?.() === 0) {
      const mapped = executableMappings(maps()).map(({ path }) => path);
      assert.ok(mapped.filter((path) => path.startsWith('/memfd:kwyre-')).length >= 6, mapped.join(' '));
      assert.deepEqual(
        mapped.filter((path) => path.startsWith(copy.path)),
        [],
      );
    } else {
      assert.throws(maps, { code: 'EACCES' }, 'the engine is hidden from its own user');
    }
    assert.equal((await server.stop()).code, 0, server.output());
  } finally {
    for (const [path, bytes] of kept) fs.writeFileSync(path, bytes);
    server.kill();
  }
});

test("L3-05: a second name of a file and rights of its group: a start of one's own says so by number, degraded", async () => {
  const checks = async () => {
    const server = await startServer({ repository: copy.path });
    const { layers } = (await (await call(server, '/kwyre/status')).json()) as {
      layers: { checks: { id: string; status: string; evidence: string }[] }[];
    };
    assert.equal((await server.stop()).code, 0);
    return layers[2]!.checks
      .filter(({ id }) => id === 'group-writable' || id === 'hard-links')
      .map(({ id, status, evidence }) => `${id} ${status} ${evidence.slice(0, 8)}`);
  };
  assert.deepEqual(await checks(), []);
  fs.chmodSync(at('node_modules/koffi/index.js'), 0o664);
  fs.linkSync(at('node_modules/koffi/index.cjs'), at('second'));
  try {
    assert.deepEqual(await checks(), ['group-writable degraded 1 files ', 'hard-links degraded 1 files ']);
  } finally {
    fs.chmodSync(at('node_modules/koffi/index.js'), 0o644);
    fs.rmSync(at('second'));
  }
});

test('the payload does run where nothing verifies: the attack is real', () => {
  const file = at('payload.mjs');
  fs.writeFileSync(file, payload);
  assert.equal(spawnSync(process.execPath, [file], { env: {} }).status, 0);
  assert.ok(fs.existsSync(marker));
  fs.rmSync(marker);
});

test('L3-12: without the list, or with another module than the listed ones, a child loads nothing', () => {
  const entry = stripped('src/jail/entry.ts');
  const target = at('target.mjs');
  fs.writeFileSync(target, payload);
  const run = (list: number | 'ignore') =>
    spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', entry, target], {
      env: {},
      encoding: 'utf8',
      stdio: [
        'ignore',
        'pipe',
        'pipe',
        ...Array.from({ length: loadListDescriptor - 3 }, () => 'ignore' as const),
        list,
      ],
    });
  const without = run('ignore');
  assert.equal(without.status, 13);
  assert.match(without.stderr, /the load list of this process/);
  const list = sealedBytes(
    'kwyre-loads',
    Buffer.from(JSON.stringify({ root: copy.path, signed: false, visible: true, files: [] })),
  );
  const foreign = run(list);
  assert.equal(foreign.status, 13);
  assert.match(foreign.stderr, /target\.mjs/);
  assert.throws(() => fs.writeSync(list, Buffer.from('x'), 0, 1, 0), { code: 'EPERM' }, 'sealed');
  fs.closeSync(list);
  assert.ok(!fs.existsSync(marker));
});

test('and it serves again once everything is back', async () => {
  const server = await startServer({ repository: copy.path });
  assert.equal((await call(server, '/v1/models')).status, 200);
  assert.equal((await server.stop()).code, 0);
});
