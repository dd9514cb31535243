/**
 * The launcher decides by digests, never by times: what it installs, what it makes anew, and that it does neither in a
 * sealed installation, where nothing unverified runs before the verification.
 * @module
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { hash } from 'node:crypto';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { text as readAll } from 'node:stream/consumers';
import { after, test } from 'node:test';
import { makeState } from '../support/approved.ts';
import { copyInstallation } from '../support/copy.ts';
import { makeTree } from '../support/trees.ts';

const copy = copyInstallation();
const operator = makeState();
// A stand-in for npm: it says that it ran, and does what `npm ci` does first, also when it then finds no network.
const tools = makeTree({ npm: '#!/bin/sh\necho "npm ran" >&2\nrm -rf node_modules\nexit 1\n' });
after(() => {
  for (const made of [copy, operator, tools]) made[Symbol.dispose]();
});
fs.chmodSync(join(tools.path, 'npm'), 0o755);
fs.writeFileSync(join(operator.path, 'passphrase'), 'correct horse battery staple\n', { mode: 0o600 });
const at = (name: string) => join(copy.path, name);
const record = 'node_modules/.kwyre-lock.sha256';
const node = at(`node_modules/node-linux-${process.arch}/bin/node`);
const marker = at('MARKER');

function kwyre(...args: string[]): { code: number | null; output: string } {
  // The system's folders go before the caller's: the stand-in is found only where npm is asked for.
  const { status, stdout, stderr } = spawnSync(at('kwyre'), args, {
    cwd: '/',
    env: { PATH: `${tools.path}:/usr/bin:/bin`, HOME: operator.path },
    encoding: 'utf8',
    timeout: 120_000,
  });
  return { code: status, output: `${stdout}${stderr}` };
}

const lockDigest = () => `${hash('sha256', fs.readFileSync(at('package-lock.json')), 'hex')}  package-lock.json\n`;
const future = new Date(Date.now() + 86_400_000);
const past = new Date(1_000_000_000_000);

/** Changes a file as an update with older times does; gives what takes it back. */
function update(name: string, edit: (text: string) => string, times = past): () => void {
  const before = fs.readFileSync(at(name), 'utf8');
  fs.writeFileSync(at(name), edit(before));
  fs.utimesSync(at(name), times, times);
  return () => {
    fs.writeFileSync(at(name), before);
  };
}

test('a touched lockfile installs nothing, with and without a record of what was installed', () => {
  assert.equal(kwyre('--version').code, 0);
  fs.utimesSync(at('package-lock.json'), future, future);
  for (const text of [undefined, lockDigest()]) {
    if (text !== undefined) fs.writeFileSync(at(record), text);
    const { code, output } = kwyre('deps', 'verify', '--state', operator.path);
    assert.equal(code, 0, output);
    assert.doesNotMatch(output, /npm ran|installing/);
  }
});

test('another lockfile installs, whatever its times; a set-up that fails leaves what was there, and runs nothing', () => {
  fs.writeFileSync(at(record), lockDigest());
  const undo = update('package-lock.json', (text) => `${text} `);
  const { code, output } = kwyre('--version');
  undo();
  assert.equal(code, 1, output);
  assert.match(output, /npm ran/);
  assert.match(output, /the installation failed and changed nothing/);
  assert.ok(fs.existsSync(node));
  assert.deepEqual(
    fs.readdirSync(copy.path).filter((name) => name.startsWith('.install')),
    [],
  );
  assert.equal(kwyre('--version').code, 0, 'with the old lockfile it runs as before');
});

test('a set-up that succeeds takes the place of what was there, with its record', () => {
  const real = fs.readFileSync(join(tools.path, 'npm'));
  fs.writeFileSync(
    join(tools.path, 'npm'),
    `#!/bin/sh\nset -e\nmkdir node_modules\ncp -a ${at('node_modules')}/. node_modules/\ntouch node_modules/FRESH\n`,
  );
  fs.writeFileSync(at(record), 'of another lockfile\n');
  const { code, output } = kwyre('--version');
  fs.writeFileSync(join(tools.path, 'npm'), real);
  assert.equal(code, 0, output);
  assert.match(output, /installing the pinned runtime/);
  assert.ok(fs.existsSync(at('node_modules/FRESH')));
  fs.rmSync(at('node_modules/FRESH'));
  assert.equal(fs.readFileSync(at(record), 'utf8'), lockDigest());
  assert.equal(kwyre('deps', 'verify', '--state', operator.path).code, 0, 'the record is no foreign file');
  assert.equal(kwyre('--version').output, kwyre('--version').output);
});

