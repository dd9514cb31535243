/**
 * The steps of `kwyre isolate install` as data: what each step runs and writes, and how to undo it.
 *
 * Promise: the plan contains only the missing steps, so a second installation does nothing. The firewall rules are
 *          loaded before the server starts.
 * Proof:   test/unit/layers/2-install-steps.test.ts, test/attacks/2-isolate.test.ts
 * @module
 */
import { KwyreError } from '../../../base/errors.ts';
import type { Command, RuleSet } from './firewall.ts';
import { planRules } from './firewall.ts';
import type { Installed } from './install-record.ts';
import { accessFolder, formatInstalled, places, recordFolder, recordPath } from './install-record.ts';
import type { MachineState } from './install-input.ts';
import { assertOwned } from './install-input.ts';
import { accountName, makeAccount } from './system-user.ts';
import { enabledLinks, renderUnits, unitFolder, unitNames } from './systemd-units.ts';

/** One change to the machine. */
export type Action =
  | ({ readonly do: 'run' } & Command)
  | {
      readonly do: 'write';
      readonly path: string;
      readonly mode: number;
      readonly text: string;
      readonly owner?: { readonly uid: number; readonly gid: number };
      /** The content is never printed. */
      readonly secret?: true;
    }
  | { readonly do: 'delete'; readonly path: string };

/** Actions that belong together. `undo` runs after the previous contents of all written files are restored. */
export type Step = {
  readonly id: string;
  readonly what: string;
  readonly actions: readonly Action[];
  readonly undo: readonly Action[];
};

/** Contents of the user's access files, and of the server's token file. */
export type Access = {
  readonly token: string;
  readonly header: string;
  readonly presence: string;
  readonly tokens: string;
};

/** The requested installation. @internal */
export type InstallRequest = {
  readonly port: number;
  readonly person: { readonly uid: number; readonly gid: number };
  readonly access: Access;
};

