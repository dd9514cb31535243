/**
 * The steps of `kwyre isolate remove` as data.
 *
 * Promise: removes only what the record lists. The rules stay until the user has been deleted.
 * Proof:   test/unit/layers/2-install-steps.test.ts, test/attacks/2-isolate.test.ts
 * @module
 */
import { planRules } from './firewall.ts';
import { accessFolder, places, recordFolder, recordPath } from './install-record.ts';
import type { Action, Step } from './install-steps.ts';
import { run, runCommand, tolerant } from './install-steps.ts';
import type { MachineState } from './install-input.ts';
import { assertOwned } from './install-input.ts';
import { accountName } from './system-user.ts';
import { enabledLinks, unitFolder, unitNames } from './systemd-units.ts';

/**
 * Plans the removal. No step has an undo: a second run continues where the first one stopped.
 * @returns an empty list if there is no record
 * @throws `L2_ISOLATE_FOREIGN`, `L2_ISOLATE_ACCOUNT`
 */
export function planRemove(machine: MachineState): readonly Step[] {
  const { booted, files, folders, record, tools } = machine;
  if (record === undefined) return [];
  assertOwned(machine);
  const steps: Step[] = [];
  const add = (id: string, what: string, ...actions: Action[]) => {
    if (actions.length > 0) steps.push({ id, what, actions, undo: [] });
  };
  const remove = (path: string): Action => ({ do: 'delete', path });
  const units = unitNames.filter((name) => files.has(`${unitFolder}/${name}`));
  if (booted && units.length > 0)
    add('stop', 'stops the server, which ends every conversation', run(tools.systemctl, 'stop', ...units.toReversed()));
  if (enabledLinks.some((link) => files.has(link)))
    add(
      'boot',
      'systemd no longer starts it at boot',
      tolerant(run(tools.systemctl, 'disable', 'kwyre-firewall.service', 'kwyre.socket')),
      ...enabledLinks.map(remove),
    );
  add(
    'units',
    'the systemd units',
    ...units.map((name) => remove(`${unitFolder}/${name}`)),
    ...(booted && units.length > 0 ? [run(tools.systemctl, 'daemon-reload')] : []),
  );
  // Before the rules are removed: userdel fails while the user still has a running process.
  if (machine.account.state === 'fit')
    add('account', 'the user; fails while one of its processes runs', run(tools.userdel, accountName));
  const rules = planRules(record.firewall, { uid: record.uid, port: record.port });
  add(
    'rules',
    'the firewall rules',
    ...(machine.rules === 'own' ? rules.unload.map(runCommand) : []),
    ...rules.files.filter(({ path }) => files.has(path)).map(({ path }) => remove(path)),
  );
  const ours = [places.state, accessFolder(record.person.uid), ...(record.copied ? [places.program] : [])].filter(
    (path) => folders.has(path),
  );
  add(
    'folders',
    'the program, its state (named tokens, event log) and the token',
    ...(ours.length > 0 ? [run(tools.rm, '-rf', ...ours)] : []),
    ...(folders.has(places.access) ? [tolerant(run(tools.rmdir, places.access))] : []),
  );
  add('record', 'the record of the installation', remove(recordPath), tolerant(run(tools.rmdir, recordFolder)));
  return steps;
}
