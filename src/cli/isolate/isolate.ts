/**
 * `kwyre isolate`: the installed form of the server, as a user of its own behind firewall rules; planned, done, shown
 * and taken away.
 *
 * `plan` prints every command and file first and changes nothing; `install` does exactly that; `remove` takes back what
 * the record of the installation names. On Windows it is the rule of the Windows firewall; macOS says why it is off.
 * @module
 */
import { readFileSync } from 'node:fs';
import { win32 } from 'node:path';
import { parseArgs } from 'node:util';
import { root } from '../../installation/paths.ts';
import { defaultPort } from '../../base/config.ts';
import { KwyreError } from '../../base/errors.ts';
import type { Check } from '../../base/verdict.ts';
import { worst } from '../../base/verdict.ts';
import { findPerson } from '../../layers/2-isolation/install/system-user.ts';
import type { Command } from '../../layers/2-isolation/install/firewall.ts';
import {
  planWindowsRule,
  unsupportedPlatforms,
  windowsAnswers,
} from '../../layers/2-isolation/install/other-platforms.ts';
import type { Installed } from '../../layers/2-isolation/install/install-record.ts';
import { accessFolder, formatInstalled, places, recordPath } from '../../layers/2-isolation/install/install-record.ts';
import type { Action, Step } from '../../layers/2-isolation/install/install-steps.ts';
import { planInstall, planRemove } from '../../layers/2-isolation/install/install-steps.ts';
import { runCommand } from '../../linux/command.ts';
import { replaceRootFile } from '../../state/root-files.ts';
import { observeInstallation } from './installed-state.ts';
import {
  makeAccess,
  perform,
  readAccounts,
  readFacts,
  readInstalled,
  readRules,
  readWitness,
  tryReach,
} from './transaction.ts';
import { marks } from '../status.ts';
import { plainText } from '../terminal.ts';

const verbs = ['plan', 'install', 'status', 'remove'] as const;
type Verb = (typeof verbs)[number];

type Flags = {
  readonly json: boolean;
  readonly port: number | undefined;
  readonly owner: string | undefined;
  readonly remove: boolean;
};

function usage(): KwyreError {
  return new KwyreError(
    'USAGE_ISOLATE',
    'isolate takes plan [--remove], install [--port N] [--owner NAME], status or remove, each with --json',
    './kwyre isolate plan',
  );
}

function parseFlags(args: readonly string[]): { readonly verb: Verb; readonly flags: Flags } {
  const parse = () =>
    parseArgs({
      args: [...args],
      strict: true,
      allowPositionals: true,
      options: {
        json: { type: 'boolean' },
        remove: { type: 'boolean' },
        port: { type: 'string' },
        owner: { type: 'string' },
      },
    });
  let parsed: ReturnType<typeof parse>;
  try {
    parsed = parse();
  } catch {
    throw usage();
  }
  const [name, ...rest] = parsed.positionals;
  const verb = verbs.find((known) => known === name);
  const { port, owner, json = false, remove = false } = parsed.values;
  if (
    verb === undefined ||
    rest.length > 0 ||
    (port !== undefined && !(/^\d{1,5}$/.test(port) && Number(port) >= 1024 && Number(port) <= 65535))
  )
    throw usage();
  return { verb, flags: { json, remove, port: port === undefined ? undefined : Number(port), owner } };
}

/** Runs `kwyre isolate ...`. */
export function isolate(args: readonly string[]): number {
  const { verb, flags } = parseFlags(args);
  if (process.platform === 'win32') return onWindows(verb, flags);
  if (process.platform !== 'linux') {
    const why = unsupportedPlatforms[process.platform] ?? 'there is nothing on this system that could enforce it';
    if (verb !== 'status')
      throw new KwyreError('L2_ISOLATE_UNAVAILABLE', why, 'run Kwyre on Linux, or in a Linux virtual machine');
    print(flags, { installed: false, status: 'off', reason: why }, `${marks.off} isolation  off\n       ${why}`);
    return 12;
  }
  switch (verb) {
    case 'plan':
      return plan(flags);
    case 'install':
      return install(flags);
    case 'status':
      return show(flags);
    case 'remove':
      return remove(flags);
  }
}

function print(flags: Flags, value: unknown, human: string): void {
  console.log(flags.json ? JSON.stringify(value, undefined, 2) : plainText(human));
}

