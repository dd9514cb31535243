/**
 * The facts of a machine that has everything, for tests of what is said about others.
 * @module
 */
import type { HostFacts } from '../../src/cli/doctor/types.ts';

export const bestHost: HostFacts = {
  platform: 'linux',
  architecture: 'x64',
  release: '6.18.0',
  uid: 0,
  wsl: false,
  landlockAbi: 7,
  seccompActions: 'kill_process kill_thread trap errno user_notif trace log allow\n',
  noNewPrivs: true,
  secretMemoryFault: undefined,
  namespaces: ['net', 'user', 'mnt'],
  firewall: 'nftables',
  installed: true,
  leases: '1\n',
  swaps: 'Filename\tType\tSize\tUsed\tPriority\n',
  corePattern: 'core\n',
  clearsFreedMemory: true,
  ptraceScope: '1\n',
  hidesProcesses: false,
  node: { running: 'v26.10.0', pinned: '26.10.0', ownBinary: true },
  engine: { name: 'engine', present: true },
  treeFault: undefined,
  models: [{ name: 'guide', fault: undefined }],
};
