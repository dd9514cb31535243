/**
 * Reads an npm tarball's files into memory as npm unpacks them: without the top folder, and only plain files.
 * @module
 */
import { gunzipSync } from 'node:zlib';

/** One file in a package. */
export type TarFile = { readonly name: string; readonly executable: boolean; readonly bytes: Buffer };

function text(block: Buffer, start: number, length: number): string {
  const field = block.subarray(start, start + length);
  const end = field.indexOf(0);
  return field.subarray(0, end === -1 ? length : end).toString('utf8');
}

/** Returns the path from the records of a pax header: `LENGTH KEY=VALUE\n`. */
function paxPath(bytes: Buffer): string | undefined {
  for (let at = 0; at < bytes.length;) {
    const space = bytes.indexOf(32, at);
    const length = Number(bytes.subarray(at, space).toString('latin1'));
    if (!(length > 0)) return undefined;
    const record = bytes.subarray(space + 1, at + length - 1).toString('utf8');
    if (record.startsWith('path=')) return record.slice(5);
    at += length;
  }
  return undefined;
}

/** Reads a gzipped tarball. */
export function readTarball(gzipped: Buffer): TarFile[] {
  const tar = gunzipSync(gzipped);
  const files: TarFile[] = [];
  let longName: string | undefined;
  for (let at = 0; at + 512 <= tar.length;) {
    const block = tar.subarray(at, at + 512);
    if (block.every((byte) => byte === 0)) break;
    const size = Number.parseInt(text(block, 124, 12).trim() || '0', 8);
    const type = String.fromCharCode(block[156] ?? 0);
    const bytes = tar.subarray(at + 512, at + 512 + size);
    at += 512 + Math.ceil(size / 512) * 512;
    if (type === 'x') longName = paxPath(bytes);
    if (type === 'L') longName = text(bytes, 0, bytes.length);
    if (type === 'x' || type === 'L' || type === 'g') continue;
    const prefix = text(block, 345, 155);
    const name = longName ?? (prefix === '' ? text(block, 0, 100) : `${prefix}/${text(block, 0, 100)}`);
    longName = undefined;
    if (type === '5') continue;
    if (type !== '0' && type !== '\0') throw new Error(`the tarball contains an entry that is not a file: ${name}`);
    files.push({
      name: name.replace(/^[^/]*\//, ''),
      executable: (Number.parseInt(text(block, 100, 8).trim(), 8) & 0o111) !== 0,
      bytes,
    });
  }
  return files;
}
