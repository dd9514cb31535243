/**
 * POSIX access control lists: which other users and groups may write a file.
 *
 * Uses Node's own foreign-function interface instead of koffi, because this runs before the installation is verified.
 * Callers need it only for files with a group-writable mode, because the mode's group bits show the list's mask.
 * Source: acl(5), include/uapi/linux/posix_acl_xattr.h
 * Proof:  test/unit/linux/path-writers.test.ts
 * @module
 */

/** A user or group to which a list grants write access. */
type ListedWriter = { readonly kind: 'user' | 'group'; readonly id: number };

/** Whether the owning group may write, and which listed users and groups may. */
export type AccessList = { readonly owningGroup: boolean; readonly listed: readonly ListedWriter[] };

const attribute = 'system.posix_acl_access';
const tags = { user: 2, owningGroup: 4, group: 8, mask: 16 } as const;
const write = 2;
const headerBytes = 4;
const entryBytes = 8;
const largestBytes = 64 << 10;

/**
 * Parses a version 2 list (little-endian 16-bit tag, 16-bit rights, 32-bit id). Returns `undefined` for any other form.
 * @internal
 */
export function parseAccessList(bytes: Buffer): AccessList | undefined {
  if (bytes.length < headerBytes || bytes.readUInt32LE(0) !== 2 || (bytes.length - headerBytes) % entryBytes !== 0)
    return undefined;
  const entries = Array.from({ length: (bytes.length - headerBytes) / entryBytes }, (_, index) => {
    const at = headerBytes + index * entryBytes;
    return { tag: bytes.readUInt16LE(at), rights: bytes.readUInt16LE(at + 2), id: bytes.readUInt32LE(at + 4) };
  });
  const mask = entries.find(({ tag }) => tag === tags.mask)?.rights ?? 7;
  const writers = entries.filter(({ rights }) => (rights & mask & write) !== 0);
  return {
    owningGroup: writers.some(({ tag }) => tag === tags.owningGroup),
    listed: writers.flatMap(({ tag, id }): ListedWriter[] =>
      tag === tags.user ? [{ kind: 'user', id }] : tag === tags.group ? [{ kind: 'group', id }] : [],
    ),
  };
}

type GetAttribute = (path: string, name: string, value: Buffer, size: bigint) => bigint;
type ForeignFunctions = {
  readonly dlopen: (library: string, functions: object) => { readonly functions: { readonly getxattr: GetAttribute } };
};

let getAttribute: GetAttribute | undefined;

function load(): GetAttribute {
  const foreign = process.getBuiltinModule('node:ffi') as unknown as ForeignFunctions;
  return foreign.dlopen('libc.so.6', { getxattr: { arguments: ['string', 'string', 'pointer', 'u64'], return: 'i64' } })
    .functions.getxattr;
}

/** Returns the access list of a file or folder; `undefined` if it has none or if it cannot be read. */
export function readAccessList(path: string): AccessList | undefined {
  try {
    getAttribute ??= load();
  } catch {
    return undefined; // this Node lacks the interface: only the mode counts
  }
  const value = Buffer.alloc(largestBytes);
  const length = Number(getAttribute(path, attribute, value, BigInt(value.length)));
  return length > 0 ? parseAccessList(value.subarray(0, length)) : undefined;
}
