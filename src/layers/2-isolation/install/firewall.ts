/**
 * Rules of the machine's firewall for the dedicated user, as data: nftables where it is there, else iptables and
 * ip6tables.
 *
 * Promise: nothing that the user owns leaves, loopback included, but the answers of our own listener; the inherited
 *          listener never speaks first, whoever owns it; nobody answers for us on [::1]. Loading the rules again
 *          replaces them and nothing else.
 * Limits:  the owner of a socket is who made it: a listener from systemd is root's, hence the second rule. Another
 *          table may drop more, never allow more. Whoever is root can take the rules away.
 * Source:  nft(8), iptables-extensions(8), Linux: net/netfilter/nft_meta.c, xt_owner.c
 * Proof:   test/unit/layers/2-firewall.test.ts, test/attacks/2-isolate.test.ts
 * @module
 */
import { bug } from '../../../base/errors.ts';

/** A program by absolute path, and its arguments: never a line for a shell. */
export type Command = {
  readonly argv: readonly string[];
  /** Its failure means that there was nothing to do. */ readonly mayFail?: true;
};

/** What the rules are about. */
export type RuleSubject = { readonly uid: number; readonly port: number };

/** The tools of this machine, by absolute path. */
export type Firewall =
  | { readonly kind: 'nft'; readonly nft: string }
  | {
      readonly kind: 'iptables';
      readonly iptables: string;
      readonly restore: string;
      readonly ip6tables: string;
      readonly restore6: string;
    };

/** One rule set: the files that hold it, and what loads, unloads and shows it. */
export type RuleSet = {
  readonly files: readonly { readonly path: string; readonly text: string }[];
  readonly load: readonly Command[];
  readonly unload: readonly Command[];
  /** What these print is recorded after loading, and compared ever after. */
  readonly witness: readonly Command[];
};

/** Whether the names that we use are taken. */
export type Ownership = 'absent' | 'own' | 'foreign';

const folder = '/etc/kwyre';
const table = 'kwyre';
const chain = 'isolate_output';
const legacyChain = 'KWYRE-ISOLATE';
/** Every rule bears it; a rule without it is not ours. */
const mark = 'kwyre-isolate';

function checkGuarded({ uid, port }: RuleSubject): void {
  if (!Number.isInteger(uid) || uid <= 0 || uid > 0x7fffffff || !Number.isInteger(port) || port <= 0 || port > 65535)
    bug('a rule about no user or no port');
}

/** The nftables script: one transaction that makes or replaces our chain. */
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
    oifname "lo" ip6 daddr ::1 tcp dport ${port} reject with tcp reset comment "${mark}: nobody answers for us on ::1"
    ip saddr 127.0.0.1 tcp sport ${port} tcp flags & (syn | ack) == syn reject with icmpx type admin-prohibited comment "${mark}: the listener never speaks first"
    meta skuid ${uid} oifname "lo" ip saddr 127.0.0.1 ip daddr 127.0.0.0/8 tcp sport ${port} ct state established ct direction reply accept comment "${mark}: answers"
    meta skuid ${uid} reject with icmpx type admin-prohibited comment "${mark}: everything else"
  }
}
`;
}

/** The two scripts of iptables-restore and ip6tables-restore; each replaces our chain in one step. */
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
      `-s 127.0.0.1/32 -p tcp -m tcp --sport ${port} --tcp-flags SYN,ACK SYN ${comment} -j REJECT --reject-with icmp-admin-prohibited`,
      `-s 127.0.0.1/32 -d 127.0.0.0/8 -o lo -p tcp -m tcp --sport ${port} -m owner --uid-owner ${uid} -m conntrack --ctstate ESTABLISHED --ctdir REPLY ${comment} -j RETURN`,
      `-m owner --uid-owner ${uid} ${comment} -j REJECT --reject-with icmp-admin-prohibited`,
    ]),
    v6: script([
      `-d ::1/128 -o lo -p tcp -m tcp --dport ${port} ${comment} -j REJECT --reject-with tcp-reset`,
      `-m owner --uid-owner ${uid} ${comment} -j REJECT --reject-with icmp6-adm-prohibited`,
    ]),
  };
}

const jump = ['-m', 'comment', '--comment', mark, '-j', legacyChain] as const;

/** The rule set for the tools of this machine. */
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
  const wait = ['-w', '10'] as const; // others may hold the lock of the tables
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

/** What to ask before anything is changed, and after it was removed. */
export function ownershipQuestions(firewall: Firewall): readonly Command[] {
  if (firewall.kind === 'nft') return [{ argv: [firewall.nft, '--json', 'list', 'ruleset'] }];
  return [firewall.iptables, firewall.ip6tables].map((tool) => ({ argv: [tool, '-w', '10', '-S'] }));
}

/** Reads the answers to `ownershipQuestions`: the names are free, ours, or somebody else's. */
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
    return 'foreign'; // what cannot be read is not touched
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
      else if (found === 'absent') found = 'foreign'; // a table without our chain
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
