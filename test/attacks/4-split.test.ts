/**
 * Layer 4: a model in several files is one model: every part verified, every part sealed, none missing, added or
 * exchanged.
 * @module
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { approve, kwyre, makeState } from '../support/approved.ts';
import { partNames, tinyShape, writeSplit } from '../support/gguf.ts';
import type { Server } from '../support/server.ts';
import { call, launch, startServer } from '../support/server.ts';
import { makeTree } from '../support/trees.ts';

const names = partNames('tiny', 3);

/** A model in one file, and the same in three. */
function makeModels(): { folder: ReturnType<typeof makeTree>; whole: string; parts: string[] } {
  const folder = makeTree({ 'parts/.keep': '' });
  const whole = join(folder.path, 'whole.gguf');
  const parts = names.map((name) => join(folder.path, 'parts', name));
  writeSplit(whole, parts, tinyShape);
  fs.rmSync(join(folder.path, 'parts', '.keep'));
  return { folder, whole, parts };
}

async function answer(server: Server): Promise<string> {
  const response = await call(server, '/v1/chat/completions', {
    messages: [{ role: 'user', content: 'same' }],
    model: 'default',
    seed: 7,
    temperature: 1,
    max_tokens: 24,
  });
  assert.equal(response.status, 200);
  return ((await response.json()) as { choices: { message: { content: string } }[] }).choices[0]!.message.content;
}

async function refused(state: string): Promise<string> {
  const started = launch({ state, args: ['--model', 'split'] });
  const timer = setTimeout(() => started.process.kill('SIGTERM'), 20_000);
  const { code } = await started.ended;
  clearTimeout(timer);
  assert.equal(code, 14, started.output());
  return started.output();
}

for (const weights of ['memfd', 'file'] as const) {
  test(`a model in three files answers as the same model in one, ${weights}`, async (t) => {
    using state = makeState();
    const { folder, whole, parts } = makeModels();
    t.after(() => {
      folder[Symbol.dispose]();
    });
    approve(state.path, whole, 'whole');
    approve(state.path, parts[0]!, 'split');
    const answers: string[] = [];
    for (const model of ['whole', 'split']) {
      const server = await startServer({ state: state.path, args: ['--model', model, '--weights', weights] });
      try {
        answers.push(await answer(server));
        const { layers } = (await (await call(server, '/kwyre/status')).json()) as {
          layers: { checks: { id: string; evidence: string }[] }[];
        };
        const { evidence } = layers[3]!.checks.find(({ id }) => id === 'digests')!;
        assert.match(evidence, model === 'split' ? /: 3 files,/ : /: 1 file,/);
        if (model === 'split' && weights === 'memfd') {
          // The engine has the sealed parts, and no file of them is needed any more.
          for (const part of parts) fs.renameSync(part, `${part}.gone`);
          assert.equal(await answer(server), answers[1]);
          for (const part of parts) fs.renameSync(`${part}.gone`, part);
        }
      } finally {
        assert.equal((await server.stop()).code, 0, server.output());
      }
    }
    assert.equal(answers[0], answers[1]);
    assert.notEqual(answers[0], '');
  });
}

for (const [index, name] of names.entries()) {
  test(`L4-01, L4-04: one bit of part ${index + 1}: refused, the part and both digests named; without it too`, async (t) => {
    using state = makeState();
    const { folder, parts } = makeModels();
    t.after(() => {
      folder[Symbol.dispose]();
    });
    approve(state.path, parts[0]!, 'split');
    const path = parts[index]!;
    const bytes = fs.readFileSync(path);
    bytes[bytes.length - 64]! ^= 1;
    fs.writeFileSync(path, bytes);
    const output = await refused(state.path);
    assert.ok(output.includes(name), output);
    assert.equal(output.match(/[0-9a-f]{64}/g)?.length, 2, output);
    fs.rmSync(path);
    assert.match(await refused(state.path), new RegExp(name));
  });
}

test('L4-04: parts that are exchanged, of another count or missing are not approved', (t) => {
  using state = makeState();
  const { folder, parts } = makeModels();
  t.after(() => {
    folder[Symbol.dispose]();
  });
  const add = (): { code: number | null; output: string } =>
    kwyre(['model', 'add', parts[0]!, '--name', 'split', '--yes', '--state', state.path]);
  const [first, second, third] = parts.map((part) => fs.readFileSync(part)) as [Buffer, Buffer, Buffer];
  const put = (...contents: Buffer[]): void => {
    contents.forEach((bytes, index) => {
      fs.writeFileSync(parts[index]!, bytes);
    });
  };
  put(first, third, second);
  assert.match(add().output, /the file that should be part 2 of 3 is a different part/);
  put(first, second, second);
  assert.equal(add().code, 14);
  put(second, second, third);
  assert.equal(add().code, 14);
  put(first, second, third);
  fs.rmSync(parts[1]!);
  assert.match(add().output, /00002-of-00003\.gguf of the model is missing/);
  put(first, second, third);
  fs.copyFileSync(parts[0]!, join(folder.path, 'alone.gguf'));
  assert.match(
    kwyre(['model', 'add', join(folder.path, 'alone.gguf'), '--yes', '--state', state.path]).output,
    /is one of 3 parts of a model/,
  );
  assert.equal(add().code, 0);
  const { code, output } = kwyre([
    'model',
    'add',
    parts[1]!,
    '--name',
    'other',
    '--yes',
    '--json',
    '--state',
    state.path,
  ]);
  assert.equal(code, 0, output);
  assert.match(output, /"files":3,/, 'by any of its parts it is the whole model');
});
