/**
 * System calls that no role may make. Some kill the role at any time, some only once it has started, and some return an
 * error.
 * @module
 */
import type { AnsweredRow, Row } from './role-policy.ts';

/** From the moment a role starts, any of these calls kills it with SIGSYS, which the supervisor treats as a breach. */
export const forbidden = [
  ['socket', 'no role creates sockets; it inherits them'],
  ['socketpair', 'channels are inherited'],
  ['connect', 'no role opens a connection'],
  ['bind', 'the listening socket is inherited'],
  ['listen', 'the listening socket is inherited and already listens'],
  ['accept', 'the gateway uses accept4; no other role accepts connections'],
  ['sendmmsg', 'sends datagrams without a connection'],
  ['ptrace', 'debugs other processes'],
  ['process_vm_readv', 'reads the memory of other processes'],
  ['process_vm_writev', 'writes the memory of other processes'],
  ['pidfd_open', 'a handle on another process'],
  ['pidfd_getfd', 'takes descriptors from another process'],
  ['pidfd_send_signal', 'signals other processes'],
  ['kcmp', 'compares processes'],
  ['bpf', 'loads code into the kernel'],
  ['perf_event_open', 'observes other processes'],
  ['userfaultfd', 'widens race windows for kernel exploits'],
  ['io_uring_enter', 'bypasses this filter'],
  ['io_uring_register', 'bypasses this filter'],
  ['io_setup', 'legacy asynchronous I/O; not needed'],
  ['io_submit', 'legacy asynchronous I/O; not needed'],
  ['mount', 'changes file systems'],
  ['umount2', 'changes file systems'],
  ['pivot_root', 'changes file systems'],
  ['chroot', 'changes file systems'],
  ['open_tree', 'changes file systems'],
  ['move_mount', 'changes file systems'],
  ['fsopen', 'changes file systems'],
  ['fsmount', 'changes file systems'],
  ['mount_setattr', 'changes file systems'],
  ['name_to_handle_at', 'opening by handle bypasses path checks'],
  ['open_by_handle_at', 'opening by handle bypasses path checks'],
  ['unshare', 'a new user namespace restores capabilities'],
  ['setns', 'another namespace may have a network'],
  ['init_module', 'loads a kernel module'],
  ['finit_module', 'loads a kernel module'],
  ['delete_module', 'removes a kernel module'],
  ['kexec_load', 'loads another kernel'],
  ['kexec_file_load', 'loads another kernel'],
  ['keyctl', 'kernel keys outlive the process'],
  ['add_key', 'kernel keys outlive the process'],
  ['request_key', 'starts a helper program'],
  ['fanotify_init', 'observes file access'],
  ['swapon', 'changes swap'],
  ['swapoff', 'changes swap'],
  ['reboot', 'restarts the machine'],
  ['iopl', 'accesses hardware'],
  ['ioperm', 'accesses hardware'],
  ['fork', 'no role has children'],
  ['vfork', 'no role has children'],
] as const satisfies readonly Row[];

/** Calls for which the final filter kills a role. Before that filter is installed, the role needs them to start. */
export const forbiddenAfterStart = [
  ['execve', 'no role executes another program'],
  ['execveat', 'no role executes another program'],
  ['memfd_create', 'a file to execute from'],
  ['seccomp', "a role's own filter could pass calls to a listener; the final filter must be the last"],
] as const satisfies readonly Row[];

const ENOSYS = 38;

/** Calls that Node and libc try whenever they start, and for which they have a fallback. */
export const answered = [
  ['io_uring_setup', ENOSYS, 'a ring bypasses this filter'],
  ['clone3', ENOSYS, 'a filter cannot read its flags, which are behind a pointer; libc falls back to clone'],
] as const satisfies readonly AnsweredRow[];
