/**
 * The units of systemd that the installed server runs by: the texts of `packaging/systemd/`, with this machine's port
 * and tools in their place.
 *
 * Promise: nothing but the port and the commands that load the rules is ever replaced; a text that is not as expected
 *          is refused.
 * Proof:   test/unit/layers/2-systemd-units.test.ts, test/attacks/2-isolate.test.ts
 * @module
 */
import { bug } from '../../../base/errors.ts';
import type { Command } from './firewall.ts';

export const unitNames = ['kwyre-firewall.service', 'kwyre.socket', 'kwyre.service'] as const;
export type UnitName = (typeof unitNames)[number];
export const unitFolder = '/etc/systemd/system';

/** What makes the units start with the machine, as `systemctl enable` leaves it. */
export const enabledLinks = [
  `${unitFolder}/multi-user.target.wants/kwyre-firewall.service`,
  `${unitFolder}/sockets.target.wants/kwyre.socket`,
] as const;

function replaceOnce(text: string, from: string, to: string): string {
  if (text.split(from).length !== 2) bug(`a unit does not say ${from} exactly once`);
  return text.replace(from, () => to);
}

/** One line of a unit that runs a command. */
function execLine(command: Command): string {
  // systemd has quotes, specifiers and variables of its own: none of our words has a letter that means anything to it.
  if (!command.argv.every((word) => /^[A-Za-z0-9_./:=+-]+$/.test(word))) bug('a command of a unit needs quotes');
  return `ExecStart=${command.mayFail === true ? '-' : ''}${command.argv.join(' ')}`;
}

/** The units for this machine. */
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

/** The commands that a unit runs, as systemd would read them. */
export function unitCommands(text: string): Command[] {
  return [...text.matchAll(/^ExecStart=(-?)(.+)$/gm)].map(([, dash, words = '']) => ({
    argv: words.split(' '),
    ...(dash === '-' ? { mayFail: true as const } : {}),
  }));
}
