/**
 * What the kernel must answer to system calls under the filters of the roles and of the supervisor: written here a
 * second time, apart from the policy, so that a row that is lost there is missed here.
 *
 * Every call has arguments that do no harm where no filter answers: most are -1.
 * @module
 */
import { permissiveErrno } from '../../src/layers/2-isolation/probe/permissive-filter.ts';
import type { Role } from '../../src/policy/roles.ts';

/** A call, and what it gets: `death`, an error number, 0, or `made` when the kernel itself must answer it. */
export type Expected = {
  readonly title: string;
  readonly call: string;
  readonly args: readonly number[];
  readonly answer: 'death' | 'made' | number;
};

const EPERM = 1;
const ENOSYS = 38;
/** What a filter answers where it would kill, in the permissiveErrno form that these tests install. */
export const deathAnswer = permissiveErrno;

const minus = [-1, -1, -1, -1, -1, -1] as const;
/** Calls whose -1 would mean something. */
const gentle: Readonly<Record<string, readonly number[]>> = {
  sendto: [-1, 0, 0, 0, 0, 0],
  sendmsg: [-1, 0, 0],
  clone: [17],
  fork: [],
  vfork: [],
  msgget: [0x6b777972, 0],
  brk: [0],
  mmap: [0, 0],
  munmap: [0, 0],
  mprotect: [0, 0, 0],
  pkey_mprotect: [0, 0, 0, -1],
  madvise: [0, 0, 0],
  mlock: [0, 0],
  munlock: [0, 0],
  mlock2: [0, 0, 0],
  futex: [0, 1, 0],
  set_robust_list: [0, 24],
  rseq: [0, 0, 0, 0],
  epoll_wait: [-1, 0, 0, 0],
  epoll_pwait: [-1, 0, 0, 0, 0, 8],
  poll: [0, 0, 0],
  ppoll: [-1, 1, -1, 0, 8],
  sigaltstack: [0, 0],
  rt_sigaction: [0, 0, 0, 8],
  rt_sigprocmask: [0, 0, 0, 8],
  membarrier: [0],
  getrandom: [0, 0, 0],
  eventfd2: [0, 0],
  epoll_create1: [0],
  gettimeofday: [0, 0],
  getcpu: [0, 0, 0],
  clock_nanosleep: [0, 0, -1, 0],
  epoll_pwait2: [-1, 0, 0, 0, 0, 8],
  sched_yield: [],
  mremap: [0, 0, 0, 0],
};
const argsOf = (call: string): readonly number[] => gentle[call] ?? minus;
const each = (answer: Expected['answer'], calls: string): Expected[] =>
  calls.split(' ').map((call) => ({ title: call, call, args: argsOf(call), answer }));
const one = (title: string, call: string, args: readonly number[], answer: Expected['answer']): Expected => ({
  title,
  call,
  args,
  answer,
});

const deadlyCalls =
  'socket socketpair connect bind accept sendmmsg ptrace process_vm_readv process_vm_writev pidfd_open pidfd_getfd pidfd_send_signal kcmp bpf perf_event_open userfaultfd ' +
  'io_uring_enter io_uring_register io_setup io_submit mount umount2 pivot_root chroot open_tree move_mount fsopen fsmount mount_setattr name_to_handle_at open_by_handle_at unshare setns ' +
  'init_module finit_module delete_module kexec_load kexec_file_load keyctl add_key request_key fanotify_init swapon swapoff reboot iopl ioperm fork vfork';
const fastOpen = 0x20000000;
const threadFlags = 0x3d0f00;

/** From the start of a role on. */
export function atStart(role: Role): Expected[] {
  return [
    ...each('death', deadlyCalls),
    ...(role === 'gateway' ? [one('listen', 'listen', minus, 0)] : each('death', 'listen accept4')),
    ...each(ENOSYS, 'io_uring_setup clone3'),
    one('clone of a process', 'clone', [17], 'death'),
    one('a thread with descriptors of its own', 'clone', [threadFlags & ~0x400], 'death'),
    one('a thread in a namespace', 'clone', [threadFlags | 0x40000000], 'death'),
    one('sendto with MSG_FASTOPEN', 'sendto', [-1, 0, 0, fastOpen, 0, 0], 'death'),
    one('sendmsg with MSG_FASTOPEN', 'sendmsg', [-1, 0, fastOpen], 'death'),
  ];
}

