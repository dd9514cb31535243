/**
 * POSIX access lists: who besides owner, group and everybody may write a file.
 *
 * Uses Node's own foreign function interface, not the installed one: this runs before anything that is installed was
 * verified. It is asked only where the mode shows a group that may write, for the mask of a list stands there.
 * Source: acl(5), include/uapi/linux/posix_acl_xattr.h
 * Proof:  test/unit/linux/path-writers.test.ts
 * @module
 */

/** A user or group that a list names, and lets write. */
export type ListedWriter = { readonly kind: 'user' | 'group'; readonly id: number };

/** What a list says: whether the file's own group may write, and who else. */
export type AccessList = { readonly owningGroup: boolean; readonly listed: readonly ListedWriter[] };

const attribute = 'system.posix_acl_access';
const tags = { user: 2, owningGroup: 4, group: 8, mask: 16 } as const;
const write = 2;
const headerBytes = 4;
const entryBytes = 8;
const largestBytes = 64 << 10;

/**
 * Parses a list of version 2 (little-endian 16-bit tag, 16-bit rights, 32-bit id); `undefined` when it is of another
 * form.
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

/** The access list of a file or folder; `undefined` when it has none, or when this cannot be told. */
export function readAccessList(path: string): AccessList | undefined {
  try {
    getAttribute ??= load();
  } catch {
    return undefined; // a Node without this interface: what the mode shows stands for the list
  }
  const value = Buffer.alloc(largestBytes);
  const length = Number(getAttribute(path, attribute, value, BigInt(value.length)));
  return length > 0 ? parseAccessList(value.subarray(0, length)) : undefined;
}
