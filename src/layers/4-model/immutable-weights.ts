/**
 * Holds verified weights while they are served, in a sealed memfd or as an open file, and prevents or detects changes.
 *
 * Promise: in `memfd` mode the hashed bytes are the sealed bytes, copied in one pass, and no process can write them
 *          afterwards. In `file` mode a read lease shows that no process has the file open for writing, and the file's
 *          timestamps are compared after hashing. If there is no lease, the status reports it.
 * Trust:   this process is not dumpable, so no other process of the same user can reach the memfd before it is sealed.
 * Limits:  `file` mode detects a change but cannot prevent root from making one.
 * Proof:   test/unit/layers/4-immutable-weights.test.ts
 * @module
 */
import type * as fs from 'node:fs';
import type { Fault } from '../../oms/verification-error.ts';
import { printable } from '../../oms/verification-error.ts';
import type { Disk, Hashed, Progress } from '../../oms/tree-reader.ts';
import { Hasher } from '../../oms/tree-reader.ts';
import type { Shard } from '../../oms/statement.ts';
import { leaseHolds, takeReadLease } from '../../linux/files/file-lease.ts';
import { makeMemfd, sealMemfd } from '../../linux/memory/memfd.ts';

const { createHash } = process.getBuiltinModule('node:crypto');

/** How weights are kept while they are served. */
export type WeightsMode = 'memfd' | 'file';

/** The `node:fs` functions that loading uses. */
export type WeightsDisk = Disk & Pick<typeof fs, 'write' | 'ftruncateSync'>;

/** Weights open on one descriptor, and their hash. */
export type Weights = {
  readonly fd: number;
  readonly mode: WeightsMode;
  /** How changes are prevented or detected, in words. */
  readonly kept: string;
  readonly full: boolean;
  readonly hashed: Hashed;
};

const chunkBytes = 2 << 20;
const buffersInFlight = 3;

/** Bytes of memory that must remain free. */
const reserveBytes = 256 << 20;

/** Returns `memfd` if the weights fit into memory, otherwise `file`. */
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

/** Hashes a stream of chunks, either into one digest or into one digest per shard. */
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
 * Reads a file once, hashing it and copying it to a memfd, which is then sealed; copying and hashing run in parallel.
 * @throws `L4_MEMORY_SHORT` if there is not enough memory
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
      // If the file grows, the added bytes are hashed but not copied; the file is then refused.
      const length = disk.readSync(source, buffer, 0, buffer.length, at);
      if (length === 0) break;
      const kept = Math.max(0, Math.min(length, size - at));
      const written = kept === 0 ? Promise.resolve() : writeAll(disk, memory, buffer, kept, at);
      written.catch(() => undefined); // awaited below; prevents an unhandled rejection until then
      writes[slot] = written;
      digester.update(buffer.subarray(0, length));
      progress?.(digester.size);
      if (digester.size > size + chunkBytes) break; // enough data to refuse the growing file
    }
    await Promise.all(writes);
    sealMemfd(memory);
    return {
      fd: memory,
      mode: 'memfd',
      kept: 'sealed memory: the kernel refuses writes and size changes',
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
        'there is not enough memory for a sealed copy of the weights',
        'free memory, or serve with --weights file',
      );
    throw error;
  }
}

/**
 * Hashes a file and keeps it open, under a read lease if the kernel grants one.
 * @throws `L4_FILE_WRITER`, `L4_FILE_MOVED`
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
      'stop that process (find it with fuser), or serve with --weights memfd',
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
      `${printable(name)} changed while it was being verified`,
      'stop the process that writes the model, then start again',
    );
  }
  const kept =
    lease === 'held'
      ? 'the file, kept open under a read lease'
      : `the file, kept open without a read lease (${lease.refused}): changes are detected, not prevented`;
  return { fd, mode: 'file', kept, full: lease === 'held', hashed };
}
