/**
 * Folders with those above them, made one by one.
 *
 * Node's own recursive `mkdirSync` never returns where a file system answers ENOENT for a folder whose parent is there,
 * as /proc does.
 * @module
 */
import { mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/** Makes a folder of an absolute path, and those above it that are not there. @throws the error of the kernel */
export function makeFolders(path: string, mode: number): void {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true) return;
  const above = dirname(path);
  if (above !== path) makeFolders(above, mode);
  try {
    mkdirSync(path, { mode });
  } catch (error) {
    // Somebody else made it meanwhile.
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) throw error;
  }
}
