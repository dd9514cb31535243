/**
 * The system user: which accounts are fit, and which uid is free.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findPerson, freeId, judgeAccount, makeAccount } from '../../../src/layers/2-isolation/install/system-user.ts';

const passwd = 'root:x:0:0:root:/root:/bin/bash\nada:x:1000:1000::/home/ada:/bin/bash\n';
const group = 'root:x:0:\nada:x:1000:\ndocker:x:998:ada\n';
const line = 'kwyre:x:999:999:Kwyre:/nonexistent:/usr/sbin/nologin\n';
const good = { passwd: passwd + line, group: `${group}kwyre:x:999:\n`, shadow: 'kwyre:!:20000::::::\n' };

test('C7 a user without shell, home, password and other groups is fit', () => {
  assert.deepEqual(judgeAccount(good), { state: 'fit', uid: 999, gid: 999 });
  assert.deepEqual(judgeAccount({ passwd, group, shadow: '' }), { state: 'absent' });
});

test('C7 any other account of that name is not', () => {
  const wrong: Readonly<Record<string, typeof good>> = {
    shell: { ...good, passwd: passwd + line.replace('/usr/sbin/nologin', '/bin/sh') },
    home: { ...good, passwd: passwd + line.replace('/nonexistent', '/home/kwyre') },
    root: { ...good, passwd: passwd + line.replace('999:999', '0:0') },
    twice: { ...good, passwd: passwd + line + line },
    'the id of another': { ...good, passwd: passwd + line.replace('999:', '1000:') },
    'password in passwd': { ...good, passwd: passwd + line.replace(':x:', '::') },
    password: { ...good, shadow: 'kwyre:$6$a$b:20000::::::\n' },
    'empty password': { ...good, shadow: 'kwyre::20000::::::\n' },
    'no shadow entry': { ...good, shadow: '' },
    'member of docker': { ...good, group: good.group.replace('998:ada', '998:ada,kwyre') },
    'group with members': { ...good, group: `${group}kwyre:x:999:ada\n` },
    'group only': { ...good, passwd },
  };
  for (const [what, files] of Object.entries(wrong)) assert.equal(judgeAccount(files).state, 'unfit', what);
});

test('a uid is free if neither a user nor a group has it', () => {
  assert.equal(freeId({ passwd, group, shadow: undefined }), 999);
  assert.equal(freeId(good), 997);
  const all = Array.from({ length: 1000 }, (_, id) => `u${id}:x:${id}:${id}::/:/bin/false`).join('\n');
  assert.equal(freeId({ passwd: all, group: '', shadow: undefined }), undefined);
});

test('the useradd command, and finding users by name or uid', () => {
  assert.deepEqual(makeAccount('/usr/sbin/useradd', '/usr/sbin/nologin', 999), [
    '/usr/sbin/useradd',
    '--system',
    '--uid',
    '999',
    '--user-group',
    '--no-create-home',
    '--home-dir',
    '/nonexistent',
    '--shell',
    '/usr/sbin/nologin',
    '--comment',
    'Kwyre',
    'kwyre',
  ]);
  assert.equal(findPerson(passwd, '1000')?.name, 'ada');
  assert.equal(findPerson(passwd, 'ada')?.uid, 1000);
  assert.equal(findPerson(passwd, 'eve'), undefined);
});
