/**
 * The working set: all memory in which words of conversations, their tokens and opened states stand while a turn runs.
 *
 * It is one piece, shared with the supervisor alone, which overwrites it when the engine has ended (`memory-scrub.ts`).
 * Pieces of it are array buffers; a piece is given out again only once nothing can reach it any more, so no view of an
 * ended conversation ever shows another one's words.
 *
 * Promise: what is given out is zero-filled; what comes back was overwritten, here once more.
 * Limits:  what llama.cpp allocates by itself (KV cells, logits, compute buffers) is private memory of the engine.
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

/** Memory that was given out: where, and how much may be used of it. */
export type Piece = { readonly at: number; readonly bytes: number };

const smallestPiece = 64;
/** From here on pieces lie in a part of their own, and their pages go back to the kernel when nobody uses them. */
const largeFrom = 256 << 10;
/** Small pieces are locked against swap as far as this and as the limit on locked memory allow. */
const lockedSmall = 2 << 20;
const smallestLock = 256 << 10;
const noMemory = 12; // ENOMEM

/** How much a piece takes: a power of two, so that it fits whoever asks for as much again. */
function sizeClass(bytes: number): number {
  return Math.max(smallestPiece, 2 ** Math.ceil(Math.log2(bytes)));
}

export class WorkingSet {
  /** How much of it is kept out of swap from the start. */
  readonly lockedBytes: number;
  readonly #base: Address;
  readonly #small: { next: number; readonly end: number };
  readonly #large: { next: number; readonly end: number };
  /** Places that came back, by size. */
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

  /** Maps the memory behind a descriptor, which may be closed then. @throws LinuxError */
  static open(fd: number, bytes: number): WorkingSet {
    return new WorkingSet(mapSharedMemory(fd, bytes), bytes);
  }

  /** How much of it was ever used. */
  get usedBytes(): number {
    return this.#small.next + (this.#large.next - this.#small.end);
  }

  /**
   * A zero-filled array buffer; its place comes back by itself when no view of it is left. @throws LinuxError when all
   * is taken
   */
  memory(bytes: number): ArrayBuffer {
    const piece = this.claim(bytes);
    const memory = arrayBufferAt(this.address(piece), bytes);
    this.#unreachable.register(memory, piece);
    return memory;
  }

  /** A zero-filled piece that is the caller's until {@link release}. @throws LinuxError when all is taken */
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

  /** Takes a piece back, overwritten; a large one's pages, which must not be locked any more, go back to the kernel. */
  release(piece: Piece): void {
    const size = sizeClass(piece.bytes);
    fillMemory(this.address(piece), piece.bytes);
    if (size >= largeFrom) returnMemory(this.address(piece), size);
    const free = this.#free.get(size);
    if (free === undefined) this.#free.set(size, [piece.at]);
    else free.push(piece.at);
  }
}
