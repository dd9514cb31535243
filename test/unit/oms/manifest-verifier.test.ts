/**
 * Folders against what was signed: every kind of difference is found and classed, all of them at once.
 * @module
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseBundle } from '../../../src/oms/bundle.ts';
import { Hasher } from '../../../src/oms/tree-reader.ts';
import type { Rights } from '../../../src/oms/tree-reader.ts';
import { hashFiles, signFiles } from '../../../src/oms/signer.ts';
import type { SigningRequest } from '../../../src/oms/signer.ts';
import { verifySignature } from '../../../src/oms/signature.ts';
import { defaultExclusions, parseStatement } from '../../../src/oms/statement.ts';
import type { Method } from '../../../src/oms/statement.ts';
import { compareTree } from '../../../src/oms/manifest-verifier.ts';
import { anyRights, codeOf, fault, makeKey, makeTree, strictRights } from '../../support/trees.ts';

const excluded = new Set<string>([...defaultExclusions, 'model.sig']);
const order = (root: string, method: Method = { kind: 'files' }): SigningRequest => ({
  disk: fs,
  layer: 4,
  root,
  only: undefined,
  excluded,
  rights: anyRights,
  name: 'm',
  method,
});
const content = {
  'weights.gguf': Buffer.alloc(700_000, 7),
  'config.json': '{}',
  empty: '',
  'sub/tokenizer.json': '[1]',
};

/** Signs a tree, changes it, and gives the classes and names that differ. */
function after(change: (root: string) => void, options: { method?: Method; rights?: Rights } = {}): string[] {
  using tree = makeTree(content);
  const { privateKey, publicKey } = makeKey();
  const signing = order(tree.path, options.method);
  const bundle = parseBundle(Buffer.from(signFiles(signing, hashFiles(signing, fault), privateKey, fault)), fault);
  verifySignature(bundle, { keys: [publicKey], roots: [] }, new Date(), fault);
  const statement = parseStatement(bundle.payload, { allowedIgnores: [] }, fault);
  change(tree.path);
  const { differences } = compareTree({
    disk: fs,
    root: tree.path,
    files: statement.files,
    excluded,
    rights: options.rights ?? strictRights,
    shardBytes: statement.method.kind === 'shards' ? statement.method.shardBytes : undefined,
  });
  return differences.map((entry) => `${entry.kind} ${entry.name}`).sort();
}

for (const method of [{ kind: 'files' }, { kind: 'shards', shardBytes: 300_000 }] as Method[]) {
  test(`${method.kind}: an unchanged tree has no difference`, () => {
    assert.deepEqual(
      after(() => undefined, { method }),
      [],
    );
  });
  test(`${method.kind}: every kind of change is found`, () => {
    const flip = (root: string) => {
      const fd = fs.openSync(join(root, 'weights.gguf'), 'r+');
      fs.writeSync(fd, Buffer.from([8]), 0, 1, 650_000);
      fs.closeSync(fd);
    };
    const where = method.kind === 'shards' ? ' (bytes 600000 to 700000)' : '';
    assert.deepEqual(after(flip, { method }), [`changed weights.gguf${where}`], 'L4-01');
    assert.equal(after((r) => fs.truncateSync(join(r, 'weights.gguf'), 699_999), { method }).length, 1);
    assert.equal(after((r) => fs.appendFileSync(join(r, 'weights.gguf'), 'x'), { method }).length, 1);
    assert.equal(after((r) => fs.writeFileSync(join(r, 'empty'), 'x'), { method }).length, 1);
    assert.deepEqual(
      after((r) => fs.writeFileSync(join(r, 'extra'), ''), { method }),
      ['extra extra'],
      'an added empty file',
    );
    assert.deepEqual(
      after((r) => fs.rmSync(join(r, 'empty')), { method }),
      ['missing empty'],
      'a removed empty file',
    );
    assert.deepEqual(
      after(
        (r) => {
          fs.rmSync(join(r, 'config.json'));
          flip(r);
          fs.writeFileSync(join(r, 'sub/new'), '1');
        },
        { method },
      ),
      [`changed weights.gguf${where}`, 'extra sub/new', 'missing config.json'],
      'all at once',
    );
  });
}

