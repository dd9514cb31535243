/**
 * Rights that every role has, and what no role may ever do.
 * @module
 */
import type { ConditionalRow, Policy, Row } from './policy.ts';

/** A call of these ends the process with SIGSYS from the start of the role on; the supervisor takes it as a breach. */
export const forbidden = [
  ['socket', 'no role makes a socket: they are inherited'],
  ['socketpair', 'channels are inherited'],
  ['connect', 'no role speaks first'],
  ['bind', 'the listening socket is inherited'],
  ['ptrace', 'looking into other processes'],
  ['process_vm_readv', 'reading other processes'],
  ['process_vm_writev', 'writing other processes'],
  ['pidfd_open', 'a handle on another process'],
  ['pidfd_getfd', 'taking descriptors of another process'],
  ['pidfd_send_signal', 'signals to others'],
  ['kcmp', 'comparing processes'],
  ['bpf', 'code in the kernel'],
  ['perf_event_open', 'watching other processes'],
  ['userfaultfd', 'a tool of kernel exploits'],
  ['io_uring_enter', 'walks around this filter'],
  ['io_uring_register', 'walks around this filter'],
  ['io_setup', 'the older ring, not needed'],
  ['io_submit', 'the older ring, not needed'],
  ['mount', 'file systems'],
  ['umount2', 'file systems'],
  ['pivot_root', 'file systems'],
  ['chroot', 'file systems'],
  ['open_tree', 'file systems'],
  ['move_mount', 'file systems'],
  ['fsopen', 'file systems'],
  ['fsmount', 'file systems'],
  ['mount_setattr', 'file systems'],
  ['name_to_handle_at', 'opening by handle walks around paths'],
  ['open_by_handle_at', 'opening by handle walks around paths'],
  ['unshare', 'a new user namespace brings capabilities back'],
  ['setns', 'another namespace has a network'],
  ['init_module', 'kernel modules'],
  ['finit_module', 'kernel modules'],
  ['delete_module', 'kernel modules'],
  ['kexec_load', 'another kernel'],
  ['kexec_file_load', 'another kernel'],
  ['keyctl', 'kernel keys outlive the process'],
  ['add_key', 'kernel keys outlive the process'],
  ['request_key', 'starts a helper program'],
  ['fanotify_init', 'watching files'],
  ['swapon', 'swap'],
  ['swapoff', 'swap'],
  ['reboot', 'the machine'],
  ['iopl', 'hardware'],
  ['ioperm', 'hardware'],
  ['fork', 'no role has children'],
  ['vfork', 'no role has children'],
] as const satisfies readonly Row[];

/** Forbidden as soon as the role is sealed; before that its own image needs them to start. */
export const forbiddenSealed = [
  ['execve', 'no role becomes another program'],
  ['execveat', 'no role becomes another program'],
  ['memfd_create', 'a file to execute from'],
] as const satisfies readonly Row[];

/** Answered with ENOSYS: Node tries them at every start and has another way. */
export const absent = [
  ['io_uring_setup', 'a ring would walk around this filter'],
  ['clone3', 'its flags are behind a pointer; libc falls back to clone'],
] as const satisfies readonly Row[];

/** Decided by an argument, in every role. */
export const conditions = [
  { call: 'clone', action: 'allow', when: { argument: 0, mask: 0x00010000, is: 0x00010000 }, reason: 'threads (CLONE_THREAD)' },
  { call: 'clone', action: 'kill', when: { argument: 0, mask: 0, is: 0 }, reason: 'any other clone is a process' },
  { call: 'sendto', action: 'kill', when: { argument: 3, mask: 0x20000000, is: 0x20000000 }, reason: 'MSG_FASTOPEN connects without connect' },
  { call: 'sendmsg', action: 'kill', when: { argument: 2, mask: 0x20000000, is: 0x20000000 }, reason: 'MSG_FASTOPEN connects without connect' },
  { call: 'fcntl', action: 'kill', when: { argument: 1, is: 8 }, reason: 'F_SETOWN: a descriptor that signals another process' },
  { call: 'fcntl', action: 'kill', when: { argument: 1, is: 10 }, reason: 'F_SETSIG: the same with any signal' },
  { call: 'fcntl', action: 'kill', when: { argument: 1, is: 15 }, reason: 'F_SETOWN_EX: the same' },
  ...([[0, 'F_DUPFD'], [1, 'F_GETFD'], [2, 'F_SETFD'], [3, 'F_GETFL'], [4, 'F_SETFL: descriptors become non-blocking'], [1030, 'F_DUPFD_CLOEXEC']] as const).map(([is, reason]) => ({ call: 'fcntl', action: 'allow', when: { argument: 1, is }, reason }) as const),
  { call: 'ioctl', action: 'kill', when: { argument: 1, is: 0x8901 }, reason: 'FIOSETOWN: a socket that signals another process' },
  { call: 'ioctl', action: 'kill', when: { argument: 1, is: 0x8902 }, reason: 'SIOCSPGRP: the same' },
  ...([[0x5421, 'FIONBIO on connections'], [0x541b, 'FIONREAD'], [0x5401, 'TCGETS: is this a terminal'], [0x5451, 'FIOCLEX']] as const).map(([is, reason]) => ({ call: 'ioctl', action: 'allow', when: { argument: 1, is }, reason }) as const),
  { call: 'prctl', action: 'kill', when: { argument: 0, is: 4 }, reason: 'PR_SET_DUMPABLE would let a debugger of the same user in again' },
  { call: 'prctl', action: 'kill', when: { argument: 0, is: 0x59616d61 }, reason: 'PR_SET_PTRACER would let one in by name' },
  { call: 'prctl', action: 'kill', when: { argument: 0, is: 1 }, reason: 'PR_SET_PDEATHSIG would let it outlive the supervisor' },
  ...([[3, 'PR_GET_DUMPABLE'], [15, 'PR_SET_NAME: thread names'], [16, 'PR_GET_NAME'], [0x53564d41, 'PR_SET_VMA: names of memory']] as const).map(([is, reason]) => ({ call: 'prctl', action: 'allow', when: { argument: 0, is }, reason }) as const),
  ...([[1, 'TCP_NODELAY'], [4, 'TCP_KEEPIDLE'], [5, 'TCP_KEEPINTVL'], [6, 'TCP_KEEPCNT'], [9, 'SO_KEEPALIVE'], [13, 'SO_LINGER: a connection is cut']] as const).map(([is, reason]) => ({ call: 'setsockopt', action: 'allow', when: { argument: 2, is }, reason }) as const),
  { call: 'prlimit64', action: 'allow', when: { argument: 0, is: 0 }, reason: 'its own limits are read; those of others could end them' },
  { call: 'shutdown', action: 'allow', when: { argument: 1, is: 1 }, reason: 'SHUT_WR: the end of an answer' },
  { call: 'mprotect', action: 'allow', when: { argument: 0, mask: 0, is: 0 }, reason: 'V8 switches its pages' },
] as const satisfies readonly ConditionalRow[];

