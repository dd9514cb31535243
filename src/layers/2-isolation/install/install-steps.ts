/**
 * What `kwyre isolate` does, step by step, as data: what to run and write, and how each step is undone.
 *
 * Promise: a plan holds only what is not in place yet, so that doing it twice does nothing; anything that bears our
 *          names and is not recorded as ours is refused before the first step; the rules come before the server.
 * Proof:   test/unit/layers/2-install-steps.test.ts, test/attacks/2-isolate.test.ts
 * @module
 */
import { KwyreError } from '../../../base/errors.ts';
import type { Account } from './system-user.ts';
import { accountName, makeAccount } from './system-user.ts';
import type { Command, Firewall, Ownership } from './firewall.ts';
import { planRules } from './firewall.ts';
import type { Installed } from './install-record.ts';
import { accessFolder, formatInstalled, places, recordFolder, recordPath } from './install-record.ts';
import type { UnitName } from './systemd-units.ts';
import { enabledLinks, renderUnits, unitFolder, unitNames } from './systemd-units.ts';

/** One act on the machine. */
export type Action =
  | ({ readonly do: 'run' } & Command)
  | {
      readonly do: 'write';
      readonly path: string;
      readonly mode: number;
      readonly text: string;
      readonly owner?: { readonly uid: number; readonly gid: number };
      /** Not to be shown. */ readonly secret?: true;
    }
  | { readonly do: 'delete'; readonly path: string };

/** Acts that belong together, and what takes them back once every written file holds again what it held before. */
export type Step = {
  readonly id: string;
  readonly what: string;
  readonly actions: readonly Action[];
  readonly undo: readonly Action[];
};

/** Programs of the system, by absolute path. */
export const tools = ['useradd', 'userdel', 'systemctl', 'install', 'cp', 'mv', 'rm', 'chmod', 'rmdir'] as const;
export type Tools = Readonly<Record<(typeof tools)[number] | 'nologin', string>>;

/** Everything that a plan depends on, as it is now. */
export type MachineState = {
  readonly record: Installed | undefined;
  readonly tools: Tools;
  readonly firewall: Firewall;
  readonly account: Account;
  /** The id that a new user would get. */
  readonly freeId: number | undefined;
  readonly rules: Ownership;
  /** Whether what the rules show is what was recorded when they were loaded. */
  readonly rulesAsRecorded: boolean;
  /** Contents of those of our files that are there, links included (as an empty text). */
  readonly files: ReadonlyMap<string, string>;
  /** Which of our folders are there. */
  readonly folders: ReadonlySet<string>;
  readonly packaged: Readonly<Record<UnitName, string>>;
  /** Where this program lies, and whether `/opt/kwyre` holds the same. */
  readonly root: string;
  readonly programCurrent: boolean;
  /** Whether the state folder belongs to our user alone. */
  readonly stateFit: boolean;
  /** The tokens of the installed server hold the digest of the one that the person has. */
  readonly accessFit: boolean;
  /** Whether systemd runs the machine, or is only installed (an image that is being built). */
  readonly booted: boolean;
  readonly active: boolean;
};

/** What the person gets, and what the server keeps of it. */
export type Access = {
  readonly token: string;
  readonly header: string;
  readonly presence: string;
  readonly tokens: string;
};

/** What the person asked for. */
export type InstallRequest = {
  readonly port: number;
  readonly person: { readonly uid: number; readonly gid: number };
  readonly access: Access;
};

/** What is copied: what runs, and nothing else. */
export const programParts = [
  'kwyre',
  'package.json',
  'package-lock.json',
  'node_modules',
  'src',
  'dist',
  'page',
  'models',
  'packaging',
] as const;

/** Files that only an installation of ours makes. */
export const ownFiles = [
  `${recordFolder}/firewall.nft`,
  `${recordFolder}/firewall.v4`,
  `${recordFolder}/firewall.v6`,
  ...unitNames.map((name) => `${unitFolder}/${name}`),
  ...enabledLinks,
] as const;

