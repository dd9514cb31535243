/**
 * The machine that `kwyre isolate` works on: what is there now, and the acts of a plan, done in order and undone in
 * reverse when one fails.
 *
 * Promise: exactly the planned commands run; a failed installation leaves what was there before.
 * Proof:   test/attacks/2-isolate.test.ts
 * @module
 */
import { existsSync, lstatSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { KwyreError } from '../../base/errors.ts';
import type { AccountFiles } from '../../layers/2-isolation/install/system-user.ts';
import { freeId, judgeAccount } from '../../layers/2-isolation/install/system-user.ts';
import type { Command, Firewall, Ownership } from '../../layers/2-isolation/install/firewall.ts';
import { judgeOwnership, ownershipQuestions, planRules } from '../../layers/2-isolation/install/firewall.ts';
import { judgeEgress, egressCheckProgram } from '../../layers/2-isolation/probe/egress-check.ts';
import type { Installed } from '../../layers/2-isolation/install/install-record.ts';
import { accessFolder, parseInstalled, places, recordPath } from '../../layers/2-isolation/install/install-record.ts';
import type { Access, Action, MachineState, Step, Tools } from '../../layers/2-isolation/install/install-steps.ts';
import { ownFiles, tools } from '../../layers/2-isolation/install/install-steps.ts';
import type { UnitName } from '../../layers/2-isolation/install/systemd-units.ts';
import { enabledLinks, unitNames } from '../../layers/2-isolation/install/systemd-units.ts';
import { findProgram, runCommand } from '../../linux/command.ts';
import { readRegularText, readRootText, replaceRootFile } from '../../state/root-files.ts';
import { digestToken, makeToken } from '../../state/token-store.ts';

/** The installation that is recorded on this machine. @throws `L2_ISOLATE_RECORD` */
export function readInstalled(): Installed | undefined {
  const text = readRootText(recordPath, 'L2_ISOLATE_RECORD');
  return text === undefined ? undefined : parseInstalled(text);
}

/** The users of the machine; the shadow file is root's to read. */
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
      `this system has no ${missing.join(', ')}`,
      'isolate needs a Linux with systemd and the usual tools for users; inside WSL2 switch systemd on in /etc/wsl.conf',
    );
  return found as Tools;
}

/** nftables where it is there, else iptables with ip6tables. @throws `L2_ISOLATE_TOOLS` */
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
    'this system has neither nftables nor iptables with ip6tables',
    'install the package nftables',
  );
}

/** What the kernel shows for the commands; `undefined` when one of them fails. */
function show(commands: readonly Command[]): string[] | undefined {
  const ran = commands.map((command) => runCommand(command.argv));
  return ran.every((each) => each.ok) ? ran.map((each) => each.stdout) : undefined;
}

/** Whose rules bear our names. @throws `L2_ISOLATE_FIREWALL` */
export function readRules(firewall: Firewall): Ownership {
  const answers = show(ownershipQuestions(firewall));
  if (answers === undefined)
    throw new KwyreError(
      'L2_ISOLATE_FIREWALL',
      'the rules of the firewall cannot be listed',
      'run it as root; the kernel needs nftables or iptables',
    );
  return judgeOwnership(firewall, answers);
}

/** The rules as the kernel shows them now, for the record. */
export function readWitness(firewall: Firewall, uid: number, port: number): Installed['witness'] {
  const { witness } = planRules(firewall, { uid, port });
  const shown = show(witness) ?? [];
  return witness.map((command, index) => ({ command, shown: shown[index] ?? '' }));
}

