/**
 * `/proc/PID/maps`: executable files and paths in the kernel's form.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asShown, fromShown } from '../../../src/linux/procfs/escaped-path.ts';
import { codeMappings, parseMaps } from '../../../src/linux/procfs/maps.ts';

test('maps: files mapped as code, each once, those without a name left out', () => {
  const maps = [
    '55e0-55f0 r--p 00000000 fe:00 77 /usr/bin/node',
    '55f0-5600 r-xp 00001000 fe:00 77 /usr/bin/node',
    '7f00-7f10 r-xp 00000000 00:00 0 ',
    '7f10-7f20 rwxp 00000000 00:01 9 /memfd:evil (deleted)',
    '7f20-7f30 r-xp 00000000 00:01 10 /memfd:evil (deleted)',
    '7fff-8000 r-xp 00000000 00:00 0 [vdso]',
    '',
  ].join('\n');
  assert.deepEqual(codeMappings(maps), [
    { path: '/usr/bin/node', device: 0xfe00, inode: 77 },
    { path: '/memfd:evil (deleted)', device: 1, inode: 9 },
    { path: '/memfd:evil (deleted)', device: 1, inode: 10 },
  ]);
});

test('paths: what the kernel shows is compared byte for byte, and read back as it is on disk', () => {
  const path = '/tmp/Büro 文件\n 1/node';
  assert.equal(fromShown(asShown(path)), path);
  assert.ok(!asShown(path).includes('\n'));
  const maps = Buffer.from(
    `7f0-7f1 r-xp 00000000 08:01 5 ${' '.repeat(20)}${path.replace('\n', '\\012')}\n`,
    'utf8',
  ).toString('latin1');
  assert.equal(codeMappings(maps)[0]?.path, asShown(path));
});

test('maps: a path with a carriage return hides no mapping and forges none', () => {
  const path = '/tmp/a\r7f20-7f30 r-xp 00000000 08:01 6 /forged';
  assert.deepEqual(codeMappings(`7f00-7f10 r-xp 00000000 08:01 5 ${path}\n`), [{ path, device: 0x801, inode: 5 }]);
});

test('maps: regions with addresses and rights; the address of [vsyscall] is exact', () => {
  const text =
    '7f00-7f10 rw-p 00000000 00:00 0 \nffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0    [vsyscall]\n';
  assert.deepEqual(
    parseMaps(text).map(({ from, to, rights, path }) => [from, to, rights, path]),
    [
      [0x7f00n, 0x7f10n, 'rw-p', ''],
      [0xffffffffff600000n, 0xffffffffff601000n, '--xp', '[vsyscall]'],
    ],
  );
});
