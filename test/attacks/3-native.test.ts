/**
 * Layer 3, native code: what is mapped is what was hashed, whatever happens to the file, and to the copy of it, in
 * between. The attacks run in the start of a copy of the program, at the moment in which they hurt most.
 * @module
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { hash } from 'node:crypto';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { mappedFaults } from '../../src/layers/3-dependencies/mapped-files.ts';
import { identityOf, nativeNames } from '../../src/layers/3-dependencies/native-code.ts';
import { executableMappings } from '../../src/layers/3-dependencies/runtime-check.ts';
import { copyInstallation } from '../support/copy.ts';
import { listedFiles, nativeFds, natives } from '../support/sealed.ts';
import { call, startServer } from '../support/server.ts';

const copy = copyInstallation(true);
after(() => copy[Symbol.dispose]());
const native = join(copy.path, natives[0]);
const good = fs.readFileSync(native);
/** Another build of it: its own version says so, and koffi refuses it once it has run. */
const evil = Buffer.from(good.toString('latin1').replaceAll('3.3.4', '9.9.9'), 'latin1');
const evilFile = join(copy.path, 'evil.node');
fs.writeFileSync(evilFile, evil);
const sha256 = (bytes: Buffer) => hash('sha256', bytes, 'hex');
const at = good.findIndex((byte, index) => byte !== evil[index]);

/** Code of an attacker's between the comparison and the load: `act` runs when the compared file has been read. */
const swapping = (act: string): string => `
  const { syncBuiltinESMExports } = await import('node:module');
  const real = { ...fs.default };
  const path = '${native}';
  const act = () => { ${act} };
  fs.default.readFileSync = (name, ...more) => { const bytes = real.readFileSync(name, ...more); if (name === path) act(); return bytes; };
  fs.default.openSync = (name, ...more) => { if (name !== path && (more[0] & 0o20000000) !== 0 && name.startsWith('/')) act(); return real.openSync(name, ...more); };
  fs.default.writeSync = (fd, bytes, ...more) => { const count = real.writeSync(fd, bytes, ...more); globalThis.wrote?.(fd); return count; };
  syncBuiltinESMExports();
`;

test('the other build is refused by koffi only after it has run: the attack is real', () => {
  const { code, output } = copy.start({
    between: `process.dlopen({ exports: {} }, '${evilFile}'); console.log('MAPPED', fs.readFileSync('/proc/self/maps', 'latin1').includes('evil.node'));`,
  });
  assert.match(output, /MAPPED true/);
  assert.equal(code, 13, 'and what is mapped besides is found');
  assert.match(output, /evil\.node/);
});

for (const [what, act] of [
  ['another file takes its name', `real.renameSync('${evilFile}', path);`],
  ['its bytes are written over', `real.writeFileSync(path, real.readFileSync('${evilFile}'));`],
] as const) {
  test(`between comparison and load, ${what}: the compared bytes run`, () => {
    try {
      const { code, output } = copy.start({ between: swapping(act) });
      assert.equal(code, 0, output);
      assert.match(output, /^loaded/m);
      assert.ok(fs.readFileSync(native).equals(evil), 'the attack was made');
    } finally {
      fs.rmSync(native);
      fs.writeFileSync(native, good);
      fs.writeFileSync(evilFile, evil);
    }
  });
}

test('the unnamed copy is changed before it is mapped, by somebody who may: refused before it is used', () => {
  const { code, output } = copy.start({
    between: `${swapping('')} let done = false; globalThis.wrote = (fd) => { if (!done && real.fstatSync(fd).size === ${good.length}) { done = true; real.writeSync(fd, Buffer.from('9'), 0, 1, ${at}); } };`,
  });
  assert.equal(code, 13, output);
  assert.match(output, /koffi\.node .*after mapping/);
});

test('after an addon that differs no other one is opened, not even one that is listed', () => {
  const list = `{ root: '${copy.path}', files: new Map([['evil.node', '${sha256(good)}'], ['${natives[0]}', '${sha256(good)}']]) }`;
  const script = `
    import { readFileSync } from 'node:fs';
    const { loadAddonsFromCopy } = await import('${join(copy.path, 'src/layers/3-dependencies/native-code.ts')}');
    const loaded = loadAddonsFromCopy(${list});
    for (const path of ['${evilFile}', '${native}'])
      try { process.dlopen({ exports: {} }, path); console.log('opened'); } catch (error) { console.log(error.code); }
    const maps = readFileSync('/proc/self/maps', 'latin1');
    console.log(loaded.own.size, / r-xp .*(?:\\(deleted\\)|evil)/.test(maps) ? 'mapped' : 'not mapped');`;
  const ran = spawnSync(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', script],
    { encoding: 'utf8' },
  );
  assert.equal(ran.stdout, 'L3_FILES_DIFFER\nL3_FILES_DIFFER\n0 not mapped\n', ran.stderr);
});