/** Whether the kernel shows what was recorded. */
export function sameWitness(record: Installed): boolean {
  const now = show(record.witness.map((entry) => entry.command));
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

/** Files that tell one version of the program from another. */
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

/** Everything that a plan depends on. @throws `L2_ISOLATE_*` */
export function readFacts(root: string, person: { readonly uid: number }): MachineState {
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
    rulesAsRecorded: asRoot && record !== undefined && sameWitness(record),
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

const tokensPath = `${places.state}/tokens.json`;

/** The named tokens of the installed server, as they lie there. */
function readTokens(): { readonly name: string; readonly digest: string }[] {
  try {
    const value: unknown = JSON.parse(readRegularText(tokensPath) ?? '[]');
    const isToken = (entry: unknown): entry is { name: string; digest: string } =>
      typeof entry === 'object' &&
      entry !== null &&
      typeof (entry as { name?: unknown }).name === 'string' &&
      typeof (entry as { digest?: unknown }).digest === 'string';
    return Array.isArray(value) ? value.filter(isToken) : [];
  } catch {
    return []; // damaged: the server refuses it too, and every token in it is void
  }
}

function hasAccess(uid: number): boolean {
  const token = readRegularText(`${accessFolder(uid)}/token`)?.trim();
  return token !== undefined && readTokens().some((entry) => entry.digest === digestToken(token));
}

/** A new token for the person, and what the server keeps of it. */
export function makeAccess(person: { readonly uid: number }, port: number): Access {
  const token = makeToken();
  const now = new Date().toISOString();
  const name = `person-${person.uid}`;
  const kept = [
    ...readTokens().filter((entry) => entry.name !== name),
    { name, digest: digestToken(token), createdAt: now },
  ];
  return {
    token: `${token}\n`,
    header: `Authorization: Bearer ${token}\n`,
    presence: `${JSON.stringify({ pid: 1, port, socket: null, model: 'installed', startedAt: now })}\n`,
    tokens: `${JSON.stringify(kept, undefined, 2)}\n`,
  };
}

/** Tries to get out as the dedicated user with nothing but the rules in the way. */
export function tryReach(
  root: string,
  identity: { readonly uid: number; readonly gid: number },
): { readonly held: boolean; readonly evidence: string } {
  const node = process.execPath.startsWith(`${root}/`)
    ? join(places.program, process.execPath.slice(root.length))
    : process.execPath;
  const { uid, gid } = identity;
  const ran = runCommand([node, '-e', egressCheckProgram], { uid, gid });
  const judged = judgeEgress(ran.stdout);
  if (judged === undefined) return { held: false, evidence: `the attempt could not be made (${ran.why})` };
  return judged.out.length === 0
    ? { held: true, evidence: `tried as uid ${uid} just now: ${judged.seen}` }
    : { held: false, evidence: `as uid ${uid} these got out: ${judged.out.join(', ')}` };
}

type Undo = () => void;

function act(action: Action, undo: Undo[]): void {
  switch (action.do) {
    case 'run': {
      const ran = runCommand(action.argv);
      if (!ran.ok && action.mayFail !== true)
        throw new KwyreError(
          'L2_ISOLATE_FAILED',
          `${action.argv[0] ?? ''} failed (${ran.why})`,
          'what was done before that is taken back; mend that and do it again',
        );
      return;
    }
    case 'write': {
      const { path } = action;
      const before = readRegularText(path);
      const facts = lstatSync(path, { throwIfNoEntry: false });
      replaceRootFile(path, action.text, action.mode, action.owner);
      undo.push(() => {
        if (before === undefined || facts === undefined) rmSync(path, { force: true });
        else replaceRootFile(path, before, facts.mode & 0o777, facts);
      });
      return;
    }
    case 'delete':
      rmSync(action.path, { force: true });
  }
}

/** A step as far as it was done. */
type Done = { readonly step: Step; readonly writes: Undo[]; completed: number };

/** Runs a step's way back; what fails is told, and the rest goes on. */
function takeBack({ step, writes, completed }: Done, failures: string[]): void {
  if (completed === 0) return;
  const attempt = (what: Undo) => {
    try {
      what();
    } catch (error) {
      failures.push(
        `${step.id} (${error instanceof KwyreError ? error.message : ((error as NodeJS.ErrnoException).code ?? 'error')})`,
      );
    }
  };
  for (const undo of [...writes].reverse()) attempt(undo);
  for (const action of step.undo)
    attempt(() => {
      act(action, []);
    });
}

/**
 * Does the steps, then `verify`; when anything fails, everything that has a way back is taken back in reverse.
 * @throws `L2_ISOLATE_FAILED`
 */
export function perform(steps: readonly Step[], tell: (step: Step) => void, verify: () => void): void {
  const done: Done[] = [];
  try {
    for (const step of steps) {
      tell(step);
      const now: Done = { step, writes: [], completed: 0 };
      done.push(now);
      for (const action of step.actions) {
        act(action, now.writes);
        now.completed += 1;
      }
    }
    verify();
  } catch (error) {
    const why =
      error instanceof KwyreError
        ? error.message
        : `${done.at(-1)?.step.id ?? 'a step'} failed (${(error as NodeJS.ErrnoException).code ?? 'error'})`;
    if (steps.every((step) => step.undo.length === 0))
      throw new KwyreError('L2_ISOLATE_FAILED', why, 'mend that and run it again: it goes on where it stopped');
    const failures: string[] = [];
    for (const each of done.reverse()) takeBack(each, failures);
    if (failures.length > 0)
      throw new KwyreError(
        'L2_ISOLATE_FAILED',
        `${why}; and this could not be undone: ${failures.join(', ')}`,
        './kwyre isolate remove takes the rest away',
      );
    throw new KwyreError('L2_ISOLATE_FAILED', `${why}; what was done before was undone`, 'mend that and run it again');
  }
}
