/**
 * Who can write a path, on real files: owners, groups, everybody, access lists, links, sticky folders; as root and as a
 * user.
 * @module
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseAccessList, readAccessList } from '../../../src/linux/files/acl.ts';
import type { Grant } from '../../../src/linux/files/path-writers.ts';
import { parseMounts } from '../../../src/linux/procfs/mountinfo.ts';
import { describeGrant, mendingOf, sortWriters, writersOf } from '../../../src/linux/files/path-writers.ts';
import { libc } from '../../../src/linux/ffi.ts';
import { makeTree } from '../../support/trees.ts';

const asRoot = process.getuid!() === 0;
/** Neither root nor whoever runs the tests. */
const stranger = 61_241;
const own = asRoot ? [] : [['owner', process.getuid!()]];
const setxattr = libc.func(
  'int setxattr(const char *path, const char *name, const void *value, size_t size, int flags)',
) as (path: string, name: string, value: Buffer, size: number, flags: number) => number;

/** What others than root may do, without the folders above the tree, which are the machine's. */
function grants(root: string, ...paths: string[]): [Grant['by'], number, string][] {
  return writersOf(
    fs,
    paths.map((path) => join(root, path)),
  )
    .filter(({ path }) => path.startsWith(root))
    .map(({ by, id, path }) => [by, id, path.slice(root.length + 1)]);
}
/** Without what the owner who runs the tests has. */
const foreign = (found: [Grant['by'], number, string][]) =>
  found.filter(([by, id]) => by !== 'owner' || id !== process.getuid!());

/** An access list: owner rwx, a named user, the owning group, a mask, everybody none. */
function accessList(user: number, userRights: number, groupRights: number, mask: number): Buffer {
  const entries = [
    [1, 7, 0xffffffff],
    [2, userRights, user],
    [4, groupRights, 0xffffffff],
    [16, mask, 0xffffffff],
    [32, 0, 0xffffffff],
  ] as const;
  const bytes = Buffer.alloc(4 + 8 * entries.length);
  bytes.writeUInt32LE(2, 0);
  for (const [index, [tag, rights, id]] of entries.entries()) {
    bytes.writeUInt16LE(tag, 4 + 8 * index);
    bytes.writeUInt16LE(rights, 6 + 8 * index);
    bytes.writeUInt32LE(id, 8 + 8 * index);
  }
  return bytes;
}

test("the temporary folder is safe for what nobody else owns: sticky, and root's", () => {
  using tree = makeTree({ 'a/b': '' });
  const found = sortWriters(writersOf(fs, [join(tree.path, 'a/b')]), process.getuid!(), fs);
  assert.deepEqual([found.groups, found.others], [[], []]);
  assert.deepEqual(
    found.own.map(({ by, id }) => [by, id]),
    asRoot ? [] : [...own, ...own, ...own],
  );
});

test('bits of the file and of every folder above it', () => {
  using tree = makeTree({ 'a/b/c': '' });
  const at = (name: string) => join(tree.path, name);
  const gid = fs.statSync(at('a')).gid;
  fs.chmodSync(at('a/b/c'), 0o666);
  assert.deepEqual(foreign(grants(tree.path, 'a/b/c')), [
    ['group', gid, 'a/b/c'],
    ['everybody', 0, 'a/b/c'],
  ]);
  fs.chmodSync(at('a/b/c'), 0o644);
  fs.chmodSync(at('a'), 0o777);
  assert.deepEqual(
    foreign(grants(tree.path, 'a/b/c')),
    [
      ['group', gid, 'a'],
      ['everybody', 0, 'a'],
    ],
    'who can rename a folder can put another in its place',
  );
  fs.chmodSync(at('a'), 0o1777);
  assert.deepEqual(foreign(grants(tree.path, 'a/b/c')), [], 'sticky: the entry has an owner');
  assert.deepEqual(
    foreign(grants(tree.path, 'a')),
    [
      ['group', gid, 'a'],
      ['everybody', 0, 'a'],
    ],
    'sticky, but asked for itself: anybody adds to it',
  );
  assert.deepEqual(foreign(grants(tree.path, 'a/b/c', 'a')).length, 2);
  assert.deepEqual(
    foreign(grants(tree.path, 'a/none/c')),
    [
      ['group', gid, 'a'],
      ['everybody', 0, 'a'],
    ],
    'sticky, but the entry is not there yet',
  );
});

test('links: the folder of the link, and the way to what it leads to', () => {
  using tree = makeTree({ 'a/x': '', 'real/deep/file': '' });
  const at = (name: string) => join(tree.path, name);
  fs.symlinkSync('../real/deep', at('a/link'));
  fs.symlinkSync(at('a/link'), at('absolute'));
  for (const [wide, path] of [
    ['real', 'a/link/file'],
    ['a', 'a/link/file'],
    ['real', 'absolute/file'],
    ['a', 'absolute/file'],
    ['real/deep', 'absolute'],
  ] as const) {
    fs.chmodSync(at(wide), 0o757);
    assert.deepEqual(foreign(grants(tree.path, path)), [['everybody', 0, wide]], `${wide} on the way of ${path}`);
    fs.chmodSync(at(wide), 0o755);
  }
  fs.symlinkSync('loop', at('loop'));
  assert.deepEqual(foreign(grants(tree.path, 'loop/x')), []);
});

