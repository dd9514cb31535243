/**
 * AES-256 of one block, fast enough to try every piece of a process's memory as a key: tables of 32 bits, made at
 * import.
 *
 * Source: FIPS 197; tried against node:crypto in test/attacks/5-derive.test.ts
 * @module
 */

const sbox = new Uint8Array(256);
const rounds = 14;
const tables = [0, 8, 16, 24].map(() => new Uint32Array(256)) as [Uint32Array, Uint32Array, Uint32Array, Uint32Array];
const double = (x: number) => ((x << 1) ^ (x & 0x80 ? 0x11b : 0)) & 0xff;

// The S-box by walking the powers of 3 and of its inverse at the same time.
for (let p = 1, q = 1, i = 0; i < 255; i += 1) {
  const rotated = (shift: number) => ((q << shift) | (q >> (8 - shift))) & 0xff;
  sbox[p] = q ^ rotated(1) ^ rotated(2) ^ rotated(3) ^ rotated(4) ^ 0x63;
  p ^= double(p);
  q = (q ^ (q << 1)) & 0xff;
  q = (q ^ (q << 2)) & 0xff;
  q = (q ^ (q << 4)) & 0xff;
  if ((q & 0x80) !== 0) q ^= 0x09;
}
sbox[0] = 0x63;
for (let i = 0; i < 256; i += 1) {
  const s = sbox[i]!;
  const word = ((double(s) << 24) | (s << 16) | (s << 8) | (double(s) ^ s)) >>> 0;
  tables.forEach((table, n) => {
    table[i] = n === 0 ? word : (word >>> (8 * n)) | (word << (32 - 8 * n));
  });
}
const substituted = (w: number) =>
  (sbox[w >>> 24]! << 24) | (sbox[(w >>> 16) & 255]! << 16) | (sbox[(w >>> 8) & 255]! << 8) | sbox[w & 255]!;

/** One key at a time; words are 32 bits, big endian. */
export class Aes256 {
  /** What {@link encrypt} made last. */
  readonly out = new Int32Array(4);
  readonly #schedule = new Int32Array(4 * (rounds + 1));

  /** Takes the 8 words of a key; returns the round keys, 4 words each. */
  key(words: Int32Array): Int32Array {
    const w = this.#schedule;
    for (let i = 0; i < 8; i += 1) w[i] = words[i]!;
    for (let i = 8, constant = 1; i < w.length; i += 1) {
      let next = w[i - 1]!;
      if (i % 8 === 0) {
        next = substituted((next << 8) | (next >>> 24)) ^ (constant << 24);
        constant = double(constant);
      } else if (i % 8 === 4) next = substituted(next);
      w[i] = w[i - 8]! ^ next;
    }
    return w;
  }

  /** Encrypts a block of 4 words. */
  encrypt(a: number, b: number, c: number, d: number): Int32Array {
    const w = this.#schedule;
    const [t0, t1, t2, t3] = tables;
    a ^= w[0]!;
    b ^= w[1]!;
    c ^= w[2]!;
    d ^= w[3]!;
    for (let at = 4; at < 4 * rounds; at += 4) {
      const e = t0[a >>> 24]! ^ t1[(b >>> 16) & 255]! ^ t2[(c >>> 8) & 255]! ^ t3[d & 255]! ^ w[at]!;
      const f = t0[b >>> 24]! ^ t1[(c >>> 16) & 255]! ^ t2[(d >>> 8) & 255]! ^ t3[a & 255]! ^ w[at + 1]!;
      const g = t0[c >>> 24]! ^ t1[(d >>> 16) & 255]! ^ t2[(a >>> 8) & 255]! ^ t3[b & 255]! ^ w[at + 2]!;
      d = t0[d >>> 24]! ^ t1[(a >>> 16) & 255]! ^ t2[(b >>> 8) & 255]! ^ t3[c & 255]! ^ w[at + 3]!;
      a = e;
      b = f;
      c = g;
    }
    const last = (x: number, y: number, z: number, v: number, key: number) =>
      ((sbox[x >>> 24]! << 24) | (sbox[(y >>> 16) & 255]! << 16) | (sbox[(z >>> 8) & 255]! << 8) | sbox[v & 255]!) ^
      key;
    const end = 4 * rounds;
    const { out } = this;
    out[0] = last(a, b, c, d, w[end]!);
    out[1] = last(b, c, d, a, w[end + 1]!);
    out[2] = last(c, d, a, b, w[end + 2]!);
    out[3] = last(d, a, b, c, w[end + 3]!);
    return out;
  }
}
