/**
 * `kwyre doctor`, layer 2: seccomp, no_new_privs, Landlock, network namespace and firewall. Pure.
 *
 * Proof: test/unit/cli/checks.test.ts
 * @module
 */
import { landlockFeatures, landlockSupport } from '../../layers/2-isolation/jail/landlock-abi.ts';
import { strictFeatures } from '../../policy/shared-rights.ts';
import type { Finding, HostFacts } from './types.ts';
import { notLoaded } from './types.ts';

/**
 * Evaluates features as the server does when it starts: a missing required feature prevents the start, a missing
 * preferred one is only reported.
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
        remedy: './kwyre deps verify lists the files that differ',
      },
    ];
  return landlockSupport(abi).map(({ feature, status, observed, reason }): Finding => {
    const required = strictFeatures[feature] === 'required';
    const common = { id: feature, layer: 2, title: `Landlock: ${landlockFeatures[feature].holds}` } as const;
    if (status === 'full') return { ...common, status, reason: observed, remedy: '' };
    return {
      ...common,
      status: required ? 'none' : 'less',
      reason: required ? `${observed}, or it is disabled` : observed,
      remedy: required
        ? `${reason}; the kernel option lsm= must list it; or start without it: --accept-weaker=${feature}`
        : reason,
    };
  });
}

function seccomp({ seccompActions: actions }: HostFacts): Finding {
  const common = { id: 'seccomp', layer: 2, title: 'seccomp: only system calls that the policy allows' } as const;
  if (actions === undefined)
    return {
      ...common,
      status: 'none',
      reason: 'the kernel does not report seccomp filters',
      remedy: 'use a kernel with CONFIG_SECCOMP_FILTER; a server cannot start without it',
    };
  const words = actions.split(/\s+/);
  const missing = ['kill_process', 'errno', 'allow'].filter((word) => !words.includes(word));
  if (missing.length > 0)
    return {
      ...common,
      status: 'none',
      reason: `the kernel lacks the seccomp actions ${missing.join(', ')}`,
      remedy: 'use Linux 4.14 or later; a server cannot start without it',
    };
  return {
    ...common,
    status: 'full',
    reason: 'a forbidden system call kills the process; any other call that the policy does not allow fails',
    remedy: '',
  };
}

function noNewPrivs({ noNewPrivs: present }: HostFacts): Finding {
  return {
    id: 'no-new-privs',
    layer: 2,
    title: 'no program can regain privileges',
    status: present ? 'full' : 'none',
    reason: present ? 'the kernel has no_new_privs' : 'the kernel does not report no_new_privs',
    remedy: present ? '' : 'use Linux 4.10 or later; a server cannot start without it',
  };
}

function network({ uid, namespaces, installed }: HostFacts): Finding {
  const own = uid === 0 && namespaces.includes('net');
  return {
    id: 'network-namespace',
    layer: 2,
    title: 'an empty network namespace for every role',
    status: own || installed ? 'full' : 'less',
    reason: own
      ? 'root can create one'
      : installed
        ? 'systemd creates one for the installed server'
        : 'an ordinary user could create one only by giving debuggers of the same user access; seccomp ' +
          'blocks sockets instead',
    remedy: own || installed ? '' : 'sudo ./kwyre isolate install',
  };
}

function firewall({ installed, firewall: kind }: HostFacts): Finding {
  const common = { id: 'firewall', layer: 2, title: 'firewall rules for a dedicated user' } as const;
  if (installed)
    return {
      ...common,
      status: 'full',
      reason: 'installed; sudo ./kwyre isolate status tries to get past the rules',
      remedy: '',
    };
  return {
    ...common,
    status: 'less',
    reason: kind === undefined ? 'neither nftables nor iptables is installed' : `not set up; ${kind} is available`,
    remedy:
      kind === undefined
        ? 'install the package nftables, then run sudo ./kwyre isolate install'
        : 'sudo ./kwyre isolate install (./kwyre isolate plan shows every command first)',
  };
}

/** Returns the findings about what confines the processes of a server. */
export function jailFindings(facts: HostFacts): Finding[] {
  return [seccomp(facts), noNewPrivs(facts), ...landlock(facts), network(facts), firewall(facts)];
}
