/**
 * What this machine can enforce, judged from its facts; pure.
 *
 * `full`: what the layer asks for is there. `less`: something stands in for it, or the person should know. `none`:
 * missing.
 *
 * Proof: test/unit/cli/checks.test.ts
 * @module
 */
import type { Layer } from '../../base/errors.ts';
import { landlockSupport, landlockFeatures } from '../../layers/2-isolation/jail/landlock-abi.ts';
import { strictFeatures } from '../../policy/shared-rights.ts';

/** Whether a model's file is what was approved. */
export type ModelState = { readonly name: string; readonly fault: string | undefined };

/** What only native code can tell. */
export type KernelFacts = {
  readonly landlockAbi: number;
  readonly secretMemoryFault: string | undefined;
  readonly models: readonly ModelState[];
};

export const notLoaded = 'not asked: native code that is not the published one is not loaded';

/** What was read from the machine; `undefined` where it could not be read. */
export type HostFacts = {
  readonly platform: string;
  readonly architecture: string;
  readonly release: string;
  readonly uid: number;
  readonly wsl: boolean;
  /** 0 for none; `undefined` where it was not asked. */
  readonly landlockAbi: number | undefined;
  /** `/proc/sys/kernel/seccomp/actions_avail`. */
  readonly seccompActions: string | undefined;
  readonly noNewPrivs: boolean;
  /** Why secret memory cannot be had, or `undefined`. */
  readonly secretMemoryFault: string | undefined;
  readonly namespaces: readonly string[];
  readonly firewall: 'nftables' | 'iptables' | undefined;
  readonly installed: boolean;
  readonly leases: string | undefined;
  /** `/proc/swaps`. */
  readonly swaps: string | undefined;
  readonly corePattern: string | undefined;
  /** Whether the kernel overwrites memory as soon as it is given back. */
  readonly clearsFreedMemory: boolean | undefined;
  readonly ptraceScope: string | undefined;
  readonly hidesProcesses: boolean;
  readonly node: { readonly running: string; readonly pinned: string | undefined; readonly ownBinary: boolean };
  /** Packages of the engine for this machine, and whether each is there. */
  readonly engine: { readonly name: string; readonly present: boolean };
  /** Why the installed tree is not the published one, or `undefined`. */
  readonly treeFault: string | undefined;
  readonly models: readonly ModelState[];
};

export type Finding = {
  readonly id: string;
  /** The layer that it carries; 0 for all of them. */
  readonly layer: Layer | 0;
  readonly status: 'full' | 'less' | 'none';
  readonly title: string;
  /** What was seen. */
  readonly reason: string;
  /** What would make it better; empty when nothing is to be done. */
  readonly remedy: string;
};

/**
 * The same judgement as the start's: what a role requires and this kernel lacks refuses it, what it prefers is shown.
 */
function landlock({ landlockAbi: abi }: HostFacts): Finding[] {
  if (abi === undefined)
    return [
      {
        id: 'landlock',
        layer: 2,
        title: 'Landlock',
        status: 'less',
        reason: notLoaded,
        remedy: './kwyre deps verify names each file',
      },
    ];
  return landlockSupport(abi).map(({ feature, status, got, reason }): Finding => {
    const required = strictFeatures[feature] === 'required';
    const common = { id: feature, layer: 2, title: `Landlock: ${landlockFeatures[feature].holds}` } as const;
    if (status === 'full') return { ...common, status, reason: got, remedy: '' };
    return {
      ...common,
      status: required ? 'none' : 'less',
      reason: required ? `${got}, or it is switched off` : got,
      remedy: required
        ? `${reason}, in the kernel option lsm=; else give it up by name: --accept-weaker=${feature}`
        : reason,
    };
  });
}

function seccomp({ seccompActions: actions }: HostFacts): Finding {
  const common = { id: 'seccomp', layer: 2, title: 'seccomp: only the system calls of the policy' } as const;
  if (actions === undefined)
    return {
      ...common,
      status: 'none',
      reason: 'the kernel does not say that it has it',
      remedy: 'a kernel with CONFIG_SECCOMP_FILTER; it cannot be given up',
    };
  const words = actions.split(/\s+/);
  const missing = ['kill_process', 'errno', 'allow'].filter((word) => !words.includes(word));
  if (missing.length > 0)
    return {
      ...common,
      status: 'none',
      reason: `the kernel cannot ${missing.join(', ')}`,
      remedy: 'Linux 4.14 or later; it cannot be given up',
    };
  return {
    ...common,
    status: 'full',
    reason: 'a forbidden call ends the process, any other unlisted one fails',
    remedy: '',
  };
}

