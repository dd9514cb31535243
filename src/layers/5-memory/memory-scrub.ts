/**
 * What an engine leaves behind in its working set, from the supervisor's side: the memory is made here, and overwritten
 * here when the engine has ended, however it ended.
 *
 * Promise: every page that has content is overwritten with random bytes and read again: neither the old ones nor a
 *          constant. Nothing in it is looked at before. The engine cannot make the memory smaller or larger.
 * Limits:  when the supervisor itself is killed nobody overwrites: the kernel takes the pages back.
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
 * Memory for the working set of one engine, as large as the machine's twice over: only what is touched takes any.
 * @throws LinuxError
 */
export function makeWorkingMemory(machineBytes: number): number {
  return makeFixedMemory('kwyre-working-set', wholePages(2 * machineBytes));
}

/** How much of it has content. @throws LinuxError */
export function contentBytes(fd: number): number {
  let sum = 0;
  for (const content of contentOf(fd)) sum += content.bytes;
  return sum;
}

/** Overwrites one block and reads it again; says what went wrong, nothing when it is as it must be. */
function overwriteBlock(fd: number, at: number, random: Buffer, seen: Buffer): string {
  try {
    const written = writeSync(fd, random, 0, random.length, at);
    const read = readSync(fd, seen, 0, seen.length, at);
    return written === random.length && read === seen.length && seen.equals(random) ? '' : 'it reads as something else';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'error';
  }
}

/** Overwrites all content and looks; gives how many bytes that were. @throws `L5_NOT_OVERWRITTEN` */
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
          `what an ended engine left in memory could not be overwritten (${fault})`,
          'the kernel clears it before anybody else gets it; a difference speaks of faulty memory, which the log of the kernel names, EFBIG of a limit on the size of files that was set on the running server',
        );
      sum += length;
    }
  }
  return sum;
}
