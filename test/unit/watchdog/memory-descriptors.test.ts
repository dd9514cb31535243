/**
 * Whether a descriptor opens the memory of one of ours: real descriptors of this process, named by whoever likes.
 * @module
 */
import assert from 'node:assert/strict';
import { closeSync, mkdirSync, mkdtempSync, openSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openProcReader } from '../../../src/linux/procfs/proc-reader.ts';
import { parseDescriptor } from '../../../src/linux/procfs/descriptors.ts';
import { findMount } from '../../../src/linux/procfs/mountinfo.ts';
import { MemoryDescriptors } from '../../../src/watchdog/memory-descriptors.ts';

const me = process.pid;
const ours = new Set([me]);
const pathOnly = 0o10000000;

/** Opens a path in this process, and says whose memory the watchdog would take it for. */
function opened(path: string, flags = 0): number | undefined {
  const fd = openSync(path, flags);
  const owner = new MemoryDescriptors(openProcReader()).openedBy(
    '/proc/self',
    String(fd),
    readlinkSync(`/proc/self/fd/${fd}`),
    ours,
  );
  closeSync(fd);
  return owner;
}

test('L6-02 the memory itself, by process and by thread', () => {
  assert.equal(opened(`/proc/${me}/mem`), me);
  assert.equal(opened(`/proc/${me}/task/${me}/mem`), me);
  assert.equal(opened('/proc/self/mem'), me);
});

test('L6-10 a file that is only named like it, and the real one opened as a path, are nothing', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'kwyre-memory-'));
  t.after(() => {
    rmSync(folder, { recursive: true });
  });
  mkdirSync(join(folder, 'proc', String(me)), { recursive: true });
  writeFileSync(join(folder, 'proc', String(me), 'mem'), '');
  assert.equal(opened(join(folder, 'proc', String(me), 'mem')), undefined);
  assert.equal(opened(`/proc/${me}/mem`, pathOnly), undefined, 'anybody may do that');
  assert.equal(opened(`/proc/${me}/maps`), undefined);
});

const info = (flags: string, mount: number, inode?: number) =>
  `pos:\t0\nflags:\t${flags}\nmnt_id:\t${mount}\n${inode === undefined ? '' : `ino:\t${inode}\n`}`;
const mounts = [
  '21 1 0:21 / /proc rw - proc proc rw',
  '22 1 0:30 / /home/a\\040b rw shared:1 - fuse.x x rw',
  '23 1 0:40 / /mnt/p rw - proc proc rw',
  '24 1 0:21 /20/mem /tmp/20/mem rw - proc proc rw',
  '25 1 0:21 /77 /tmp/20 rw - proc proc rw',
].join('\n');

