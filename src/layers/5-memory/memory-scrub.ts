/**
 * The working set of an engine, from the supervisor's side: it is made here, and overwritten here after the engine has
 * ended in whatever way.
 *
 * Promise: every page with content is overwritten with random bytes and read back. The content is never read. The
 *          engine cannot change the size of the memory.
 * Limits:  if the supervisor itself is killed, nothing overwrites it: the kernel frees the pages.
 * Proof:   test/attacks/5-remains.test.ts
 * @module
 */
import { randomFillSync } from 'node:crypto';
import { readSync, writeSync } from 'node:fs';
import { unpooledBytes } from '../../base/bytes.ts';
import { KwyreError } from '../../base/errors.ts';
import { contentOf, makeFixedMemory } from '../../linux/memory/memfd.ts';
import { wholePages } from '../../linux/memory/mapped-memory.ts';

const blockBytes = 1 << 20;

/**
 * Makes the memory of one working set, twice the size of the machine's memory: only pages that are used take any.
 * @returns its descriptor. @throws LinuxError
 */
export function makeWorkingMemory(machineBytes: number): number {
  return makeFixedMemory('kwyre-working-set', wholePages(2 * machineBytes));
}

/** Returns how many bytes of it have content. @throws LinuxError */
export function contentBytes(fd: number): number {
  let sum = 0;
  for (const content of contentOf(fd)) sum += content.bytes;
  return sum;
}

/** Overwrites one block and reads it back. Returns what went wrong, or an empty string. */
function overwriteBlock(fd: number, at: number, random: Buffer, seen: Buffer): string {
  try {
    const written = writeSync(fd, random, 0, random.length, at);
    const read = readSync(fd, seen, 0, seen.length, at);
    return written === random.length && read === seen.length && seen.equals(random) ? '' : 'it reads back differently';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'error';
  }
}

/** Overwrites all content and verifies it; returns how many bytes that was. @throws `L5_NOT_OVERWRITTEN` */
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
            'log), EFBIG a limit on file sizes that was set on the running server',
        );
      sum += length;
    }
  }
  return sum;
}
