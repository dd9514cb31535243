/**
 * A sealed installation at its real start: own code, page, manifest, trust and sequence, attacked; exit 13 each time.
 * @module
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { hash } from 'node:crypto';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { makeState } from '../support/approved.ts';
import { copyInstallation } from '../support/copy.ts';
import { call, launch, startServer } from '../support/server.ts';
import { makeTree } from '../support/trees.ts';

const copy = copyInstallation(true);
const operator = makeState();
const stranger = makeState();
after(() => {
  for (const made of [copy, operator, stranger]) made[Symbol.dispose]();
});
const at = (name: string) => join(copy.path, name);
fs.writeFileSync(join(operator.path, 'passphrase'), 'correct horse battery staple\n', { mode: 0o600 });
fs.writeFileSync(join(stranger.path, 'passphrase'), 'another one altogether here\n', { mode: 0o600 });

function deps(args: readonly string[], state = operator.path): { code: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(at('kwyre'), ['deps', ...args, '--state', state], {
    cwd: '/',
    env: { PATH: process.env['PATH'], HOME: '/' },
    encoding: 'utf8',
    timeout: 120_000,
  });
  return { code: status, output: `${stdout}${stderr}` };
}

function seal(reason: string, state = operator.path): void {
  const { code, output } = deps(
    ['seal', '--reason', reason, '--yes', '--passphrase-file', join(state, 'passphrase')],
    state,
  );
  assert.equal(code, 0, output);
}

/** Changes something, starts, takes it back: refused with 13 and these words. */
async function refuses(words: RegExp, change: () => () => void): Promise<void> {
  const undo = change();
  try {
    const started = launch({ repository: copy.path });
    const timer = setTimeout(() => started.process.kill('SIGTERM'), 20_000);
    const { code } = await started.ended;
    clearTimeout(timer);
    assert.equal(code, 13, started.output());
    assert.match(started.output(), words);
    assert.match(started.output(), /next: /);
  } finally {
    undo();
  }
}

function rewrite(name: string, edit: (text: string) => string): () => () => void {
  return () => {
    const before = fs.readFileSync(at(name));
    const { atime, mtime } = fs.statSync(at(name));
    fs.writeFileSync(at(name), edit(before.toString('latin1')), 'latin1');
    // The launcher strips anew what is newer than its copy: an attacker would not tell it.
    fs.utimesSync(at(name), atime, mtime);
    return () => {
      fs.writeFileSync(at(name), before);
      fs.utimesSync(at(name), atime, mtime);
    };
  };
}

function remove(name: string): () => () => void {
  return () => {
    fs.renameSync(at(name), join(operator.path, 'kept'));
    return () => {
      fs.renameSync(join(operator.path, 'kept'), at(name));
    };
  };
}

test('L3-15: sealing starts from what was published: an infected tree is not sealed', () => {
  const undo = rewrite('node_modules/koffi/index.js', (text) => `${text}\n// evil`)();
  const { code, output } = deps([
    'seal',
    '--reason',
    'infected',
    '--yes',
    '--passphrase-file',
    join(operator.path, 'passphrase'),
  ]);
  undo();
  assert.equal(code, 13, output);
  assert.match(output, /changed: node_modules\/koffi\/index\.js/);
  assert.ok(!fs.existsSync(at('seal')));
  fs.mkdirSync(at('node_modules/left-pad'));
  fs.writeFileSync(at('node_modules/left-pad/index.js'), '');
  const added = deps(['seal', '--reason', 'added', '--yes', '--passphrase-file', join(operator.path, 'passphrase')]);
  fs.rmSync(at('node_modules/left-pad'), { recursive: true });
  assert.equal(added.code, 13, added.output);
});

