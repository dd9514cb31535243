/**
 * Names of files inside a signed tree: what is allowed, in which order, and which two count as one.
 *
 * Promise: a name is valid UTF-8 without control characters, relative, with plain parts; two names that differ only in
 *          letter case or Unicode form are refused, since another file system would open one for the other.
 * Source:  OpenSSF Model Signing v1.0, section on resource names
 * @module
 */
import { isUtf8 } from 'node:buffer';

/** Order of names: by Unicode code point, which is the order of their UTF-8 bytes (not JavaScript's default order). */
export function compareNames(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a, 'utf8'), Buffer.from(b, 'utf8'));
}

/** One part of a path as text, or why it cannot be accepted; `bytes` has one character for each byte (Latin-1). */
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

/** Why a whole relative name (parts joined by `/`) cannot be accepted, or `undefined` when it can. */
export function nameFault(name: string): string | undefined {
  if (Buffer.byteLength(name, 'utf8') > maxNameBytes) return 'longer than 4096 bytes';
  for (const part of name.split('/')) {
    const fault = textFault(part);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

/** What two names share when a case-insensitive or normalising file system takes one for the other. */
export function twinKey(name: string): string {
  if (/^[\x20-\x7e]*$/.test(name)) return name.toLowerCase();
  return name.normalize('NFC').toUpperCase().toLowerCase().normalize('NFC');
}

/** Pairs of names that are twins of one another. */
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
