/**
 * `kwyre isolate`: installs the server under a dedicated user behind firewall rules, shows its state, and removes it.
 *
 * `plan` prints every command and file and changes nothing. `install` performs exactly that plan. `remove` removes what
 * the record of the installation lists. On Windows, the command manages a rule of the Windows firewall. On macOS, it
 * reports why it is not available.
 *
 * Proof: test/attacks/2-isolate.test.ts
 * @module
 */
import { readFileSync } from 'node:fs';
import { root } from '../../installation/paths.ts';
import { defaultPort } from '../../base/config.ts';
import { KwyreError } from '../../base/errors.ts';
import type { Check } from '../../base/verdict.ts';
import { worst } from '../../base/verdict.ts';
import { findPerson } from '../../layers/2-isolation/install/system-user.ts';
import { unsupportedPlatforms } from '../../layers/2-isolation/install/other-platforms.ts';
import type { Installed } from '../../layers/2-isolation/install/install-record.ts';
import { accessFolder, formatInstalled, places, recordPath } from '../../layers/2-isolation/install/install-record.ts';
import type { Step } from '../../layers/2-isolation/install/install-steps.ts';
import { planInstall } from '../../layers/2-isolation/install/install-steps.ts';
import { planRemove } from '../../layers/2-isolation/install/removal-steps.ts';
import { replaceRootFile } from '../../state/root-files.ts';
import { marks } from '../status.ts';
import { observeInstallation, tryEgress } from './installed-state.ts';
import type { Flags, Verb } from './isolate-flags.ts';
import { parseFlags, print } from './isolate-flags.ts';
import { readAccounts, readInstalled, readMachineState, readRules, readShownRules } from './machine-state.ts';
import { makeAccess } from './person-access.ts';
import { describeSteps, exportSteps } from './plan-text.ts';
import { perform } from './transaction.ts';
import { manageWindowsRule } from './windows-rule.ts';

/** Runs `kwyre isolate ...`. */
export function isolate(args: readonly string[]): number {
  const { verb, flags } = parseFlags(args);
  if (process.platform === 'win32') return manageWindowsRule(verb, flags);
  if (process.platform !== 'linux') {
    const why = unsupportedPlatforms[process.platform] ?? 'nothing on this system can enforce it';
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
      return showStatus(flags);
    case 'remove':
      return remove(flags);
  }
}

function assertRoot(verb: Verb): void {
  if (process.getuid?.() !== 0)
    throw new KwyreError(
      'USAGE_ISOLATE_ROOT',
      `isolate ${verb} changes system users, firewall rules and systemd units: it needs root`,
      `sudo ./kwyre isolate ${verb} (./kwyre isolate plan shows what it does)`,
    );
}

/**
 * Returns the owner of the server: the user with the given name, or else the login user (which the kernel keeps across
 * sudo), or else the caller.
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
      '/etc/passwd has no such user',
      'name the user of the server: sudo ./kwyre isolate install --owner NAME',
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
  const facts = readMachineState(root, person);
  return {
    person,
    port,
    facts,
    ...planInstall(facts, { port, person: { uid: person.uid, gid: person.gid }, access: makeAccess(person, port) }),
  };
}

function plan(flags: Flags): number {
  if (flags.remove) {
    const steps = planRemove(readMachineState(root, readInstalled()?.person ?? { uid: 0 }));
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
      : ['only root can read the existing rules and passwords; the plan assumes that there are none']),
    ...(facts.booted
      ? []
      : ['systemd is not running: the units are enabled for the next boot, and nothing is started now']),
  ];
  const human =
    steps.length === 0
      ? 'everything is in place; install would change nothing'
      : `install would do this for ${person.name} (uid ${person.uid}), on 127.0.0.1:${port}; if a step fails, ` +
        `the steps before it are undone:\n\n${describeSteps(steps)}`;
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
      ? 'everything was already in place'
      : `installed: the server runs as uid ${done.uid} on 127.0.0.1:${port}, started by the first connection`,
    ...(facts.booted ? [] : ['systemd is not running: the server starts at the next boot']),
    `${person.name} can use it with ./kwyre chat and ./kwyre status; the token is in ${accessFolder(person.uid)}`,
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

/** Checks the installation, tries to bypass the rules, and completes the record. @throws `L2_ISOLATE_FAILED` */
function verifyInstalled(installed: Installed): Installed {
  const failed = (what: string) => new KwyreError('L2_ISOLATE_FAILED', what);
  const { account, rules } = readMachineState(root, installed.person);
  if (account.state !== 'fit')
    throw failed(`the new user cannot be used: ${account.state === 'unfit' ? account.why : 'it does not exist'}`);
  if (account.uid !== installed.uid || account.gid !== installed.gid)
    throw failed('the new user does not have the planned id');
  if (rules !== 'own') throw failed('the loaded rules are not in force');
  const attempt = tryEgress(root, account);
  if (!attempt.blocked) throw failed(attempt.evidence);
  const complete: Installed = {
    ...installed,
    complete: true,
    witness: readShownRules(installed.firewall, installed.uid, installed.port),
  };
  replaceRootFile(recordPath, formatInstalled(complete), 0o644);
  return complete;
}

function showStatus(flags: Flags): number {
  const checks: readonly Check[] = observeInstallation(root);
  const status = worst(checks);
  const lines = checks.map((check) => `${marks[check.status]} ${check.id.padEnd(10)} ${check.evidence}`);
  print(flags, { installed: status !== 'off', status, checks }, `isolation  ${status}\n${lines.join('\n')}`);
  return status === 'enforced' ? 0 : 12;
}

function remove(flags: Flags): number {
  assertRoot('remove');
  const record = readInstalled();
  const steps = planRemove(readMachineState(root, record?.person ?? { uid: 0 }));
  if (record !== undefined) {
    perform(steps, tellSteps(flags), () => {
      if (readRules(record.firewall) !== 'absent')
        throw new KwyreError(
          'L2_ISOLATE_FAILED',
          'the rules are still loaded',
          'list them with nft list ruleset or iptables -S, then run sudo ./kwyre isolate remove again',
        );
    });
  }
  print(
    flags,
    { installed: false, changed: steps.map((step) => step.id) },
    record === undefined ? 'nothing is installed' : `removed: user, rules, units and files, ${places.state} included`,
  );
  return 0;
}
