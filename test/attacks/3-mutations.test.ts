/**
 * Layer 3, one row after another: each way to change what is installed, tried on a copy and started for real with
 * `./kwyre serve`. Exit 13, the file named, and no payload left its mark.
 * @module
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { hash } from 'node:crypto';
import * as fs from 'node:fs';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { crc32 } from 'node:zlib';
import { copyInstallation } from '../support/copy.ts';
import { launch } from '../support/server.ts';
import { makeTree } from '../support/trees.ts';

const copy = copyInstallation();
const outside = makeTree({});
after(() => {
  copy[Symbol.dispose]();
  outside[Symbol.dispose]();
});
const at = (name: string) => join(copy.path, name);
const marker = join(outside.path, 'MARKER');
fs.chmodSync(outside.path, 0o777);
const esm = `import { writeFileSync as kwyreAttack } from 'node:fs'; kwyreAttack(${JSON.stringify(marker)}, 'ran');\n`;
const cjs = `require('node:fs').writeFileSync(${JSON.stringify(marker)}, 'ran');\n`;
const node = at(`node_modules/node-linux-${process.arch}/bin/node`);
const module = 'node_modules/koffi/index.js';
const addon = `node_modules/@koromix/koffi-linux-${process.arch}/linux_${process.arch}/koffi.node`;

type Started = { readonly code: number | null; readonly output: string };

/** Starts the server; one that was not refused is ended. Nothing may have left its mark. */
async function start(env: Readonly<Record<string, string>> = {}): Promise<Started> {
  const started = launch({ repository: copy.path, env });
  const timer = setTimeout(() => started.process.kill('SIGTERM'), 20_000);
  const { code } = await started.ended;
  clearTimeout(timer);
  assert.ok(!fs.existsSync(marker), 'the payload ran');
  return { code, output: started.output() };
}

/** Starts the supervisor without the launcher, which would clear these. */
function startBare(env: Readonly<Record<string, string>>, flags: readonly string[] = []): Started {
  const state = fs.mkdtempSync(join(outside.path, 'state-'));
  const { status, stdout, stderr } = spawnSync(
    node,
    ['--disable-warning=ExperimentalWarning', ...flags, at('dist/supervisor/main.js'), '--port', '0', '--state', state],
    {
      cwd: outside.path,
      env: { PATH: '/usr/bin:/bin', HOME: outside.path, ...env },
      encoding: 'utf8',
      timeout: 30_000,
    },
  );
  return { code: status, output: `${stdout}${stderr}` };
}

async function refuses(words: string | RegExp, undo: () => void): Promise<void> {
  try {
    const { code, output } = await start();
    assert.equal(code, 13, output);
    assert.ok(typeof words === 'string' ? output.includes(words) : words.test(output), output);
    assert.match(output, /next: /);
  } finally {
    undo();
  }
}

/** Puts other bytes in place of a file, with its mode and times. */
function rewrite(name: string, edit: (bytes: Buffer) => Buffer): () => void {
  const before = fs.readFileSync(at(name));
  const { mode, atime, mtime } = fs.statSync(at(name));
  fs.writeFileSync(at(name), edit(before));
  fs.utimesSync(at(name), atime, mtime);
  return () => {
    fs.writeFileSync(at(name), before);
    fs.chmodSync(at(name), mode & 0o7777);
  };
}

/** Makes a file that was not there. */
function create(name: Buffer | string, content: string): () => void {
  const path = Buffer.concat([Buffer.from(`${copy.path}/`), Buffer.from(name)]);
  let top = dirname(path.toString('latin1'));
  const had = fs.existsSync(top);
  while (!fs.existsSync(dirname(top))) top = dirname(top);
  fs.mkdirSync(dirname(path.toString('latin1')), { recursive: true, mode: 0o755 });
  fs.writeFileSync(path, content, { mode: 0o644 });
  return () => {
    if (had) fs.rmSync(path);
    else fs.rmSync(top, { recursive: true });
  };
}

function mode(name: string, bits: number): () => void {
  const before = fs.statSync(at(name)).mode & 0o7777;
  fs.chmodSync(at(name), bits);
  return () => {
    fs.chmodSync(at(name), before);
  };
}

/** Moves a file away and puts something else there. */
function replace(name: string, put: (path: string) => void): () => void {
  const kept = join(outside.path, 'kept');
  fs.cpSync(at(name), kept, { recursive: true, preserveTimestamps: true });
  fs.rmSync(at(name), { recursive: true });
  put(at(name));
  return () => {
    fs.rmSync(at(name), { recursive: true, force: true });
    fs.cpSync(kept, at(name), { recursive: true, preserveTimestamps: true });
    fs.rmSync(kept, { recursive: true });
  };
}

