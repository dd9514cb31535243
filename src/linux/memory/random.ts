/**
 * Random bytes from the kernel, written by it straight to where they are needed.
 *
 * Promise: no generator's state stands in this process: whoever reads all of its plain memory can neither say what was
 *          drawn nor what comes next. OpenSSL's generator (and with it all of `node:crypto`) keeps its state on the
 *          heap, and glibc's `getrandom()` keeps one in a page of its own from 2.41 on, so this is the system call
 *          itself.
 * Source:  getrandom(2), vgetrandom in Documentation/arch of the kernel; ADR 0021
 * Proof:   test/unit/linux/random.test.ts, test/attacks/5-derive.test.ts
 * @module
 */
import { unpooledBytes } from '../../base/bytes.ts';
import type { Address } from './mapped-memory.ts';
import { addressOf, callByName } from '../syscalls.ts';

/** The kernel writes no more at a time; it may write less when a signal comes. */
const largest = 16 << 20;

/** Writes random bytes to an address. @throws LinuxError */
export function randomMemory(address: Address, bytes: number): void {
  for (let at = 0; at < bytes;) at += callByName('getrandom', address + BigInt(at), Math.min(largest, bytes - at), 0);
}

/** Random bytes in memory of their own. @throws LinuxError */
export function randomOwn(bytes: number): Buffer {
  const random = unpooledBytes(bytes);
  if (bytes > 0) randomMemory(addressOf(random), bytes);
  return random;
}

/** Random hexadecimal digits, an even number of them. @throws LinuxError */
export function randomHex(digits: number): string {
  return randomOwn(digits / 2).toString('hex');
}
