/**
 * The working set: the memory that holds text, tokens and decrypted states of conversations while a turn runs.
 *
 * It is one mapping, shared only with the supervisor, which overwrites it when the engine has ended
 * (`memory-scrub.ts`). Pieces of it become array buffers. A piece is reused only when nothing refers to it any more, so
 * no view of an ended conversation ever shows text of another one.
 *
 * Promise: a piece is zero-filled when it is claimed. The code that uses a piece overwrites it before releasing it, and
 *          it is overwritten here once more.
 * Limits:  what llama.cpp allocates itself (KV cells, logits, compute buffers) is private memory of the engine.
 * Proof:   test/unit/layers/5-working-set.test.ts, test/attacks/5-remains.test.ts
 * @module
 */
import { LinuxError } from '../../linux/ffi.ts';
import type { Address } from '../../linux/memory/mapped-memory.ts';
import {
  arrayBufferAt,
  fillMemory,
  lockMemory,
  mapSharedMemory,
  returnMemory,
  wholePages,
} from '../../linux/memory/mapped-memory.ts';

/** Claimed memory: its offset, and the number of bytes that may be used. */
export type Piece = { readonly at: number; readonly bytes: number };

const smallestPiece = 64;
/** Pieces of at least this size come from a separate zone, and their pages are freed when they are released. */
const largeFrom = 256 << 10;
/** Number of bytes in the zone of small pieces locked against swap, if the limit on locked memory allows it. */
const lockedSmall = 2 << 20;
const smallestLock = 256 << 10;
const noMemory = 12; // ENOMEM

/** Returns the size of a piece: a power of two, so that it can be reused for a similar size. */
function sizeClass(bytes: number): number {
  return Math.max(smallestPiece, 2 ** Math.ceil(Math.log2(bytes)));
}

export class WorkingSet {
  /** Number of bytes locked against swap. */
  readonly lockedBytes: number;
  readonly #base: Address;
  readonly #small: { next: number; readonly end: number };
  readonly #large: { next: number; readonly end: number };
  /** Offsets of released pieces, by size. */
  readonly #free = new Map<number, number[]>();
  readonly #unreachable = new FinalizationRegistry<Piece>((piece) => {
    this.release(piece);
  });

  private constructor(base: Address, bytes: number) {
    this.#base = base;
    const quarter = wholePages(bytes / 4);
    this.#small = { next: 0, end: quarter };
    this.#large = { next: quarter, end: bytes };
    let locked = Math.min(lockedSmall, quarter);
    while (locked >= smallestLock && !lockMemory(base, locked)) locked >>= 1;
    this.lockedBytes = locked >= smallestLock ? locked : 0;
  }

  /** Maps the memory behind a descriptor, which may be closed afterwards. @throws LinuxError */
  static open(fd: number, bytes: number): WorkingSet {
    return new WorkingSet(mapSharedMemory(fd, bytes), bytes);
  }

  /** Number of bytes that have ever been used. */
  get usedBytes(): number {
    return this.#small.next + (this.#large.next - this.#small.end);
  }

  /**
   * Returns a zero-filled array buffer, whose piece is released when no view of it is left. @throws LinuxError if no
   * piece is free
   */
  memory(bytes: number): ArrayBuffer {
    const piece = this.claim(bytes);
    const memory = arrayBufferAt(this.address(piece), bytes);
    this.#unreachable.register(memory, piece);
    return memory;
  }

  /** Claims a zero-filled piece until {@link release}. @throws LinuxError if no piece is free */
  claim(bytes: number): Piece {
    const size = sizeClass(bytes);
    const known = this.#free.get(size)?.pop();
    if (known !== undefined) return { at: known, bytes };
    const zone = size < largeFrom ? this.#small : this.#large;
    if (zone.next + size > zone.end) throw new LinuxError('working set', noMemory);
    const at = zone.next;
    zone.next += size;
    return { at, bytes };
  }

  address(piece: Piece): Address {
    return this.#base + BigInt(piece.at);
  }

  /** Releases and overwrites a piece. The pages of a large piece, which must no longer be locked, are freed. */
  release(piece: Piece): void {
    const size = sizeClass(piece.bytes);
    fillMemory(this.address(piece), piece.bytes);
    if (size >= largeFrom) returnMemory(this.address(piece), size);
    const free = this.#free.get(size);
    if (free === undefined) this.#free.set(size, [piece.at]);
    else free.push(piece.at);
  }
}
