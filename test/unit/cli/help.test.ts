/**
 * Every flag that a command takes is in its help, and the help names no other.
 * @module
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { kwyre } from '../../support/approved.ts';
import { root } from '../../support/server.ts';

for (const [name, file] of [
  ['model', 'model/model-flags.ts'],
  ['deps', 'deps/deps-flags.ts'],
] as const) {
  test(`./kwyre help ${name} shows all of its flags and no other`, () => {
    const { code, output } = kwyre(['help', name]);
    assert.equal(code, 0);
    assert.equal(kwyre([name, '--help']).output, output);
    const list = /options(?:: | = )\{\s+([^}]*)\s+\}/.exec(readFileSync(join(root, 'src/cli', file), 'utf8'))![1]!;
    const taken = [...list.matchAll(/'?([\w-]+)'?: (?:text|flag)/g)].map(([, flag]) => `--${flag}`).sort();
    const shown = [...new Set([...output.matchAll(/--[a-z][a-z-]*/g)].map(([flag]) => flag))]
      .filter((flag) => flag !== '--check')
      .sort();
    assert.deepEqual(shown, taken);
  });
}

test('./kwyre help of any command, and of none', () => {
  assert.match(kwyre(['help', 'serve']).output, /^\.\/kwyre serve \[--port 8000\]/);
  assert.match(kwyre(['help']).output, /Exit codes:/);
  assert.equal(kwyre(['help', 'nothing']).code, 2);
});
