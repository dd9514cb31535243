/**
 * The firewall rules for the dedicated user, as data: nftables if installed, otherwise iptables and ip6tables.
 *
 * Promise: the user can send nothing, even on loopback, except the listener's replies. The inherited listener never
 *          opens a connection, no matter which user owns it. No other program answers on [::1]. Loading the rules again
 *          replaces only these rules.
 * Limits:  a socket belongs to the user who made it. A listener that systemd made belongs to root, hence the rule that
 *          applies to any owner. Other tables can block more, but never allow more. Root can remove the rules.
 * Source:  nft(8), iptables-extensions(8), Linux: net/netfilter/nft_meta.c, xt_owner.c
 * Proof:   test/unit/layers/2-firewall.test.ts, test/attacks/2-isolate.test.ts
 * @module
 */
import { bug } from '../../../base/errors.ts';

/** A program, by its absolute path, and its arguments. It runs without a shell. */
export type Command = {
  readonly argv: readonly string[];
  /** Failures are ignored, because they mean that there was nothing to do. */
  readonly mayFail?: true;
};

/** The user and port that the rules apply to. */
type RuleSubject = { readonly uid: number; readonly port: number };

/** The firewall tools of this machine, by absolute path. */
export type Firewall =
  | { readonly kind: 'nft'; readonly nft: string }
  | {
      readonly kind: 'iptables';
      readonly iptables: string;
      readonly restore: string;
      readonly ip6tables: string;
      readonly restore6: string;
    };

/** A rule set: its files, and the commands that load, unload and list it. */
export type RuleSet = {
  readonly files: readonly { readonly path: string; readonly text: string }[];
  readonly load: readonly Command[];
  readonly unload: readonly Command[];
  /** Commands whose output is recorded after loading, so that later status reports can compare it. */
  readonly witness: readonly Command[];
};

/** Whether the names of the table or chain are in use and, if so, whether Kwyre made them. */
export type Ownership = 'absent' | 'own' | 'foreign';

const folder = '/etc/kwyre';
const table = 'kwyre';
const chain = 'isolate_output';
const legacyChain = 'KWYRE-ISOLATE';
/** The comment of every rule; a rule without it is foreign. */
const mark = 'kwyre-isolate';

function checkGuarded({ uid, port }: RuleSubject): void {
  if (!Number.isInteger(uid) || uid <= 0 || uid > 0x7fffffff || !Number.isInteger(port) || port <= 0 || port > 65535)
    bug('firewall rules without a user or port');
}

/** Returns the nftables script: one transaction that creates or replaces the chain. @internal */
export function nftScript(guarded: RuleSubject): string {
  checkGuarded(guarded);
  const { uid, port } = guarded;
  return `# Written by kwyre isolate install. Loading it again replaces these rules and nothing else.
table inet ${table} {
  chain ${chain} {
    type filter hook output priority 0; policy accept;
  }
}
flush chain inet ${table} ${chain}
table inet ${table} {
  chain ${chain} {
    oifname "lo" ip6 daddr ::1 tcp dport ${port} reject with tcp reset comment "${mark}: nothing answers on ::1"
    ${[
      `ip saddr 127.0.0.1 tcp sport ${port} tcp flags & (syn | ack) == syn reject with icmpx type admin-prohibited`,
      `comment "${mark}: the listener opens no connection"`,
    ].join(' ')}
    ${[
      `meta skuid ${uid} oifname "lo" ip saddr 127.0.0.1 ip daddr 127.0.0.0/8 tcp sport ${port}`,
      `ct state established ct direction reply accept comment "${mark}: replies"`,
    ].join(' ')}
    meta skuid ${uid} reject with icmpx type admin-prohibited comment "${mark}: everything else"
  }
}
`;
}

/** Returns the scripts for iptables-restore and ip6tables-restore; each replaces the chain in one step. @internal */
export function restoreScripts(guarded: RuleSubject): { readonly v4: string; readonly v6: string } {
  checkGuarded(guarded);
  const { uid, port } = guarded;
  const script = (rules: readonly string[]) =>
    [
      '# Written by kwyre isolate install. Loading it again replaces these rules and nothing else.',
      '*filter',
      `:${legacyChain} - [0:0]`,
      ...rules.map((rule) => `-A ${legacyChain} ${rule}`),
      `-I OUTPUT 1 ${jump.join(' ')}`,
      'COMMIT',
      '',
    ].join('\n');
  const comment = `-m comment --comment ${mark}`;
  return {
    v4: script([
      [
        `-s 127.0.0.1/32 -p tcp -m tcp --sport ${port} --tcp-flags SYN,ACK SYN ${comment}`,
        '-j REJECT --reject-with icmp-admin-prohibited',
      ].join(' '),
      [
        `-s 127.0.0.1/32 -d 127.0.0.0/8 -o lo -p tcp -m tcp --sport ${port} -m owner --uid-owner ${uid}`,
        `-m conntrack --ctstate ESTABLISHED --ctdir REPLY ${comment} -j RETURN`,
      ].join(' '),
      `-m owner --uid-owner ${uid} ${comment} -j REJECT --reject-with icmp-admin-prohibited`,
    ]),
    v6: script([
      `-d ::1/128 -o lo -p tcp -m tcp --dport ${port} ${comment} -j REJECT --reject-with tcp-reset`,
      `-m owner --uid-owner ${uid} ${comment} -j REJECT --reject-with icmp6-adm-prohibited`,
    ]),
  };
}

