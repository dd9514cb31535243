/**
 * Layer 2 where the system is not Linux: the Windows firewall rule, and why there is nothing on macOS.
 *
 * Promise: PowerShell is called by absolute path with `-File` and separate arguments: no path is ever read as a
 *          command.
 * Limits:  written, never run by us (C8): tested on the commands only. The rule names one executable; a copy of it
 *          under another name is another program (L2-13). Loopback is not filtered by it.
 * Proof:   test/unit/layers/2-other-platforms.test.ts
 * @module
 */
import { KwyreError } from '../../../base/errors.ts';
import type { Command } from './firewall.ts';

/** What `kwyre isolate` says on a system where nothing can enforce it. */
export const unsupportedPlatforms: Readonly<Partial<Record<NodeJS.Platform, string>>> = {
  darwin:
    'macOS has no firewall rule for one process or user that a packet filter of the system enforces (pf knows no program, the application firewall only incoming connections); nothing is enforced here, so this layer is off',
};

export type WindowsAction = 'install' | 'status' | 'remove';

/** What the answer of `status` means. */
export const windowsAnswers: Readonly<Record<number, string>> = {
  0: 'the rule blocks this executable in every profile',
  3: 'there is no rule of ours',
  4: 'there is a rule of ours, but it or a firewall profile is switched off, or it names another program',
};

/**
 * The command on Windows: the outbound block for exactly this executable.
 * @throws `L2_ISOLATE_PATH`
 */
export function planWindowsRule(
  action: WindowsAction,
  where: { readonly systemRoot: string; readonly script: string; readonly program: string },
): Command {
  for (const path of [where.systemRoot, where.script, where.program]) {
    // Drive-absolute, without device, stream, share or wildcard forms; -File takes it as a value all the same.
    if (!/^[A-Za-z]:\\[^"*?<>|:\p{C}]+$/u.test(path) || path.split('\\').includes('..'))
      throw new KwyreError(
        'L2_ISOLATE_PATH',
        'a path of this installation cannot be the object of a firewall rule',
        'install Kwyre in a plain folder of a local drive, for example C:\\Kwyre',
      );
  }
  return {
    argv: [
      `${where.systemRoot}\\System32\\WindowsPowerShell\\v1.0\\powershell.exe`,
      '-NoLogo',
      '-NoProfile',
      '-NonInteractive',
      '-ExecutionPolicy',
      'Bypass',
      '-File',
      where.script,
      '-Action',
      action,
      '-Program',
      where.program,
    ],
  };
}
