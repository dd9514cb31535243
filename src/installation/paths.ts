/**
 * Where this installation lies: from `src/` as it is written, or from `dist/` as it runs.
 * @module
 */
import { extname, join } from 'node:path';

/** The folder of the running program: `src/` or `dist/`. */
export const programFolder = join(import.meta.dirname, '..');
/** The installation's own folder, which holds the launcher, `src/` and `node_modules/`. */
export const root = join(programFolder, '..');
/** `.ts` or `.js`: what a file of the running program ends in. */
export const extension = extname(import.meta.filename);
