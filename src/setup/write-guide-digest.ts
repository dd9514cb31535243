/**
 * Writes the digest of the embedded guide model into the source: `npm run guide:digest`, after each training run.
 *
 * With `--check`, it only compares the source with the file and exits with code 1 if they differ.
 * @module
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const { createHash } = process.getBuiltinModule('node:crypto');

const root = join(import.meta.dirname, '..', '..');
const source = join(root, 'src', 'layers', '4-model', 'guide-digest.ts');
const model = readFileSync(join(root, 'models', 'guide', 'guide.gguf'));
const line =
  `export const guideFile = { name: 'guide.gguf', bytes: ${model.length}, sha256: ` +
  `'${createHash('sha256').update(model).digest('hex')}' } as const;`;
const text = readFileSync(source, 'utf8');
const pattern = /^export const guideFile = \{.*\} as const;$/m;
if (!pattern.test(text)) throw new Error('the constant is not in src/layers/4-model/guide-digest.ts');
if (process.argv.includes('--check')) {
  if (!text.includes(line)) {
    console.error(
      'models/guide/guide.gguf and its digest in src/layers/4-model/guide-digest.ts differ; run npm run guide:digest',
    );
    process.exitCode = 1;
  }
} else {
  writeFileSync(source, text.replace(pattern, line));
  console.log(line);
}
