/**
 * Random bytes that the kernel writes directly to their destination.
 *
 * Promise: this process holds no generator state, so its memory reveals neither past nor future random bytes. OpenSSL's
 *          generator, which `node:crypto` uses, keeps its state on the heap. Since glibc 2.41, `getrandom()` keeps
 *          generator state in a separate page, so this file makes the system call itself.
 * Source:  getrandom(2), vgetrandom in the kernel's Documentation/arch; ADR 0021
 * Proof:   test/unit/linux/random.test.ts, test/attacks/5-derive.test.ts
 * @module
 */
import { unpooledBytes } from '../../base/bytes.ts';
import type { Address } from './mapped-memory.ts';
import { addressOf, callByName } from '../syscalls.ts';

/** Maximum number of bytes per call; a signal may make a call return fewer. */
const largest = 16 << 20;

/** Writes random bytes to an address. @throws LinuxError */
export function randomMemory(address: Address, bytes: number): void {
  for (let at = 0; at < bytes;) at += callByName('getrandom', address + BigInt(at), Math.min(largest, bytes - at), 0);
}

/** Returns random bytes in an unpooled buffer. @throws LinuxError */
export function randomOwn(bytes: number): Buffer {
  const random = unpooledBytes(bytes);
  if (bytes > 0) randomMemory(addressOf(random), bytes);
  return random;
}

/** Returns random hexadecimal digits. @param digits - an even number @throws LinuxError */
export function randomHex(digits: number): string {
  return randomOwn(digits / 2).toString('hex');
}
