/**
 * Weights that cannot change between the check and the end of serving: sealed memory, or one held file.
 *
 * Promise: in `memfd` mode the bytes hashed are the bytes sealed, in one pass; nobody can write them afterwards. In
 *          `file` mode a read lease says that nobody has the file open for writing, and the file is looked at again
 *          after hashing; without a lease the status says so.
 * Trust:   this process is not dumpable, so that no other process of the same user reaches the memory before the seal.
 * Limits:  `file` mode notices a change, it cannot prevent one by root.
 * Proof:   test/unit/layers/4-immutable-weights.test.ts
 * @module
 */
import { createHash } from 'node:crypto';
import type * as fs from 'node:fs';
import type { Fault } from '../../oms/verification-error.ts';
import { printable } from '../../oms/verification-error.ts';
import type { Disk, Hashed, Progress } from '../../oms/tree-reader.ts';
import { Hasher } from '../../oms/tree-reader.ts';
import type { Shard } from '../../oms/statement.ts';
import { leaseHolds, takeReadLease } from '../../linux/files/file-lease.ts';
import { makeMemfd, sealMemfd } from '../../linux/memory/memfd.ts';

/** Where weights are kept while they are served. */
export type WeightsMode = 'memfd' | 'file';

/** The calls that loading needs, from `node:fs`. */
export type WeightsDisk = Disk & Pick<typeof fs, 'write' | 'ftruncateSync'>;

/** Weights behind one descriptor, and what was hashed. */
export type Weights = {
  readonly fd: number;
  readonly mode: WeightsMode;
  /** How the bytes are kept from changing, in words. */
  readonly kept: string;
  readonly full: boolean;
  readonly hashed: Hashed;
};

const chunkBytes = 2 << 20;
const buffersInFlight = 3;

/** Memory that must stay free besides the weights. */
const reserveBytes = 256 << 20;

/** Sealed memory when it fits, else the file. */
export function chooseMode(bytes: number, availableBytes: number): WeightsMode {
  return bytes + reserveBytes + bytes / 4 <= availableBytes ? 'memfd' : 'file';
}

function writeAll(disk: WeightsDisk, fd: number, bytes: Buffer, length: number, position: number): Promise<void> {
  return new Promise((resolve, reject) => {
    disk.write(fd, bytes, 0, length, position, (error, written) => {
      if (error !== null) reject(error);
      else if (written === length) resolve();
      else resolve(writeAll(disk, fd, bytes.subarray(written), length - written, position + written));
    });
  });
}

/** Hash of a stream of chunks: over everything, or for each shard. */
class Digester {
  readonly #shardBytes: number | undefined;
  readonly #shards: Shard[] = [];
  #hash = createHash('sha256');
  #start = 0;
  size = 0;

  constructor(shardBytes: number | undefined) {
    this.#shardBytes = shardBytes;
  }

  update(bytes: Buffer): void {
    let rest = bytes;
    while (rest.length > 0) {
      const room = this.#shardBytes === undefined ? rest.length : this.#start + this.#shardBytes - this.size;
      const part = rest.subarray(0, room);
      this.#hash.update(part);
      this.size += part.length;
      rest = rest.subarray(part.length);
      if (this.size - this.#start === this.#shardBytes) this.#close();
    }
  }

  #close(): void {
    this.#shards.push({ start: this.#start, end: this.size, digest: this.#hash.digest('hex') });
    this.#hash = createHash('sha256');
    this.#start = this.size;
  }

  end(): Hashed {
    if (this.#shardBytes === undefined) return { size: this.size, digest: this.#hash.digest('hex'), shards: [] };
    if (this.size > this.#start || this.size === 0) this.#close();
    return { size: this.size, digest: '', shards: this.#shards };
  }
}

/**
 * Reads a file once, hashing it and filling sealed memory on the way; the copies run beside the hash.
 * @throws `L4_MEMORY_SHORT` when the kernel gives no memory.
 */
export async function loadSealed(
  disk: WeightsDisk,
  source: number,
  size: number,
  shardBytes: number | undefined,
  fault: Fault,
  progress?: Progress,
): Promise<Weights> {
  const memory = makeMemfd('kwyre-weights');
  const buffers = Array.from({ length: buffersInFlight }, () =>
    Buffer.allocUnsafeSlow(Math.max(1, Math.min(chunkBytes, size + 1))),
  );
  const writes: Promise<void>[] = [];
  try {
    disk.ftruncateSync(memory, size);
    const digester = new Digester(shardBytes);
    for (let turn = 0; ; turn += 1) {
      const slot = turn % buffersInFlight;
      const buffer = buffers[slot] ?? Buffer.alloc(0);
      await writes[slot];
      const at = digester.size;
      // A file that grows past its size is hashed with what was added, hence refused, but not kept.
      const length = disk.readSync(source, buffer, 0, buffer.length, at);
      if (length === 0) break;
      const kept = Math.max(0, Math.min(length, size - at));
      const written = kept === 0 ? Promise.resolve() : writeAll(disk, memory, buffer, kept, at);
      written.catch(() => undefined); // awaited below; never unhandled meanwhile
      writes[slot] = written;
      digester.update(buffer.subarray(0, length));
      progress?.(digester.size);
      if (digester.size > size + chunkBytes) break; // it grows faster than we read: enough to refuse it
    }
    await Promise.all(writes);
    sealMemfd(memory);
    return {
      fd: memory,
      mode: 'memfd',
      kept: 'sealed memory: writing, growing and shrinking it is refused by the kernel',
      full: true,
      hashed: digester.end(),
    };
  } catch (error) {
    await Promise.allSettled(writes);
    disk.closeSync(memory);
    const code = (error as NodeJS.ErrnoException).code ?? '';
    if (code === 'ENOMEM' || code === 'ENOSPC' || code === 'EFBIG')
      throw fault(
        'MEMORY_SHORT',
        'there is not enough memory to keep the weights sealed',
        'free some memory, or serve with --weights file',
      );
    throw error;
  }
}

/**
 * Hashes a file and keeps it open, under a read lease where the kernel grants one. @throws `L4_FILE_WRITER`,
 * `L4_FILE_MOVED`
 */
export function holdFile(
  disk: WeightsDisk,
  fd: number,
  name: string,
  shardBytes: number | undefined,
  fault: Fault,
  progress?: Progress,
): Weights {
  const before = disk.fstatSync(fd, { bigint: true });
  const lease = takeReadLease(fd);
  if (lease === 'writer')
    throw fault(
      'FILE_WRITER',
      `another process has ${printable(name)} open for writing`,
      'end that process (fuser shows it), or serve with --weights memfd',
    );
  const hasher = new Hasher(disk, progress);
  const hashed = shardBytes === undefined ? hasher.whole(fd) : hasher.shards(fd, shardBytes);
  const after = disk.fstatSync(fd, { bigint: true });
  if (
    before.ctimeNs !== after.ctimeNs ||
    before.mtimeNs !== after.mtimeNs ||
    before.size !== after.size ||
    (lease === 'held' && !leaseHolds(fd))
  ) {
    throw fault(
      'FILE_MOVED',
      `${printable(name)} was changed while it was verified`,
      'let nothing write the model, then start again',
    );
  }
  const kept =
    lease === 'held'
      ? 'the file, held open under a read lease'
      : `the file, held open; no read lease (${lease.refused}): a change is noticed, not prevented`;
  return { fd, mode: 'file', kept, full: lease === 'held', hashed };
}