function assertRoot(verb: Verb): void {
  if (process.getuid?.() !== 0)
    throw new KwyreError(
      'USAGE_ISOLATE_ROOT',
      `isolate ${verb} changes users, rules and units of the machine: only root can`,
      `sudo ./kwyre isolate ${verb} (./kwyre isolate plan shows what it would do)`,
    );
}

/**
 * Who installs: by name, else who logged in (the kernel remembers it across sudo), else who runs this.
 * @throws `USAGE_ISOLATE_OWNER`
 */
function findOwner(name: string | undefined): { readonly uid: number; readonly gid: number; readonly name: string } {
  const { passwd } = readAccounts();
  const login = Number(readFileSync('/proc/self/loginuid', 'latin1'));
  const who = name ?? String(login > 0 && login < 0xffffffff ? login : (process.getuid?.() ?? 0));
  const person = findPerson(passwd, who);
  if (person === undefined)
    throw new KwyreError(
      'USAGE_ISOLATE_OWNER',
      'there is no such user in /etc/passwd',
      './kwyre isolate install --owner NAME says who shall use the server',
    );
  return person;
}

function prepare(flags: Flags) {
  const record = readInstalled();
  const { passwd } = readAccounts();
  const kept =
    record === undefined || flags.owner !== undefined ? undefined : findPerson(passwd, String(record.person.uid));
  const person = kept ?? findOwner(flags.owner);
  const port = flags.port ?? record?.port ?? defaultPort;
  const facts = readFacts(root, person);
  return {
    person,
    port,
    facts,
    ...planInstall(facts, { port, person: { uid: person.uid, gid: person.gid }, access: makeAccess(person, port) }),
  };
}

/** One act for a person to read: what can be typed is printed as it would be typed. */
function describe(action: Action): string {
  if (action.do === 'run')
    return `  $ ${action.argv.map((word) => (/^[A-Za-z0-9_./:=,@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)).join(' ')}${action.mayFail === true ? '   (may fail)' : ''}`;
  if (action.do === 'delete') return `  delete ${action.path}`;
  const head = `  write ${action.path} (mode ${action.mode.toString(8)}, ${action.owner === undefined ? 'root' : `uid ${action.owner.uid}`})`;
  return action.secret === true
    ? `${head}: a secret made at that moment, not shown`
    : `${head}\n${action.text
        .trimEnd()
        .split('\n')
        .map((line) => `    | ${line}`)
        .join('\n')}`;
}

function describeSteps(steps: readonly Step[]): string {
  return steps
    .map((step, index) => `${index + 1}. ${step.id}: ${step.what}\n${step.actions.map(describe).join('\n')}`)
    .join('\n\n');
}

/** The same for programs: everything but secrets. */
function exportSteps(steps: readonly Step[]): unknown {
  const safe = (action: Action) =>
    action.do === 'write' && action.secret === true ? { ...action, text: null } : action;
  return steps.map((step) => ({
    id: step.id,
    what: step.what,
    actions: step.actions.map(safe),
    undo: step.undo.map(safe),
  }));
}

function plan(flags: Flags): number {
  if (flags.remove) {
    const steps = planRemove(readFacts(root, readInstalled()?.person ?? { uid: 0 }));
    print(
      flags,
      { action: 'remove', steps: exportSteps(steps) },
      steps.length === 0 ? 'nothing is installed' : `remove would do this:\n\n${describeSteps(steps)}`,
    );
    return 0;
  }
  const { steps, person, port, facts } = prepare(flags);
  const notes = [
    ...(process.getuid?.() === 0
      ? []
      : ['not seen without root: the rules and passwords that are there now; the plan takes them as absent']),
    ...(facts.booted
      ? []
      : ['systemd does not run this machine now: the units are enabled for its next boot and nothing is started']),
  ];
  const human =
    steps.length === 0
      ? 'everything is in place: install would do nothing'
      : `install would do this, for ${person.name} (uid ${person.uid}), on 127.0.0.1:${port}; when a step fails, the ones before are undone:\n\n${describeSteps(steps)}`;
  print(
    flags,
    { action: 'install', port, person: person.uid, steps: exportSteps(steps), notes },
    [human, ...notes.map((note) => `note: ${note}`)].join('\n'),
  );
  return 0;
}

function tellSteps(flags: Flags): (step: Step) => void {
  return (step) => {
    if (!flags.json) console.log(`${step.id.padEnd(9)} ${step.what}`);
  };
}