const run = (...argv: string[]): Action => ({ do: 'run', argv });
const tolerant = (action: Action): Action => (action.do === 'run' ? { ...action, mayFail: true } : action);
const asRun = (command: Command): Action => ({ do: 'run', ...command });

function foreign(what: string): KwyreError {
  return new KwyreError(
    'L2_ISOLATE_FOREIGN',
    `${what} is there already and was not made by an installation of Kwyre; nothing was changed`,
    'look at it, and remove or rename it yourself if nothing needs it',
  );
}

/** Refuses to touch what others made. @throws `L2_ISOLATE_FOREIGN`, `L2_ISOLATE_ACCOUNT` */
function assertOurs(facts: MachineState): void {
  if (facts.rules === 'foreign')
    throw foreign(
      facts.firewall.kind === 'nft' ? 'a table inet kwyre with other rules' : 'a chain KWYRE-ISOLATE with other rules',
    );
  if (facts.account.state === 'unfit')
    throw new KwyreError(
      'L2_ISOLATE_ACCOUNT',
      `the user ${accountName} is not fit for it: ${facts.account.why}`,
      `look at getent passwd ${accountName}; Kwyre needs that name for a user of its own`,
    );
  if (facts.record !== undefined) {
    if (
      facts.account.state === 'fit' &&
      (facts.account.uid !== facts.record.uid || facts.account.gid !== facts.record.gid)
    )
      throw foreign(`a user ${accountName} with another id than the recorded one`);
    return;
  }
  if (facts.account.state === 'fit') throw foreign(`a user ${accountName}`);
  if (facts.rules === 'own') throw foreign('a rule set by our names');
  for (const path of [...facts.files.keys(), ...facts.folders]) {
    if (path === places.program && facts.root === places.program) continue;
    throw foreign(path);
  }
}

/** A file that is written unless it holds the text already. */
function planFile(facts: MachineState, path: string, text: string): Action[] {
  return facts.files.get(path) === text ? [] : [{ do: 'write', path, mode: 0o644, text }];
}

/**
 * The steps that are missing.
 * @throws `L2_ISOLATE_FOREIGN`, `L2_ISOLATE_ACCOUNT`
 */
