/**
 * Layer 3 at the real start, `./kwyre serve` of a copy of the installation: exit 13, named, and no payload has run.
 * @module
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { copyInstallation } from '../support/copy.ts';
import { launch } from '../support/server.ts';

const copy = copyInstallation();
after(() => copy[Symbol.dispose]());
const at = (name: string) => join(copy.path, name);
const marker = at('MARKER');
const write = `require('node:fs').writeFileSync(${JSON.stringify(marker)}, 'ran');\n`;

async function start(env: Readonly<Record<string, string>> = {}): Promise<{ code: number | null; output: string }> {
  const started = launch({ repository: copy.path, env });
  const { code } = await started.ended;
  assert.ok(!fs.existsSync(marker), 'the payload ran');
  return { code, output: started.output() };
}

test('an untouched copy passes layer 3: it is refused by layer 4 only, for it has no model', async () => {
  const { code, output } = await start();
  assert.equal(code, 14, output);
  assert.match(output, /guide\.gguf/);
});

test('L3-08, L3-09: the launcher clears what would run first', async () => {
  fs.writeFileSync(at('evil.cjs'), write);
  fs.mkdirSync(at('path/koffi'), { recursive: true });
  fs.writeFileSync(at('path/koffi/index.js'), write);
  const { code, output } = await start({
    NODE_OPTIONS: `--require ${at('evil.cjs')}`,
    NODE_PATH: at('path'),
    LD_LIBRARY_PATH: at('path'),
    NODE_COMPILE_CACHE: at('cache'),
    NODE_REPL_EXTERNAL_MODULE: at('evil.cjs'),
  });
  assert.equal(code, 14, output);
  assert.ok(!fs.existsSync(at('cache')));
});

test('L3-04: nobody hands the supervisor a tree as verified', async () => {
  const tree = fs.openSync(at('package.json'), 'r');
  const child = spawn(at('kwyre'), ['serve'], {
    stdio: [...Array<'ignore'>(2).fill('ignore'), 'pipe', ...Array<'ignore'>(97).fill('ignore'), tree],
  });
  fs.closeSync(tree);
  const chunks: Buffer[] = [];
  child.stderr!.on('data', (chunk: Buffer) => chunks.push(chunk));
  const [code] = (await once(child, 'close')) as [number | null];
  assert.equal(code, 13);
  assert.match(Buffer.concat(chunks).toString(), /descriptor 100 is open/);
});

for (const [id, name, content] of [
  [
    'L3-01',
    'node_modules/koffi/index.js',
    `import { createRequire } from 'node:module'; createRequire('/')('node:fs').writeFileSync(${JSON.stringify(marker)}, 'ran');\n`,
  ],
  [
    'L3-02',
    'node_modules/koffi/package.json',
    '{"name":"koffi","version":"3.3.4","type":"module","exports":"./evil.js"}',
  ],
  ['L3-03', 'node_modules/left-pad/index.js', write],
  ['L3-10', 'node_modules/@node-llama-cpp/linux-x64/bins/linux-x64/libggml-base.so', 'not a library'],
  ['L3-10', 'node_modules/@koromix/koffi-linux-x64/linux_x64/koffi.node', 'not a library'],
  ['L3-16', 'dist/node_modules/koffi/index.js', write],
] as const) {
  test(`${id}: ${name}`, async () => {
    const existed = fs.existsSync(at(name));
    if (existed) fs.renameSync(at(name), at('kept'));
    fs.mkdirSync(join(at(name), '..'), { recursive: true });
    fs.writeFileSync(at(name), content, { mode: 0o644 });
    const { code, output } = await start();
    assert.equal(code, 13, output);
    assert.ok(output.includes(name.startsWith('dist/') ? 'dist/node_modules' : name), output);
    fs.rmSync(at(name));
    if (existed) fs.renameSync(at('kept'), at(name));
    else fs.rmSync(join(at(name), '..'), { recursive: true });
    fs.rmSync(at('dist/node_modules'), { recursive: true, force: true });
  });
}

test('and it starts again once everything is back', async () => {
  assert.equal((await start()).code, 14);
});