test('L4-02: the guide and its digest in the program replaced together, where nothing is sealed: served, and not called enforced', async () => {
  const guide = 'models/guide/guide.gguf';
  const before = fs.readFileSync(at(guide));
  const other = Buffer.from(before);
  other.writeUInt8(other.readUInt8(other.length - 1) ^ 1, other.length - 1);
  const digest = (bytes: Buffer) => hash('sha256', bytes, 'hex');
  const undo = rewrite('dist/layers/4-model/guide-digest.js', (text) => text.replace(digest(before), digest(other)))();
  fs.writeFileSync(at(guide), other);
  try {
    const server = await startServer({ repository: copy.path });
    const status = (await (await call(server, '/kwyre/status')).json()) as {
      layers: { layer: number; status: string; checks: { id: string; status: string; evidence: string }[] }[];
    };
    const layer = status.layers.find((each) => each.layer === 4)!;
    assert.equal(layer.status, 'degraded');
    assert.match(layer.checks.find(({ id }) => id === 'program')!.evidence, /could be replaced: it is not signed/);
    assert.equal((await server.stop()).code, 0);
  } finally {
    fs.writeFileSync(at(guide), before);
    undo();
  }
});

test('a sealed copy serves, and says who sealed it', async () => {
  seal('first');
  const server = await startServer({ repository: copy.path });
  const status = (await (await call(server, '/kwyre/status')).json()) as {
    layers: { layer: number; checks: { id: string; status: string; evidence: string }[] }[];
  };
  const checks = status.layers.find((layer) => layer.layer === 3)!.checks;
  assert.match(checks.find((check) => check.id === 'sealed-tree')!.evidence, /[0-9a-f]{16}/);
  assert.ok(!checks.some((check) => check.id === 'own-code'));
  assert.equal((await server.stop()).code, 0);
});

test('L3-12: a module of a sealed server is changed while it serves: the next engine refuses it by name, and nothing of it ran', async () => {
  const marker = join(operator.path, 'MARKER');
  const name = 'dist/engine/session/turn.js';
  const server = await startServer({ repository: copy.path });
  const undo = rewrite(
    name,
    (text) => `process.getBuiltinModule('node:fs').writeFileSync(${JSON.stringify(marker)}, 'ran');\n${text}`,
  )();
  try {
    process.kill(server.pids()['engine']!, 'SIGKILL');
    assert.equal((await server.ended).code, 13, server.output());
    assert.ok(server.output().includes(`changed: ${name}`), server.output());
    assert.ok(!fs.existsSync(marker), 'the payload ran');
  } finally {
    undo();
    server.kill();
  }
});

test('L3-07, L3-04: our own code, the page, the policy and the launcher are sealed', async () => {
  for (const name of [
    'dist/engine/main.js',
    'dist/policy/forbidden-calls.js',
    'dist/layers/3-dependencies/tree-verifier.js',
    'page/app.js',
    'kwyre',
    'package.json',
  ]) {
    await refuses(
      new RegExp(`changed: ${name.replace(/[.]/g, '\\.')}`),
      rewrite(name, (text) => `${text}\n`),
    );
  }
  await refuses(/missing: page\/style\.css/, remove('page/style.css'));
  await refuses(/not in the manifest: dist\/engine\/extra\.js/, () => {
    fs.writeFileSync(at('dist/engine/extra.js'), '');
    return () => {
      fs.rmSync(at('dist/engine/extra.js'));
    };
  });
});

test('L3-14: a seal that is missing, empty or cut off refuses', async () => {
  for (const name of ['seal/tree.sig', 'seal/runtime.sig', 'seal/trust.json']) {
    await refuses(/./, remove(name));
    await refuses(
      /./,
      rewrite(name, () => ''),
    );
    await refuses(
      /./,
      rewrite(name, (text) => text.slice(0, -20)),
    );
  }
});

test('L3-14: the whole folder seal/ removed: refused by whoever saw the seal; a state folder that never saw it cannot tell', async () => {
  using state = makeState();
  const server = await startServer({ repository: copy.path, state: state.path });
  assert.equal((await server.stop()).code, 0);
  const undo = remove('seal')();
  const start = async (where: string) => {
    const started = launch({ repository: copy.path, state: where });
    const timer = setTimeout(() => started.process.kill('SIGTERM'), 8000);
    const { code } = await started.ended;
    clearTimeout(timer);
    return { code, output: started.output() };
  };
  try {
    // The operator's folder remembers it from sealing, the server's from its start.
    for (const where of [operator.path, state.path]) {
      const { code, output } = await start(where);
      assert.equal(code, 13, output);
      assert.match(output, /was signed as number 1, but its signature is missing/);
      assert.match(output, /next: restore seal\/; .*deps seal --reason/);
    }
    assert.equal(deps(['verify']).code, 13);
    const page = rewrite('page/app.js', (text) => `${text}\n// evil`)();
    assert.equal((await start(state.path)).code, 13, 'with other files of ours too');
    page();
    using fresh = makeState();
    assert.equal(
      (await start(fresh.path)).code,
      0,
      'the limit: nothing outside the tree remembers, so it serves as unsealed',
    );
  } finally {
    undo();
  }
  const back = await startServer({ repository: copy.path, state: state.path });
  assert.equal((await back.stop()).code, 0);
});

