/**
 * Ways to run code that pass the load hook by, tried in a role's own image: its flags, its first code, its list. Each
 * one does run where nothing is shut, and leaves no mark in the role.
 * @module
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { hash } from 'node:crypto';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Script } from 'node:vm';
import { loadListDescriptor } from '../../src/layers/3-dependencies/load-list.ts';
import { sealedBytes } from '../../src/linux/memory/memfd.ts';
import { roleFlags } from '../../src/policy/node-flags.ts';
import { roleEnvironment } from '../../src/policy/roles.ts';
import { root } from '../support/server.ts';
import { makeTree } from '../support/trees.ts';
import { stripped } from '../support/stripped.ts';

const place = makeTree({});
after(() => {
  place[Symbol.dispose]();
});
const at = (name: string) => join(place.path, name);
const marker = at('MARKER');
const mark = `process.getBuiltinModule('node:fs').writeFileSync(${JSON.stringify(marker)}, 'ran');`;

/** Runs a module as the role would be run, where it is listed as if it had been published; or plainly. */
function run(code: string, as: 'role' | 'plain'): { code: number | null; output: string } {
  const target = at('package.mjs');
  fs.writeFileSync(target, code);
  fs.rmSync(marker, { force: true });
  const list = sealedBytes(
    'kwyre-loads',
    Buffer.from(
      JSON.stringify({
        root: place.path,
        signed: true,
        visible: true,
        files: [['package.mjs', hash('sha256', code, 'hex')]],
      }),
    ),
  );
  const gap = Array.from({ length: loadListDescriptor - 3 }, () => 'ignore' as const);
  const words =
    as === 'role'
      ? [...roleFlags, stripped('src/jail/entry.ts'), target]
      : ['--disable-warning=ExperimentalWarning', target];
  const { status, stdout, stderr } = spawnSync(process.execPath, words, {
    env: as === 'role' ? { ...roleEnvironment } : {},
    encoding: 'utf8',
    timeout: 30_000,
    stdio: ['ignore', 'pipe', 'pipe', ...gap, list],
  });
  fs.closeSync(list);
  return { code: status, output: `${stdout}${stderr}` };
}

/** Sound and evil source of one length, and what V8 keeps of the evil one. */
const evil = mark;
const sound = `'${'.'.repeat(evil.length - 3)}';`;
const cached = new Script(evil).createCachedData().toString('base64');
const builtin = (name: string) => `process.getBuiltinModule('node:${name}')`;

const rows: readonly (readonly [id: string, what: string, code: string, words: RegExp])[] = [
  [
    'L3-12',
    'a thread without hooks (execArgv: []), from text',
    `new (${builtin('worker_threads')}.Worker)(${JSON.stringify(mark)}, { eval: true, execArgv: [] });`,
    /worker_threads\.Worker/,
  ],
  [
    'L3-12',
    'a thread without hooks (execArgv: []), from a file',
    `import { Worker } from 'node:worker_threads'; ${builtin('fs')}.writeFileSync(${JSON.stringify(at('thread.mjs'))}, ${JSON.stringify(mark)}); new Worker(${JSON.stringify(at('thread.mjs'))}, { execArgv: [] });`,
    /worker_threads\.Worker/,
  ],
  [
    'L3-12',
    'cached data in place of the source (vm)',
    `import { Script } from 'node:vm'; const script = new Script(${JSON.stringify(sound)}, { cachedData: Buffer.from('${cached}', 'base64') }); script.runInThisContext();`,
    /vm\.Script/,
  ],
  ['L3-12', 'text, by vm', `${builtin('vm')}.runInThisContext(${JSON.stringify(mark)});`, /vm\.runInThisContext/],
  [
    'L3-12',
    'text, by Module.prototype._compile',
    `const Module = ${builtin('module')}; new Module('x')._compile(${JSON.stringify(mark)}, ${JSON.stringify(at('text.cjs'))});`,
    /not in the manifest: text\.cjs/,
  ],
  [
    'L3-12',
    'other text under the name of a verified file, by _compile',
    `const Module = ${builtin('module')}; new Module('x')._compile(${JSON.stringify(mark)}, ${JSON.stringify(at('package.mjs'))});`,
    /changed: package\.mjs/,
  ],
  ['L3-12', 'text, by eval', `(0, eval)(${JSON.stringify(mark)});`, /EvalError/],
  ['L3-12', 'text, by new Function', `new Function(${JSON.stringify(mark)})();`, /EvalError/],
  ['L3-12', 'text, by the constructor of a function', `(() => 0).constructor(${JSON.stringify(mark)})();`, /EvalError/],
  [
    'L3-12',
    'text, by a debugger of its own',
    `const s = new (${builtin('inspector')}.Session)(); s.connect(); s.post('Runtime.evaluate', { expression: ${JSON.stringify(mark)} });`,
    /inspector\.Session/,
  ],
  [
    'L3-12',
    'a file outside the list',
    `import { writeFileSync } from 'node:fs'; writeFileSync(${JSON.stringify(at('stray.mjs'))}, ${JSON.stringify(mark)}); await import(${JSON.stringify(at('stray.mjs'))});`,
    /not in the manifest: stray\.mjs/,
  ],
  [
    'L3-12',
    'hooks that are added later',
    `${builtin('module')}.registerHooks({ resolve: () => ({ url: 'node:x', shortCircuit: true }), load: () => ({ format: 'module', source: ${JSON.stringify(mark)}, shortCircuit: true }) }); await import('anything');`,
    /module\.registerHooks/,
  ],
];

for (const [id, what, code, words] of rows) {
  test(`${id}: in a role: ${what}`, () => {
    const inRole = run(code, 'role');
    assert.ok(!fs.existsSync(marker), 'the payload ran');
    assert.notEqual(inRole.code, 0);
    assert.match(inRole.output, words);
    run(code, 'plain');
    assert.ok(fs.existsSync(marker), 'the attack is real: it runs where nothing is shut');
  });
}

test('L3-10: in a role: an addon that is not of the verified tree is not opened', () => {
  const name = `node_modules/@koromix/koffi-linux-${process.arch}/linux_${process.arch}/koffi.node`;
  fs.copyFileSync(join(root, name), at('foreign.node'));
  const code = `process.dlopen({ exports: {} }, ${JSON.stringify(at('foreign.node'))}); ${mark}`;
  const inRole = run(code, 'role');
  assert.equal(inRole.code, 13, inRole.output);
  assert.match(inRole.output, /not in the manifest: foreign\.node/);
  assert.ok(!fs.existsSync(marker));
  run(code, 'plain');
  assert.ok(fs.existsSync(marker), 'it is opened where nothing is shut');
});

test('L3-08: in a role: the compile cache is not turned on, by call or by variable', () => {
  const code = `${builtin('module')}.enableCompileCache(${JSON.stringify(at('cache'))}); ${mark}`;
  const inRole = run(code, 'role');
  assert.equal(inRole.code, 13, inRole.output);
  assert.match(inRole.output, /module\.enableCompileCache/);
  assert.ok(!fs.existsSync(at('cache')));
  run(code, 'plain');
  assert.ok(fs.existsSync(at('cache')), 'it is turned on where nothing is shut');
  assert.deepEqual(
    Object.keys(roleEnvironment).filter((name) => name.startsWith('NODE_')),
    [],
  );
});