function network({ uid, namespaces, installed, firewall }: HostFacts): Finding[] {
  const own = uid === 0 && namespaces.includes('net');
  return [
    {
      id: 'network-namespace',
      layer: 2,
      title: 'an empty network for every role',
      status: own || installed ? 'full' : 'less',
      reason: own
        ? 'root can make one'
        : installed
          ? 'the installed server gets one from the service manager'
          : 'only root can make one without letting a debugger of the same user in; seccomp is the wall here',
      remedy: own || installed ? '' : 'sudo ./kwyre isolate install',
    },
    {
      id: 'firewall',
      layer: 2,
      title: 'firewall rules for a user of its own',
      status: installed ? 'full' : 'less',
      reason: installed
        ? 'installed; ./kwyre isolate status tries to get past them'
        : firewall === undefined
          ? 'neither nftables nor iptables is there'
          : `not installed; ${firewall} is there`,
      remedy: installed
        ? ''
        : firewall === undefined
          ? 'install the package nftables, then sudo ./kwyre isolate install'
          : 'sudo ./kwyre isolate install (./kwyre isolate plan shows every command first)',
    },
  ];
}

/**
 * A limit of 0 keeps an image out of files; a program that the kernel starts gets one all the same, unless the process
 * is not dumpable.
 */
function coreImages(pattern: string | undefined): Finding {
  const common = { id: 'core-pattern', layer: 5, title: 'no memory image of a crash' } as const;
  if (pattern === undefined)
    return {
      ...common,
      status: 'less',
      reason: 'the kernel does not say where images go; sealed roles make none',
      remedy: 'mount /proc with sys/kernel/core_pattern readable',
    };
  const program = /^\|(\S+)/.exec(pattern)?.[1];
  if (program === undefined)
    return { ...common, status: 'full', reason: 'images go to files, and the limit of every role is 0', remedy: '' };
  return {
    ...common,
    status: 'less',
    reason: `images are handed to ${program}, which no limit stops: sealed roles make none, one that crashes while it starts would`,
    remedy: 'sudo sysctl kernel.core_pattern=core',
  };
}

function memory(facts: HostFacts): Finding[] {
  const { secretMemoryFault, swaps, corePattern, clearsFreedMemory } = facts;
  const swapLines = swaps?.trim().split('\n').slice(1) ?? [];
  const onDisk = swapLines.filter((line) => !line.startsWith('/dev/zram'));
  return [
    {
      id: 'secret-memory',
      layer: 5,
      title: 'memory that nobody else can read, for the keys (memfd_secret)',
      status: secretMemoryFault === undefined ? 'full' : 'less',
      reason: secretMemoryFault ?? 'the kernel gives it',
      remedy:
        secretMemoryFault === undefined
          ? ''
          : 'Linux 5.14 or later; before 6.5 also the kernel option secretmem.enable=1',
    },
    {
      id: 'swap',
      layer: 5,
      title: 'memory does not reach a disk',
      status: swaps === undefined || onDisk.length > 0 ? 'less' : 'full',
      reason:
        swaps === undefined
          ? 'the list of swap cannot be read'
          : onDisk.length > 0
            ? `${onDisk.length} places of swap on a disk: what cannot be locked in memory may be written there`
            : swapLines.length > 0
              ? 'swap is compressed memory only'
              : 'there is no swap',
      remedy: onDisk.length > 0 ? 'sudo swapoff -a, or encrypt the swap with a key of each boot' : '',
    },
    {
      id: 'freed-memory',
      layer: 5,
      title: 'memory is overwritten as soon as a process has ended',
      status: clearsFreedMemory === true ? 'full' : 'less',
      reason:
        clearsFreedMemory === true
          ? 'the kernel does that for every page (init_on_free)'
          : `the kernel ${clearsFreedMemory === undefined ? 'does not say whether it does that' : 'overwrites a page when it gives it to the next one, not before'}; the words of running turns we overwrite ourselves, not what the model remembers of them`,
      remedy: clearsFreedMemory === true ? '' : 'the kernel option init_on_free=1, which costs a few per cent of speed',
    },
    coreImages(corePattern),
  ];
}

