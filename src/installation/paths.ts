/**
 * The folders of this installation, derived from the location of this file: in `src/` (the sources) or `dist/` (the
 * stripped copy that runs).
 * @module
 */
import { extname, join } from 'node:path';

/** The folder of the running program: `src/` or `dist/`. */
export const programFolder = join(import.meta.dirname, '..');
/** The folder of the installation, with the launcher, `src/` and `node_modules/`. */
export const root = join(programFolder, '..');
/** File name extension of the running program: `.ts` or `.js`. */
export const extension = extname(import.meta.filename);
