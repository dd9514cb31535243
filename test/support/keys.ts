/**
 * The keys of an engine, as only a test can see them: an engine of a copy of the program that leaves its secret
 * memory's descriptor open, so that root takes a duplicate of it and maps the same pages.
 * @module
 */
import { closeSync } from 'node:fs';
import { join } from 'node:path';
import { arenaBytes } from '../../src/layers/5-memory/key-arena.ts';
import { mapSecretMemory, unmapMemory, viewMemory } from '../../src/linux/memory/mapped-memory.ts';
import { callByName } from '../../src/linux/syscalls.ts';
import { descriptors } from '../../src/wire/messages.ts';
import { Aes256 } from './aes.ts';
import type { Copy } from './copy.ts';
import { copyInstallation } from './copy.ts';
import { afterBlock, firstState } from './sha256.ts';
import { editCode } from './find-code.ts';

const keyBytes = 32;

/** A copy whose engine does not close its secret memory. */
export function copyWithOpenKeys(): Copy {
  const copy = copyInstallation();
  const path = join(copy.path, 'src/engine/session/session-memory.ts');
  editCode(path, 'if (fd !== undefined) fs.closeSync(fd);', '');
  return copy;
}

/** The secret memory of such an engine, seen through a mapping of our own: it outlives the engine. */
export class Keys {
  readonly #address: bigint;

  constructor(pid: number) {
    const process = callByName('pidfd_open', pid, 0);
    const fd = callByName('pidfd_getfd', process, descriptors.secret, 0);
    this.#address = mapSecretMemory(fd, arenaBytes);
    for (const one of [fd, process]) closeSync(one);
  }

  /**
   * Keys that are there now, the fingerprint key first. A copy: whoever searches memory searches another process's.
   */
  get present(): Buffer[] {
    const view = viewMemory(this.#address, 64 * keyBytes); // more than a test has conversations
    return Array.from({ length: 64 }, (_, i) => Buffer.from(view.subarray(keyBytes * i, keyBytes * (i + 1)))).filter(
      (key) => key.some((byte) => byte !== 0),
    );
  }

  [Symbol.dispose](): void {
    unmapMemory(this.#address, arenaBytes);
  }
}

const bytesOf = (words: Int32Array): Buffer[] => {
  const [big, little] = [Buffer.alloc(4 * words.length), Buffer.alloc(4 * words.length)];
  words.forEach((word, i) => {
    big.writeInt32BE(word, 4 * i);
    little.writeInt32LE(word, 4 * i);
  });
  return [big, little];
};
const turned = (bytes: Buffer) => Buffer.from(bytes).reverse();

/**
 * A key, and all that ciphers and hashes expand it into: round keys, the key of GHASH, padded keys and the states after
 * them.
 */
export function expansionsOf(key: Buffer): Buffer[] {
  const aes = new Aes256();
  const schedule = aes.key(Int32Array.from({ length: 8 }, (_, i) => key.readInt32BE(4 * i)));
  const roundKeys = Array.from({ length: schedule.length / 4 }, (_, i) =>
    bytesOf(schedule.subarray(4 * i, 4 * i + 4)),
  ).flat();
  const [hashKey] = bytesOf(aes.encrypt(0, 0, 0, 0)) as [Buffer];
  const padded = [0x36, 0x5c].map((pad) => Buffer.from(Array.from({ length: 64 }, (_, i) => (key[i] ?? 0) ^ pad)));
  return [
    ...roundKeys,
    hashKey,
    turned(hashKey),
    ...padded.map((block) => block.subarray(0, keyBytes)),
    ...padded.flatMap((block) => bytesOf(afterBlock(firstState, block))),
  ];
}
