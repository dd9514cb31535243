/**
 * The supervisor's side of an engine's working set: creates the memory, and overwrites it after the engine has ended,
 * whatever the reason.
 *
 * Promise: every page with content is overwritten with random bytes, which are then read back. The content itself is
 *          never read. The engine cannot change the size of the memory.
 * Limits:  if the supervisor itself is killed, nothing overwrites the memory; the kernel only frees the pages.
 * Proof:   test/attacks/5-remains.test.ts
 * @module
 */
import { readSync, writeSync } from 'node:fs';
import { unpooledBytes } from '../../base/bytes.ts';
import { KwyreError } from '../../base/errors.ts';
import { contentOf, makeFixedMemory } from '../../linux/memory/memfd.ts';
import { wholePages } from '../../linux/memory/mapped-memory.ts';

const { randomFillSync } = process.getBuiltinModule('node:crypto');

const blockBytes = 1 << 20;

/**
 * Creates the memory of one working set, twice the size of the machine's memory; unused pages take up no memory.
 * @returns its descriptor. @throws LinuxError
 */
export function makeWorkingMemory(machineBytes: number): number {
  return makeFixedMemory('kwyre-working-set', wholePages(2 * machineBytes));
}

/** Returns the number of bytes that have content. @throws LinuxError */
export function contentBytes(fd: number): number {
  let sum = 0;
  for (const content of contentOf(fd)) sum += content.bytes;
  return sum;
}

/** Overwrites one block and reads it back. Returns a description of the failure, or an empty string. */
function overwriteBlock(fd: number, at: number, random: Buffer, seen: Buffer): string {
  try {
    const written = writeSync(fd, random, 0, random.length, at);
    const read = readSync(fd, seen, 0, seen.length, at);
    return written === random.length && read === seen.length && seen.equals(random) ? '' : 'it reads back differently';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'error';
  }
}

/** Overwrites all content and verifies that; returns the number of bytes. @throws `L5_NOT_OVERWRITTEN` */
export function overwriteWorkingMemory(fd: number): number {
  const random = randomFillSync(unpooledBytes(blockBytes));
  const seen = unpooledBytes(blockBytes);
  let sum = 0;
  for (const content of contentOf(fd)) {
    for (let done = 0; done < content.bytes; done += blockBytes) {
      const length = Math.min(blockBytes, content.bytes - done);
      const fault = overwriteBlock(fd, content.at + done, random.subarray(0, length), seen.subarray(0, length));
      if (fault !== '')
        throw new KwyreError(
          'L5_NOT_OVERWRITTEN',
          `the working set of an ended engine could not be overwritten (${fault})`,
          'the kernel clears these pages before it reuses them. A difference means faulty memory (see the kernel ' +
            'log); EFBIG means that a limit on file sizes was set on the running server',
        );
      sum += length;
    }
  }
  return sum;
}