/** A stand-in that installs what is in place, after a moment, and counts how often it ran. */
function installing(body: string): Disposable {
  const real = fs.readFileSync(join(tools.path, 'npm'));
  fs.writeFileSync(join(tools.path, 'npm'), `#!/bin/sh\nset -e\necho ran >>${join(tools.path, 'runs')}\n${body}\n`);
  return {
    [Symbol.dispose]() {
      fs.writeFileSync(join(tools.path, 'npm'), real);
      fs.rmSync(join(tools.path, 'runs'), { force: true });
    },
  };
}

test('a set-up that was killed between its two moves: the next start puts back the complete tree, old or new, and installs nothing', () => {
  fs.writeFileSync(at(record), lockDigest());
  const dead = at('.install.4194305'); // above the kernel's highest pid
  for (const name of ['replaced', 'node_modules']) {
    fs.mkdirSync(dead);
    fs.renameSync(at('node_modules'), join(dead, name));
    if (name === 'replaced') fs.mkdirSync(join(dead, 'node_modules')); // a set-up that was cut off: no record in it
    const { code, output } = kwyre('--version');
    assert.equal(code, 0, output);
    assert.doesNotMatch(output, /npm ran|installing/);
    assert.ok(fs.existsSync(node) && !fs.existsSync(dead), name);
  }
});

test('two first starts at once: one installs, the other waits for it, and neither tree lies in the other', async () => {
  fs.renameSync(at('node_modules'), at('kept'));
  const npm = installing(`sleep 1\nmkdir node_modules\ncp -a ${at('kept')}/. node_modules/`);
  const starts = [0, 1].map(() =>
    spawn(at('kwyre'), ['--version'], {
      cwd: '/',
      env: { PATH: `${tools.path}:/usr/bin:/bin`, HOME: operator.path },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 120_000,
    }),
  );
  const ended = await Promise.all(
    starts.map(async (child) => {
      const said = await Promise.all([child.stdout, child.stderr].map((stream) => readAll(stream)));
      return { code: child.exitCode ?? ((await once(child, 'exit')) as [number])[0], output: said.join('') };
    }),
  );
  for (const { code, output } of ended) assert.equal(code, 0, output);
  assert.equal(fs.readFileSync(join(tools.path, 'runs'), 'utf8'), 'ran\n');
  assert.ok(ended.some(({ output }) => output.includes('another start is installing into')));
  assert.ok(!fs.existsSync(at('node_modules/node_modules')));
  assert.deepEqual(
    fs.readdirSync(copy.path).filter((name) => name.startsWith('.install')),
    [],
  );
  fs.rmSync(at('kept'), { recursive: true });
  npm[Symbol.dispose]();
});

test("the caller's umask makes no program that others cannot read, or may write", () => {
  for (const umask of ['077', '000']) {
    fs.rmSync(at('dist'), { recursive: true });
    const { status, stderr } = spawnSync('sh', ['-c', `umask ${umask}; exec "$0" --version`, at('kwyre')], {
      cwd: '/',
      env: { PATH: `${tools.path}:/usr/bin:/bin`, HOME: operator.path },
      encoding: 'utf8',
      timeout: 120_000,
    });
    assert.equal(status, 0, stderr);
    assert.equal(fs.statSync(at('dist')).mode & 0o777, 0o755);
    assert.equal(fs.statSync(at('dist/cli/main.js')).mode & 0o777, 0o644);
  }
});

test('a link to the launcher starts the installation that it leads to', () => {
  fs.symlinkSync(at('kwyre'), join(tools.path, 'linked'));
  const { status, stdout, stderr } = spawnSync(join(tools.path, 'linked'), ['--version'], {
    cwd: '/',
    env: { PATH: '/usr/bin:/bin', HOME: operator.path },
    encoding: 'utf8',
    timeout: 120_000,
  });
  assert.equal(status, 0, stderr);
  assert.equal(stdout, kwyre('--version').output);
  assert.doesNotMatch(stderr, /installing/);
});

test('folders of the program that are links are refused before anything of them runs', () => {
  for (const name of ['src', 'dist', 'page']) {
    fs.renameSync(at(name), at('real'));
    fs.symlinkSync('real', at(name));
    const undo = update(
      `${name === 'src' ? 'real' : 'src'}/setup/strip-types.ts`,
      (before) =>
        `import { writeFileSync as kwyreAttack } from 'node:fs';\nkwyreAttack(${JSON.stringify(marker)}, 'ran');\n${before}`,
    );
    const { code, output } = kwyre('--version');
    undo();
    fs.rmSync(at(name));
    fs.renameSync(at('real'), at(name));
    assert.equal(code, 13, output);
    assert.match(output, /is a symbolic link: .*L3_OWN_LINKED.*\n {2}next: replace the link with the real folder/);
    assert.ok(!fs.existsSync(marker), 'what lies behind the link ran');
  }
});

