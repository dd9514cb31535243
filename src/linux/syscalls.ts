/**
 * Numbers of system calls, for the filters.
 *
 * Source: the kernel's uapi headers (`asm/unistd_64.h`, `asm-generic/unistd.h`)
 * @module
 */

/** System call numbers by architecture; those of arm64 were never run. */
export const systemCalls: Readonly<Record<'x64' | 'arm64', Readonly<Record<string, number>>>> = {
  x64: {
    read: 0, write: 1, close: 3, fstat: 5, lseek: 8, mmap: 9, mprotect: 10, munmap: 11, brk: 12, rt_sigaction: 13, rt_sigprocmask: 14,
    rt_sigreturn: 15, ioctl: 16, pread64: 17, pwrite64: 18, readv: 19, writev: 20, access: 21, pipe: 22, pipe2: 293, select: 23, sched_yield: 24,
    mremap: 25, msync: 26, mincore: 27, madvise: 28, dup: 32, dup2: 33, dup3: 292, nanosleep: 35, getpid: 39, sendfile: 40, socket: 41, connect: 42,
    accept: 43, accept4: 288, sendto: 44, recvfrom: 45, sendmsg: 46, recvmsg: 47, sendmmsg: 307, recvmmsg: 299, shutdown: 48, bind: 49, listen: 50,
    getsockname: 51, getpeername: 52, socketpair: 53, setsockopt: 54, getsockopt: 55, clone: 56, clone3: 435, fork: 57, vfork: 58, execve: 59,
    execveat: 322, exit: 60, wait4: 61, waitid: 247, kill: 62, tkill: 200, tgkill: 234, uname: 63, fcntl: 72, flock: 73, fsync: 74, ftruncate: 77,
    truncate: 76, getdents64: 217, getcwd: 79, chdir: 80, rename: 82, mkdir: 83, rmdir: 84, creat: 85, link: 86, unlink: 87, symlink: 88, readlink: 89,
    readlinkat: 267, chmod: 90, fchmod: 91, chown: 92, umask: 95, gettimeofday: 96, getrlimit: 97, getrusage: 98, sysinfo: 99, times: 100, ptrace: 101,
    getuid: 102, syslog: 103, getgid: 104, setuid: 105, setgid: 106, geteuid: 107, getegid: 108, getppid: 110, setsid: 112, setreuid: 113,
    setregid: 114, getgroups: 115, setgroups: 116, setresuid: 117, setresgid: 119, capget: 125, capset: 126, sigaltstack: 131, personality: 135,
    statfs: 137, fstatfs: 138, sched_setaffinity: 203, sched_getaffinity: 204, sched_getparam: 143, sched_getscheduler: 145, sched_setscheduler: 144,
    sched_get_priority_max: 146, sched_get_priority_min: 147, mlock: 149, munlock: 150, mlockall: 151, munlockall: 152, prctl: 157, arch_prctl: 158,
    setrlimit: 160, chroot: 161, mount: 165, umount2: 166, swapon: 167, swapoff: 168, reboot: 169, init_module: 175, delete_module: 176,
    finit_module: 313, gettid: 186, futex: 202, epoll_create1: 291, epoll_ctl: 233, epoll_wait: 232, epoll_pwait: 281, epoll_pwait2: 441,
    set_tid_address: 218, restart_syscall: 219, fadvise64: 221, timer_create: 222, clock_gettime: 228, clock_getres: 229, clock_nanosleep: 230,
    exit_group: 231, mbind: 237, set_mempolicy: 238, get_mempolicy: 239, keyctl: 250, add_key: 248, request_key: 249, openat: 257, openat2: 437,
    open: 2, stat: 4, lstat: 6, newfstatat: 262, statx: 332, poll: 7, ppoll: 271, pselect6: 270, set_robust_list: 273, get_robust_list: 274,
    unshare: 272, setns: 308, eventfd2: 290, timerfd_create: 283, signalfd4: 289, inotify_init1: 294, perf_event_open: 298, prlimit64: 302,
    getcpu: 309, process_vm_readv: 310, process_vm_writev: 311, kcmp: 312, bpf: 321, seccomp: 317, getrandom: 318, memfd_create: 319,
    memfd_secret: 447, userfaultfd: 323, membarrier: 324, mlock2: 325, copy_file_range: 326, preadv2: 327, pwritev2: 328, pkey_mprotect: 329,
    pkey_alloc: 330, pkey_free: 331, io_uring_setup: 425, io_uring_enter: 426, io_uring_register: 427, open_tree: 428, move_mount: 429, fsopen: 430,
    fsconfig: 431, fsmount: 432, fspick: 433, pidfd_open: 434, pidfd_getfd: 438, pidfd_send_signal: 424, faccessat: 269, faccessat2: 439,
    close_range: 436, rseq: 334, landlock_create_ruleset: 444, landlock_add_rule: 445, landlock_restrict_self: 446, process_madvise: 440,
    kexec_load: 246, kexec_file_load: 320, iopl: 172, ioperm: 173, modify_ldt: 154, pivot_root: 155, acct: 163, quotactl: 179, name_to_handle_at: 303,
    open_by_handle_at: 304, fanotify_init: 300, mount_setattr: 442, futex_waitv: 449, io_setup: 206, io_submit: 209, vmsplice: 278, splice: 275,
    tee: 276,
  },
  arm64: {
    read: 63, write: 64, close: 57, fstat: 80, lseek: 62, mmap: 222, mprotect: 226, munmap: 215, brk: 214, rt_sigaction: 134, rt_sigprocmask: 135,
    rt_sigreturn: 139, ioctl: 29, pread64: 67, pwrite64: 68, readv: 65, writev: 66, pipe2: 59, sched_yield: 124, mremap: 216, msync: 227, mincore: 232,
    madvise: 233, dup: 23, dup3: 24, nanosleep: 101, getpid: 172, sendfile: 71, socket: 198, connect: 203, accept: 202, accept4: 242, sendto: 206,
    recvfrom: 207, sendmsg: 211, recvmsg: 212, sendmmsg: 269, recvmmsg: 243, shutdown: 210, bind: 200, listen: 201, getsockname: 204, getpeername: 205,
    socketpair: 199, setsockopt: 208, getsockopt: 209, clone: 220, clone3: 435, execve: 221, execveat: 281, exit: 93, wait4: 260, waitid: 95,
    kill: 129, tkill: 130, tgkill: 131, uname: 160, fcntl: 25, flock: 32, fsync: 82, ftruncate: 46, truncate: 45, getdents64: 61, getcwd: 17,
    chdir: 49, readlinkat: 78, fchmod: 52, umask: 166, gettimeofday: 169, getrlimit: 163, getrusage: 165, sysinfo: 179, times: 153, ptrace: 117,
    getuid: 174, syslog: 116, getgid: 176, setuid: 146, setgid: 144, geteuid: 175, getegid: 177, getppid: 173, setsid: 157, setreuid: 145,
    setregid: 143, getgroups: 158, setgroups: 159, setresuid: 147, setresgid: 149, capget: 90, capset: 91, sigaltstack: 132, personality: 92,
    statfs: 43, fstatfs: 44, sched_setaffinity: 122, sched_getaffinity: 123, sched_getparam: 121, sched_getscheduler: 120, sched_setscheduler: 119,
    sched_get_priority_max: 125, sched_get_priority_min: 126, mlock: 228, munlock: 229, mlockall: 230, munlockall: 231, prctl: 167, setrlimit: 164,
    chroot: 51, mount: 40, umount2: 39, swapon: 224, swapoff: 225, reboot: 142, init_module: 105, delete_module: 106, finit_module: 273, gettid: 178,
    futex: 98, epoll_create1: 20, epoll_ctl: 21, epoll_pwait: 22, epoll_pwait2: 441, set_tid_address: 96, restart_syscall: 128, fadvise64: 223,
    timer_create: 107, clock_gettime: 113, clock_getres: 114, clock_nanosleep: 115, exit_group: 94, mbind: 235, set_mempolicy: 237, get_mempolicy: 236,
    keyctl: 219, add_key: 217, request_key: 218, openat: 56, openat2: 437, newfstatat: 79, statx: 291, ppoll: 73, pselect6: 72, set_robust_list: 99,
    get_robust_list: 100, unshare: 97, setns: 268, eventfd2: 19, timerfd_create: 85, signalfd4: 74, inotify_init1: 26, perf_event_open: 241,
    prlimit64: 261, getcpu: 168, process_vm_readv: 270, process_vm_writev: 271, kcmp: 272, bpf: 280, seccomp: 277, getrandom: 278, memfd_create: 279,
    memfd_secret: 447, userfaultfd: 282, membarrier: 283, mlock2: 284, copy_file_range: 285, preadv2: 286, pwritev2: 287, pkey_mprotect: 288,
    pkey_alloc: 289, pkey_free: 290, io_uring_setup: 425, io_uring_enter: 426, io_uring_register: 427, open_tree: 428, move_mount: 429, fsopen: 430,
    fsconfig: 431, fsmount: 432, fspick: 433, pidfd_open: 434, pidfd_getfd: 438, pidfd_send_signal: 424, faccessat: 48, faccessat2: 439,
    close_range: 436, rseq: 293, landlock_create_ruleset: 444, landlock_add_rule: 445, landlock_restrict_self: 446, process_madvise: 440,
    kexec_load: 104, kexec_file_load: 294, pivot_root: 41, acct: 89, quotactl: 60, name_to_handle_at: 264, open_by_handle_at: 265, fanotify_init: 262,
    mount_setattr: 442, futex_waitv: 449, io_setup: 0, io_submit: 2, vmsplice: 75, splice: 76, tee: 77,
  },
};
