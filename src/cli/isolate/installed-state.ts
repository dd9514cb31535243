/**
 * `kwyre isolate status`: checks the present state of each part of an installation instead of relying on the record.
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
import { egressCheckProgram, judgeEgress } from '../../layers/2-isolation/probe/egress-check.ts';
import { runCommand } from '../../linux/command.ts';
import { printable } from '../../oms/verification-error.ts';
import { pathGrants, listOwnFiles, ownGrants, irregularOwnFiles } from '../../layers/3-dependencies/tree-access.ts';
import { describeGrant, mendingOf } from '../../linux/files/path-writers.ts';
import { readRegularText } from '../../state/root-files.ts';
import { loopbackListener } from '../../linux/procfs/net-tables.ts';
import { readAccounts, readInstalled, readRules, readUnits, rulesMatchRecord } from './machine-state.ts';

type Observed = { readonly status: LayerStatus; readonly evidence: string };
const good = (evidence: string): Observed => ({ status: 'enforced', evidence });
const bad = (evidence: string): Observed => ({ status: 'degraded', evidence });

function checkAccount(record: Installed): Observed {
  const account = judgeAccount(readAccounts());
  if (account.state !== 'fit') return bad(account.state === 'unfit' ? account.why : 'the user does not exist');
  return account.uid === record.uid && account.gid === record.gid
    ? good(`uid ${account.uid}, without a shell, home folder or password`)
    : bad(`the user has uid ${account.uid}, but the rules are for uid ${record.uid}`);
}

function checkRules(record: Installed, asRoot: boolean): Observed {
  if (!asRoot) return bad('only root can list the rules: sudo ./kwyre isolate status');
  const rules = readRules(record.firewall);
  if (rules !== 'own')
    return bad(
      rules === 'absent'
        ? 'the rules are not loaded: sudo systemctl start kwyre-firewall.service, or install again'
        : 'there are rules with the names of Kwyre that it did not make',
    );
  const where =
    record.firewall.kind === 'nft' ? 'nftables, table inet kwyre' : 'iptables and ip6tables, chain KWYRE-ISOLATE';
  return rulesMatchRecord(record)
    ? good(`${where}: unchanged since loaded, for uid ${record.uid} and port ${record.port}`)
    : bad('the rules changed since they were loaded: install again');
}

function checkFiles(record: Installed, root: string): Observed {
  const { files, load } = planRules(record.firewall, { uid: record.uid, port: record.port });
  const units = renderUnits(readUnits(root), record.port, load);
  const wrong = [
    ...files.filter(({ path, text }) => readRegularText(path) !== text).map(({ path }) => path),
    ...unitNames.filter((name) => readRegularText(join(unitFolder, name)) !== units[name]),
    ...enabledLinks.filter((path) => lstatSync(path, { throwIfNoEntry: false }) === undefined),
  ];
  return wrong.length === 0
    ? good('the rules are loaded and the port is opened at the next boot')
    : bad(`missing or changed: ${wrong.join(', ')}`);
}

function checkProgram(): Observed {
  if (lstatSync(places.program, { throwIfNoEntry: false })?.isDirectory() !== true)
    return bad(`${places.program} does not exist`);
  const order = { disk: fs, root: places.program, uid: 0 };
  const own = listOwnFiles(order);
  const [linked] = irregularOwnFiles(order, own);
  if (linked !== undefined)
    return bad(
      `${places.program}/${printable(linked)} is a symbolic link, or neither a regular file nor a folder: ` +
        'install again',
    );
  const [first, ...more] = [...pathGrants(order), ...ownGrants(order, own)];
  return first === undefined
    ? good(`only root can change ${places.program}`)
    : bad(
        `users other than root can change ${places.program}: ${first.path} (${describeGrant(first)}); as ` +
          `root: ${mendingOf([first, ...more])}`,
      );
}

function checkPort(record: Installed): Observed {
  const owner = loopbackListener(record.port, readFileSync('/proc/self/net/tcp', 'latin1'))?.uid;
  if (owner === undefined) return bad(`nothing listens on 127.0.0.1:${record.port}: sudo systemctl start kwyre.socket`);
  return owner === 0 || owner === record.uid
    ? good(`127.0.0.1:${record.port} belongs to ${owner === 0 ? 'root (systemd)' : `uid ${owner}`}`)
    : bad(`127.0.0.1:${record.port} belongs to another user (uid ${owner})`);
}

/** Tries every way out to the network as the dedicated user. `blocked` is true if none worked. */
export function tryEgress(
  root: string,
  identity: { readonly uid: number; readonly gid: number },
): { readonly blocked: boolean; readonly evidence: string } {
  const node = process.execPath.startsWith(`${root}/`)
    ? join(places.program, process.execPath.slice(root.length))
    : process.execPath;
  const { uid, gid } = identity;
  const ran = runCommand([node, '-e', egressCheckProgram], { uid, gid });
  const judged = judgeEgress(ran.stdout);
  if (judged === undefined) return { blocked: false, evidence: `the attempt could not be made (${ran.why})` };
  return judged.out.length === 0
    ? { blocked: true, evidence: `tried as uid ${uid} just now: ${judged.seen}` }
    : { blocked: false, evidence: `as uid ${uid} these connections got out: ${judged.out.join(', ')}` };
}

/** Performs the checks of `kwyre isolate status`. @throws `L2_ISOLATE_*` */
export function observeInstallation(root: string): readonly Check[] {
  const at = Date.now();
  const record = readInstalled();
  if (record === undefined)
    return [
      {
        id: 'installed',
        status: 'off',
        evidence: 'not installed; ./kwyre isolate plan shows what an installation does',
        at,
      },
    ];
  const asRoot = process.getuid?.() === 0;
  const observed: Record<string, Observed> = {
    installed: record.complete
      ? good(`for uid ${record.person.uid}, whose token is in ${accessFolder(record.person.uid)}`)
      : bad('an installation was not completed: run sudo ./kwyre isolate install again, or remove'),
    account: checkAccount(record),
    rules: checkRules(record, asRoot),
    boot: checkFiles(record, root),
    program: checkProgram(),
    port: checkPort(record),
  };
  if (asRoot) {
    const attempt = tryEgress(root, record);
    observed['attempt'] = attempt.blocked ? good(attempt.evidence) : bad(attempt.evidence);
  }
  return Object.entries(observed).map(([id, each]) => ({ id, ...each, at }));
}