/** What Node itself calls in a running process, found by tracing. */
export const runtimeCalls = [
  ['read', 'channels'], ['write', 'channels, the event loop\'s wake-up'], ['readv', 'streams'], ['writev', 'streams'], ['pread64', 'the model file'], ['close', 'connections'],
  ['fstat', 'descriptors'], ['lseek', 'descriptors'], ['mmap', 'memory'], ['munmap', 'memory'], ['mremap', 'memory'], ['brk', 'memory'], ['madvise', 'memory is given back'],
  ['rt_sigaction', 'signals'], ['rt_sigprocmask', 'signals'], ['rt_sigreturn', 'signals'], ['sigaltstack', 'new threads'],
  ['sched_yield', 'threads'], ['sched_getaffinity', 'threads'], ['sched_setaffinity', 'ggml places its threads'], ['sched_getparam', 'threads'], ['sched_getscheduler', 'threads'], ['sched_setscheduler', 'ggml may lower its threads'],
  ['futex', 'locks'], ['set_robust_list', 'new threads'], ['get_robust_list', 'threads'], ['rseq', 'new threads'], ['gettid', 'threads'], ['getpid', 'process.pid'], ['getppid', 'process.ppid'], ['membarrier', 'V8'],
  ['fsync', 'koffi flushes the standard streams when the process exits; refused, it waits for its own lock for ever'],
  ['exit', 'threads end'], ['exit_group', 'the process ends'], ['restart_syscall', 'after a stop'],
  ['epoll_wait', 'event loop'], ['epoll_pwait', 'event loop'], ['epoll_pwait2', 'event loop'], ['epoll_ctl', 'event loop'], ['epoll_create1', 'event loop'], ['eventfd2', 'event loop'], ['poll', 'event loop'], ['ppoll', 'event loop'],
  ['clock_gettime', 'time'], ['clock_getres', 'time'], ['clock_nanosleep', 'time'], ['nanosleep', 'time'], ['gettimeofday', 'time'],
  ['getrandom', 'ids, seeds'], ['getrusage', 'process.cpuUsage'], ['sysinfo', 'memory sizes'], ['uname', 'os'], ['getuid', 'process'], ['geteuid', 'process'], ['getgid', 'process'], ['getegid', 'process'],
  ['dup', 'streams'], ['dup3', 'streams'], ['getcpu', 'threads'],
  ['getsockname', 'what is this descriptor'], ['getpeername', 'who is there'], ['getsockopt', 'what is this descriptor'],
  ['mlock', 'secret memory'], ['munlock', 'secret memory'], ['mlock2', 'secret memory'], ['mincore', 'memory'], ['pkey_mprotect', 'V8 guards its code'], ['seccomp', 'never loosens'],
] as const satisfies readonly Row[];

/** What the image of any role reads when it starts. */
export const systemRead = [
  ['/etc/ld.so.cache', 'the dynamic linker'],
  ['/etc/ssl/openssl.cnf', 'Node opens it at every start'],
  ['/usr/lib/ssl/openssl.cnf', 'Node opens it at every start'],
  ['/proc/meminfo', 'how much memory there is'],
  ['/proc/cpuinfo', 'ggml chooses a variant'],
  ['/proc/stat', 'cores'],
  ['/proc/sys/vm/overcommit_memory', 'libc and V8'],
  ['/sys/devices/system/cpu', 'cores'],
  ['/sys/devices/system/node', 'ggml looks for NUMA'],
  ['/sys/fs/cgroup', 'limits that apply to memory and cores'],
  ['/dev/null', 'standard input'],
  ['/dev/urandom', 'OpenSSL'],
] as const satisfies readonly Row[];

/** Libraries; the loader itself counts as executed. */
export const systemExecute = [
  ['/lib', 'shared libraries'],
  ['/lib64', 'the dynamic linker'],
  ['/usr/lib', 'shared libraries'],
  ['/usr/lib64', 'shared libraries'],
] as const satisfies readonly Row[];

/**
 * The features of a role that touches bytes of strangers. What only a newer Landlock has is preferred: the filter holds the
 * same calls everywhere, and holding files alone needs no more than Linux 5.13.
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
