/**
 * Creates a folder and its missing parents.
 *
 * Node's recursive `mkdirSync` never returns if the file system reports ENOENT for a folder whose parent exists, as
 * /proc does.
 * @module
 */
import { mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/** Creates the folder at an absolute path, and its missing parents. @throws the kernel's error */
export function makeFolders(path: string, mode: number): void {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true) return;
  const above = dirname(path);
  if (above !== path) makeFolders(above, mode);
  try {
    mkdirSync(path, { mode });
  } catch (error) {
    // Another process may have created it in the meantime.
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) throw error;
  }
}
