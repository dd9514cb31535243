/**
 * The state of a machine before an installation, and the check that refuses to touch anything that another program
 * made.
 *
 * Promise: refuses anything that uses one of Kwyre's names but is not in the record.
 * Proof:   test/unit/layers/2-install-steps.test.ts, test/attacks/2-isolate.test.ts
 * @module
 */
import { KwyreError } from '../../../base/errors.ts';
import type { Firewall, Ownership } from './firewall.ts';
import type { Installed } from './install-record.ts';
import { places, recordFolder } from './install-record.ts';
import type { Account } from './system-user.ts';
import { accountName } from './system-user.ts';
import type { UnitName } from './systemd-units.ts';
import { enabledLinks, unitFolder, unitNames } from './systemd-units.ts';

/** System programs that an installation runs. */
export const tools = ['useradd', 'userdel', 'systemctl', 'install', 'cp', 'mv', 'rm', 'chmod', 'rmdir'] as const;
/** Absolute paths of these programs. */
export type Tools = Readonly<Record<(typeof tools)[number] | 'nologin', string>>;

/** Everything that a plan depends on. */
export type MachineState = {
  readonly record: Installed | undefined;
  readonly tools: Tools;
  readonly firewall: Firewall;
  readonly account: Account;
  /** The uid for a new user; `undefined` if none is free. */
  readonly freeId: number | undefined;
  readonly rules: Ownership;
  /** Whether the loaded rules match the record. */
  readonly rulesAsRecorded: boolean;
  /** Contents of Kwyre's files, as far as they exist; empty for a symbolic link. */
  readonly files: ReadonlyMap<string, string>;
  /** Kwyre's folders, as far as they exist. */
  readonly folders: ReadonlySet<string>;
  readonly packaged: Readonly<Record<UnitName, string>>;
  /** The folder of this program. */
  readonly root: string;
  /** Whether `/opt/kwyre` has the same contents as `root`. */
  readonly programCurrent: boolean;
  /** Whether the state folder belongs to the system user and no other user can access it. */
  readonly stateFit: boolean;
  /** Whether the installed server accepts the token of the user who installed it. */
  readonly accessFit: boolean;
  /** Whether systemd is running; false in an image that is being built. */
  readonly booted: boolean;
  readonly active: boolean;
};

/** Files that an installation creates. */
export const ownFiles = [
  `${recordFolder}/firewall.nft`,
  `${recordFolder}/firewall.v4`,
  `${recordFolder}/firewall.v6`,
  ...unitNames.map((name) => `${unitFolder}/${name}`),
  ...enabledLinks,
] as const;

function foreign(what: string): KwyreError {
  return new KwyreError(
    'L2_ISOLATE_FOREIGN',
    `${what} already exists and was not created by Kwyre; nothing was changed`,
    'if nothing needs it, remove or rename it',
  );
}

/** Refuses a machine on which another program uses Kwyre's names. @throws `L2_ISOLATE_FOREIGN`, `L2_ISOLATE_ACCOUNT` */
export function assertOwned(machine: MachineState): void {
  const { account, record } = machine;
  if (machine.rules === 'foreign')
    throw foreign(
      machine.firewall.kind === 'nft'
        ? 'a table inet kwyre with other rules'
        : 'a chain KWYRE-ISOLATE with other rules',
    );
  if (account.state === 'unfit')
    throw new KwyreError(
      'L2_ISOLATE_ACCOUNT',
      `the user ${accountName} is not a locked system user: ${account.why}`,
      `Kwyre needs this user name for itself; check the account: getent passwd ${accountName}`,
    );
  if (record !== undefined) {
    if (account.state === 'fit' && (account.uid !== record.uid || account.gid !== record.gid))
      throw foreign(`a user ${accountName} with an id other than the recorded one`);
    return;
  }
  if (account.state === 'fit') throw foreign(`a user ${accountName}`);
  if (machine.rules === 'own') throw foreign("a rule set with Kwyre's names");
  for (const path of [...machine.files.keys(), ...machine.folders]) {
    if (path === places.program && machine.root === places.program) continue;
    throw foreign(path);
  }
}
