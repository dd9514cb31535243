/**
 * Reads the present state of the machine for `kwyre isolate`: record, accounts, tools, firewall rules, files and units.
 *
 * Proof: test/attacks/2-isolate.test.ts
 * @module
 */
import { existsSync, lstatSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { KwyreError } from '../../base/errors.ts';
import type { AccountFiles } from '../../layers/2-isolation/install/system-user.ts';
import { freeId, judgeAccount } from '../../layers/2-isolation/install/system-user.ts';
import type { Command, Firewall, Ownership } from '../../layers/2-isolation/install/firewall.ts';
import { judgeOwnership, ownershipQuestions, planRules } from '../../layers/2-isolation/install/firewall.ts';
import type { Installed } from '../../layers/2-isolation/install/install-record.ts';
import { accessFolder, parseInstalled, places, recordPath } from '../../layers/2-isolation/install/install-record.ts';
import type { MachineState, Tools } from '../../layers/2-isolation/install/install-input.ts';
import { ownFiles, tools } from '../../layers/2-isolation/install/install-input.ts';
import type { UnitName } from '../../layers/2-isolation/install/systemd-units.ts';
import { enabledLinks, unitNames } from '../../layers/2-isolation/install/systemd-units.ts';
import { findProgram, runCommand } from '../../linux/command.ts';
import { readRegularText, readRootText } from '../../state/root-files.ts';
import { hasAccess } from './person-access.ts';

/** Reads the record of the installation; `undefined` if there is none. @throws `L2_ISOLATE_RECORD` */
export function readInstalled(): Installed | undefined {
  const text = readRootText(recordPath, 'L2_ISOLATE_RECORD');
  return text === undefined ? undefined : parseInstalled(text);
}

/** Reads the account files; `shadow` only as root, because no other user can read it. */
export function readAccounts(): AccountFiles {
  const shadow = process.getuid?.() === 0 ? readFileSync('/etc/shadow', 'latin1') : undefined;
  return { passwd: readFileSync('/etc/passwd', 'utf8'), group: readFileSync('/etc/group', 'utf8'), shadow };
}

/** @throws `L2_ISOLATE_TOOLS` */
function findTools(): Tools {
  const found = Object.fromEntries([...tools, 'nologin'].map((name) => [name, findProgram(name) ?? '']));
  const missing = Object.entries(found)
    .filter(([, path]) => path === '')
    .map(([name]) => name);
  if (missing.length > 0)
    throw new KwyreError(
      'L2_ISOLATE_TOOLS',
      `programs are missing: ${missing.join(', ')}`,
      'isolate needs Linux with systemd and the shadow utilities; inside WSL2, enable systemd in /etc/wsl.conf',
    );
  return found as Tools;
}

/** Returns nftables if it is installed, or else iptables with ip6tables. @throws `L2_ISOLATE_TOOLS` */
function findFirewall(): Firewall {
  const nft = findProgram('nft');
  if (nft !== undefined) return { kind: 'nft', nft };
  const [iptables, restore, ip6tables, restore6] = [
    'iptables',
    'iptables-restore',
    'ip6tables',
    'ip6tables-restore',
  ].map(findProgram);
  if (iptables !== undefined && restore !== undefined && ip6tables !== undefined && restore6 !== undefined)
    return { kind: 'iptables', iptables, restore, ip6tables, restore6 };
  throw new KwyreError(
    'L2_ISOLATE_TOOLS',
    'neither nftables nor iptables with ip6tables is installed',
    'install the package nftables',
  );
}

/** Returns the output of each command; `undefined` if one of them fails. */
function outputsOf(commands: readonly Command[]): string[] | undefined {
  const ran = commands.map((command) => runCommand(command.argv));
  return ran.every((each) => each.ok) ? ran.map((each) => each.stdout) : undefined;
}

/** Returns whether rules with Kwyre's names exist, and whether Kwyre made them. @throws `L2_ISOLATE_FIREWALL` */
export function readRules(firewall: Firewall): Ownership {
  const answers = outputsOf(ownershipQuestions(firewall));
  if (answers === undefined)
    throw new KwyreError(
      'L2_ISOLATE_FIREWALL',
      'the firewall rules cannot be listed',
      'run the command as root, on a kernel with nftables or iptables',
    );
  return judgeOwnership(firewall, answers);
}

/** Returns the rules as the kernel lists them now, for the record. */
export function readShownRules(firewall: Firewall, uid: number, port: number): Installed['witness'] {
  const { witness } = planRules(firewall, { uid, port });
  const shown = outputsOf(witness) ?? [];
  return witness.map((command, index) => ({ command, shown: shown[index] ?? '' }));
}

/** Returns whether the kernel still lists the rules as they were recorded. */
export function rulesMatchRecord(record: Installed): boolean {
  const now = outputsOf(record.witness.map((entry) => entry.command));
  return (
    now !== undefined &&
    record.witness.length > 0 &&
    record.witness.every((entry, index) => entry.shown !== '' && entry.shown === now[index])
  );
}

export function readUnits(root: string): Readonly<Record<UnitName, string>> {
  return Object.fromEntries(
    unitNames.map((name) => [name, readFileSync(join(root, 'packaging', 'systemd', name), 'utf8')]),
  ) as Record<UnitName, string>;
}

/** Files that differ between versions of the program. */
const versionFiles = [
  'kwyre',
  'package.json',
  'package-lock.json',
  'dist/sources.sha256',
  ...unitNames.map((name) => `packaging/systemd/${name}`),
];

function isCurrent(root: string): boolean {
  return (
    root === places.program ||
    versionFiles.every(
      (name) =>
        existsSync(join(places.program, name)) &&
        readFileSync(join(root, name)).equals(readFileSync(join(places.program, name))),
    )
  );
}

function isLink(path: string): boolean {
  try {
    return readlinkSync(path) !== '';
  } catch {
    return false;
  }
}

/** Reads everything that a plan depends on. @throws `L2_ISOLATE_*` */
export function readMachineState(root: string, person: { readonly uid: number }): MachineState {
  const record = readInstalled();
  const asRoot = process.getuid?.() === 0;
  const accounts = readAccounts();
  const account = judgeAccount(accounts);
  const firewall = record?.firewall ?? findFirewall();
  const files = new Map<string, string>();
  for (const path of ownFiles) {
    const text = (enabledLinks as readonly string[]).includes(path) && isLink(path) ? '' : readRegularText(path);
    if (text !== undefined) files.set(path, text);
  }
  const folders = new Set(
    [places.program, places.state, places.access, accessFolder(person.uid)].filter(
      (path) => lstatSync(path, { throwIfNoEntry: false }) !== undefined,
    ),
  );
  const state = lstatSync(places.state, { throwIfNoEntry: false });
  const systemctl = findProgram('systemctl');
  const booted = existsSync('/run/systemd/system');
  return {
    record,
    tools: findTools(),
    firewall,
    account,
    freeId: freeId(accounts),
    rules: asRoot ? readRules(firewall) : 'absent',
    rulesAsRecorded: asRoot && record !== undefined && rulesMatchRecord(record),
    files,
    folders,
    packaged: readUnits(root),
    root,
    programCurrent: isCurrent(root),
    stateFit:
      account.state === 'fit' &&
      state?.isDirectory() === true &&
      state.uid === account.uid &&
      (state.mode & 0o777) === 0o700,
    accessFit: asRoot && hasAccess(person.uid),
    booted,
    active: booted && systemctl !== undefined && runCommand([systemctl, 'is-active', '--quiet', 'kwyre.socket']).ok,
  };
}
