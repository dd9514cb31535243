/**
 * What is in force of an installation now, looked at piece by piece: nothing is taken from the record on trust.
 *
 * Proof: test/attacks/2-isolate.test.ts
 * @module
 */
import * as fs from 'node:fs';
import { lstatSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Check, LayerStatus } from '../../base/verdict.ts';
import { judgeAccount } from '../../layers/2-isolation/install/system-user.ts';
import { planRules } from '../../layers/2-isolation/install/firewall.ts';
import type { Installed } from '../../layers/2-isolation/install/install-record.ts';
import { accessFolder, places } from '../../layers/2-isolation/install/install-record.ts';
import { enabledLinks, renderUnits, unitFolder, unitNames } from '../../layers/2-isolation/install/systemd-units.ts';
import { printable } from '../../oms/verification-error.ts';
import { pathGrants, listOwnFiles, ownGrants, irregularOwnFiles } from '../../layers/3-dependencies/tree-access.ts';
import { describeGrant, mendingOf } from '../../linux/files/path-writers.ts';
import { readRegularText } from '../../state/root-files.ts';
import { loopbackListener } from '../../linux/procfs/net-tables.ts';
import { readAccounts, readInstalled, readRules, readUnits, sameWitness, tryReach } from './transaction.ts';

type Seen = { readonly status: LayerStatus; readonly evidence: string };
const good = (evidence: string): Seen => ({ status: 'enforced', evidence });
const bad = (evidence: string): Seen => ({ status: 'degraded', evidence });

function seeAccount(record: Installed): Seen {
  const account = judgeAccount(readAccounts());
  if (account.state !== 'fit') return bad(account.state === 'unfit' ? account.why : 'the user is not there');
  return account.uid === record.uid && account.gid === record.gid
    ? good(`uid ${account.uid}, without shell, home or password`)
    : bad(`the user has uid ${account.uid}, the rules are about ${record.uid}`);
}

function seeRules(record: Installed, asRoot: boolean): Seen {
  if (!asRoot) return bad('only root can list the rules: sudo ./kwyre isolate status');
  const rules = readRules(record.firewall);
  if (rules !== 'own')
    return bad(
      rules === 'absent'
        ? 'the rules are not loaded: systemctl start kwyre-firewall.service, or install again'
        : 'others have put rules under our names',
    );
  return sameWitness(record)
    ? good(
        `${record.firewall.kind === 'nft' ? 'nftables, table inet kwyre' : 'iptables and ip6tables, chain KWYRE-ISOLATE'}: as loaded, about uid ${record.uid} and port ${record.port}`,
      )
    : bad('the rules differ from what was loaded: install again');
}

function seeFiles(record: Installed, root: string): Seen {
  const { files, load } = planRules(record.firewall, { uid: record.uid, port: record.port });
  const units = renderUnits(readUnits(root), record.port, load);
  const wrong = [
    ...files.filter(({ path, text }) => readRegularText(path) !== text).map(({ path }) => path),
    ...unitNames.filter((name) => readRegularText(join(unitFolder, name)) !== units[name]),
    ...enabledLinks.filter((path) => lstatSync(path, { throwIfNoEntry: false }) === undefined),
  ];
  return wrong.length === 0
    ? good('rules and port are loaded at the next boot')
    : bad(`missing or changed: ${wrong.join(', ')}`);
}

function seeProgram(): Seen {
  if (lstatSync(places.program, { throwIfNoEntry: false })?.isDirectory() !== true)
    return bad(`${places.program} is not there`);
  const order = { disk: fs, root: places.program, uid: 0 };
  const own = listOwnFiles(order);
  const [linked] = irregularOwnFiles(order, own);
  if (linked !== undefined)
    return bad(`${places.program}/${printable(linked)} is a symbolic link or no plain file or folder: install again`);
  const [first, ...more] = [...pathGrants(order), ...ownGrants(order, own)];
  return first === undefined
    ? good(`${places.program}, which only root can change`)
    : bad(
        `${places.program} can be changed by others than root: ${first.path} (${describeGrant(first)}); as root: ${mendingOf([first, ...more])}`,
      );
}

function seePort(record: Installed): Seen {
  const owner = loopbackListener(record.port, readFileSync('/proc/self/net/tcp', 'latin1'))?.uid;
  if (owner === undefined) return bad(`nobody listens on 127.0.0.1:${record.port}: systemctl start kwyre.socket`);
  return owner === 0 || owner === record.uid
    ? good(`127.0.0.1:${record.port} is held by ${owner === 0 ? 'root (systemd)' : `uid ${owner}`}`)
    : bad(`127.0.0.1:${record.port} is held by another user (uid ${owner})`);
}

/** The checks of `kwyre isolate status`. @throws `L2_ISOLATE_*` */
export function observeInstallation(root: string): readonly Check[] {
  const at = Date.now();
  const record = readInstalled();
  if (record === undefined)
    return [
      {
        id: 'installed',
        status: 'off',
        evidence: 'not installed: ./kwyre isolate plan shows what an installation does',
        at,
      },
    ];
  const asRoot = process.getuid?.() === 0;
  const seen: Record<string, Seen> = {
    installed: record.complete
      ? good(`by uid ${record.person.uid}, whose token is in ${accessFolder(record.person.uid)}`)
      : bad('an installation began and did not end: install or remove goes on with it'),
    account: seeAccount(record),
    rules: seeRules(record, asRoot),
    boot: seeFiles(record, root),
    program: seeProgram(),
    port: seePort(record),
  };
  if (asRoot) {
    const reach = tryReach(root, record);
    seen['attempt'] = reach.held ? good(reach.evidence) : bad(reach.evidence);
  }
  return Object.entries(seen).map(([id, each]) => ({ id, ...each, at }));
}
