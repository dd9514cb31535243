/**
 * `kwyre isolate` on Windows: manages one rule of the Windows firewall that blocks outbound traffic of this Node
 * executable.
 *
 * Limits: the rule is based on Microsoft's documentation, and the authors have never run it; the output says so.
 * @module
 */
import { win32 } from 'node:path';
import { root } from '../../installation/paths.ts';
import { planWindowsRule, windowsAnswers } from '../../layers/2-isolation/install/other-platforms.ts';
import { runCommand } from '../../linux/command.ts';
import { marks } from '../status.ts';
import type { Flags, Verb } from './isolate-flags.ts';
import { print } from './isolate-flags.ts';
import { describeAction } from './plan-text.ts';

/** Prints the plan for the rule, or adds, shows or removes the rule. @returns the exit code */
export function manageWindowsRule(verb: Verb, flags: Flags): number {
  const where = {
    systemRoot: process.env['SystemRoot'] ?? 'C:\\Windows',
    script: win32.join(root, 'packaging', 'windows', 'firewall.ps1'),
    program: process.execPath,
  };
  const command = planWindowsRule(verb === 'plan' ? (flags.remove ? 'remove' : 'install') : verb, where);
  if (verb === 'plan') {
    print(
      flags,
      {
        action: flags.remove ? 'remove' : 'install',
        steps: [
          {
            id: 'rule',
            what: 'block outbound packets of this executable',
            actions: [{ do: 'run', ...command }],
            undo: [],
          },
        ],
      },
      `this command would be run as administrator:\n${describeAction({ do: 'run', ...command })}`,
    );
    return 0;
  }
  const ran = runCommand(command.argv);
  const what =
    ran.ok && verb !== 'status' ? `${verb} done` : (windowsAnswers[ran.code ?? 1] ?? `PowerShell failed (${ran.why})`);
  print(
    flags,
    { action: verb, ok: ran.ok, what, note: 'the authors have never run this rule' },
    `${ran.ok ? marks.enforced : marks.off} ${what}\n       the authors have never run this rule; check it ` +
      'with Get-NetFirewallRule -Name kwyre-isolate-outbound',
  );
  return ran.ok ? 0 : 12;
}
