/**
 * Paths and features that every role has.
 * @module
 */
import type { Policy, Row } from './role-policy.ts';

/** Files that every role's image reads when it starts. */
export const systemRead = [
  ['/etc/ld.so.cache', 'the dynamic linker'],
  ['/etc/ssl/openssl.cnf', 'Node opens it at every start'],
  ['/usr/lib/ssl/openssl.cnf', 'Node opens it at every start'],
  ['/proc/meminfo', 'memory size'],
  ['/proc/cpuinfo', 'ggml picks a CPU variant'],
  ['/proc/stat', 'number of cores'],
  ['/proc/sys/vm/overcommit_memory', 'overcommit mode, for libc and V8'],
  ['/sys/devices/system/cpu', 'number of cores'],
  ['/sys/devices/system/node', 'ggml detects NUMA'],
  ['/sys/fs/cgroup', 'memory and CPU limits'],
  ['/dev/null', 'standard input'],
  ['/dev/urandom', 'OpenSSL seeds its generator'],
] as const satisfies readonly Row[];

/** Folders of the libraries that every role maps. Landlock counts the dynamic linker as executed. */
export const systemExecute = [
  ['/lib', 'shared libraries'],
  ['/lib64', 'the dynamic linker'],
  ['/usr/lib', 'shared libraries'],
  ['/usr/lib64', 'shared libraries'],
] as const satisfies readonly Row[];

/**
 * Features of a role that handles untrusted data. Features that need a newer Landlock are only preferred, because the
 * filter blocks the same calls on every kernel. The file rules, which need Linux 5.13, are required.
 */
export const strictFeatures = {
  'no-new-privs': 'required',
  'core-limit': 'required',
  'file-size-limit': 'required',
  'open-files-limit': 'required',
  'process-limit': 'preferred',
  capabilities: 'required',
  'own-user': 'preferred',
  'network-namespace': 'preferred',
  'landlock-files': 'required',
  'landlock-truncating': 'preferred',
  'landlock-ports': 'preferred',
  'landlock-devices': 'preferred',
  'landlock-scopes': 'preferred',
  'seccomp-start': 'required',
  'seccomp-seal': 'required',
  'not-dumpable': 'required',
  'dies-with-supervisor': 'required',
} as const satisfies Policy['features'];