function watching({ ptraceScope, hidesProcesses, uid }: HostFacts): Finding[] {
  const scope = ptraceScope?.trim();
  const words: Readonly<Record<string, string>> = {
    '1': 'a program may debug its own children only',
    '2': 'only root may debug',
    '3': 'nobody may debug',
  };
  return [
    {
      id: 'ptrace-scope',
      layer: 6,
      title: 'who may attach a debugger',
      status: scope !== undefined && scope in words ? 'full' : 'less',
      reason:
        scope === undefined
          ? 'this kernel has no such rule; our processes refuse debuggers of the same user by themselves'
          : (words[scope] ?? 'any program of the same user; our processes refuse that by themselves'),
      remedy:
        scope !== undefined && scope in words ? '' : 'sudo sysctl kernel.yama.ptrace_scope=1, where the kernel has it',
    },
    {
      id: 'process-list',
      layer: 6,
      title: 'the watchdog sees every process',
      status: hidesProcesses ? 'less' : 'full',
      reason: hidesProcesses
        ? '/proc hides the processes of other users (hidepid)'
        : uid === 0
          ? 'descriptors and executables of every user, too'
          : "processes of every user; descriptors of other users' only as root",
      remedy: hidesProcesses ? 'mount /proc without hidepid, or start as root' : '',
    },
  ];
}

function integrity({ leases, node, engine, treeFault, models }: HostFacts): Finding[] {
  const own = node.ownBinary && node.pinned !== undefined && node.running === `v${node.pinned}`;
  return [
    {
      id: 'leases',
      layer: 4,
      title: 'a word from the kernel when somebody wants to write the weights',
      status: leases?.trim() === '1' ? 'full' : 'less',
      reason:
        leases?.trim() === '1'
          ? 'leases are on'
          : 'leases are off; weights that fit are served from sealed memory, larger ones from a watched file',
      remedy: leases?.trim() === '1' ? '' : 'sudo sysctl fs.leases-enable=1',
    },
    {
      id: 'node',
      layer: 3,
      title: 'the pinned Node',
      status: own ? 'full' : 'none',
      reason: own
        ? `${node.running}, from this installation`
        : `${node.running} runs, ${node.pinned ?? 'none'} is pinned`,
      remedy: own ? '' : 'start with ./kwyre; if it stays so: npm ci --omit=dev --ignore-scripts --no-bin-links',
    },
    {
      id: 'engine',
      layer: 3,
      title: "the engine's libraries for this machine",
      status: engine.present ? 'full' : 'none',
      reason: `${engine.name} is ${engine.present ? 'there' : 'missing'}`,
      remedy: engine.present ? '' : 'npm ci --omit=dev --ignore-scripts --no-bin-links',
    },
    {
      id: 'packages',
      layer: 3,
      title: 'every installed package is the published one',
      status: treeFault === undefined ? 'full' : 'none',
      reason: treeFault ?? 'every file compared just now',
      remedy: treeFault === undefined ? '' : './kwyre deps verify names each file',
    },
    ...models.map(({ name, fault }): Finding => ({
      id: `model.${name}`,
      layer: 4,
      title: `the model ${name}`,
      status: fault === undefined ? 'full' : 'none',
      reason: fault ?? 'every byte compared just now',
      remedy: fault === undefined ? '' : `./kwyre model verify ${name}`,
    })),
  ];
}

/** Every finding about a machine. */
export function examine(facts: HostFacts): Finding[] {
  const { platform, architecture, release, wsl, noNewPrivs } = facts;
  const supported = platform === 'linux' && (architecture === 'x64' || architecture === 'arm64');
  const system: Finding = {
    id: 'system',
    layer: 0,
    title: '64-bit Linux',
    status: supported ? (wsl ? 'less' : 'full') : 'none',
    reason: `${platform} ${release} ${architecture}${wsl ? ', inside Windows: the Windows side is not confined by us' : ''}`,
    remedy: supported
      ? wsl
        ? 'the rule for the Windows side: ./kwyre isolate plan'
        : ''
      : 'run Kwyre on 64-bit Linux or inside WSL2',
  };
  if (platform !== 'linux') return [system];
  return [
    system,
    seccomp(facts),
    {
      id: 'no-new-privs',
      layer: 2,
      title: 'no program brings rights back',
      status: noNewPrivs ? 'full' : 'none',
      reason: noNewPrivs ? 'the kernel has no_new_privs' : 'the kernel does not show it',
      remedy: noNewPrivs ? '' : 'Linux 4.10 or later; it cannot be given up',
    },
    ...landlock(facts),
    ...network(facts),
    ...integrity(facts),
    ...memory(facts),
    ...watching(facts),
  ];
}

/** 0 when a server can start with every required feature, 1 when something required is missing. */
export function exitCodeOf(findings: readonly Finding[]): number {
  return findings.some((finding) => finding.status === 'none') ? 1 : 0;
}