export function planInstall(
  facts: MachineState,
  wish: InstallRequest,
): { readonly steps: readonly Step[]; readonly installed: Installed } {
  assertOurs(facts);
  const { tools: tool } = facts;
  const id = facts.account.state === 'fit' ? facts.account.uid : (facts.record?.uid ?? facts.freeId);
  if (id === undefined)
    throw new KwyreError(
      'L2_ISOLATE_ACCOUNT',
      'every id for system users is taken',
      'remove a system user that nothing needs',
    );
  const gid = facts.account.state === 'fit' ? facts.account.gid : id;
  const copied = facts.root !== places.program;
  const installed: Installed = {
    version: 1,
    complete: false,
    uid: id,
    gid,
    port: wish.port,
    firewall: facts.firewall,
    person: wish.person,
    copied: facts.record?.copied ?? copied,
    witness: facts.record?.witness ?? [],
  };
  const before = facts.record;
  const same =
    before !== undefined &&
    before.complete &&
    before.port === wish.port &&
    before.person.uid === wish.person.uid &&
    before.firewall.kind === facts.firewall.kind;
  const steps: Step[] = [];
  const add = (step: Step) => {
    if (step.actions.length > 0) steps.push(step);
  };

  add({
    id: 'account',
    what: 'a system user without shell, home or password',
    actions: facts.account.state === 'fit' ? [] : [asRun({ argv: makeAccount(tool.useradd, tool.nologin, id) })],
    undo: [run(tool.userdel, accountName)],
  });

  const rules = planRules(facts.firewall, { uid: id, port: wish.port });
  const ruleFiles = rules.files.flatMap(({ path, text }) => planFile(facts, path, text));
  const reload = facts.rules !== 'own' || !facts.rulesAsRecorded || ruleFiles.length > 0;
  add({
    id: 'rules',
    what: 'nothing leaves that this user owns, but the answers of our own listener',
    actions: [...ruleFiles, ...(reload ? rules.load.map(asRun) : [])],
    undo: (facts.rules === 'absent' ? rules.unload : rules.load).map(asRun).map(tolerant),
  });

  const fresh = `${places.program}.new`;
  const old = `${places.program}.old`;
  const there = facts.folders.has(places.program);
  add({
    id: 'program',
    what: 'a copy of the program that only root can change',
    actions:
      facts.programCurrent || !copied
        ? []
        : [
            run(tool.rm, '-rf', fresh, old),
            run(tool.install, '-d', '-m', '0755', '-o', 'root', '-g', 'root', fresh),
            run(
              tool.cp,
              '-R',
              '--preserve=mode,timestamps',
              '--',
              ...programParts.map((part) => `${facts.root}/${part}`),
              fresh,
            ),
            run(tool.chmod, '-R', 'u=rwX,go=rX', fresh),
            ...(there ? [run(tool.mv, '-T', places.program, old)] : []),
            run(tool.mv, '-T', fresh, places.program),
            run(tool.rm, '-rf', old),
          ],
    undo: [run(tool.rm, '-rf', fresh, ...(there ? [] : [places.program]))],
  });

  const access = accessFolder(wish.person.uid);
  const owner = { uid: id, gid };
  add({
    id: 'state',
    what: "the folder of the server's state, its user's alone",
    actions: facts.stateFit
      ? []
      : [run(tool.install, '-d', '-m', '0700', '-o', accountName, '-g', accountName, places.state)],
    undo: facts.folders.has(places.state) ? [] : [run(tool.rm, '-rf', places.state)],
  });
  add({
    id: 'access',
    what: 'a token for the person who installs it, in a folder that only that person can read; the server keeps its digest',
    actions:
      facts.accessFit && same
        ? []
        : [
            run(tool.install, '-d', '-m', '0755', '-o', 'root', '-g', 'root', places.access),
            run(tool.install, '-d', '-m', '0700', '-o', String(wish.person.uid), '-g', String(wish.person.gid), access),
            {
              do: 'write',
              path: `${places.state}/tokens.json`,
              mode: 0o600,
              text: wish.access.tokens,
              owner,
              secret: true,
            },
            {
              do: 'write',
              path: `${access}/token`,
              mode: 0o600,
              text: wish.access.token,
              owner: wish.person,
              secret: true,
            },
            {
              do: 'write',
              path: `${access}/authorization`,
              mode: 0o600,
              text: wish.access.header,
              owner: wish.person,
              secret: true,
            },
            { do: 'write', path: `${access}/server.json`, mode: 0o600, text: wish.access.presence, owner: wish.person },
          ],
    undo: facts.folders.has(access) ? [] : [run(tool.rm, '-rf', access), tolerant(run(tool.rmdir, places.access))],
  });

  const units = renderUnits(facts.packaged, wish.port, rules.load);
  const unitFiles = unitNames.flatMap((name) => planFile(facts, `${unitFolder}/${name}`, units[name]));
  const changed = unitFiles.length > 0;
  const daemonReload = facts.booted ? [run(tool.systemctl, 'daemon-reload')] : [];
  add({
    id: 'units',
    what: 'the units of systemd',
    actions: [...unitFiles, ...(changed ? daemonReload : [])],
    undo: daemonReload.map(tolerant),
  });
  const enabled = enabledLinks.every((link) => facts.files.has(link));
  add({
    id: 'boot',
    what: 'rules and port are there from the next boot on',
    actions: enabled ? [] : [run(tool.systemctl, 'enable', 'kwyre-firewall.service', 'kwyre.socket')],
    undo: enabled ? [] : [tolerant(run(tool.systemctl, 'disable', 'kwyre-firewall.service', 'kwyre.socket'))],
  });
  const restart = changed || !facts.programCurrent || reload;
  add({
    id: 'start',
    what: 'the port is opened now; the first connection starts the server',
    actions:
      !facts.booted || (facts.active && !restart)
        ? []
        : [
            ...(facts.active ? [tolerant(run(tool.systemctl, 'stop', 'kwyre.service', 'kwyre.socket'))] : []),
            run(tool.systemctl, 'start', 'kwyre.socket'),
          ],
    undo: [tolerant(run(tool.systemctl, 'stop', 'kwyre.service', 'kwyre.socket'))],
  });

  if (steps.length === 0 && same) return { steps: [], installed: before };
  const record: Step = {
    id: 'record',
    what: 'what is installed, written down first: the only thing that says what is ours',
    actions: [
      run(tool.install, '-d', '-m', '0755', '-o', 'root', '-g', 'root', recordFolder),
      { do: 'write', path: recordPath, mode: 0o644, text: formatInstalled(installed) },
    ],
    undo: before === undefined ? [tolerant(run(tool.rmdir, recordFolder))] : [],
  };
  return { steps: [record, ...steps], installed };
}

