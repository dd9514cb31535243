/**
 * File names in a signed tree: which ones are allowed, how they are sorted, and which ones collide.
 *
 * Promise: a name is relative, valid UTF-8, and contains neither control characters nor the parts `.` or `..`. Two
 *          names that differ only in letter case or Unicode normalization are refused, because some file systems treat
 *          them as one.
 * Source:  OpenSSF Model Signing v1.0, section on resource names
 * @module
 */
import { isUtf8 } from 'node:buffer';

/** Compares names by Unicode code point, which is also their UTF-8 byte order (JavaScript compares UTF-16 units). */
export function compareNames(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a, 'utf8'), Buffer.from(b, 'utf8'));
}

/** Returns one part of a path as text, or why it is refused. `bytes` has one character per byte (Latin-1). */
export function readPart(bytes: string): { readonly part: string } | { readonly fault: string } {
  const plain = /^[\x20-\x7e]*$/.test(bytes);
  const raw = plain ? undefined : Buffer.from(bytes, 'latin1');
  if (raw !== undefined && !isUtf8(raw)) return { fault: 'not valid UTF-8' };
  const part = raw?.toString('utf8') ?? bytes;
  const fault = textFault(part);
  return fault === undefined ? { part } : { fault };
}

function textFault(part: string): string | undefined {
  if (part === '' || part === '.' || part === '..') return 'an empty or relative part';
  if (/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u.test(part)) return 'a control or invisible character';
  if (part.includes('/') || part.includes('\\')) return 'a separator inside a part';
  return undefined;
}

const maxNameBytes = 4096;

/** Returns why a relative name (parts joined by `/`) is refused, or `undefined` if it is acceptable. */
export function nameFault(name: string): string | undefined {
  if (Buffer.byteLength(name, 'utf8') > maxNameBytes) return 'longer than 4096 bytes';
  for (const part of name.split('/')) {
    const fault = textFault(part);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

/** Returns a key that is the same for names that a case-insensitive or normalizing file system treats as one. */
export function twinKey(name: string): string {
  if (/^[\x20-\x7e]*$/.test(name)) return name.toLowerCase();
  return name.normalize('NFC').toUpperCase().toLowerCase().normalize('NFC');
}

/** Returns the pairs of names that collide. */
export function findTwins(names: Iterable<string>): [string, string][] {
  const seen = new Map<string, string>();
  const twins: [string, string][] = [];
  for (const name of names) {
    // Folders count too: `A/x` and `a/y` would merge.
    const parts = name.split('/');
    for (let depth = 1; depth <= parts.length; depth += 1) {
      const path = parts.slice(0, depth).join('/');
      const key = twinKey(path);
      const other = seen.get(key);
      if (other === undefined) seen.set(key, path);
      else if (other !== path) twins.push([other, path]);
    }
  }
  return twins;
}