test("L3-06: files and manifest changed together: another key, or the old manifest, is not the operator's word", async () => {
  const files = ['tree.sig', 'runtime.sig', 'trust.json'];
  const good = new Map(files.map((name) => [name, fs.readFileSync(at(`seal/${name}`))]));
  const undo = rewrite('page/app.js', (text) => `${text}\n// evil`)();
  seal('a stranger', stranger.path);
  const foreign = new Map(files.map((name) => [name, fs.readFileSync(at(`seal/${name}`))]));
  for (const name of ['tree.sig', 'runtime.sig']) fs.writeFileSync(at(`seal/${name}`), foreign.get(name)!);
  fs.writeFileSync(at('seal/trust.json'), good.get('trust.json')!);
  await refuses(/./, () => () => undefined);
  undo();
  for (const name of files) fs.writeFileSync(at(`seal/${name}`), good.get(name)!);

  // An old seal, put back after a newer one.
  seal('second');
  const newer = fs.readFileSync(at('seal/trust.json'));
  for (const name of ['tree.sig', 'runtime.sig']) fs.writeFileSync(at(`seal/${name}`), good.get(name)!);
  await refuses(/./, () => () => undefined);
  for (const name of files) fs.writeFileSync(at(`seal/${name}`), good.get(name)!);
  fs.writeFileSync(at('seal/trust.json'), newer);
  await refuses(/./, () => () => undefined);

  // The old seal whole, with its trust file and the files as they were: it holds by itself, but not for whoever saw the
  // newer one.
  fs.writeFileSync(at('seal/trust.json'), good.get('trust.json')!);
  const replayed = launch({ repository: copy.path, state: operator.path });
  assert.equal((await replayed.ended).code, 13, replayed.output());
  assert.match(replayed.output(), /the signature was rolled back: it is number 1, and number 2 was seen before/);
});

test("L3-06: who can write the tree alone tampers and seals with a key and a state folder of their own: the owner's folder saw another key", async () => {
  const names = ['tree.sig', 'runtime.sig', 'trust.json'];
  seal("the owner's");
  const good = names.map((name) => [name, fs.readFileSync(at(`seal/${name}`))] as const);
  const undo = rewrite('page/app.js', (text) => `${text}\n// evil`)();
  fs.writeFileSync(join(stranger.path, 'sealed.json'), '{}', { mode: 0o600 });
  seal("the stranger's", stranger.path);
  const started = launch({ repository: copy.path, state: operator.path });
  const timer = setTimeout(() => started.process.kill('SIGTERM'), 20_000);
  const { code } = await started.ended;
  clearTimeout(timer);
  assert.equal(code, 13, started.output());
  assert.match(
    started.output(),
    /the signature is by key [0-9a-f]{16}, but the last one was by key [0-9a-f]{16}\n  next: find out who/,
  );
  const { code: again, output } = deps([
    'seal',
    '--reason',
    'not mine',
    '--passphrase-file',
    join(operator.path, 'passphrase'),
  ]);
  assert.equal(again, 2, output);
  assert.match(
    output,
    /the present signature is by key [0-9a-f]{16}, but the last one that this state folder saw was by [0-9a-f]{16}/,
  );
  undo();
  for (const [name, bytes] of good) fs.writeFileSync(at(`seal/${name}`), bytes);
  assert.equal(deps(['verify']).code, 0, "the owner's own seal holds as before");
  // An older version remembered the number alone: the key is learned from the seal that is there.
  const memory = JSON.parse(fs.readFileSync(join(operator.path, 'sealed.json'), 'utf8')) as Record<
    string,
    { sequence: number }
  >;
  fs.writeFileSync(join(operator.path, 'sealed.json'), JSON.stringify({ [copy.path]: memory[copy.path]!.sequence }));
  const learned = launch({ repository: copy.path, state: operator.path, args: ['--model', 'none'] });
  assert.equal((await learned.ended).code, 14, learned.output());
  assert.deepEqual(JSON.parse(fs.readFileSync(join(operator.path, 'sealed.json'), 'utf8')), memory);
});

