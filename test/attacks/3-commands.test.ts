/**
 * Layer 3 in every command: what loads a third-party module verifies the installation first, and what does not loads
 * none.
 * @module
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { kwyre, makeState } from '../support/approved.ts';
import { copyInstallation } from '../support/copy.ts';
import { tinyShape, writeModel } from '../support/gguf.ts';

const copy = copyInstallation(true);
const state = makeState();
after(() => {
  copy[Symbol.dispose]();
  state[Symbol.dispose]();
});
const at = (name: string) => join(copy.path, name);
const marker = at('MARKER');
const model = join(state.path, 'tiny.gguf');
writeModel(model, tinyShape);
const payload = `import { createRequire } from 'node:module'; createRequire('/')('node:fs').writeFileSync(${JSON.stringify(marker)}, 'ran');\n`;
const commonPayload = `require('node:fs').writeFileSync(${JSON.stringify(marker)}, 'ran');\n`;

/** Runs a command of the copy with a file changed; nothing of the change may run. */
function run(args: readonly string[], name: string, head: string): { code: number | null; output: string } {
  const good = fs.readFileSync(at(name));
  fs.writeFileSync(at(name), Buffer.concat([Buffer.from(head), good]));
  try {
    return kwyre(
      [
        ...args,
        ...(args[0] === 'doctor' || args[0] === 'prove' || args[0] === 'isolate'
          ? []
          : ['--state', join(state.path, 'kwyre')]),
      ],
      copy.path,
    );
  } finally {
    fs.writeFileSync(at(name), good);
    assert.ok(!fs.existsSync(marker), `${args.join(' ')} ran what was changed`);
  }
}

const koffi = 'node_modules/koffi/index.js';
const sigstore = 'node_modules/@sigstore/verify/dist/index.js';

for (const args of [
  ['model', 'list'],
  ['model', 'verify'],
  ['model', 'add', model, '--yes'],
  ['model', 'remove', 'tiny'],
  ['prove', '--layer', '2'],
]) {
  test(`kwyre ${args.slice(0, 2).join(' ')}: a changed module is named, and nothing of it runs`, () => {
    const { code, output } = run(args, koffi, payload);
    assert.equal(code, 13, output);
    assert.match(output, /changed: node_modules\/koffi\/index\.js/);
  });
}

test('kwyre doctor says that files differ, asks native code nothing, and runs nothing of it', () => {
  const { code, output } = run(['doctor', '--json'], koffi, payload);
  assert.notEqual(code, 0);
  const { findings } = JSON.parse(output) as { findings: { id: string; status: string; reason: string }[] };
  assert.match(findings.find(({ id }) => id === 'packages')!.reason, /1 files differ/);
  assert.match(findings.find(({ id }) => id === 'landlock')!.reason, /not checked/);
});

test('a model is not approved, with whatever key, where a package beside is changed', () => {
  const { code, output } = run(['model', 'add', model, '--yes'], sigstore, commonPayload);
  assert.equal(code, 13, output);
  assert.match(output, /changed: node_modules\/@sigstore\/verify/);
});

test('the small commands load nothing of others, and so verify nothing', () => {
  for (const args of [
    ['token', 'list'],
    ['status'],
    ['wipe', '--all'],
    ['chat'],
    ['isolate', 'status'],
    ['deps', 'plan', '--format', 'cyclonedx'],
  ]) {
    const { code, output } = run(args, koffi, payload);
    assert.notEqual(code, 13, `${args.join(' ')}: ${output}`);
    assert.doesNotMatch(output, /at file:|node:internal/, args.join(' '));
  }
});

test('and all is well with what was published', () => {
  assert.equal(
    kwyre(['model', 'add', model, '--name', 'tiny', '--yes', '--state', join(state.path, 'kwyre')], copy.path).code,
    0,
  );
  const { code, output } = kwyre(['model', 'verify', '--state', join(state.path, 'kwyre')], copy.path);
  assert.equal(code, 0, output);
});