const jump = ['-m', 'comment', '--comment', mark, '-j', legacyChain] as const;

/** Returns the rule set for this machine's tools. */
export function planRules(firewall: Firewall, guarded: RuleSubject): RuleSet {
  if (firewall.kind === 'nft') {
    const path = `${folder}/firewall.nft`;
    return {
      files: [{ path, text: nftScript(guarded) }],
      load: [{ argv: [firewall.nft, '-f', path] }],
      unload: [{ argv: [firewall.nft, 'delete', 'table', 'inet', table] }],
      witness: [{ argv: [firewall.nft, '--stateless', 'list', 'table', 'inet', table] }],
    };
  }
  const scripts = restoreScripts(guarded);
  const families = [
    { tool: firewall.iptables, restore: firewall.restore, path: `${folder}/firewall.v4`, text: scripts.v4 },
    { tool: firewall.ip6tables, restore: firewall.restore6, path: `${folder}/firewall.v6`, text: scripts.v6 },
  ];
  const wait = ['-w', '10'] as const; // another program may hold the xtables lock
  const unjump = (tool: string): Command => ({ argv: [tool, ...wait, '-D', 'OUTPUT', ...jump], mayFail: true });
  return {
    files: families.map(({ path, text }) => ({ path, text })),
    load: families.flatMap(({ tool, restore, path }) => [
      unjump(tool),
      { argv: [restore, ...wait, '--noflush', path] },
    ]),
    unload: families.flatMap(({ tool }): Command[] => [
      unjump(tool),
      { argv: [tool, ...wait, '-F', legacyChain], mayFail: true },
      { argv: [tool, ...wait, '-X', legacyChain], mayFail: true },
    ]),
    witness: families.flatMap(({ tool }) => [
      { argv: [tool, ...wait, '-S', legacyChain] },
      { argv: [tool, ...wait, '-S', 'OUTPUT', '1'] },
    ]),
  };
}

/** Returns the commands whose output `judgeOwnership` evaluates. */
export function ownershipQuestions(firewall: Firewall): readonly Command[] {
  if (firewall.kind === 'nft') return [{ argv: [firewall.nft, '--json', 'list', 'ruleset'] }];
  return [firewall.iptables, firewall.ip6tables].map((tool) => ({ argv: [tool, '-w', '10', '-S'] }));
}

/** Determines, from the output of `ownershipQuestions`, whether the names are unused, Kwyre's or another program's. */
export function judgeOwnership(firewall: Firewall, answers: readonly string[]): Ownership {
  const judged = answers.map((answer) => (firewall.kind === 'nft' ? judgeNft(answer) : judgeLegacy(answer)));
  if (judged.includes('foreign')) return 'foreign';
  return judged.includes('own') ? 'own' : 'absent';
}

type Entry = Readonly<
  Record<
    string,
    | {
        readonly family?: unknown;
        readonly name?: unknown;
        readonly table?: unknown;
        readonly chain?: unknown;
        readonly comment?: unknown;
      }
    | undefined
  >
>;

function judgeNft(answer: string): Ownership {
  let entries: unknown;
  try {
    ({ nftables: entries } = JSON.parse(answer) as { nftables?: unknown });
  } catch {
    return 'foreign'; // never touch what cannot be parsed
  }
  if (!Array.isArray(entries)) return 'foreign';
  let found: Ownership = 'absent';
  for (const entry of entries as readonly Entry[]) {
    for (const [kind, value] of Object.entries(entry)) {
      if (value?.family !== 'inet') continue;
      if (kind === 'table' ? value.name !== table : value.table !== table) continue;
      const own =
        kind === 'table' ||
        (kind === 'chain' && value.name === chain) ||
        (kind === 'rule' &&
          value.chain === chain &&
          typeof value.comment === 'string' &&
          value.comment.startsWith(`${mark}:`));
      if (!own) return 'foreign';
      if (kind === 'chain') found = 'own';
      else if (found === 'absent') found = 'foreign'; // a table without the chain
    }
  }
  return found;
}

function judgeLegacy(answer: string): Ownership {
  const lines = answer
    .split('\n')
    .filter(
      (line) =>
        line.startsWith(`-N ${legacyChain}`) ||
        line.startsWith(`-A ${legacyChain} `) ||
        line.includes(`-j ${legacyChain}`) ||
        line.includes(`-g ${legacyChain}`),
    );
  if (lines.length === 0) return 'absent';
  const own = (line: string) =>
    line === `-N ${legacyChain}` ||
    (line.includes(`--comment ${mark} `) &&
      (line.startsWith(`-A ${legacyChain} `) || line === `-A OUTPUT ${jump.join(' ')}`));
  return lines.every(own) ? 'own' : 'foreign';
}