test('kinds: links, pipes and swapped folders are refused without being followed', () => {
  using elsewhere = makeTree({ 'config.json': '{}', 'tokenizer.json': '[1]' });
  assert.deepEqual(
    after((r) => {
      fs.rmSync(join(r, 'config.json'));
      fs.symlinkSync(join(elsewhere.path, 'config.json'), join(r, 'config.json'));
    }),
    ['kind config.json'],
  );
  assert.deepEqual(
    after((r) => {
      fs.rmSync(join(r, 'sub'), { recursive: true });
      fs.symlinkSync(elsewhere.path, join(r, 'sub'));
    }),
    ['kind sub', 'missing sub/tokenizer.json'],
  );
  assert.deepEqual(
    after((r) => {
      fs.rmSync(join(r, 'config.json'));
      execFileSync('mkfifo', [join(r, 'config.json')]);
    }),
    ['kind config.json'],
  );
  assert.deepEqual(
    after((r) => {
      fs.rmSync(join(r, 'config.json'));
      fs.linkSync(join(elsewhere.path, 'config.json'), join(r, 'config.json'));
    }),
    ['mode config.json'],
    'hard link',
  );
});

test('names: bytes outside UTF-8, control characters and twins are refused', () => {
  const raw = (root: string, part: number[]) =>
    fs.writeFileSync(Buffer.concat([Buffer.from(`${root}/`), Buffer.from(part)]), '');
  assert.deepEqual(
    after((r) => raw(r, [0x62, 0xff])),
    ['name b\\u{ff}'],
  );
  assert.deepEqual(
    after((r) => raw(r, [0x61, 0x0a])),
    ['name a\\u{a}'],
  );
  assert.deepEqual(after((r) => fs.writeFileSync(join(r, 'CONFIG.json'), '{}')).length, 2, 'extra, and a twin');
});

test('rights: writable by others, setuid and a new executable bit are refused', () => {
  assert.deepEqual(
    after((r) => fs.chmodSync(join(r, 'config.json'), 0o666)),
    ['mode config.json'],
  );
  assert.deepEqual(
    after((r) => fs.chmodSync(join(r, 'config.json'), 0o664)),
    ['mode config.json'],
  );
  assert.deepEqual(
    after((r) => fs.chmodSync(join(r, 'config.json'), 0o4755)),
    ['mode config.json'],
  );
  assert.deepEqual(
    after((r) => fs.chmodSync(join(r, 'sub'), 0o777)),
    ['mode sub'],
  );
  assert.deepEqual(after((r) => fs.chmodSync(r, 0o777)).length, 1);
  if (process.getuid?.() === 0)
    assert.deepEqual(
      after((r) => fs.chownSync(join(r, 'config.json'), 4242, 4242)),
      ['mode config.json'],
      'a foreign owner',
    );
});

test('excluded entries are left out at the top only', () => {
  assert.deepEqual(
    after((r) => {
      fs.mkdirSync(join(r, '.git'));
      fs.writeFileSync(join(r, '.git', 'x'), '');
      fs.writeFileSync(join(r, 'model.sig'), '');
    }),
    [],
  );
  assert.deepEqual(
    after((r) => fs.writeFileSync(join(r, 'sub', '.gitignore'), '')),
    ['extra sub/.gitignore'],
  );
});

test('signing: an empty folder and a link are refused', () => {
  using tree = makeTree({});
  assert.equal(
    codeOf(() => hashFiles(order(tree.path), fault)),
    'L4_TREE_EMPTY',
  );
  fs.symlinkSync('/etc/hostname', join(tree.path, 'x'));
  assert.equal(
    codeOf(() => hashFiles(order(tree.path), fault)),
    'L4_FILES_DIFFER',
  );
  assert.equal(
    codeOf(() => hashFiles({ ...order(tree.path), only: ['x'] }, fault)),
    'L4_FILE_KIND',
  );
});

test('digests equal those of node:crypto for any size and any short reads', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 600_000 }),
      fc.integer({ min: 1, max: 200_000 }),
      fc.integer({ min: 1000, max: 400_000 }),
      (size, most, shardBytes) => {
        const data = Buffer.alloc(size, size % 251);
        const disk = {
          ...fs,
          readSync: (_fd: number, buffer: Buffer, offset: number, length: number, at: number) =>
            data.copy(buffer, offset, at, at + Math.min(length, most)),
        } as unknown as typeof fs;
        const sum = (part: Buffer) => createHash('sha256').update(part).digest('hex');
        const whole = new Hasher(disk).whole(0);
        assert.deepEqual([whole.size, whole.digest], [size, sum(data)]);
        const parts = new Hasher(disk).shards(0, shardBytes);
        assert.equal(parts.size, size);
        assert.deepEqual(
          parts.shards.map((s) => s.digest),
          Array.from({ length: Math.max(1, Math.ceil(size / shardBytes)) }, (_, i) =>
            sum(data.subarray(i * shardBytes, (i + 1) * shardBytes)),
          ),
        );
      },
    ),
    { numRuns: 60 },
  );
});