test('where no folder takes an unnamed copy that may be mapped, the compared file itself is mapped, by its descriptor', () => {
  const { code, output } = copy.start({
    between: `${swapping('')} fs.default.openSync = (name, flags, ...more) => { if ((flags & 0o20000000) !== 0) throw Object.assign(new Error('none'), { code: 'EOPNOTSUPP' }); return real.openSync(name, flags, ...more); }; syncBuiltinESMExports();`,
  });
  assert.equal(code, 0, output);
});

test('what is mapped is judged wherever it lies: sealed memory by its identity, libraries of the system, nothing else', () => {
  const list = listedFiles();
  const [first = -1, second = -1] = nativeFds();
  const own = new Set([identityOf(fs.fstatSync(first))]);
  const line = ({ dev, ino }: fs.Stats, path: string) =>
    `7f00-7f10 r-xp 00000000 ${(dev >> 8).toString(16)}:${(dev & 0xff).toString(16)} ${ino} ${path}`;
  const judge = (facts: fs.Stats, path: string) =>
    mappedFaults(list, fs, line(facts, path), own).map(({ kind, name }) => `${kind} ${name}`);
  assert.deepEqual(judge(fs.fstatSync(first), '/memfd:kwyre-native (deleted)'), []);
  assert.deepEqual(
    judge(fs.fstatSync(second), '/memfd:kwyre-native (deleted)'),
    ['extra /memfd:kwyre-native (deleted)'],
    'the same name',
  );
  assert.deepEqual(judge(fs.statSync(evilFile), evilFile), [`extra ${evilFile}`], 'outside of the installation');
  const ownName = natives[0];
  assert.deepEqual(judge(fs.statSync(evilFile), join(list.root, ownName)), [`changed ${ownName}`]);
  assert.deepEqual(judge(fs.statSync(evilFile), join(list.root, 'node_modules/x.node')), ['extra node_modules/x.node']);
  const system = executableMappings(fs.readFileSync('/proc/self/maps', 'latin1')).find(({ path }) =>
    path.includes('/libc.so'),
  )!.path;
  assert.deepEqual(judge(fs.statSync(system), system), []);
});

test('every list has the interface, llama.cpp in the order of its needs, and its variants', () => {
  for (const platform of ['linux-x64', 'linux-arm64']) {
    const folder = `node_modules/@node-llama-cpp/${platform}/bins/${platform}`;
    const names = nativeNames(
      [
        `${folder}/libllama.v0.5.0.so`,
        `${folder}/libggml-cpu-a.so`,
        `${folder}/libggml.v0.5.0.so`,
        `${folder}/libggml-base.so`,
        `${folder}/llama-addon.node`,
        `${folder}/libllama-common.so`,
      ],
      platform,
    );
    assert.deepEqual(
      names.map((name) => name.split('/').at(-1)),
      ['koffi.node', 'libggml-base.so', 'libggml.v0.5.0.so', 'libllama.v0.5.0.so', 'libggml-cpu-a.so'],
    );
  }
});

test('a running server maps nothing of its installation from a disk, Node itself included', async () => {
  const server = await startServer({ repository: copy.path });
  try {
    assert.equal((await call(server, '/v1/models')).status, 200);
    if (process.getuid?.() !== 0) return; // hidden, as it should be
    const held = `/proc/${server.pids()['supervisor']!}/fd`;
    const memories = fs
      .readdirSync(held)
      .map((fd) => join(held, fd))
      .filter((path) => /^\/memfd:kwyre-native /.test(fs.readlinkSync(path)));
    assert.ok(memories.length > 5, 'koffi and the libraries of llama.cpp');
    for (const path of memories) {
      const fd = fs.openSync(path, 'r+');
      assert.throws(() => fs.writeSync(fd, '\x7f', 0), { code: 'EPERM' }, 'sealed: not even root writes to it');
      fs.closeSync(fd);
    }
    for (const [role, pid] of Object.entries(server.pids())) {
      const paths = executableMappings(fs.readFileSync(`/proc/${pid}/maps`, 'latin1')).map(({ path }) => path);
      assert.deepEqual(
        paths.filter((path) => path.startsWith(copy.path)),
        [],
        role,
      );
      assert.ok(paths.includes('/memfd:kwyre-node (deleted)'), role);
      assert.equal(
        paths.filter((path) => path === '/memfd:kwyre-native (deleted)').length,
        role === 'engine' ? 5 : 1,
        role,
      );
    }
  } finally {
    assert.equal((await server.stop()).code, 0);
  }
});
