/**
 * The attack on a sealed conversation by somebody who reads all plain memory of a process twice, before and after:
 * every piece that may be a key is tried as the key, and as the state of the generator that the key was drawn from.
 *
 * A conversation's words begin with bytes that anybody knows (`engine/session/transcript.ts`), and a sealed part begins
 * at a page: a key is right when it turns the known bytes into the beginning of a page that is there.
 * Limits: pieces at multiples of 4 bytes (OpenSSL's generator holds its key at such a place, every other key lies at a
 *         multiple of 8); pieces with a half word of zeros or with fewer than 25 different bytes are passed over: 1 key
 *         in 2,500 looks so.
 * @module
 */
import { closeSync, openSync, readFileSync } from 'node:fs';
import type { Region } from '../../src/cli/prove/memory-scanner.ts';
import { presentRuns, readMemory } from '../../src/cli/prove/memory-scanner.ts';
import { LinuxError } from '../../src/linux/ffi.ts';
import { Aes256 } from './aes.ts';

const page = 4096;
const pieceBytes = 4 << 20;
/** So much of the next piece is read again: a generator's state is 48 bytes. */
const overlap = 64;
/** Numbers of 32 bytes that a generator gives out, one after another, and each may be the key. */
const draws = 2;

/** What an attacker knows of the sealed words: their first 12 bytes, and the nonce. */
export type Known = { readonly text: Buffer; readonly nonce: Buffer };