const madeCalls =
  'read readv write writev close fstat mmap munmap mremap mprotect pkey_mprotect brk madvise mlock munlock mlock2 rt_sigaction rt_sigprocmask sigaltstack sched_yield sched_getaffinity ' +
  'sched_getparam sched_getscheduler futex set_robust_list rseq gettid getpid getppid membarrier fsync restart_syscall epoll_wait epoll_pwait epoll_pwait2 epoll_ctl epoll_create1 eventfd2 ' +
  'poll ppoll clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday getrandom getrusage sysinfo uname getuid geteuid getgid getegid getcpu getsockname getpeername';

/** What no sealed role may do, and is told so: it would reach somebody else, or nobody needs it. */
const refusedCalls =
  'dup dup2 dup3 lseek pread64 pwrite64 sendto sendmsg recvmsg recvmmsg recvfrom kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo sched_setaffinity sched_setscheduler sched_setparam ' +
  'sched_setattr setpriority getpriority ioprio_set get_robust_list process_madvise process_mrelease migrate_pages move_pages mincore shmget shmat shmctl msgget msgsnd msgrcv msgctl semget semop ' +
  'semtimedop semctl mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr mknod mknodat setuid setresuid setgid setgroups capset setrlimit setsid syslog personality ' +
  'truncate ftruncate unlink rename mkdir rmdir link symlink chmod fchmod chown splice tee vmsplice sendfile copy_file_range inotify_init1 signalfd4 timerfd_create memfd_secret ' +
  'landlock_create_ruleset landlock_restrict_self pipe2 wait4 waitid close_range quotactl acct';

const socketLevel = 1;
const tcpLevel = 6;
/** Options that outlive the gateway on a shared listener, or take somebody's handle. */
const options: readonly [title: string, level: number, name: number][] = [
  ['IP_OPTIONS', 0, 4],
  ['IP_TRANSPARENT', 0, 19],
  ['TCP_CONGESTION', tcpLevel, 13],
  ['TCP_DEFER_ACCEPT', tcpLevel, 9],
  ['TCP_ULP', tcpLevel, 31],
  ['TCP_FASTOPEN', tcpLevel, 23],
  ['TCP_KEEPIDLE', tcpLevel, 4],
  ['SO_DONTROUTE', socketLevel, 5],
  ['SO_KEEPALIVE', socketLevel, 9],
  ['SO_LINGER', socketLevel, 13],
  ['SO_REUSEPORT', socketLevel, 15],
  ['SO_BINDTODEVICE', socketLevel, 25],
  ['SO_ATTACH_FILTER', socketLevel, 26],
];
const listener = 5;
const unixListener = 6;
/** No descriptor: the kernel itself says EBADF. */
const nobody = 999;

const writing: readonly [title: string, flags: number][] = [
  ['write', 1],
  ['read and write', 2],
  ['create', 0x40],
  ['shorten', 0x200],
  ['append', 0x400],
  ['unnamed', 0x400000],
];

function ofWatchdog(): Expected[] {
  return [
    ...each('made', 'readlink readlinkat getdents64 newfstatat statx'),
    one('openat to read', 'openat', [-1, -1, 0, 0], 'made'),
    one('open to read', 'open', [-1, 0, 0], 'made'),
    ...writing.flatMap(([title, flags]) => [
      one(`openat to ${title}`, 'openat', [-1, -1, flags, 0], 'death'),
      one(`open to ${title}`, 'open', [-1, flags, 0], 'death'),
    ]),
  ];
}

function ofGateway(): Expected[] {
  return [
    one('accept4 on its listener', 'accept4', [listener, 0, 0, 0], 'made'),
    one('accept4 on its Unix listener', 'accept4', [unixListener, 0, 0, 0], 'made'),
    one('accept4 elsewhere', 'accept4', [nobody, 0, 0, 0], EPERM),
    one('TCP_NODELAY on a connection', 'setsockopt', [nobody, tcpLevel, 1, 0, 0], 'made'),
    one('TCP_NODELAY on its listener', 'setsockopt', [listener, tcpLevel, 1, 0, 0], EPERM),
    one('TCP_NODELAY on its Unix listener', 'setsockopt', [unixListener, tcpLevel, 1, 0, 0], EPERM),
    one('SO_DEBUG, which has the same number', 'setsockopt', [nobody, socketLevel, 1, 0, 0], EPERM),
  ];
}

