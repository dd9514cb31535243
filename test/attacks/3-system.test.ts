/**
 * An installation that root sealed with its trust file in `/etc/kwyre`, on a machine of the test's own: removing the
 * seal, a second name of a file and rights of its group refuse the start (exit 13), which an ordinary user makes. What
 * others than root can write is never called enforced. Needs root: the trust file is root's.
 * @module
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { makeState } from '../support/approved.ts';
import { copyInstallation } from '../support/copy.ts';
import { asUser, testUid } from '../support/identity.ts';
import { Machine } from '../support/namespace.ts';
import { makeTree } from '../support/trees.ts';

const machine = new Machine();
const copy = copyInstallation();
const operator = makeState();
const state = makeTree({});
const passphrase = join(operator.path, 'passphrase');
const at = (name: string) => join(copy.path, name);

before(async () => {
  await machine.start();
  fs.writeFileSync(passphrase, 'correct horse battery staple\n', { mode: 0o600 });
  fs.chmodSync(state.path, 0o700);
  fs.chownSync(state.path, testUid, testUid);
});
after(async () => {
  await machine.stop();
  for (const made of [copy, operator, state]) made[Symbol.dispose]();
});

/** Starts it as an ordinary user; layer 4 refuses what layer 3 lets through, for there is no model. */
function start(): { code: number | null; output: string } {
  const { status, stdout, stderr } = machine.try(
    'env',
    '-i',
    'PATH=/usr/bin:/bin',
    `HOME=${state.path}`,
    ...asUser(testUid, [at('kwyre'), 'serve', '--port', '0', '--state', state.path]),
  );
  return { code: status, output: `${stdout}${stderr}` };
}

/** Refused with 13 and these words, and not any more once it is taken back. */
function refuses(words: RegExp, change: () => () => void): void {
  const undo = change();
  const { code, output } = start();
  undo();
  assert.equal(code, 13, output);
  assert.match(output, words);
  assert.match(output, /next: .*deps seal/s);
  assert.equal(start().code, 14);
}

test('L3-05: root does not seal what the start would refuse: files that their group may write, as an unpacked archive has them', () => {
  fs.chmodSync(at('page/app.js'), 0o664);
  const { status, stderr } = seal();
  fs.chmodSync(at('page/app.js'), 0o644);
  assert.equal(status, 13, stderr);
  assert.match(stderr, /unsafe access rights: page\/app\.js \(group-writable\)\n  next: fix or remove/);
  assert.ok(!fs.existsSync(at('seal')));
});

test('root seals with --system: the trust file is in /etc/kwyre, and layer 3 is enforced for whoever is not root', () => {
  const sealed = machine.try(
    at('kwyre'),
    'deps',
    'seal',
    '--system',
    '--reason',
    'test',
    '--yes',
    '--passphrase-file',
    passphrase,
    '--state',
    operator.path,
  );
  assert.equal(sealed.status, 0, sealed.stderr);
  assert.match(sealed.stdout, /the trust file is in \/etc\/kwyre/);
  assert.match(machine.run('cat', '/etc/kwyre/seal.json'), /"sequence": 1/);
  const { code, output } = start();
  assert.equal(code, 14, output);
  const verified = machine.try(
    'env',
    '-i',
    'PATH=/usr/bin:/bin',
    `HOME=${state.path}`,
    ...asUser(testUid, [at('kwyre'), 'deps', 'verify', '--state', state.path]),
  );
  assert.match(verified.stdout, /^enforced\s+sealed-tree: /m, verified.stderr);
});

test("a second installation is not sealed with --system: the first one's trust file stays", () => {
  const second = copyInstallation();
  try {
    const trust = machine.run('cat', '/etc/kwyre/seal.json');
    const args = ['deps', 'seal', '--system', '--reason', 'test', '--yes', '--passphrase-file', passphrase];
    const { status, stderr } = machine.try(join(second.path, 'kwyre'), ...args, '--state', operator.path);
    assert.equal(status, 2, stderr);
    assert.ok(stderr.includes(`signs the installation in ${copy.path}`), stderr);
    assert.equal(machine.run('cat', '/etc/kwyre/seal.json'), trust);
    assert.equal(start().code, 14);
  } finally {
    second[Symbol.dispose]();
  }
});

test('the umask of who seals shuts nobody out; a trust file that cannot be read refuses, with what mends it', () => {
  machine.run('rm', '-r', '/etc/kwyre');
  fs.rmSync(at('seal'), { recursive: true });
  fs.rmSync(join(operator.path, 'sealed.json'), { force: true });
  fs.rmSync(join(state.path, 'sealed.json'), { force: true });
  const sealed = machine.try(
    'sh',
    '-c',
    'umask 077; exec "$@"',
    'sh',
    at('kwyre'),
    'deps',
    'seal',
    '--system',
    '--reason',
    'test',
    '--yes',
    '--passphrase-file',
    passphrase,
    '--state',
    operator.path,
  );
  assert.equal(sealed.status, 0, sealed.stderr);
  assert.equal(
    machine.run('stat', '-c', '%a', '/etc/kwyre', '/etc/kwyre/seal.json', at('seal'), at('seal/tree.sig')),
    '755\n644\n755\n644\n',
  );
  assert.equal(start().code, 14);
  for (const [path, narrow, wide] of [
    ['/etc/kwyre', '700', '755'],
    ['/etc/kwyre/seal.json', '600', '644'],
  ] as const) {
    machine.run('chmod', narrow, path);
    const { code, output } = start();
    machine.run('chmod', wide, path);
    assert.equal(code, 13, output);
    assert.match(
      output,
      /cannot read \/etc\/kwyre\/seal\.json \(EACCES\)[\s\S]*next: as root: chmod 755 \/etc\/kwyre; chmod 644 \/etc\/kwyre\/seal\.json/,
    );
    assert.doesNotMatch(output, /^ {4}at /m);
  }
  assert.equal(start().code, 14);
});

