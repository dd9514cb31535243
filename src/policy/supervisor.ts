/**
 * What the supervisor and everything that it starts may not do, once the server runs: speak, look into others, change the
 * system. It is no role: it writes the state folder, starts and ends children, and its files are not confined.
 * @module
 */
import type { Row } from './policy.ts';

/** Refused with EPERM for good; the roles' own filters kill for the same calls. */
export const refusedToSupervisor = [
  ['connect', 'the supervisor speaks to its children alone, over pairs that it made'],
  ['bind', 'the listeners are bound by then'],
  ['sendto', 'a message to an address needs no connection'],
  ['sendmsg', 'a message to an address needs no connection; descriptors travel by inheritance'],
  ['sendmmsg', 'a message to an address needs no connection'],
  ['ptrace', 'looking into other processes'],
  ['process_vm_readv', 'reading other processes'],
  ['process_vm_writev', 'writing other processes'],
  ['pidfd_getfd', 'taking descriptors of another process'],
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
] as const satisfies readonly Row[];
