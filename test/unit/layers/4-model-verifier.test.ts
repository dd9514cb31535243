/**
 * Models on the disk against what was approved: every byte of every file, and nothing more in the folder.
 * @module
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { ApprovedModel } from '../../../src/layers/4-model/model-verifier.ts';
import { verifyModel } from '../../../src/layers/4-model/model-verifier.ts';
import { hashFiles } from '../../../src/oms/signer.ts';
import type { SigningRequest } from '../../../src/oms/signer.ts';
import type { Method } from '../../../src/oms/statement.ts';
import type { DifferenceError } from '../../../src/oms/verification-error.ts';
import { anyRights, fault, makeTree } from '../../support/trees.ts';

const content = {
  'm-00001-of-00002.gguf': Buffer.alloc(3_000_000, 1),
  'm-00002-of-00002.gguf': Buffer.alloc(1000, 2),
  'config.json': '{}',
  'chat_template.jinja': 'x',
  'tokenizer.json': '{}',
  'mmproj.gguf': 'p',
};

function approved(root: string, wholeFolder = true, shardBytes?: number): ApprovedModel {
  const method: Method = shardBytes === undefined ? { kind: 'files' } : { kind: 'shards', shardBytes };
  const order: SigningRequest = {
    disk: fs,
    layer: 4,
    root,
    only: undefined,
    excluded: new Set<string>(),
    rights: anyRights,
    name: 'm',
    method,
  };
  const files = hashFiles(order, fault).map((file) => ({
    name: file.name,
    digest: shardBytes === undefined ? file.digest : undefined,
    shards: file.shards ?? [],
    size: file.size,
    executable: undefined,
    package: undefined,
    role: undefined,
  }));
  return {
    name: 'm',
    root,
    files,
    shardBytes,
    weights: ['m-00001-of-00002.gguf', 'm-00002-of-00002.gguf'],
    wholeFolder,
    excluded: new Set(['model.sig']),
    signer: 'test',
    trust: 'owner',
    remedy: '',
  };
}
const options = (mode: 'memfd' | 'file') => ({ disk: fs, mode, availableBytes: 0, now: Date.now });

async function refused(
  change: (root: string) => void,
  mode: 'memfd' | 'file' = 'memfd',
  shardBytes?: number,
): Promise<string[]> {
  using tree = makeTree(content);
  const model = approved(tree.path, true, shardBytes);
  const before = fs.readdirSync('/proc/self/fd').length;
  change(tree.path);
  try {
    await verifyModel(model, options(mode));
    return [];
  } catch (error) {
    assert.equal(fs.readdirSync('/proc/self/fd').length, before, 'no descriptor is left open');
    return (error as DifferenceError).differences.map((entry) => `${entry.kind} ${entry.name}`).sort();
  }
}

for (const mode of ['memfd', 'file'] as const) {
  test(`${mode}: verified weights come as descriptors, with evidence`, async () => {
    using tree = makeTree(content);
    const model = await verifyModel(approved(tree.path), options(mode));
    assert.equal(model.evidence.files, 6);
    assert.equal(model.evidence.bytes, 3_001_000 + 2 + 1 + 2 + 1);
    assert.deepEqual(
      model.weights.map((entry) => [entry.name, entry.bytes]),
      [
        ['m-00001-of-00002.gguf', 3_000_000],
        ['m-00002-of-00002.gguf', 1000],
      ],
    );
    for (const { fd, bytes } of model.weights) {
      assert.equal(fs.fstatSync(fd).size, bytes);
      fs.closeSync(fd);
    }
  });
  test(`${mode}: L4-01, L4-03, L4-04, L4-05: any byte of any file`, async () => {
    for (const name of Object.keys(content)) {
      const flip = (root: string) => {
        const fd = fs.openSync(join(root, name), 'r+');
        const size = fs.fstatSync(fd).size;
        fs.writeSync(fd, Buffer.from([0x7f]), 0, 1, size - 1);
        fs.closeSync(fd);
      };
      assert.deepEqual(await refused(flip, mode), [`changed ${name}`]);
    }
    assert.deepEqual(
      await refused((r) => fs.writeFileSync(join(r, 'm-00003-of-00003.gguf'), 'x'), mode),
      ['extra m-00003-of-00003.gguf'],
      'an extra shard',
    );
    assert.deepEqual(await refused((r) => fs.rmSync(join(r, 'tokenizer.json')), mode), ['missing tokenizer.json']);
    assert.equal(
      (await refused((r) => fs.truncateSync(join(r, 'm-00001-of-00002.gguf'), 0), mode, 1_000_000)).length,
      1,
    );
  });
}

test('L4-08, L4-24: links, pipes and devices are not models', async () => {
  assert.deepEqual(
    await refused((r) => {
      fs.renameSync(join(r, 'mmproj.gguf'), `${r}.x`);
      fs.symlinkSync(`${r}.x`, join(r, 'mmproj.gguf'));
    }),
    ['kind mmproj.gguf'],
  );
  assert.deepEqual(
    await refused((r) => {
      fs.rmSync(join(r, 'mmproj.gguf'));
      execFileSync('mkfifo', [join(r, 'mmproj.gguf')]);
    }),
    ['kind mmproj.gguf'],
  );
});

test('L4-08, L4-09: what is sealed stays, whatever happens to the file afterwards', async () => {
  using tree = makeTree(content);
  const model = await verifyModel(approved(tree.path, false), options('memfd'));
  const path = join(tree.path, 'm-00001-of-00002.gguf');
  fs.writeFileSync(path, Buffer.alloc(3_000_000, 9));
  fs.renameSync(path, `${path}.old`);
  assert.ok(fs.readFileSync(`/proc/self/fd/${model.weights[0].fd}`).equals(content['m-00001-of-00002.gguf']));
  for (const { fd } of model.weights) fs.closeSync(fd);
});