const flipLast = (bytes: Buffer): Buffer => Buffer.concat([bytes.subarray(0, -1), Buffer.of(bytes.at(-1)! ^ 1)]);

const rows: readonly (readonly [id: string, what: string, words: string | RegExp, change: () => () => void])[] = [
  ['L3-01', 'flip a byte of a module', `changed: ${module}`, () => rewrite(module, flipLast)],
  [
    'L3-01',
    'code in front of a module, of the same length',
    `changed: ${module}`,
    () => rewrite(module, (bytes) => Buffer.concat([Buffer.from(esm), bytes]).subarray(0, bytes.length)),
  ],
  ['L3-01', 'truncate', `changed: ${module}`, () => rewrite(module, (bytes) => bytes.subarray(0, -7))],
  ['L3-01', 'append', `changed: ${module}`, () => rewrite(module, (bytes) => Buffer.concat([bytes, Buffer.from(esm)]))],
  ['L3-01', 'empty', `changed: ${module}`, () => rewrite(module, () => Buffer.alloc(0))],
  [
    'L3-02',
    'exports of a package lead elsewhere',
    'changed: node_modules/koffi/package.json',
    () =>
      rewrite('node_modules/koffi/package.json', (bytes) =>
        Buffer.from(bytes.toString().replace('./index.js', './src/../doc.js')),
      ),
  ],
  [
    'L3-03',
    'add a file',
    'not in the manifest: node_modules/koffi/evil.cjs',
    () => create('node_modules/koffi/evil.cjs', cjs),
  ],
  [
    'L3-03',
    'add an empty file',
    'not in the manifest: node_modules/koffi/.npmignore2',
    () => create('node_modules/koffi/.npmignore2', ''),
  ],
  [
    'L3-03',
    'add a package',
    'not in the manifest: node_modules/@evil/pack/index.js',
    () => create('node_modules/@evil/pack/index.js', cjs),
  ],
  [
    'L3-04',
    'delete a file',
    'missing: node_modules/koffi/LICENSE.txt',
    () => replace('node_modules/koffi/LICENSE.txt', () => undefined),
  ],
  [
    'L3-04',
    'delete a package',
    'missing: node_modules/@sigstore/bundle/LICENSE',
    () => replace('node_modules/@sigstore/bundle', () => undefined),
  ],
  [
    'L3-05',
    'make executable',
    /unsafe access rights: node_modules\/koffi\/LICENSE\.txt \(executable, but signed as not executable\)/,
    () => mode('node_modules/koffi/LICENSE.txt', 0o755),
  ],
  ['L3-05', 'writable by anybody', /node_modules\/koffi\/index\.js \(.*world-writable/, () => mode(module, 0o666)],
  [
    'L3-05',
    'a folder writable by anybody',
    /node_modules\/koffi \(.*world-writable/,
    () => mode('node_modules/koffi', 0o777),
  ],
  [
    'L3-05',
    'the folder of the installation writable by anybody',
    /users other than root.* can change the program:\n  .*kwyre-copy-\w+ \(world-writable\)\n  next: as root: chmod o-w/,
    () => mode('.', 0o757),
  ],
  [
    'L3-05',
    'our own folder writable by anybody',
    /can change the program:\n  .*\/dist\/gateway \(world-writable\)/,
    () => mode('dist/gateway', 0o757),
  ],
  [
    'L3-05',
    'a source writable by anybody',
    /can change the program:\n  .*\/src\/base\/version\.ts \(world-writable\)/,
    () => mode('src/base/version.ts', 0o646),
  ],
  [
    'L3-05',
    'the launcher writable by anybody',
    /can change the program:\n  .*\/kwyre \(world-writable\)/,
    () => mode('kwyre', 0o757),
  ],
  ['L3-05', 'setuid', /node_modules\/koffi\/index\.js \(.*setuid/, () => mode(module, 0o4755)],
  [
    'L3-05',
    'a symbolic link to the same bytes',
    /node_modules\/koffi\/index\.js \(.*symbolic link/,
    () => {
      fs.copyFileSync(at(module), join(outside.path, 'same.js'));
      return replace(module, (path) => {
        fs.symlinkSync(join(outside.path, 'same.js'), path);
      });
    },
  ],
  [
    'L3-05',
    'a hard link to other bytes',
    `changed: ${module}`,
    () => {
      fs.writeFileSync(join(outside.path, 'other.js'), esm);
      fs.cpSync(join(outside.path, 'other.js'), at('other.js'));
      const undo = replace(module, (path) => {
        fs.linkSync(at('other.js'), path);
      });
      return () => {
        undo();
        fs.rmSync(at('other.js'));
      };
    },
  ],
  [
    'L3-05',
    'a folder behind a link',
    /node_modules\/koffi \(.*symbolic link/,
    () =>
      replace('node_modules/koffi', (path) => {
        fs.symlinkSync(join(outside.path, 'kept'), path);
      }),
  ],
  [
    'L3-05',
    'a twin in letter case',
    /node_modules\/koffi\/INDEX\.js/,
    () => create('node_modules/koffi/INDEX.js', esm),
  ],
  [
    'L3-05',
    'twins in Unicode form',
    /differs from .* only in letter case or Unicode form/,
    () => {
      const undo = [create('node_modules/koffi/caf\u00e9.js', esm), create('node_modules/koffi/cafe\u0301.js', esm)];
      return () => {
        for (const one of undo) one();
      };
    },
  ],
  [
    'L3-05',
    'a name that is not UTF-8',
    /not valid UTF-8/,
    () => create(Buffer.from('node_modules/koffi/bad\xff.js', 'latin1'), esm),
  ],
  [
    'L3-05',
    'a line break in a name',
    /control or invisible character/,
    () => create('node_modules/koffi/a\nb.js', esm),
  ],
  [
    'L3-05',
    'a named pipe',
    /node_modules\/koffi\/pipe \(.*named pipe/,
    () => {
      assert.equal(spawnSync('mkfifo', [at('node_modules/koffi/pipe')]).status, 0);
      return () => {
        fs.rmSync(at('node_modules/koffi/pipe'));
      };
    },
  ],
  [
    'L3-10',
    'native code with a byte more',
    `changed: ${addon}`,
    () => rewrite(addon, (bytes) => Buffer.concat([bytes, Buffer.of(0)])),
  ],
  ['L3-16', 'modules of our own folder', /dist\/node_modules/, () => create('dist/node_modules/koffi/index.js', esm)],
  [
    'L3-16',
    'a package.json that maps imports',
    /dist\/linux\/package\.json/,
    () => create('dist/linux/package.json', '{"imports":{"#x":"./evil.js"}}'),
  ],
];

test('the untouched copy passes layer 3 and is refused by layer 4 only: it has no model', async () => {
  const { code, output } = await start();
  assert.equal(code, 14, output);
});

for (const [id, what, words, change] of rows) {
  test(`${id}: ${what}`, async () => {
    await refuses(words, change());
  });
}

test('L3-11: another Node, started by hand with the same arguments, refuses', () => {
  const other = join(outside.path, 'node');
  fs.copyFileSync(node, other);
  fs.chmodSync(other, 0o755);
  const { status, stderr } = spawnSync(
    other,
    ['--disable-warning=ExperimentalWarning', at('dist/supervisor/main.js'), '--port', '0'],
    { env: {}, encoding: 'utf8', timeout: 30_000 },
  );
  fs.rmSync(other);
  assert.equal(status, 13, stderr);
  assert.match(stderr, /another Node/);
});

test('L3-08: variables and flags that load code, past the launcher: refused by name', () => {
  fs.writeFileSync(join(outside.path, 'quiet.cjs'), '');
  for (const [env, flags, words] of [
    [{ NODE_OPTIONS: `--require ${join(outside.path, 'quiet.cjs')}` }, [], /variable NODE_OPTIONS/],
    [{ NODE_PATH: outside.path }, [], /variable NODE_PATH/],
    [{ NODE_EXTRA_CA_CERTS: '/dev/null' }, [], /variable NODE_EXTRA_CA_CERTS/],
    [{ NODE_COMPILE_CACHE: join(outside.path, 'cache') }, [], /compile cache/],
    [{ OPENSSL_CONF: '/dev/null' }, [], /variable OPENSSL_CONF/],
    [{}, [`--import=${join(outside.path, 'quiet.cjs')}`], /flag --import/],
    [{}, ['--env-file-if-exists=/dev/null'], /flag --env-file/],
    [{}, ['--preserve-symlinks'], /flag --preserve-symlinks/],
  ] as const) {
    const { code, output } = startBare(env, flags);
    assert.equal(code, 13, `${JSON.stringify(env)} ${flags.join(' ')}\n${output}`);
    assert.match(output, words);
  }
  fs.rmSync(join(outside.path, 'cache'), { recursive: true, force: true });
});

test('L3-09: libraries put before others, past the launcher: refused by name', () => {
  const library = /(\/\S*\/libm\.so\.6)$/m.exec(fs.readFileSync('/proc/self/maps', 'latin1'))![1]!;
  for (const [env, words] of [
    [{ LD_PRELOAD: library }, /variable LD_PRELOAD/],
    [{ LD_LIBRARY_PATH: outside.path }, /variable LD_LIBRARY_PATH/],
    [{ GCONV_PATH: outside.path }, /variable GCONV_PATH/],
  ] as const) {
    const { code, output } = startBare(env);
    assert.equal(code, 13, output);
    assert.match(output, words);
  }
});

test("L3-09: programs of the same name put before the system's in PATH, shims of npm and corepack too, are not started", async () => {
  const fakes = join(outside.path, 'fakes');
  fs.mkdirSync(fakes);
  for (const name of [
    'dirname',
    'uname',
    'find',
    'env',
    'touch',
    'node',
    'npm',
    'npx',
    'corepack',
    'ps',
    'ss',
    'ip',
    'nft',
    'iptables',
    'systemctl',
    'id',
  ]) {
    fs.writeFileSync(join(fakes, name), `#!/bin/sh\necho "$0" >> ${marker}\n`, { mode: 0o755 });
  }
  const { code, output } = await start({ PATH: `${fakes}:${process.env['PATH'] ?? ''}` });
  assert.equal(code, 14, output);
  assert.equal(spawnSync('uname', { env: { PATH: `${fakes}:/usr/bin:/bin` } }).status, 0);
  assert.ok(fs.existsSync(marker), 'the attack is real: who looks in that PATH starts them');
  fs.rmSync(marker);
});

test('L3-08: a .env, a .noderc, a node.config.json and an .npmrc beside it start nothing', async () => {
  fs.writeFileSync(join(outside.path, 'evil.cjs'), cjs);
  const files: Record<string, string> = {
    '.env': `NODE_OPTIONS=--require ${join(outside.path, 'evil.cjs')}\n`,
    '.noderc': `--require ${join(outside.path, 'evil.cjs')}\n`,
    'node.config.json': JSON.stringify({ nodeOptions: { import: [join(outside.path, 'evil.cjs')] } }),
    '.npmrc': `ignore-scripts=false\nnode-options=--require ${join(outside.path, 'evil.cjs')}\n`,
  };
  const before = fs.readFileSync(at('.npmrc'));
  for (const [name, text] of Object.entries(files)) fs.writeFileSync(at(name), text);
  const { code, output } = await start();
  for (const name of Object.keys(files)) fs.rmSync(at(name));
  fs.writeFileSync(at('.npmrc'), before);
  assert.equal(code, 14, output);
});

test('L3-08: a poisoned compile cache: it does run where it is read, and the start does not read it', async () => {
  const entry = at('dist/supervisor/main.js');
  const good = fs.readFileSync(entry);
  const { atime, mtime } = fs.statSync(entry);
  const cache = join(outside.path, 'cache');
  const evil = Buffer.alloc(good.length, ' ');
  evil.write(`${esm}process.exit(0);`);
  // Cache made from the payload, then given the checksum of the sound source.
  fs.writeFileSync(entry, evil);
  spawnSync(node, [entry], { env: { NODE_COMPILE_CACHE: cache }, timeout: 20_000 });
  fs.rmSync(marker, { force: true });
  fs.writeFileSync(entry, good);
  fs.utimesSync(entry, atime, mtime);
  const patched = fs
    .readdirSync(cache, { recursive: true, encoding: 'utf8' })
    .map((name) => join(cache, name))
    .filter((path) => fs.statSync(path).isFile());
  assert.ok(patched.length > 0, 'the cache was written');
  for (const path of patched) {
    const bytes = fs.readFileSync(path);
    if (bytes.readUInt32LE(12) !== crc32(evil)) continue;
    bytes.writeUInt32LE(crc32(good), 12);
    fs.writeFileSync(path, bytes);
  }
  spawnSync(node, [entry], { env: { NODE_COMPILE_CACHE: cache }, timeout: 20_000 });
  assert.ok(fs.existsSync(marker), 'the attack is real: with the cache, sound bytes on the disk run as others');
  fs.rmSync(marker);
  const { code, output } = await start({ NODE_COMPILE_CACHE: cache });
  assert.equal(code, 14, output);
});

test('L3-12: a digest that lies: code that runs later cannot replace what compares', () => {
  const forge = `
    const crypto = await import('node:crypto');
    const { createRequire, syncBuiltinESMExports } = await import('node:module');
    const real = createRequire('/')('node:crypto');
    const good = crypto.hash('sha256', fs.readFileSync(${JSON.stringify(at(module))}));
    real.hash = () => good;
    syncBuiltinESMExports();
    fs.writeFileSync(${JSON.stringify(at(module))}, ${JSON.stringify(esm)} + fs.readFileSync(${JSON.stringify(at(module))}, 'utf8'));
    if (crypto.hash('sha256', 'x') !== good) throw new Error('the forgery is not in place');
    await import('koffi');`;
  const undo = rewrite(module, (bytes) => bytes);
  const { code, output } = copy.start({ between: forge });
  undo();
  assert.equal(code, 13, output);
  assert.ok(output.includes(`changed: ${module}`), output);
  assert.ok(!fs.existsSync(marker), 'the payload ran');
});

test('L3-12: a hash that lies from before the start: the launcher lets no such code run, and past it the flag that brings it refuses', async () => {
  const forge = join(outside.path, 'forge.mjs');
  const good = hash('sha256', fs.readFileSync(at(module)));
  const undo = rewrite(module, (bytes) => Buffer.concat([Buffer.from(esm), bytes]));
  // It answers truly but for the one file.
  fs.writeFileSync(
    forge,
    `import { createRequire, syncBuiltinESMExports } from 'node:module';
    const crypto = createRequire('/')('node:crypto');
    const real = crypto.hash;
    crypto.hash = (...words) => real(...words).replace('${hash('sha256', fs.readFileSync(at(module)))}', '${good}');
    syncBuiltinESMExports();
    process.stderr.write('the forger ran\\n');`,
  );
  try {
    const launched = await start({ NODE_OPTIONS: `--import ${forge}` });
    assert.equal(launched.code, 13, launched.output);
    assert.ok(launched.output.includes(`changed: ${module}`), launched.output);
    assert.doesNotMatch(launched.output, /the forger ran/);
    for (const [env, flags, words] of [
      [{ NODE_OPTIONS: `--import ${forge}` }, [], /variable NODE_OPTIONS/],
      [{}, [`--import=${forge}`], /flag --import/],
    ] as const) {
      const { code, output } = startBare(env, flags);
      assert.match(output, /the forger ran/, 'the attack is real');
      assert.equal(code, 13, output);
      assert.match(output, words);
      assert.ok(!fs.existsSync(marker), 'the payload ran');
    }
  } finally {
    undo();
  }
});

test('L3-16: modules of a folder above, of the home, of the prefix and of package.json#imports are not loaded', () => {
  const name = `kwyre-evil-${process.pid}`;
  const manifest = fs.readFileSync(at('package.json'), 'utf8');
  const prefix = join(dirname(dirname(node)), 'lib', 'node');
  const require = `(await import('node:module')).createRequire(import.meta.url)('${name}');`;
  // What lies in the tree is put there after the verification, which would name it by itself.
  for (const [folder, between, words] of [
    [join(copy.path, '..', 'node_modules'), require, /outside the installation/],
    [join(outside.path, '.node_modules'), require, /outside the installation/],
    [join(outside.path, '.node_libraries'), require, /outside the installation/],
    [prefix, require, new RegExp(`not in the manifest: node_modules/node-linux-${process.arch}/lib/node/${name}`)],
    [at('elsewhere'), "await import('#evil');", new RegExp(`not in the manifest: elsewhere/${name}/index.js`)],
  ] as const) {
    fs.writeFileSync(
      at('package.json'),
      JSON.stringify({ ...(JSON.parse(manifest) as object), imports: { '#evil': `./elsewhere/${name}/index.js` } }),
    );
    const had = fs.existsSync(folder);
    const file = join(folder, name, 'index.js');
    const put = `fs.mkdirSync('${dirname(file)}', { recursive: true }); fs.writeFileSync('${file}', ${JSON.stringify(cjs)});`;
    const { code, output } = copy.start({ env: { HOME: outside.path }, between: `${put} ${between}` });
    fs.rmSync(had ? dirname(file) : folder, { recursive: true });
    fs.writeFileSync(at('package.json'), manifest);
    assert.equal(code, 13, `${folder}\n${output}`);
    assert.match(output, words);
    assert.ok(!fs.existsSync(marker), 'the payload ran');
  }
});

test('and it starts again once everything is back', async () => {
  const { code, output } = await start();
  assert.equal(code, 14, output);
});