/** The words' first item, of a user and of a length, sealed as the first part of a conversation. */
export function knownWords(length: number): Known {
  const text = Buffer.from([2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
  text.writeUInt32LE(length, 4);
  return { text, nonce: Buffer.from([1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]) };
}

/** Regions of a process that it may have written: everything but views of files that nobody may write through. */
function writtenRegions(pid: number): Region[] {
  return readFileSync(`/proc/${pid}/maps`, 'latin1')
    .split('\n')
    .flatMap((line): Region[] => {
      const [, from = '', to = '', rights = '', name = ''] =
        /^([0-9a-f]+)-([0-9a-f]+) (....) \S+ \S+ \S+\s*(.*)$/.exec(line) ?? [];
      const file = name.startsWith('/') && !rights.includes('w');
      return rights.startsWith('r') && !file && !name.startsWith('[v')
        ? [{ from: BigInt(`0x${from}`), to: BigInt(`0x${to}`), name }]
        : [];
    });
}

/** All memory that a process may have written and that can be read, in pieces that overlap. */
export function* plainMemory(pid: number): Generator<{ readonly bytes: Buffer; readonly address: bigint }> {
  const pagemap = openSync(`/proc/${pid}/pagemap`, 'r');
  try {
    for (const region of writtenRegions(pid)) {
      for (const run of presentRuns(pagemap, region)) {
        for (let at = 0; at < run.length; at += pieceBytes) {
          const bytes = Buffer.allocUnsafeSlow(Math.min(pieceBytes + overlap, run.length - at));
          const address = region.from + BigInt(run.at + at);
          try {
            yield { bytes: bytes.subarray(0, readMemory(pid, bytes, bytes.length, address)), address };
          } catch (error) {
            if (!(error instanceof LinuxError)) throw error; // secret memory, or given back meanwhile
          }
        }
      }
    }
  } finally {
    closeSync(pagemap);
  }
}

/** What was read of a process at one moment. */
export type Look = {
  readonly pieces: readonly { readonly bytes: Buffer; readonly address: bigint }[];
  readonly bytes: number;
};

export function lookAt(pid: number): Look {
  const pieces = [...plainMemory(pid)];
  return { pieces, bytes: pieces.reduce((sum, { bytes }) => sum + bytes.length, 0) };
}

const stamps = new Uint32Array(256);
let stamp = 0;

/** Whether 32 bytes look like a key. */
function mayBeKey(bytes: Buffer, words: Int32Array, first: number): boolean {
  for (let i = first; i < first + 8; i += 1) {
    const word = words[i]!;
    if ((word & 0xffff) === 0 || word >>> 16 === 0 || word === -1) return false;
  }
  stamp += 1;
  let different = 0;
  for (let i = 4 * first; i < 4 * first + 32; i += 1) {
    const byte = bytes[i]!;
    if (stamps[byte] === stamp) continue;
    stamps[byte] = stamp;
    different += 1;
  }
  return different >= 25;
}

/** A key that was found: itself, and what it was made of. */
export type Derived = {
  readonly key: Buffer;
  readonly from: 'memory' | 'generator';
  readonly look: 'before' | 'after';
  readonly address: bigint;
};
export type Attempt = {
  readonly found: readonly Derived[];
  readonly windows: number;
  readonly pages: number;
  readonly ms: number;
};

/** Bytes as numbers of 32 bits, big endian. */
const wordsOf = (bytes: Buffer): Int32Array =>
  Int32Array.from({ length: bytes.length >> 2 }, (_, i) => bytes.readInt32BE(4 * i));

/** Tells whether a key turns the known bytes into the beginning of a page that is there. */
function opener(look: Look, known: Known): { readonly pages: number; readonly opens: (key: Int32Array) => boolean } {
  const heads = new Map<number, Int32Array[]>();
  const maybe = new Uint8Array(1 << 20); // by the first 20 bits: a look into the map costs more than all the rest
  let pages = 0;
  for (const { bytes, address } of look.pieces) {
    for (let at = Number(-address & 4095n); at + page <= bytes.length; at += page) {
      const head = wordsOf(bytes.subarray(at, at + 12));
      const [first] = head as unknown as [number];
      heads.set(first, [...(heads.get(first) ?? []), head]);
      maybe[first >>> 12] = 1;
      pages += 1;
    }
  }
  const [p0, p1, p2] = wordsOf(known.text) as unknown as [number, number, number];
  const [n0, n1, n2] = wordsOf(known.nonce) as unknown as [number, number, number];
  const aes = new Aes256();
  const opens = (key: Int32Array): boolean => {
    aes.key(key);
    const out = aes.encrypt(n0, n1, n2, 2); // the first block after the one of the tag
    const first = out[0]! ^ p0;
    return (
      maybe[first >>> 12] === 1 &&
      heads.get(first)?.some((head) => head[1] === (out[1]! ^ p1) && head[2] === (out[2]! ^ p2)) === true
    );
  };
  return { pages, opens };
}

/**
 * NIST SP 800-90A, CTR_DRBG over AES-256: 8 words of a key, then 4 of a counter. Calls back for each number of 32 bytes
 * that it gives out.
 */
class CounterGenerator {
  readonly #aes = new Aes256();
  readonly #key = new Int32Array(8);
  readonly #drawn = new Int32Array(8);

  each(words: Int32Array, first: number, take: (drawn: Int32Array) => void): void {
    const [aes, key, drawn] = [this.#aes, this.#key, this.#drawn];
    for (let i = 0; i < 8; i += 1) key[i] = words[first + i]!;
    let [v0, v1, v2, v3] = [words[first + 8]!, words[first + 9]!, words[first + 10]!, words[first + 11]!];
    for (let draw = 0; draw < draws; draw += 1) {
      aes.key(key);
      drawn.set(aes.encrypt(v0, v1, v2, (v3 + 1) | 0), 0);
      drawn.set(aes.encrypt(v0, v1, v2, (v3 + 2) | 0), 4);
      take(drawn);
      // What comes next: another key, another counter.
      key.set(aes.encrypt(v0, v1, v2, (v3 + 3) | 0), 0);
      key.set(aes.encrypt(v0, v1, v2, (v3 + 4) | 0), 4);
      const counter = aes.encrypt(v0, v1, v2, (v3 + 5) | 0);
      v0 = counter[0]!;
      v1 = counter[1]!;
      v2 = counter[2]!;
      v3 = counter[3]!;
    }
  }
}

/** Tries everything. */
export function deriveKeys(before: Look, after: Look, known: Known): Attempt {
  const began = performance.now();
  const { pages, opens } = opener(after, known);
  const found: Derived[] = [];
  const note = (key: Int32Array, from: Derived['from'], look: Derived['look'], address: bigint) => {
    const bytes = Buffer.alloc(32);
    key.forEach((word, i) => bytes.writeInt32BE(word, 4 * i));
    found.push({ key: bytes, from, look, address });
  };
  const generator = new CounterGenerator();
  const key = new Int32Array(8);
  let windows = 0;
  const earlier = new Map(before.pieces.map((piece) => [piece.address, piece.bytes]));
  for (const [look, { pieces }] of [
    ['before', before],
    ['after', after],
  ] as const) {
    for (const { bytes, address } of pieces) {
      const same = look === 'after' ? earlier.get(address) : undefined; // what was there before was tried before
      const words = new Int32Array(bytes.length >> 2);
      const turned = Buffer.from(words.buffer);
      turned.set(bytes.subarray(0, turned.length));
      turned.swap32();
      for (let first = 0; first + 12 <= words.length; first += 1) {
        if (
          !mayBeKey(turned, words, first) ||
          (same !== undefined &&
            4 * first + 32 <= same.length &&
            same.compare(bytes, 4 * first, 4 * first + 32, 4 * first, 4 * first + 32) === 0)
        )
          continue;
        windows += 1;
        for (let i = 0; i < 8; i += 1) key[i] = words[first + i]!;
        const at = address + BigInt(4 * first);
        if (opens(key)) note(key, 'memory', look, at);
        // A generator's state says what comes after it, not what came before.
        if (look === 'before')
          generator.each(words, first, (drawn) => {
            if (opens(drawn)) note(drawn, 'generator', look, at);
          });
      }
    }
  }
  return { found, windows, pages, ms: performance.now() - began };
}
