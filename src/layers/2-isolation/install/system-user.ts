/**
 * The system user of the installed server: checks its account and plans a new one.
 *
 * Promise: an account is fit only if it has no shell, no home, no password and no group besides its own.
 * Source:  passwd(5), shadow(5), group(5), useradd(8)
 * Proof:   test/unit/layers/2-system-user.test.ts, test/attacks/2-isolate.test.ts
 * @module
 */

export const accountName = 'kwyre';
const noHome = '/nonexistent';

/** Contents of `/etc/passwd`, `/etc/group` and, for root, `/etc/shadow`. */
export type AccountFiles = { readonly passwd: string; readonly group: string; readonly shadow: string | undefined };

/** The account of that name: absent, fit for Kwyre, or unfit. */
export type Account =
  | { readonly state: 'absent' }
  | { readonly state: 'fit'; readonly uid: number; readonly gid: number }
  | { readonly state: 'unfit'; readonly why: string };

function rows(text: string): string[][] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split(':'));
}

/** Returns the state of the account, from its entries. */
export function judgeAccount(files: AccountFiles): Account {
  const entries = rows(files.passwd).filter(([name]) => name === accountName);
  const groups = rows(files.group);
  const group = groups.find(([name]) => name === accountName);
  const unfit = (why: string): Account => ({ state: 'unfit', why });
  const [entry] = entries;
  if (entry === undefined)
    return group === undefined ? { state: 'absent' } : unfit('there is a group of that name but no user');
  const [, password = '', uidText = '', gidText = '', , home = '', shell = ''] = entry;
  const [uid, gid] = [Number(uidText), Number(gidText)];
  if (entries.length !== 1 || !/^\d+$/.test(uidText) || !/^\d+$/.test(gidText) || uid === 0 || gid === 0)
    return unfit('its passwd entry is not that of a system user');
  if (!/\/(nologin|false)$/.test(shell)) return unfit('it has a shell');
  if (home !== noHome) return unfit('it has a home folder');
  if (password !== 'x') return unfit('its password is not in the shadow file');
  if (rows(files.passwd).some(([name, , other]) => name !== accountName && Number(other) === uid))
    return unfit('another user has the same uid');
  if (group?.[2] !== gidText || (group[3] ?? '') !== '') return unfit('its group has another id or other members');
  if (groups.some(([name, , , members = '']) => name !== accountName && members.split(',').includes(accountName)))
    return unfit('it is a member of other groups');
  if (files.shadow !== undefined) {
    const secret = rows(files.shadow).find(([name]) => name === accountName)?.[1];
    if (secret === undefined || !/^[!*]/.test(secret)) return unfit('it has a password');
  }
  return { state: 'fit', uid, gid };
}

/** Returns the highest system id that is free both as a uid and as a gid; `undefined` if there is none. */
export function freeId(files: AccountFiles): number | undefined {
  const taken = new Set([...rows(files.passwd), ...rows(files.group)].map(([, , id]) => Number(id)));
  for (let id = 999; id > 200; id -= 1) if (!taken.has(id)) return id;
  return undefined;
}

/** Returns the useradd command. The account gets no password, so it is locked. */
export function makeAccount(useradd: string, nologin: string, id: number): readonly string[] {
  return [
    useradd,
    '--system',
    '--uid',
    String(id),
    '--user-group',
    '--no-create-home',
    '--home-dir',
    noHome,
    '--shell',
    nologin,
    '--comment',
    'Kwyre',
    accountName,
  ];
}

/** Finds a user by name or uid in `/etc/passwd`. */
export function findPerson(
  passwd: string,
  who: string,
): { readonly uid: number; readonly gid: number; readonly name: string } | undefined {
  for (const [name = '', , uid = '', gid = ''] of rows(passwd))
    if (name === who || uid === who) return { uid: Number(uid), gid: Number(gid), name };
  return undefined;
}
