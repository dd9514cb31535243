/**
 * Which model file a server serves: the embedded guide, or a GGUF file by path. Opened once, handed on as a descriptor.
 * @module
 */
import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { KwyreError } from '../base/errors.ts';

/** An open model file. */
export type OpenModel = { readonly name: string; readonly path: string; readonly fd: number; readonly bytes: number; readonly createdSeconds: number };

/** The name of the model in the repository. */
export const guideName = 'guide';

/**
 * Opens the model that was asked for, read-only.
 * @throws `ENGINE_MODEL_ABSENT`, `ENGINE_MODEL_KIND`
 */
export function openModel(wanted: string | undefined, root: string): OpenModel {
  const path = wanted === undefined || wanted === guideName ? join(root, 'models', 'guide', 'guide.gguf') : resolve(wanted);
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    throw new KwyreError('ENGINE_MODEL_ABSENT', `cannot open the model ${path} (${(error as NodeJS.ErrnoException).code ?? 'error'})`, 'give the path of a GGUF file with --model, or leave it out for the embedded guide');
  }
  const facts = fstatSync(fd);
  if (!facts.isFile()) {
    closeSync(fd);
    throw new KwyreError('ENGINE_MODEL_KIND', `${path} is not a regular file`, 'give the path of a GGUF file with --model');
  }
  const name = basename(path).replace(/\.gguf$/i, '').replace(/[^\x21-\x7e]/g, '_').slice(0, 128);
  return { name, path, fd, bytes: facts.size, createdSeconds: Math.floor(facts.mtimeMs / 1000) };
}
