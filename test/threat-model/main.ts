/**
 * Writes the tables of `docs/THREAT-MODEL.md`: `npm run threat-model`.
 * @module
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { rewrite } from './tables.ts';
import { testsById } from './titles.ts';

const root = join(import.meta.dirname, '..', '..');
const path = join(root, 'docs', 'THREAT-MODEL.md');
const before = readFileSync(path, 'utf8');
const after = rewrite(before, testsById(root));
if (after !== before) writeFileSync(path, after);
console.log(after === before ? 'docs/THREAT-MODEL.md is up to date' : 'docs/THREAT-MODEL.md: tables written');
