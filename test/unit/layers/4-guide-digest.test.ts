/**
 * The embedded model and its constant agree, and no private key lies in the repository.
 * @module
 */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { guideFile } from '../../../src/layers/4-model/guide-digest.ts';

const root = join(import.meta.dirname, '..', '..', '..');

test('C14: the digest of the embedded model is the constant in the source', () => {
  const path = join(root, 'models', 'guide', guideFile.name);
  const found = existsSync(path) ? readFileSync(path) : undefined;
  assert.deepEqual(
    [guideFile.bytes, guideFile.sha256],
    found === undefined ? [0, ''] : [found.length, hash('sha256', found, 'hex')],
    'run npm run guide:digest',
  );
});

test('no private key is in the repository', () => {
  const begin = ['-----BEGIN', '(EC |RSA |ENCRYPTED |OPENSSH )?PRIVATE KEY-----'].join(' ');
  const visit = (folder: string): void => {
    for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
      const name = join(folder, entry.name);
      if (['node_modules', '.git', 'dist'].includes(entry.name)) continue;
      if (entry.isDirectory()) visit(name);
      else if (entry.isFile() && statSync(join(root, name)).size < 4 << 20)
        assert.doesNotMatch(readFileSync(join(root, name), 'latin1'), new RegExp(begin), name);
    }
  };
  visit('.');
});
