/**
 * The systemd units of the installed server: the files of `packaging/systemd/` with this machine's port and tools.
 *
 * Promise: replaces only the port and the commands that load the firewall rules; refuses a file with unexpected
 *          content.
 * Proof:   test/unit/layers/2-systemd-units.test.ts, test/attacks/2-isolate.test.ts
 * @module
 */
import { bug } from '../../../base/errors.ts';
import type { Command } from './firewall.ts';

export const unitNames = ['kwyre-firewall.service', 'kwyre.socket', 'kwyre.service'] as const;
export type UnitName = (typeof unitNames)[number];
export const unitFolder = '/etc/systemd/system';

/** The links that `systemctl enable` creates. */
export const enabledLinks = [
  `${unitFolder}/multi-user.target.wants/kwyre-firewall.service`,
  `${unitFolder}/sockets.target.wants/kwyre.socket`,
] as const;

function replaceOnce(text: string, from: string, to: string): string {
  if (text.split(from).length !== 2) bug(`a unit does not contain ${from} exactly once`);
  return text.replace(from, () => to);
}

/** Returns an ExecStart line. */
function execLine(command: Command): string {
  // systemd interprets quotes, specifiers and variables; the characters allowed here have no special meaning.
  if (!command.argv.every((word) => /^[A-Za-z0-9_./:=+-]+$/.test(word))) bug('a command in a unit needs quoting');
  return `ExecStart=${command.mayFail === true ? '-' : ''}${command.argv.join(' ')}`;
}

/** Returns the units for this machine. */
export function renderUnits(
  packaged: Readonly<Record<UnitName, string>>,
  port: number,
  load: readonly Command[],
): Readonly<Record<UnitName, string>> {
  return {
    'kwyre-firewall.service': replaceOnce(
      packaged['kwyre-firewall.service'],
      'ExecStart=/usr/sbin/nft -f /etc/kwyre/firewall.nft',
      load.map(execLine).join('\n'),
    ),
    'kwyre.socket': replaceOnce(
      packaged['kwyre.socket'],
      'ListenStream=127.0.0.1:8000\n',
      `ListenStream=127.0.0.1:${port}\n`,
    ),
    'kwyre.service': packaged['kwyre.service'],
  };
}

/** Returns the commands that a unit runs. @internal */
export function unitCommands(text: string): Command[] {
  return [...text.matchAll(/^ExecStart=(-?)(.+)$/gm)].map(([, dash, words = '']) => ({
    argv: words.split(' '),
    ...(dash === '-' ? { mayFail: true as const } : {}),
  }));
}
