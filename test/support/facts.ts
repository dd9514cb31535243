/**
 * What the header of a model file on disk says.
 * @module
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import type { GgufFacts } from '../../src/layers/4-model/gguf-header.ts';
import { parseGguf } from '../../src/layers/4-model/gguf-header.ts';

/** The facts of a model, and the bytes of its file. */
export function factsOf(path: string): GgufFacts & { readonly bytes: number } {
  const fd = openSync(path, 'r');
  try {
    const { size } = fstatSync(fd);
    const facts = parseGguf((offset, length) => {
      const bytes = Buffer.alloc(length);
      return bytes.subarray(0, readSync(fd, bytes, 0, length, offset));
    }, size);
    return { ...facts, bytes: size };
  } finally {
    closeSync(fd);
  }
}
