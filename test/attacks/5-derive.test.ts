/**
 * Layer 5: a key is hidden, and so is what it is made from and what it is expanded into. Root reads all plain memory of
 * an engine before a conversation and after it, idle and sealed, and tries every piece of it as the key and as the
 * state of a generator of keys; and looks for everything that ciphers and hashes make of the true keys, which a copy of
 * the engine leaves open to the test. Needs root: reads the memory of a process that is not dumpable.
 * @module
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createCipheriv, createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { scanProcess } from '../../src/cli/prove/memory-scanner.ts';
import { engineRoutes } from '../../src/wire/messages.ts';
import { Aes256 } from '../support/aes.ts';
import { deriveKeys, knownWords, lookAt } from '../support/derive.ts';
import type { EngineProcess } from '../support/engine.ts';
import { served } from '../support/engine.ts';
import { tinyShape, writeModel } from '../support/gguf.ts';
import { copyWithOpenKeys, expansionsOf, Keys } from '../support/keys.ts';
import { canaryOf } from '../support/mixed.ts';
import { scratch } from '../support/native.ts';
import { afterBlock, firstState } from '../support/sha256.ts';

const folder = scratch();
chmodSync(folder, 0o755); // the engine is another user
const model = join(folder, 'tiny.gguf');
writeModel(model, tinyShape);
const principal = Buffer.alloc(16, 1);

/** A turn of a conversation, and the moment at which it is idle and sealed. */
async function turn(engine: EngineProcess, words: string, session: string): Promise<void> {
  const list = async () =>
    (
      JSON.parse((await engine.ask({ route: engineRoutes.sessionsList, principal }).answer).text) as {
        data: { state: string; bytes: number }[];
      }
    ).data;
  assert.equal(
    (
      await engine.ask({
        session,
        principal,
        body: { model: 'test', max_tokens: 2, messages: [{ role: 'user', content: words }] },
      }).answer
    ).status,
    200,
  );
  while (!(await list()).every(({ state, bytes }) => state === 'idle' && (bytes > 0 || session === '')))
    await sleep(10);
}

/** Only words of a first item, sealed as the first part. */
const [role, kind] = [2, 1];

test('the controls: the cipher and the hash are those of node:crypto; a key that is kept is found, and one that was drawn from a generator in plain memory', async (t) => {
  const aes = new Aes256();
  for (let i = 0; i < 100; i += 1) {
    const [key, block] = [randomBytes(32), randomBytes(16)];
    aes.key(Int32Array.from({ length: 8 }, (_, n) => key.readInt32BE(4 * n)));
    const out = Buffer.alloc(16);
    aes
      .encrypt(block.readInt32BE(0), block.readInt32BE(4), block.readInt32BE(8), block.readInt32BE(12))
      .forEach((word, n) => out.writeInt32BE(word, 4 * n));
    assert.ok(createCipheriv('aes-256-ecb', key, null).setAutoPadding(false).update(block).equals(out));
  }
  const empty = Buffer.alloc(64);
  empty[0] = 0x80;
  assert.equal(
    [...afterBlock(firstState, empty)].map((word) => (word >>> 0).toString(16).padStart(8, '0')).join(''),
    createHash('sha256').digest('hex'),
  );

  // Another program does as the engine once did. It keeps its key; what it sealed stands at a page's beginning, among
  // other places.
  const program = `const { createCipheriv, randomBytes } = require('node:crypto');
    randomBytes(16);
    process.stdin.once('data', () => {
      const nonce = Buffer.alloc(12); nonce[0] = ${kind}; nonce[8] = ${kind};
      const words = Buffer.alloc(64); words[0] = ${role}; words[4] = 7; words[8] = 1;
      globalThis.key = randomBytes(32);
      const sealed = createCipheriv('aes-256-gcm', globalThis.key, nonce).update(words).subarray(0, 16);
      globalThis.kept = Buffer.from(new ArrayBuffer(1 << 16));
      for (let at = 0; at < globalThis.kept.length; at += 16) globalThis.kept.set(sealed, at);
      console.log('sealed');
    });
    console.log('ready');`;
  const other = spawn(process.execPath, ['-e', program], { stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    await once(other.stdout, 'data');
    const before = lookAt(other.pid!);
    other.stdin.write('go');
    await once(other.stdout, 'data');
    const { found, ms } = deriveKeys(before, lookAt(other.pid!), knownWords(7));
    t.diagnostic(`${found.map(({ from, look }) => `${from} ${look}`).join(', ')} after ${(ms / 1000).toFixed(1)} s`);
    assert.ok(
      found.some(({ from, look }) => from === 'generator' && look === 'before'),
      'before it was drawn',
    );
    assert.ok(
      found.some(({ from, look }) => from === 'memory' && look === 'after'),
      'while it is kept',
    );
    assert.equal(new Set(found.map(({ key }) => key.toString('hex'))).size, 1);
  } finally {
    other.kill('SIGKILL');
  }
});

test('L5-17 neither a key nor anything that a key is made from stands in memory that root can read: two looks, every piece tried', async (t) => {
  const words = `What is layer 5? ${canaryOf()}`;
  await served({ model, config: { continueSeconds: 600 } }, async (engine) => {
    const before = lookAt(engine.pid);
    await turn(engine, words, 'new');
    const after = lookAt(engine.pid);
    const { found, windows, pages, ms } = deriveKeys(before, after, knownWords(words.length));
    t.diagnostic(
      `${((before.bytes + after.bytes) / 1e6).toFixed(0)} MB, ${windows} pieces tried against ${pages} pages in ${(ms / 1000).toFixed(1)} s`,
    );
    assert.deepEqual(
      found.map(({ from, look, address }) => `${from} ${look} at ${address.toString(16)}`),
      [],
    );
  });
});

test('L5-17 L5-13 of the true keys nothing stands in plain memory between turns, expanded or not; when the engine ends by itself they are zeros', async (t) => {
  using copy = copyWithOpenKeys();
  const mapped: Keys[] = [];
  await served({ model, repository: copy.path, config: { continueSeconds: 600 } }, async (engine) => {
    const keys = new Keys(engine.pid);
    mapped.push(keys);
    for (let i = 0; i < 3; i += 1) {
      await turn(engine, `What is layer ${i}? ${canaryOf()}`, 'new');
      await turn(engine, `And layer ${i}? ${canaryOf()}`, ''); // recognised by its fingerprint from then on
    }
    const present = keys.present;
    assert.equal(present.length, 1 + 6, 'the fingerprint key, and one for each conversation');
    const needles = present.flatMap(expansionsOf).map((bytes) => ({ name: 'expanded', bytes }));
    const scan = scanProcess(engine.pid, needles);
    t.diagnostic(
      `${needles.length} pieces of ${present.length} keys looked for in ${(scan.bytes / 1e6).toFixed(0)} MB: ${scan.total} found`,
    );
    assert.deepEqual(
      scan.hits.map(({ region, needle }) => `piece ${needle} in ${region}`),
      [],
    );
    assert.equal(scanProcess(process.pid, needles.slice(0, 40)).found, 40, 'the control: this process holds them all');
  });
  assert.deepEqual(
    mapped.map((keys) => keys.present),
    [[]],
    'overwritten by the engine: nobody else can',
  );
  for (const keys of mapped) keys[Symbol.dispose]();
});