test('L3-14: without seal/, for a state folder that never saw it too', () => {
  fs.rmSync(join(state.path, 'sealed.json'));
  refuses(/is signed, but its manifest is missing/, () => {
    fs.renameSync(at('seal'), at('kept'));
    return () => {
      fs.renameSync(at('kept'), at('seal'));
    };
  });
});

test('L3-14: a trust file that others may write', () => {
  const undo = () => {
    machine.run('chmod', '644', '/etc/kwyre/seal.json');
  };
  machine.run('chmod', '666', '/etc/kwyre/seal.json');
  const { code, output } = start();
  undo();
  assert.equal(code, 13, output);
  assert.match(
    output,
    /must be a regular file that only root can write, in folders that only root can write[\s\S]*next: as root: chmod g-w \/etc\/kwyre\/seal\.json; chmod o-w \/etc\/kwyre\/seal\.json/,
  );
});

test('L3-05: a second name of a file', () => {
  refuses(/page\/app\.js \(has more than one hard link\)/, () => {
    fs.linkSync(at('page/app.js'), at('second'));
    return () => {
      fs.rmSync(at('second'));
    };
  });
});

test('L3-05: a file and a folder that their group may write', () => {
  for (const [name, wide, narrow] of [
    ['node_modules/koffi/index.js', 0o664, 0o644],
    ['node_modules/koffi', 0o775, 0o755],
  ] as const) {
    refuses(new RegExp(`${name.replace('.', '\\.')} \\(group-writable\\)`), () => {
      fs.chmodSync(at(name), wide);
      return () => {
        fs.chmodSync(at(name), narrow);
      };
    });
  }
});

test('a link to it from elsewhere: the same installation by another path is sealed all the same', () => {
  const link = join(operator.path, 'link');
  fs.chmodSync(operator.path, 0o711);
  fs.symlinkSync(copy.path, link);
  fs.renameSync(at('seal'), at('kept'));
  const { status, stderr } = machine.try(
    'env',
    '-i',
    'PATH=/usr/bin:/bin',
    `HOME=${state.path}`,
    ...asUser(testUid, [join(link, 'kwyre'), 'serve', '--port', '0', '--state', state.path]),
  );
  fs.renameSync(at('kept'), at('seal'));
  assert.equal(status, 13, stderr);
});

const seal = () =>
  machine.try(
    at('kwyre'),
    'deps',
    'seal',
    '--system',
    '--reason',
    'again',
    '--yes',
    '--passphrase-file',
    passphrase,
    '--state',
    operator.path,
  );
const verify = () =>
  machine.try(
    'env',
    '-i',
    'PATH=/usr/bin:/bin',
    `HOME=${state.path}`,
    ...asUser(testUid, [at('kwyre'), 'deps', 'verify', '--state', state.path]),
  ).stdout;

test('L3-05: a tree that the user who runs it owns is not enforced, whoever sealed it; root neither runs nor seals it', () => {
  assert.match(verify(), /^enforced\s+sealed-tree: /m);
  machine.run('chown', '-hR', `${testUid}:${testUid}`, copy.path);
  const found = verify();
  assert.match(found, /^degraded\s+sealed-tree: .*detect-only, same owner: the current user owns /m);
  assert.equal(start().code, 14, 'they may run it');
  for (const { status, stderr } of [
    seal(),
    machine.try(at('kwyre'), 'serve', '--port', '0', '--state', operator.path),
  ]) {
    assert.equal(status, 13, stderr);
    assert.match(
      stderr,
      new RegExp(
        `users other than root can change the program:[^]*owned by user ${testUid}[^]*next: as root: chown -hR root:root ${copy.path}`,
      ),
    );
  }
  machine.run('chown', '-hR', 'root:root', copy.path);
  // One file of the verifier, or one folder above it, is enough.
  for (const name of ['dist/layers/3-dependencies/tree-verifier.js', 'dist', 'kwyre', '.']) {
    machine.run('chown', `${testUid}`, at(name));
    assert.match(verify(), /^degraded\s+sealed-tree: /m, name);
    machine.run('chown', 'root', at(name));
  }
  assert.match(verify(), /^enforced\s+sealed-tree: /m);
});

test('L3-14: a folder above the trust file that others may write', () => {
  machine.run('chmod', '777', '/etc/kwyre');
  const { code, output } = start();
  machine.run('chmod', '755', '/etc/kwyre');
  assert.equal(code, 13, output);
  assert.match(
    output,
    /in folders that only root can write\n  next: as root: chmod g-w \/etc\/kwyre; chmod o-w \/etc\/kwyre/,
  );
});

test('L3-09: a library that the system puts into every program, after sealing: named', () => {
  const folder = /(\/\S*)\/libm\.so\.6$/m.exec(fs.readFileSync('/proc/self/maps', 'latin1'))![1]!;
  machine.run('sh', '-c', `echo ${folder}/libresolv.so.2 > /etc/ld.so.preload`);
  const found = verify();
  machine.run('rm', '/etc/ld.so.preload');
  assert.match(found, /^degraded\s+system-libraries: .*added: \S*libresolv\.so\.2/m);
  assert.match(found, /^degraded\s+preload: .*libresolv\.so\.2/m);
  assert.doesNotMatch(verify(), /preload|system-libraries/);
});