test('owners', () => {
  using tree = makeTree({ 'a/b': '' });
  if (!asRoot) {
    assert.ok(grants(tree.path, 'a/b').length > 0, "one's own files are one's own");
    return;
  }
  fs.chownSync(join(tree.path, 'a'), stranger, 0);
  assert.deepEqual(grants(tree.path, 'a/b'), [['owner', stranger, 'a']]);
  const found = writersOf(fs, [join(tree.path, 'a/b')]);
  assert.equal(sortWriters(found, 0, fs).others.length, 1);
  assert.equal(sortWriters(found, stranger, fs).own.length, 1);
  assert.equal(sortWriters(found, stranger + 1, fs).others.length, 1);
  fs.chmodSync(join(tree.path, 'a'), 0o400);
  assert.equal(grants(tree.path, 'a/b').length, 1, 'an owner can always give the right back');
});

test('access lists: the mask shows in the mode, and the list says who', () => {
  using tree = makeTree({ 'a/b': '' });
  const path = join(tree.path, 'a/b');
  const set = (list: Buffer) => assert.equal(setxattr(path, 'system.posix_acl_access', list, list.length, 0), 0);
  set(accessList(stranger, 6, 4, 6));
  assert.equal(fs.statSync(path).mode & 0o777, 0o760);
  assert.deepEqual(readAccessList(path), { owningGroup: false, listed: [{ kind: 'user', id: stranger }] });
  assert.deepEqual(foreign(grants(tree.path, 'a/b')), [['listed user', stranger, 'a/b']]);
  assert.equal(sortWriters(writersOf(fs, [path]), process.getuid!(), fs).others.length, 1);
  set(accessList(stranger, 6, 6, 4));
  assert.deepEqual(foreign(grants(tree.path, 'a/b')), [], 'the mask takes it away');
  set(accessList(stranger, 4, 6, 6));
  assert.deepEqual(
    foreign(grants(tree.path, 'a/b')).map(([by]) => by),
    ['group'],
  );
  assert.equal(parseAccessList(Buffer.from([1, 0, 0, 0])), undefined);
  assert.equal(parseAccessList(Buffer.alloc(7)), undefined);
});

test('groups: with another member others write; alone or unknown it is shown; root in it does not count', () => {
  const disk = {
    readFileSync: (path: string) =>
      path === '/etc/passwd'
        ? 'root:x:0:0::/:\nada:x:1000:1000::/:\nbob:x:1001:1001::/:\ncy:x:1002:50::/:\n'
        : 'ada:x:1000:\nteam:x:60:ada,bob\nsolo:x:61:ada,root\nprimary:x:50:\n',
  } as unknown as typeof fs;
  const kind = (gid: number, uid: number) =>
    Object.entries(sortWriters([{ path: '/x', by: 'group', id: gid }], uid, disk)).find(
      ([, list]) => list.length > 0,
    )![0];
  assert.deepEqual(
    [kind(1000, 1000), kind(60, 1000), kind(61, 1000), kind(50, 1000), kind(50, 1002), kind(999, 1000)],
    ['groups', 'others', 'groups', 'others', 'groups', 'groups'],
  );
  assert.equal(kind(1000, 0), 'others', 'to root the group of one user is that user');
});

test('FUSE: whoever serves the file system writes it, whatever it shows', () => {
  const table =
    '22 1 0:5 / / rw - ext4 /dev/a rw\n30 22 0:6 / /home/ada/my\\040drive rw - fuse.sshfs x rw,user_id=1000,group_id=1000\n31 22 0:7 / /mnt rw - fuse x rw,user_id=1001\n32 22 0:8 / /mnt rw - ext4 /dev/b rw,user_id=7\n';
  assert.deepEqual(
    parseMounts(table).map(({ point, fuseUser }) => [point, fuseUser]),
    [
      ['/', undefined],
      ['/home/ada/my drive', 1000],
      ['/mnt', 1001],
      ['/mnt', undefined],
    ],
  );
  using tree = makeTree({ 'a/b': '' });
  const servers = (mountinfo: string, path: string) => {
    const disk = {
      ...fs,
      readFileSync: (name: string) => (name === '/proc/self/mountinfo' ? mountinfo : ''),
    } as unknown as typeof fs;
    return writersOf(disk, [path]).filter(({ by }) => by === 'file system');
  };
  const outer = '22 1 0:5 / / rw - ext4 /dev/a rw\n';
  const fuse = `30 22 0:6 / ${tree.path}/a rw - fuse x rw,user_id=${stranger}\n`;
  const [inside, served] = [join(tree.path, 'a/b'), join(tree.path, 'a')];
  assert.deepEqual(servers(outer + fuse, inside), [{ path: served, by: 'file system', id: stranger }]);
  assert.deepEqual(servers(fuse + outer, inside), [{ path: served, by: 'file system', id: stranger }], 'any order');
  assert.deepEqual(servers(outer + fuse, tree.path), []);
  const covered = `31 30 0:7 / ${tree.path}/a rw - ext4 /dev/b rw\n`;
  assert.deepEqual(servers(outer + fuse + covered, inside), [], 'a later mount covers it');
});

test('words and commands', () => {
  assert.equal(describeGrant({ path: '/x', by: 'listed user', id: 7 }), 'writable by user 7 through an access list');
  assert.equal(
    mendingOf([
      { path: '/a b', by: 'everybody', id: 0 },
      { path: '/c', by: 'group', id: 5 },
      { path: "/d'", by: 'everybody', id: 0 },
    ]),
    "chmod o-w '/a b' '/d'\\'''; chmod g-w /c",
  );
});