/** In a sealed role. */
export function sealed(role: Role): Expected[] {
  return [
    ...atStart(role),
    ...each('death', 'execve execveat memfd_create seccomp'),
    ...each('made', madeCalls),
    ...each(EPERM, refusedCalls),
    ...(role === 'watchdog'
      ? ofWatchdog()
      : each(EPERM, 'open openat readlink readlinkat getdents64 newfstatat statx')),
    ...(role === 'gateway' ? ofGateway() : []),
    ...options.flatMap(([title, level, name]) => [
      one(`setsockopt ${title}`, 'setsockopt', [nobody, level, name, 0, 0], EPERM),
    ]),
    one('SO_TYPE', 'getsockopt', [nobody, socketLevel, 3, 0, 0], 'made'),
    one('SO_ERROR', 'getsockopt', [nobody, socketLevel, 4, 0, 0], 'made'),
    one('SO_PEERPIDFD', 'getsockopt', [nobody, socketLevel, 77, 0, 0], EPERM),
    one('SO_PEERCRED', 'getsockopt', [nobody, socketLevel, 17, 0, 0], EPERM),
    one("TCP_MAXSEG, which has a number of SO_TYPE's kind", 'getsockopt', [nobody, tcpLevel, 3, 0, 0], EPERM),
    one('TCP_KEEPIDLE by getsockopt', 'getsockopt', [nobody, tcpLevel, 4, 0, 0], EPERM),
    ...([8, 10, 15] as const).map((command) =>
      one(`fcntl ${command}: signals of a descriptor`, 'fcntl', [nobody, command, 0], 'death'),
    ),
    one('F_GETFL', 'fcntl', [nobody, 3, 0], 'made'),
    one('F_SETFL of a standard stream', 'fcntl', [2, 4, 0x2 | 0x800 | 0x8000], 'made'),
    one('F_SETFL of another descriptor', 'fcntl', [listener, 4, 0x800], EPERM),
    one('F_SETFL with O_ASYNC', 'fcntl', [2, 4, 0x2000], EPERM),
    ...[0, 9, 1026, 1030, 1031, 1033].map((command) =>
      one(`fcntl ${command} of a standard stream`, 'fcntl', [2, command, 0], EPERM),
    ),
    ...([0, 1, 2, 1024, 1026, 1030, 1031, 1033] as const).map((command) =>
      one(`fcntl ${command}`, 'fcntl', [nobody, command, 0], EPERM),
    ),
    ...([0x8901, 0x8902] as const).map((command) =>
      one(`ioctl ${command.toString(16)}: signals of a socket`, 'ioctl', [nobody, command, 0], 'death'),
    ),
    one('FIONBIO', 'ioctl', [nobody, 0x5421, 0], 'made'),
    one('TCGETS', 'ioctl', [nobody, 0x5401, 0], 'made'),
    ...([0x5412, 0x5413, 0x541b, 0x541c, 0x5451, 0x5452, 0x8912] as const).map((command) =>
      one(`ioctl ${command.toString(16)}`, 'ioctl', [nobody, command, 0], EPERM),
    ),
    one('PR_SET_DUMPABLE', 'prctl', [4, 0, 0, 0, 0], 'death'),
    one('PR_SET_PTRACER', 'prctl', [0x59616d61, 0, 0, 0, 0], 'death'),
    one('PR_SET_PDEATHSIG', 'prctl', [1, 9, 0, 0, 0], 'death'),
    one('PR_GET_DUMPABLE', 'prctl', [3, 0, 0, 0, 0], 'made'),
    one('PR_SET_NAME', 'prctl', [15, -1, 0, 0, 0], 'made'),
    one('PR_GET_NAME', 'prctl', [16, -1, 0, 0, 0], 'made'),
    one('PR_SET_VMA', 'prctl', [0x53564d41, 9, 0, 0, 0], 'made'),
    ...([2, 8, 21, 22, 23, 24, 36, 38, 47, 53] as const).map((option) =>
      one(`prctl ${option}`, 'prctl', [option, 0, 0, 0, 0], EPERM),
    ),
    one('its own limits', 'prlimit64', [0, 7, 0, 0], 'made'),
    one('the limits of another', 'prlimit64', [1, 7, 0, 0], EPERM),
    one('SHUT_WR', 'shutdown', [nobody, 1], 'made'),
    one('SHUT_RD', 'shutdown', [nobody, 0], EPERM),
    one('SHUT_RDWR', 'shutdown', [nobody, 2], EPERM),
  ];
}