test('an update with older times has its effect', () => {
  const undo = update('src/base/version.ts', (text) => text.replace(/'\d+\.\d+\.\d+'/, "'9.8.7'"));
  assert.match(kwyre('--version').output, /9\.8\.7/);
  undo();
  fs.utimesSync(at('src/base/version.ts'), past, past);
  assert.doesNotMatch(kwyre('--version').output, /9\.8\.7/);
});

test('a program that a crash cut to nothing is made anew', () => {
  for (const entry of ['cli', 'supervisor']) {
    fs.truncateSync(at(`dist/${entry}/main.js`));
    assert.match(kwyre('--version').output, /^\d+\.\d+\.\d+$/m);
    assert.ok(fs.statSync(at(`dist/${entry}/main.js`)).size > 0);
  }
});

test('sources that cannot be made into a program end the start; the old one does not run', () => {
  const undo = update('src/base/version.ts', (text) => `${text}\nexport const broken: = ;\n`);
  const { code, output } = kwyre('--version');
  undo();
  assert.equal(code, 1, output);
  assert.match(output, /cannot write .* from the sources/);
  assert.equal(kwyre('--version').code, 0);
});

test('sealed: nothing is installed, nothing is made anew, and nothing unverified runs', () => {
  const sealed = kwyre(
    'deps',
    'seal',
    '--reason',
    'test',
    '--yes',
    '--passphrase-file',
    join(operator.path, 'passphrase'),
    '--state',
    operator.path,
  );
  assert.equal(sealed.code, 0, sealed.output);
  const evil = (text: string) =>
    `import { writeFileSync as kwyreAttack } from 'node:fs';\nkwyreAttack(${JSON.stringify(marker)}, 'ran');\n${text}`;
  const start = () => kwyre('serve', '--port', '0', '--state', operator.path);
  for (const [change, words] of [
    [() => update('src/setup/strip-types.ts', evil, future), /changed: src\/setup\/strip-types\.ts/],
    [
      () => update('src/base/version.ts', (text) => text.replace(/'\d+\.\d+\.\d+'/, "'9.8.7'"), future),
      /changed: src\/base\/version\.ts/,
    ],
    [() => update('package-lock.json', (text) => `${text} `, future), /package-lock\.json differs from the signed one/],
  ] as const) {
    const undo = change();
    const { code, output } = start();
    undo();
    assert.equal(code, 13, output);
    assert.match(output, words);
    assert.match(output, /next: /);
    assert.doesNotMatch(output, /npm ran/);
    assert.ok(!fs.existsSync(marker), 'what was not verified ran');
  }
  assert.equal(start().code, 14, 'it passes again');
});

test('sealed, and its program or its Node is missing: refused in words, and nothing comes in their place', () => {
  for (const [path, words] of [
    [at('dist'), /its program \(dist\) is missing; it is not rebuilt automatically\n {2}next: restore/],
    [node, /its Node is missing; it is not installed again automatically\n {2}next: restore/],
  ] as const) {
    fs.renameSync(path, at('kept'));
    const undo = update(
      'src/setup/strip-types.ts',
      (text) =>
        `import { writeFileSync as kwyreAttack } from 'node:fs';\nkwyreAttack(${JSON.stringify(marker)}, 'ran');\n${text}`,
      future,
    );
    for (const args of [['serve'], ['deps', 'verify'], ['--version']]) {
      const { code, output } = kwyre(...args);
      assert.equal(code, 13, output);
      assert.match(output, words);
      assert.doesNotMatch(output, /npm ran/);
      assert.ok(!fs.existsSync(marker), 'what was not verified ran');
      assert.ok(!fs.existsSync(path));
    }
    undo();
    fs.renameSync(at('kept'), path);
  }
});

test('sealed: the operator updates, looks, and seals what the new sources make', () => {
  const undo = update('src/base/version.ts', (text) => text.replace(/'\d+\.\d+\.\d+'/, "'9.8.7'"));
  const sealed = kwyre(
    'deps',
    'seal',
    '--reason',
    'update',
    '--yes',
    '--passphrase-file',
    join(operator.path, 'passphrase'),
    '--state',
    operator.path,
  );
  assert.equal(sealed.code, 0, sealed.output);
  assert.match(kwyre('--version').output, /9\.8\.7/);
  assert.equal(kwyre('deps', 'verify', '--state', operator.path).code, 0);
  undo();
});
