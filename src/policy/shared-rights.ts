/**
 * Rights that every role has, and what no role may ever do.
 * @module
 */
import type { AllowedRow, AnsweredRow, ConditionalRow, Policy, Row } from './role-policy.ts';

/** A call of these ends the process with SIGSYS from the start of the role on; the supervisor takes it as a breach. */
export const forbidden = [
  ['socket', 'no role makes a socket: they are inherited'],
  ['socketpair', 'channels are inherited'],
  ['connect', 'no role speaks first'],
  ['bind', 'the listening socket is inherited'],
  ['listen', 'no role begins to be reached: the listening socket is inherited, and listens already'],
  ['accept', 'connections are taken by accept4, and by the gateway alone'],
  ['sendmmsg', 'a message to an address needs no connection'],
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
export const forbiddenAfterStart = [
  ['execve', 'no role becomes another program'],
  ['execveat', 'no role becomes another program'],
  ['memfd_create', 'a file to execute from'],
  ['seccomp', 'a filter of its own could hand calls to a listener; this one is the last'],
] as const satisfies readonly Row[];

const ENOSYS = 38;

/** Node tries these at every start and has another way. */
export const answered = [
  ['io_uring_setup', ENOSYS, 'a ring would walk around this filter'],
  ['clone3', ENOSYS, 'its flags are behind a pointer; libc falls back to clone'],
] as const satisfies readonly AnsweredRow[];

const alone = 'nothing: it concerns this process alone';
const given = 'nothing beyond the other ends of the descriptors that it was given';
const tells = 'it is told something and changes nothing';

/** CLONE_VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, SETTLS, PARENT_SETTID, CHILD_CLEARTID: what libc asks for. */
const threadFlags = 0x003d0f00;

/** Decided by arguments from the start of the role on. */
export const startConditions = [
  {
    call: 'clone',
    action: 'allow',
    when: { argument: 0, is: threadFlags },
    reason: 'threads just as libc makes them',
    others:
      'nothing: a thread shares the one descriptor table that the watchdog reads, and counts against the limit of its user',
  },
  {
    call: 'clone',
    action: 'kill',
    when: { argument: 0, mask: 0, is: 0 },
    reason: 'any other clone is a process, or a thread with descriptors of its own that nobody sees',
  },
  {
    call: 'sendto',
    action: 'kill',
    when: { argument: 3, mask: 0x20000000, is: 0x20000000 },
    reason: 'MSG_FASTOPEN connects without connect',
  },
  {
    call: 'sendmsg',
    action: 'kill',
    when: { argument: 2, mask: 0x20000000, is: 0x20000000 },
    reason: 'MSG_FASTOPEN connects without connect',
  },
] as const satisfies readonly ConditionalRow[];

/** O_NONBLOCK, the access mode, O_LARGEFILE: all that F_SETFL may say. */
const plainFlags = 0x800 | 0x3 | 0x8000;
const allBits = 0xffffffff;

/** Decided by arguments, in every sealed role. */
export const conditions = [
  ...startConditions,
  {
    call: 'fcntl',
    action: 'kill',
    when: { argument: 1, is: 8 },
    reason: 'F_SETOWN: a descriptor that signals another process',
  },
  { call: 'fcntl', action: 'kill', when: { argument: 1, is: 10 }, reason: 'F_SETSIG: the same with any signal' },
  { call: 'fcntl', action: 'kill', when: { argument: 1, is: 15 }, reason: 'F_SETOWN_EX: the same' },
  { call: 'fcntl', action: 'allow', when: { argument: 1, is: 3 }, reason: 'F_GETFL', others: tells },
  {
    call: 'fcntl',
    action: 'allow',
    when: [
      { argument: 1, is: 4 },
      { argument: 0, mask: allBits - 3, is: 0 },
      { argument: 2, mask: allBits - plainFlags, is: 0 },
    ],
    reason: 'F_SETFL: Node gives the standard streams their flags back when it ends',
    others: 'descriptors 0 to 3 alone become blocking or not, whose other ends do not share that',
  },
  {
    call: 'ioctl',
    action: 'kill',
    when: { argument: 1, is: 0x8901 },
    reason: 'FIOSETOWN: a socket that signals another process',
  },
  { call: 'ioctl', action: 'kill', when: { argument: 1, is: 0x8902 }, reason: 'SIOCSPGRP: the same' },
  {
    call: 'ioctl',
    action: 'allow',
    when: { argument: 1, is: 0x5421 },
    reason: 'FIONBIO: descriptors become non-blocking',
    others: 'the listener can be made blocking, which every gateway undoes when it takes it over',
  },
  {
    call: 'ioctl',
    action: 'allow',
    when: { argument: 1, is: 0x5401 },
    reason: 'TCGETS: is this a terminal',
    others: tells,
  },
  {
    call: 'prctl',
    action: 'kill',
    when: { argument: 0, is: 4 },
    reason: 'PR_SET_DUMPABLE would let a debugger of the same user in again',
  },
  {
    call: 'prctl',
    action: 'kill',
    when: { argument: 0, is: 0x59616d61 },
    reason: 'PR_SET_PTRACER would let one in by name',
  },
  {
    call: 'prctl',
    action: 'kill',
    when: { argument: 0, is: 1 },
    reason: 'PR_SET_PDEATHSIG would let it outlive the supervisor',
  },
  { call: 'prctl', action: 'allow', when: { argument: 0, is: 3 }, reason: 'PR_GET_DUMPABLE', others: tells },
  {
    call: 'prctl',
    action: 'allow',
    when: { argument: 0, is: 15 },
    reason: 'PR_SET_NAME: thread names',
    others: 'whoever may look at this process reads 15 bytes a thread',
  },
  { call: 'prctl', action: 'allow', when: { argument: 0, is: 16 }, reason: 'PR_GET_NAME', others: tells },
  {
    call: 'prctl',
    action: 'allow',
    when: { argument: 0, is: 0x53564d41 },
    reason: 'PR_SET_VMA: V8 names its memory',
    others: 'whoever may read the maps of this process reads the names',
  },
  {
    call: 'getsockopt',
    action: 'allow',
    when: [
      { argument: 1, is: 1 },
      { argument: 2, is: 3 },
    ],
    reason: 'SO_TYPE: what is this descriptor',
    others: 'nothing; SO_PEERPIDFD, a handle on the process at the other end, is another name',
  },
  {
    call: 'getsockopt',
    action: 'allow',
    when: [
      { argument: 1, is: 1 },
      { argument: 2, is: 4 },
    ],
    reason: 'SO_ERROR: why a connection ended',
    others: 'an error that waits on a shared listener is taken',
  },
  {
    call: 'prlimit64',
    action: 'allow',
    when: { argument: 0, is: 0 },
    reason: 'its own limits are read',
    others: 'nothing: it can lower its own; those of others could end them',
  },
  {
    call: 'shutdown',
    action: 'allow',
    when: { argument: 1, is: 1 },
    reason: 'SHUT_WR: the end of an answer',
    others: 'the other end of a connection sees its end; on a listener it does nothing',
  },
] as const satisfies readonly ConditionalRow[];

/** What Node itself calls in a running process, found by tracing. */
export const runtimeCalls = [
  [
    'read',
    'channels',
    "takes bytes from its own descriptors; the model's position, which it could move, is used by nobody",
  ],
  ['readv', 'streams', 'as read'],
  ['write', "channels, the event loop's wake-up", 'speaks to the other ends of its own descriptors; no file grows'],
  ['writev', 'streams', 'as write'],
  ['close', 'connections', 'the other end of a connection sees its end'],
  ['fstat', 'descriptors', tells],
  [
    'mmap',
    'memory',
    'shared memory reaches the working set alone; pages may become executable, and code there meets this list too',
  ],
  ['munmap', 'memory', alone],
  ['mremap', 'memory', alone],
  ['mprotect', 'V8 switches its pages', 'nothing; pages may become executable, and code there meets this list too'],
  ['pkey_mprotect', 'V8 guards its code', 'as mprotect'],
  ['brk', 'memory', alone],
  ['madvise', 'memory is given back', 'pages of the working set can be emptied, which the supervisor only overwrites'],
  ['mlock', 'secret memory', 'memory that cannot be swapped, up to its limit'],
  ['munlock', 'secret memory', alone],
  ['mlock2', 'secret memory', 'as mlock'],
  ['rt_sigaction', 'signals', alone],
  ['rt_sigprocmask', 'signals', alone],
  ['rt_sigreturn', 'signals', alone],
  ['sigaltstack', 'new threads', alone],
  ['sched_yield', 'threads', alone],
  ['sched_getaffinity', 'threads', tells],
  ['sched_getparam', 'threads', tells],
  ['sched_getscheduler', 'threads', tells],
  ['futex', 'locks', 'nothing: no other process waits on a word of shared memory'],
  ['set_robust_list', 'new threads', alone],
  ['rseq', 'new threads', alone],
  ['gettid', 'threads', alone],
  ['getpid', 'process.pid', alone],
  ['getppid', 'process.ppid', alone],
  ['membarrier', 'V8', 'other processors are made to pause for a moment'],
  [
    'fsync',
    'koffi flushes the standard streams when the process exits; refused, it waits for its own lock for ever',
    'nothing: pipes and sockets refuse it, and no file of its own was written',
  ],
  ['exit', 'threads end', alone],
  ['exit_group', 'the process ends', 'the supervisor acts on it'],
  ['restart_syscall', 'after a stop', alone],
  ['epoll_wait', 'event loop', alone],
  ['epoll_pwait', 'event loop', alone],
  ['epoll_pwait2', 'event loop', alone],
  ['epoll_ctl', 'event loop', alone],
  ['epoll_create1', 'event loop', alone],
  ['eventfd2', 'event loop', alone],
  ['poll', 'event loop', alone],
  ['ppoll', 'event loop', alone],
  ['clock_gettime', 'time', alone],
  ['clock_getres', 'time', alone],
  ['clock_nanosleep', 'time', alone],
  ['nanosleep', 'time', alone],
  ['gettimeofday', 'time', alone],
  ['getrandom', 'ids, seeds', alone],
  ['getrusage', 'process.cpuUsage', alone],
  ['sysinfo', 'memory sizes', tells],
  ['uname', 'os', tells],
  ['getuid', 'process', alone],
  ['geteuid', 'process', alone],
  ['getgid', 'process', alone],
  ['getegid', 'process', alone],
  ['getcpu', 'threads', alone],
  ['getsockname', 'what is this descriptor', given],
  ['getpeername', 'who is there', given],
] as const satisfies readonly AllowedRow[];

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
 * The features of a role that touches bytes of strangers. What only a newer Landlock has is preferred: the filter holds
 * the same calls everywhere, and holding files alone needs no more than Linux 5.13.
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