/**
 * The steps that take everything away again. None is undone: doing it again goes on where it stopped.
 * @throws `L2_ISOLATE_FOREIGN`, `L2_ISOLATE_ACCOUNT`
 */
export function planRemove(facts: MachineState): readonly Step[] {
  const { record, tools: tool } = facts;
  if (record === undefined) return [];
  assertOurs(facts);
  const steps: Step[] = [];
  const add = (id: string, what: string, ...actions: Action[]) => {
    if (actions.length > 0) steps.push({ id, what, actions, undo: [] });
  };
  const links = enabledLinks.some((link) => facts.files.has(link));
  const units = unitNames.filter((name) => facts.files.has(`${unitFolder}/${name}`));
  if (facts.booted && units.length > 0)
    add(
      'stop',
      'the server ends, and with it every conversation',
      run(tool.systemctl, 'stop', ...[...units].reverse()),
    );
  if (links)
    add(
      'boot',
      'nothing of it starts with the machine any more',
      tolerant(run(tool.systemctl, 'disable', 'kwyre-firewall.service', 'kwyre.socket')),
      ...enabledLinks.map((path): Action => ({ do: 'delete', path })),
    );
  add(
    'units',
    'the units of systemd',
    ...units.map((name): Action => ({ do: 'delete', path: `${unitFolder}/${name}` })),
    ...(facts.booted && units.length > 0 ? [run(tool.systemctl, 'daemon-reload')] : []),
  );
  // The user goes before its rules do: userdel refuses while a process of it is alive.
  if (facts.account.state === 'fit')
    add('account', 'the user; refused while anything runs as it', run(tool.userdel, accountName));
  const rules = planRules(record.firewall, { uid: record.uid, port: record.port });
  add(
    'rules',
    'the rules',
    ...(facts.rules === 'own' ? rules.unload.map(asRun) : []),
    ...rules.files.filter(({ path }) => facts.files.has(path)).map(({ path }): Action => ({ do: 'delete', path })),
  );
  const folders = [places.state, accessFolder(record.person.uid), ...(record.copied ? [places.program] : [])].filter(
    (path) => facts.folders.has(path),
  );
  add(
    'folders',
    'program, state (named tokens, event log) and token',
    ...(folders.length > 0 ? [run(tool.rm, '-rf', ...folders)] : []),
    ...(facts.folders.has(places.access) ? [tolerant(run(tool.rmdir, places.access))] : []),
  );
  add('record', 'the record of all this', { do: 'delete', path: recordPath }, tolerant(run(tool.rmdir, recordFolder)));
  return steps;
}