/** The kernel's answers as a table; what is looked at is process 60. Below its root nothing may be asked. */
function ask(link: string, fdinfo: string, more: Readonly<Record<string, string | number>> = {}): number | undefined {
  const table: Readonly<Record<string, string | number>> = {
    '/proc/60/fdinfo/3': fdinfo,
    '/proc/60/mountinfo': mounts,
    '/proc/self/mountinfo': mounts,
    '/proc/20/mem': 700,
    '/proc/20/task/21/mem': 701,
    ...more,
  };
  const text = (path: string) =>
    typeof table[path] === 'string' ? { value: table[path] } : ({ missing: 'gone' } as const);
  const follow = (path: string) => {
    assert.doesNotMatch(path, /\/root\//, 'a file system below the root of a stranger need not answer');
    return text(path);
  };
  const eyes = {
    read: text,
    readLong: text,
    readHead: text,
    link: follow,
    list: () => ({ missing: 'gone' }) as const,
    count: () => ({ missing: 'gone' }) as const,
    mount: () => ({ value: 21 }),
    inode: (path: string) =>
      typeof table[path] === 'number' ? { value: table[path] } : ({ missing: 'gone' } as const),
  };
  return new MemoryDescriptors(eyes).openedBy('/proc/60', '3', link, new Set([20, 21]));
}

const descriptors: readonly (readonly [
  string,
  number | undefined,
  string,
  string,
  Readonly<Record<string, string>>?,
])[] = [
  ['on our /proc', 20, '/proc/20/mem', info('0100000', 21, 700)],
  ['on our /proc, before Linux 5.14', 20, '/proc/20/mem', info('0100000', 21)],
  ['of a process that is not ours', undefined, '/proc/30/mem', info('0100000', 21, 700)],
  ['as a path only', undefined, '/proc/20/mem', info('012100000', 21, 700)],
  [
    'in a file system that a stranger serves, with the inode of the real one',
    undefined,
    '/home/a b/20/mem',
    info('0100000', 22, 700),
  ],
  [
    'on a second mount of our proc',
    20,
    '/mnt/p/20/mem',
    info('0100000', 23, 5),
    { '/proc/60/ns/pid': 'pid:[1]', '/proc/self/ns/pid': 'pid:[1]' },
  ],
  [
    "in a container's proc, where 20 is somebody else",
    undefined,
    '/proc/20/mem',
    info('0100000', 23, 5),
    { '/proc/60/ns/pid': 'pid:[2]', '/proc/self/ns/pid': 'pid:[1]' },
  ],
  ['mounted under a name of its own', 20, '/tmp/20/mem', info('0100000', 24, 700)],
  ["another process's, mounted under our number", undefined, '/tmp/20/mem', info('0100000', 25, 702)],
  ['on a mount that was taken off', 20, '/20/mem', info('0100000', 99, 700)],
  ['a namesake on a mount that was taken off', undefined, '/20/mem', info('0100000', 99, 12)],
];
for (const [what, owner, link, fdinfo, more] of descriptors) {
  test(`L6-02 a descriptor ${what}: ${owner === undefined ? 'not our memory' : 'our memory'}`, () => {
    assert.equal(ask(link, fdinfo, more), owner);
  });
}

test("L6-08 a stranger's table of mounts is read for our numbers only, once a look, and no more than 1 MiB of it", () => {
  const asked: (number | undefined)[] = [];
  const gone = { missing: 'gone' } as const;
  const eyes = {
    read: () => gone,
    readLong(path: string, most?: number) {
      if (path === '/proc/60/mountinfo') asked.push(most);
      return { value: mounts };
    },
    readHead: () => ({ value: info('0100000', 23, 5) }),
    link: () => ({ value: 'pid:[1]' }),
    list: () => gone,
    count: () => gone,
    mount: () => ({ value: 21 }),
    inode: () => gone,
  };
  const memory = new MemoryDescriptors(eyes);
  const look = (link: string) => memory.openedBy('/proc/60', '3', link, new Set([20]));
  for (let i = 0; i < 500; i += 1) assert.equal(look('/mnt/p/1234/mem'), undefined);
  assert.deepEqual(asked, [], 'nothing for the numbers of others');
  for (let i = 0; i < 500; i += 1) assert.equal(look('/mnt/p/20/mem'), 20);
  assert.deepEqual(asked, [1 << 20]);
  memory.begin();
  look('/mnt/p/20/mem');
  assert.equal(asked.length, 2, 'anew in the next look');
});

test('a long file is read up to a bound', () => {
  const look = openProcReader().readLong('/proc/self/maps', 5000);
  assert.equal('value' in look && look.value.length, 5000);
});

test("the kernel's texts: fdinfo of every kind, and mount points that hold blanks", () => {
  assert.deepEqual(parseDescriptor(info('012100000', 21, 700)), { pathOnly: true, mount: 21, inode: 700 });
  assert.equal(parseDescriptor('ino:\t700\n'), undefined);
  assert.deepEqual(findMount(mounts, 22), {
    id: 22,
    device: '0:30',
    root: '/',
    point: '/home/a b',
    kind: 'fuse.x',
    fuseUser: undefined,
  });
  assert.equal(findMount(mounts, 2), undefined);
});