function install(flags: Flags): number {
  assertRoot('install');
  const { steps, installed, person, port, facts } = prepare(flags);
  let done = installed;
  if (steps.length > 0) {
    perform(steps, tellSteps(flags), () => {
      done = verifyInstalled(installed);
    });
  }
  const human = [
    steps.length === 0
      ? 'everything was in place already'
      : `installed: the server runs as uid ${done.uid} on 127.0.0.1:${port}, started by the first connection`,
    ...(facts.booted ? [] : ['systemd does not run this machine now: it starts with the next boot']),
    `for ${person.name}: ./kwyre chat and ./kwyre status find it; its token is in ${accessFolder(person.uid)}`,
  ];
  print(
    flags,
    {
      installed: true,
      changed: steps.map((step) => step.id),
      uid: done.uid,
      port,
      person: person.uid,
      access: accessFolder(person.uid),
    },
    human.join('\n'),
  );
  return 0;
}

/** Looks at what was made, tries to get out, and completes the record. @throws `L2_ISOLATE_FAILED` */
function verifyInstalled(installed: Installed): Installed {
  const failed = (what: string) => new KwyreError('L2_ISOLATE_FAILED', what);
  const { account, rules } = readFacts(root, installed.person);
  if (account.state !== 'fit')
    throw failed(`the user that was made is not fit: ${account.state === 'unfit' ? account.why : 'it is not there'}`);
  if (account.uid !== installed.uid || account.gid !== installed.gid)
    throw failed('the user that was made has another id than planned');
  if (rules !== 'own') throw failed('the rules that were loaded are not in force');
  const reach = tryReach(root, account);
  if (!reach.held) throw failed(reach.evidence);
  const complete: Installed = {
    ...installed,
    complete: true,
    witness: readWitness(installed.firewall, installed.uid, installed.port),
  };
  replaceRootFile(recordPath, formatInstalled(complete), 0o644);
  return complete;
}

function show(flags: Flags): number {
  const checks: readonly Check[] = observeInstallation(root);
  const status = worst(checks);
  const lines = checks.map((check) => `${marks[check.status]} ${check.id.padEnd(10)} ${check.evidence}`);
  print(flags, { installed: status !== 'off', status, checks }, `isolation  ${status}\n${lines.join('\n')}`);
  return status === 'enforced' ? 0 : 12;
}

function remove(flags: Flags): number {
  assertRoot('remove');
  const record = readInstalled();
  const steps = planRemove(readFacts(root, record?.person ?? { uid: 0 }));
  if (record !== undefined) {
    perform(steps, tellSteps(flags), () => {
      if (readRules(record.firewall) !== 'absent')
        throw new KwyreError(
          'L2_ISOLATE_FAILED',
          'the rules are still there',
          'look at them (nft list ruleset, iptables -S), and remove again: sudo ./kwyre isolate remove',
        );
    });
  }
  print(
    flags,
    { installed: false, changed: steps.map((step) => step.id) },
    record === undefined
      ? 'nothing is installed'
      : `removed: no user, rule, unit or file of it is left; ${places.state} is gone too`,
  );
  return 0;
}

function onWindows(verb: Verb, flags: Flags): number {
  const where = {
    systemRoot: process.env['SystemRoot'] ?? 'C:\\Windows',
    script: win32.join(root, 'packaging', 'windows', 'firewall.ps1'),
    program: process.execPath,
  };
  const command: Command = planWindowsRule(verb === 'plan' ? (flags.remove ? 'remove' : 'install') : verb, where);
  if (verb === 'plan') {
    print(
      flags,
      {
        action: flags.remove ? 'remove' : 'install',
        steps: [
          { id: 'rule', what: 'nothing leaves from this executable', actions: [{ do: 'run', ...command }], undo: [] },
        ],
      },
      `this would be run, as administrator:\n${describe({ do: 'run', ...command })}`,
    );
    return 0;
  }
  const ran = runCommand(command.argv);
  const what =
    ran.ok && verb !== 'status' ? `${verb} done` : (windowsAnswers[ran.code ?? 1] ?? `PowerShell failed (${ran.why})`);
  print(
    flags,
    { action: verb, ok: ran.ok, what, note: 'written, never run by its authors' },
    `${ran.ok ? marks.enforced : marks.off} ${what}\n       this rule was written and never run by its authors: look at it with Get-NetFirewallRule -Name kwyre-isolate-outbound`,
  );
  return ran.ok ? 0 : 12;
}
