/**
 * Layer 2 on platforms other than Linux: the Windows firewall rule, and why macOS has no equivalent.
 *
 * Promise: PowerShell runs by absolute path with `-File` and separate arguments, so that no path is parsed as code.
 * Limits:  not yet run on Windows (C8): tests cover only the commands. The rule names one executable, so it does not
 *          apply to a copy under another name (L2-13). It does not filter loopback.
 * Proof:   test/unit/layers/2-other-platforms.test.ts
 * @module
 */
import { KwyreError } from '../../../base/errors.ts';
import type { Command } from './firewall.ts';

/** Platforms on which `kwyre isolate` can enforce nothing, each with the reason. */
export const unsupportedPlatforms: Readonly<Partial<Record<NodeJS.Platform, string>>> = {
  darwin:
    'macOS cannot block one program or user: pf does not match programs, and the application firewall covers ' +
    'only incoming connections. Nothing is enforced here, so this layer is off',
};

type WindowsAction = 'install' | 'status' | 'remove';

/** The meaning of the exit codes of `status`. */
export const windowsAnswers: Readonly<Record<number, string>> = {
  0: 'the rule blocks this executable in every profile',
  3: 'there is no Kwyre rule',
  4: 'there is a Kwyre rule, but it or a firewall profile is disabled, or it names another program',
};

/**
 * Returns the command that manages the outbound block of this executable.
 * @throws `L2_ISOLATE_PATH`
 */
export function planWindowsRule(
  action: WindowsAction,
  where: { readonly systemRoot: string; readonly script: string; readonly program: string },
): Command {
  for (const path of [where.systemRoot, where.script, where.program]) {
    // An absolute path with a drive letter; no device, stream, share or wildcard forms.
    if (!/^[A-Za-z]:\\[^"*?<>|:\p{C}]+$/u.test(path) || path.split('\\').includes('..'))
      throw new KwyreError(
        'L2_ISOLATE_PATH',
        'a path of this installation is not valid in a firewall rule',
        'install Kwyre in a folder of a local drive, for example C:\\Kwyre',
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
