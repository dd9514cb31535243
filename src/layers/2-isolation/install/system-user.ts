/**
 * The system user that the installed server runs as: its entry in the machine's files, judged and planned.
 *
 * Promise: an account counts as fit only without shell, home, password and any group but its own.
 * Source:  passwd(5), shadow(5), group(5), useradd(8)
 * Proof:   test/unit/layers/2-system-user.test.ts, test/attacks/2-isolate.test.ts
 * @module
 */

export const accountName = 'kwyre';
const noHome = '/nonexistent';

/** The texts of `/etc/passwd`, `/etc/group` and `/etc/shadow`; the last is root's to read. */
export type AccountFiles = { readonly passwd: string; readonly group: string; readonly shadow: string | undefined };

/** Who has the name: nobody, a user fit for us, or one that is not. */
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

/** Judges the entries of our user. */
export function judgeAccount(files: AccountFiles): Account {
  const entries = rows(files.passwd).filter(([name]) => name === accountName);
  const groups = rows(files.group);
  const group = groups.find(([name]) => name === accountName);
  const unfit = (why: string): Account => ({ state: 'unfit', why });
  const [entry] = entries;
  if (entry === undefined)
    return group === undefined ? { state: 'absent' } : unfit('there is a group of that name, but no user');
  const [, password = '', uidText = '', gidText = '', , home = '', shell = ''] = entry;
  const [uid, gid] = [Number(uidText), Number(gidText)];
  if (entries.length !== 1 || !/^\d+$/.test(uidText) || !/^\d+$/.test(gidText) || uid === 0 || gid === 0)
    return unfit('its entry is not one of an ordinary system user');
  if (!/\/(nologin|false)$/.test(shell)) return unfit('it has a shell');
  if (home !== noHome) return unfit('it has a home');
  if (password !== 'x') return unfit('its password is not in the shadow file');
  if (rows(files.passwd).some(([name, , other]) => name !== accountName && Number(other) === uid))
    return unfit('another user has the same id');
  if (group?.[2] !== gidText || (group[3] ?? '') !== '') return unfit('its group is not its own alone');
  if (groups.some(([name, , , members = '']) => name !== accountName && members.split(',').includes(accountName)))
    return unfit('it is a member of other groups');
  if (files.shadow !== undefined) {
    const secret = rows(files.shadow).find(([name]) => name === accountName)?.[1];
    if (secret === undefined || !/^[!*]/.test(secret)) return unfit('it has a password');
  }
  return { state: 'fit', uid, gid };
}

/** The highest id for system users that neither a user nor a group has; `undefined` when there is none. */
export function freeId(files: AccountFiles): number | undefined {
  const taken = new Set([...rows(files.passwd), ...rows(files.group)].map(([, , id]) => Number(id)));
  for (let id = 999; id > 200; id -= 1) if (!taken.has(id)) return id;
  return undefined;
}

/** The arguments of useradd: without a password it stays locked. */
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

/** A person by name or number, from `/etc/passwd`. */
export function findPerson(
  passwd: string,
  who: string,
): { readonly uid: number; readonly gid: number; readonly name: string } | undefined {
  for (const [name = '', , uid = '', gid = ''] of rows(passwd))
    if (name === who || uid === who) return { uid: Number(uid), gid: Number(gid), name };
  return undefined;
}