const refusedToSupervisor =
  'sendto sendmsg sendmmsg recvmsg recvmmsg mknod mknodat shmget shmat shmctl msgget msgsnd msgrcv msgctl semget semop semtimedop semctl mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify ' +
  'mq_getsetattr rt_sigqueueinfo rt_tgsigqueueinfo sched_setaffinity sched_setscheduler sched_setparam sched_setattr setpriority ioprio_set process_madvise process_mrelease migrate_pages move_pages ' +
  'connect bind listen accept ptrace process_vm_readv process_vm_writev pidfd_open pidfd_getfd pidfd_send_signal kcmp bpf perf_event_open userfaultfd io_uring_enter io_uring_register io_setup io_submit ' +
  'mount umount2 pivot_root chroot open_tree move_mount fsopen fsmount mount_setattr name_to_handle_at open_by_handle_at setns init_module finit_module delete_module kexec_load kexec_file_load keyctl ' +
  'add_key request_key fanotify_init swapon swapoff reboot iopl ioperm';

/** In the confined supervisor, and in everything that it starts. */
export function inSupervisor(): Expected[] {
  return [
    ...each(EPERM, refusedToSupervisor),
    ...each(ENOSYS, 'clone3'),
    one('a TCP socket', 'socket', [2, 1, 0], 'made'),
    ...(
      [
        [1, 1, 0],
        [10, 1, 0],
        [16, 3, 0],
        [17, 3, 0],
        [40, 1, 0],
        [2, 2, 0],
        [2, 3, 255],
        [2, 1, 262],
        [2, 1, 132],
      ] as const
    ).map((args) => one(`socket ${args.join()}`, 'socket', args, EPERM)),
    one('a pair', 'socketpair', [1, 1, 0, -1], 'made'),
    one('a pair of another family', 'socketpair', [30, 1, 0, -1], EPERM),
    one('a pair of datagrams', 'socketpair', [1, 2, 0, -1], EPERM),
    one('accept4 where a gateway has its listener', 'accept4', [listener, 0, 0, -1], 'made'),
    one('accept4 where a gateway has its Unix listener', 'accept4', [unixListener, 0, 0, -1], 'made'),
    one('accept4 elsewhere', 'accept4', [nobody, 0, 0, 0], EPERM),
    one('SO_SNDBUF', 'setsockopt', [nobody, socketLevel, 7, 0, 0], 'made'),
    one('SO_RCVBUF', 'setsockopt', [nobody, socketLevel, 8, 0, 0], 'made'),
    one('TCP_NODELAY', 'setsockopt', [nobody, tcpLevel, 1, 0, 0], 'made'),
    one('TCP_SYNCNT, the number of SO_SNDBUF', 'setsockopt', [nobody, tcpLevel, 7, 0, 0], EPERM),
    one('TCP_LINGER2, the number of SO_RCVBUF', 'setsockopt', [nobody, tcpLevel, 8, 0, 0], EPERM),
    ...options.map(([title, level, name]) =>
      one(`setsockopt ${title}`, 'setsockopt', [nobody, level, name, 0, 0], EPERM),
    ),
    one('a user namespace', 'unshare', [0x10000000], EPERM),
    one('a mount namespace', 'unshare', [0x00020000], EPERM),
    one('a user namespace by clone', 'clone', [0x10000000 | 17], EPERM),
    one('PR_SET_DUMPABLE 1', 'prctl', [4, 1, 0, 0, 0], EPERM),
    one('PR_SET_DUMPABLE 0', 'prctl', [4, 0, 0, 0, 0], 'made'),
    one('PR_SET_PTRACER', 'prctl', [0x59616d61, 1, 0, 0, 0], EPERM),
    one('the limits of another', 'prlimit64', [1, 7, 0, 0], EPERM),
    one('its own limits', 'prlimit64', [0, 7, 0, 0], 'made'),
    ...([8, 10, 15] as const).map((command) =>
      one(`fcntl ${command}: signals of a descriptor`, 'fcntl', [nobody, command, 0], EPERM),
    ),
    one('F_GETFL', 'fcntl', [nobody, 3, 0], 'made'),
    ...([0x8901, 0x8902, 0x8912, 0x89a0, 0x5412, 0x541c] as const).map((command) =>
      one(`ioctl ${command.toString(16)}`, 'ioctl', [nobody, command, 0], EPERM),
    ),
    one('FIONBIO', 'ioctl', [nobody, 0x5421, 0], 'made'),
  ];
}
