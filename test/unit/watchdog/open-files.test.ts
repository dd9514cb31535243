/**
 * Descriptors of other processes: swapped ones, tables of single threads, tables without an end.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryDescriptors } from '../../../src/watchdog/memory-descriptors.ts';
import { OpenFiles } from '../../../src/watchdog/open-files.ts';

/** A /proc with the tables of process 60 and its threads; each descriptor opens `/dev/null` or what is told. */
function procOf(tables: Readonly<Record<string, { count: number; opened: Record<number, string> }>>) {
  let links = 0;
  const table = (path: string) => tables[path.replace(/\/(fd|fdinfo)(\/\d+)?$/, '')];
  const gone = { missing: 'gone' } as const;
  const eyes = {
    read: () => gone,
    readLong: () => gone,
    readHead: (path: string) =>
      path.includes('/fdinfo/') ? { value: 'pos:\t0\nflags:\t0100000\nmnt_id:\t21\nino:\t7\n' } : gone,
    list: (path: string) =>
      path === '/proc/60/task'
        ? { value: ['60', ...Object.keys(tables).flatMap((name) => /task\/(\d+)$/.exec(name)?.[1] ?? [])] }
        : { value: Array.from({ length: table(path)?.count ?? 0 }, (_, fd) => String(fd)) },
    link(path: string) {
      links += 1;
      const fd = Number(path.slice(path.lastIndexOf('/') + 1));
      const at = table(path);
      return at === undefined || fd >= at.count ? gone : { value: at.opened[fd] ?? '/dev/null' };
    },
    count: (path: string) => ({ value: table(path)?.count ?? 0 }),
    mount: () => ({ value: 21 }),
    inode: () => gone,
  };
  const files = new OpenFiles(eyes, new MemoryDescriptors(eyes));
  const look = (more: { threads?: number; hot?: boolean; over?: () => boolean } = {}) => {
    links = 0;
    files.read({
      pid: 60,
      folder: '/proc/60',
      threads: 1,
      ownPids: new Set([20]),
      whole: false,
      hot: false,
      over: () => false,
      ...more,
    });
    return { memories: 'value' in files.memories ? files.memories.value : undefined, links };
  };
  return { files, look };
}

test('L6-02 a descriptor that takes the place of another is seen at the next look', () => {
  const main = { count: 8, opened: {} as Record<number, string> };
  const { look } = procOf({ '/proc/60': main });
  assert.deepEqual(look().memories, []);
  main.opened[7] = '/proc/20/mem';
  assert.deepEqual(look().memories, [20]);
});

test('L6-02 a thread with a table of its own: at once where their sizes differ, in turn where they do not', () => {
  const main = { count: 4, opened: {} };
  const own = { count: 5, opened: { 4: '/proc/20/mem' } };
  const tables: Record<string, { count: number; opened: Record<number, string> }> = { '/proc/60': main };
  for (let tid = 61; tid < 75; tid += 1) tables[`/proc/60/task/${tid}`] = main;
  tables['/proc/60/task/74'] = own;
  assert.deepEqual(procOf(tables).look({ threads: 15 }).memories, [20]);
  tables['/proc/60/task/74'] = { count: 4, opened: { 3: '/proc/20/mem' } };
  const { look } = procOf(tables);
  const looks = Array.from({ length: 8 }, () => look({ threads: 15 }));
  assert.ok(
    looks.slice(0, 4).some(({ memories }) => memories?.includes(20)),
    'within four looks',
  );
  assert.ok(
    looks.every(({ links }) => links <= 5 * 4),
    'four threads a look',
  );
  for (let i = 0; i < 3; i += 1)
    assert.deepEqual(look({ threads: 15, hot: true }).memories, [20], 'what was found is looked at each time');
});

test('a table without an end is followed part by part, and what was found is looked at again', () => {
  const main = { count: 100_000, opened: { 1500: '/proc/20/mem' } as Record<number, string> };
  const { files, look } = procOf({ '/proc/60': main });
  files.slots = 131_072;
  const looks = [look(), look(), look(), look()];
  assert.deepEqual(
    looks.map(({ memories }) => memories),
    [[], [], [20], [20]],
  );
  assert.ok(looks.every(({ links }) => links <= 512));
  delete main.opened[1500];
  for (let i = 0; i < 300; i += 1) assert.deepEqual(look().memories, []);
});

test('L6-08 a look that has no time left stops, goes on there the next time, and keeps what it found', () => {
  const plain = { count: 500, opened: {} as Record<number, string> };
  const tables: Record<string, { count: number; opened: Record<number, string> }> = { '/proc/60': plain };
  for (let tid = 61; tid < 160; tid += 1) tables[`/proc/60/task/${tid}`] = { count: 400 + (tid % 7), opened: {} };
  tables['/proc/60/task/100'] = { count: 450, opened: { 300: '/proc/20/mem' } };
  const { files, look } = procOf(tables);
  const cut = { threads: 100, over: () => true };
  let looks = 0;
  for (let found = false; !found && looks < 1000; looks += 1) {
    const seen = look(cut);
    assert.ok(seen.links <= 2 * 64, `${seen.links} descriptors`);
    assert.ok(files.unfinished);
    found = seen.memories?.includes(20) === true;
  }
  assert.ok(looks < 1000, 'its turn comes');
  for (let i = 0; i < 3; i += 1) assert.deepEqual(look(cut).memories, [20], 'what was found is looked at each time');
  plain.opened[499] = '/proc/20/mem';
  assert.ok(
    Array.from({ length: 9 }, () => look(cut)).some(({ memories }) => memories?.includes(20)),
    'the first table, too',
  );
});
