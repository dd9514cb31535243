/**
 * Determines from a machine's facts what the machine can enforce. Pure.
 *
 * Proof: test/unit/cli/checks.test.ts
 * @module
 */
import { integrityFindings } from './integrity-findings.ts';
import { jailFindings } from './jail-findings.ts';
import { memoryFindings } from './memory-findings.ts';
import type { Finding, HostFacts } from './types.ts';

function ptraceScope({ ptraceScope: setting }: HostFacts): Finding {
  const scope = setting?.trim();
  const restricted: Readonly<Record<string, string>> = {
    '1': 'a program can debug only its own children',
    '2': 'only root can debug',
    '3': 'debugging is disabled',
  };
  const reason = scope === undefined ? undefined : restricted[scope];
  return {
    id: 'ptrace-scope',
    layer: 6,
    title: 'who can attach a debugger',
    status: reason === undefined ? 'less' : 'full',
    reason:
      reason ??
      (scope === undefined
        ? 'this kernel has no Yama; the processes of Kwyre themselves refuse debuggers of the same user'
        : 'any program of the same user; the processes of Kwyre themselves refuse them'),
    remedy: reason === undefined ? 'sudo sysctl kernel.yama.ptrace_scope=1, if the kernel has Yama' : '',
  };
}

function processList({ hidesProcesses, uid }: HostFacts): Finding {
  return {
    id: 'process-list',
    layer: 6,
    title: 'the watchdog sees every process',
    status: hidesProcesses ? 'less' : 'full',
    reason: hidesProcesses
      ? '/proc hides the processes of other users (hidepid)'
      : uid === 0
        ? 'the processes of all users are visible, with their descriptors and executables'
        : 'the processes of all users are visible; only root can see the descriptors of other users',
    remedy: hidesProcesses ? 'mount /proc without hidepid, or start the server as root' : '',
  };
}

/** Returns every finding about a machine. */
export function examine(facts: HostFacts): Finding[] {
  const { platform, architecture, release, wsl } = facts;
  const supported = platform === 'linux' && (architecture === 'x64' || architecture === 'arm64');
  const system: Finding = {
    id: 'system',
    layer: 0,
    title: '64-bit Linux',
    status: supported ? (wsl ? 'less' : 'full') : 'none',
    reason: `${platform} ${release} ${architecture}${wsl ? ', inside Windows, which Kwyre does not confine' : ''}`,
    remedy: supported
      ? wsl
        ? 'add a firewall rule on the Windows side: ./kwyre isolate plan'
        : ''
      : 'run Kwyre on 64-bit Linux or inside WSL2',
  };
  if (platform !== 'linux') return [system];
  return [
    system,
    ...jailFindings(facts),
    ...integrityFindings(facts),
    ...memoryFindings(facts),
    ptraceScope(facts),
    processList(facts),
  ];
}

/** Returns 0 if a server can start with every required feature, 1 if a required feature is missing. */
export function exitCodeOf(findings: readonly Finding[]): number {
  return findings.some((finding) => finding.status === 'none') ? 1 : 0;
}