/** The parts of this installation that are copied to `/opt/kwyre`. */
const programParts = [
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

export const run = (...argv: string[]): Action => ({ do: 'run', argv });
export const runCommand = (command: Command): Action => ({ do: 'run', ...command });
/** Returns the same action with failures ignored. */
export const tolerant = (action: Action): Action => (action.do === 'run' ? { ...action, mayFail: true } : action);

/** Returns the action that writes a file, or an empty list if the file already has these contents. */
function planFile(machine: MachineState, path: string, text: string): Action[] {
  return machine.files.get(path) === text ? [] : [{ do: 'write', path, mode: 0o644, text }];
}

/** Returns the record of the installation that the plan results in. @throws `L2_ISOLATE_ACCOUNT` */
function planRecord(machine: MachineState, request: InstallRequest): Installed {
  const { account, record } = machine;
  const uid = account.state === 'fit' ? account.uid : (record?.uid ?? machine.freeId);
  if (uid === undefined)
    throw new KwyreError(
      'L2_ISOLATE_ACCOUNT',
      'no uid is free in the range of system users',
      'remove a system user that is no longer needed',
    );
  return {
    version: 1,
    complete: false,
    uid,
    gid: account.state === 'fit' ? account.gid : uid,
    port: request.port,
    firewall: machine.firewall,
    person: request.person,
    copied: record?.copied ?? machine.root !== places.program,
    witness: record?.witness ?? [],
  };
}

function accountStep({ account, tools }: MachineState, { uid }: Installed): Step {
  return {
    id: 'account',
    what: 'a system user without a shell, home folder or password',
    actions: account.state === 'fit' ? [] : [run(...makeAccount(tools.useradd, tools.nologin, uid))],
    undo: [run(tools.userdel, accountName)],
  };
}

function rulesStep(machine: MachineState, rules: RuleSet): Step & { readonly reload: boolean } {
  const files = rules.files.flatMap(({ path, text }) => planFile(machine, path, text));
  const reload = machine.rules !== 'own' || !machine.rulesAsRecorded || files.length > 0;
  return {
    id: 'rules',
    what: "firewall rules: this user can send nothing but its listener's replies",
    actions: [...files, ...(reload ? rules.load.map(runCommand) : [])],
    undo: (machine.rules === 'absent' ? rules.unload : rules.load).map(runCommand).map(tolerant),
    reload,
  };
}

function programStep({ folders, programCurrent, root, tools }: MachineState): Step {
  const fresh = `${places.program}.new`;
  const old = `${places.program}.old`;
  const exists = folders.has(places.program);
  return {
    id: 'program',
    what: 'a copy of the program that only root can change',
    actions:
      programCurrent || root === places.program
        ? []
        : [
            run(tools.rm, '-rf', fresh, old),
            run(tools.install, '-d', '-m', '0755', '-o', 'root', '-g', 'root', fresh),
            run(
              tools.cp,
              '-R',
              '--preserve=mode,timestamps',
              '--',
              ...programParts.map((part) => `${root}/${part}`),
              fresh,
            ),
            run(tools.chmod, '-R', 'u=rwX,go=rX', fresh),
            ...(exists ? [run(tools.mv, '-T', places.program, old)] : []),
            run(tools.mv, '-T', fresh, places.program),
            run(tools.rm, '-rf', old),
          ],
    undo: [run(tools.rm, '-rf', fresh, ...(exists ? [] : [places.program]))],
  };
}

function stateStep({ folders, stateFit, tools }: MachineState): Step {
  return {
    id: 'state',
    what: 'the state folder, which only the system user can read',
    actions: stateFit
      ? []
      : [run(tools.install, '-d', '-m', '0700', '-o', accountName, '-g', accountName, places.state)],
    undo: folders.has(places.state) ? [] : [run(tools.rm, '-rf', places.state)],
  };
}

function accessStep(
  { accessFit, folders, tools }: MachineState,
  { person, access }: InstallRequest,
  owner: { readonly uid: number; readonly gid: number },
  unchanged: boolean,
): Step {
  const folder = accessFolder(person.uid);
  const secret = (path: string, text: string, of: typeof owner): Action => ({
    do: 'write',
    path,
    mode: 0o600,
    text,
    owner: of,
    secret: true,
  });
  return {
    id: 'access',
    what: 'a token for the installing user, in a folder that only this user can read; the server keeps its digest',
    actions:
      accessFit && unchanged
        ? []
        : [
            run(tools.install, '-d', '-m', '0755', '-o', 'root', '-g', 'root', places.access),
            run(tools.install, '-d', '-m', '0700', '-o', String(person.uid), '-g', String(person.gid), folder),
            secret(`${places.state}/tokens.json`, access.tokens, owner),
            secret(`${folder}/token`, access.token, person),
            secret(`${folder}/authorization`, access.header, person),
            { do: 'write', path: `${folder}/server.json`, mode: 0o600, text: access.presence, owner: person },
          ],
    undo: folders.has(folder) ? [] : [run(tools.rm, '-rf', folder), tolerant(run(tools.rmdir, places.access))],
  };
}

function unitSteps(machine: MachineState, port: number, rules: RuleSet, reload: boolean): Step[] {
  const { active, booted, tools } = machine;
  const units = renderUnits(machine.packaged, port, rules.load);
  const files = unitNames.flatMap((name) => planFile(machine, `${unitFolder}/${name}`, units[name]));
  const changed = files.length > 0;
  const daemonReload = booted ? [run(tools.systemctl, 'daemon-reload')] : [];
  const enabled = enabledLinks.every((link) => machine.files.has(link));
  const stop = tolerant(run(tools.systemctl, 'stop', 'kwyre.service', 'kwyre.socket'));
  const restart = changed || !machine.programCurrent || reload;
  return [
    {
      id: 'units',
      what: 'the systemd units',
      actions: [...files, ...(changed ? daemonReload : [])],
      undo: daemonReload.map(tolerant),
    },
    {
      id: 'boot',
      what: 'from the next boot, systemd loads the rules and opens the port',
      actions: enabled ? [] : [run(tools.systemctl, 'enable', 'kwyre-firewall.service', 'kwyre.socket')],
      undo: enabled ? [] : [tolerant(run(tools.systemctl, 'disable', 'kwyre-firewall.service', 'kwyre.socket'))],
    },
    {
      id: 'start',
      what: 'systemd opens the port now; the first connection starts the server',
      actions:
        !booted || (active && !restart)
          ? []
          : [...(active ? [stop] : []), run(tools.systemctl, 'start', 'kwyre.socket')],
      undo: [stop],
    },
  ];
}

/**
 * Plans the missing steps.
 * @throws `L2_ISOLATE_FOREIGN`, `L2_ISOLATE_ACCOUNT`
 */
export function planInstall(
  machine: MachineState,
  request: InstallRequest,
): { readonly steps: readonly Step[]; readonly installed: Installed } {
  assertOwned(machine);
  const installed = planRecord(machine, request);
  const before = machine.record;
  const unchanged =
    before !== undefined &&
    before.complete &&
    before.port === request.port &&
    before.person.uid === request.person.uid &&
    before.firewall.kind === machine.firewall.kind;
  const rules = planRules(machine.firewall, { uid: installed.uid, port: request.port });
  const { reload, ...loadRules } = rulesStep(machine, rules);
  const steps = [
    accountStep(machine, installed),
    loadRules,
    programStep(machine),
    stateStep(machine),
    accessStep(machine, request, { uid: installed.uid, gid: installed.gid }, unchanged),
    ...unitSteps(machine, request.port, rules, reload),
  ].filter((step) => step.actions.length > 0);
  if (steps.length === 0 && unchanged) return { steps: [], installed: before };
  const record: Step = {
    id: 'record',
    what: 'the record of the installation, written first: removal relies on it alone',
    actions: [
      run(machine.tools.install, '-d', '-m', '0755', '-o', 'root', '-g', 'root', recordFolder),
      { do: 'write', path: recordPath, mode: 0o644, text: formatInstalled(installed) },
    ],
    undo: before === undefined ? [tolerant(run(machine.tools.rmdir, recordFolder))] : [],
  };
  return { steps: [record, ...steps], installed };
}