test('L3-15: a program that its sources do not make is not sealed', () => {
  const undo = rewrite('dist/cli/status.js', (text) => `${text}\n// evil`)();
  fs.writeFileSync(at('dist/cli/extra.js'), '');
  const { code, output } = deps([
    'seal',
    '--reason',
    'x',
    '--yes',
    '--passphrase-file',
    join(operator.path, 'passphrase'),
  ]);
  undo();
  fs.rmSync(at('dist/cli/extra.js'));
  assert.equal(code, 13, output);
  assert.match(
    output,
    /changed: dist\/cli\/status\.js \(.*differs from its source.*\)\n.*not in the manifest: dist\/cli\/extra\.js/,
  );
});

test('L3-14: a seal that was removed or damaged is no dead end: sealing again gives a higher number', () => {
  const harms = [
    () => {
      fs.rmSync(at('seal'), { recursive: true });
    },
    ...['tree.sig', 'runtime.sig', 'trust.json'].map((name) => () => {
      fs.writeFileSync(at(`seal/${name}`), '');
    }),
  ];
  for (const [index, harm] of harms.entries()) {
    harm();
    assert.equal(deps(['verify']).code, 13);
    seal('mended');
    assert.equal(deps(['verify']).code, 0);
    assert.match(deps(['verify']).output, new RegExp(`as number ${index + 4} by key`));
  }
});

test('L3-13: no script of a package runs when it is installed', () => {
  using project = makeTree({
    'package.json': JSON.stringify({ name: 'project', version: '1.0.0' }),
    'evil/package.json': JSON.stringify({
      name: 'evil',
      version: '1.0.0',
      scripts: {
        preinstall: 'touch ../MARKER',
        install: 'touch ../MARKER',
        postinstall: 'touch ../MARKER',
        prepare: 'touch ../MARKER',
      },
    }),
  });
  fs.writeFileSync(
    join(project.path, 'hook.cjs'),
    `require('node:fs').writeFileSync(${JSON.stringify(join(project.path, 'MARKER'))}, '');`,
  );
  // Ours forbids scripts; where somebody put another one, the launcher's own flag does.
  const hostile = `ignore-scripts=false\nnode-options=--require ${join(project.path, 'hook.cjs')}\n`;
  for (const [npmrc, flags] of [
    [fs.readFileSync(at('.npmrc'), 'utf8'), []],
    [hostile, ['--ignore-scripts']],
  ] as const) {
    fs.writeFileSync(join(project.path, '.npmrc'), npmrc);
    fs.rmSync(join(project.path, 'node_modules'), { recursive: true, force: true });
    const install = spawnSync('npm', ['install', '--offline', '--install-links', ...flags, './evil'], {
      cwd: project.path,
      encoding: 'utf8',
      env: { PATH: process.env['PATH'], HOME: project.path },
      timeout: 60_000,
    });
    assert.equal(install.status, 0, install.stderr);
    assert.ok(fs.existsSync(join(project.path, 'node_modules/evil/package.json')));
    for (const folder of ['', 'node_modules', 'node_modules/evil'])
      assert.ok(!fs.existsSync(join(project.path, folder, 'MARKER')), folder);
  }
  assert.match(fs.readFileSync(at('kwyre'), 'utf8'), /npm ci --omit=dev --ignore-scripts/);
});

test('L3-17: nothing that a server can be told starts a command', async () => {
  for (const flag of ['--mcp-servers-config', '--plugin', '--exec', '--hook', '--tool', '--config']) {
    const started = launch({ args: [flag, '/tmp/x'] });
    assert.equal((await started.ended).code, 2, flag);
  }
});
