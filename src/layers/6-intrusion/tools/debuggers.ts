/**
 * Debuggers, disassemblers that can debug, and tracers, with the names under which they run.
 *
 * Source: process lists recorded while the tools ran, kept in test/vectors/proc
 * Proof:  test/unit/layers/6-known-tools.test.ts
 * @module
 */
import type { Tool } from './tool.ts';

export const debuggers: readonly Tool[] = [
  {
    id: 'gdb',
    title: 'GDB',
    kind: 'debugger',
    names: ['gdb', 'gdbserver', 'gdb-multiarch', 'gdb-minimal', 'gdbtui', 'cgdb', 'pwndbg', 'gdb-oneapi'],
  },
  {
    id: 'lldb',
    title: 'LLDB',
    kind: 'debugger',
    names: ['lldb', 'lldb-server', 'lldb-mi', 'lldb-vscode', 'lldb-dap', 'debugserver'],
  },
  { id: 'rr', title: 'rr', kind: 'debugger', names: ['rr'] },
  { id: 'edb', title: 'edb', kind: 'debugger', names: ['edb', 'edb-debugger'] },
  {
    id: 'x64dbg',
    title: 'x64dbg',
    kind: 'debugger',
    names: ['x64dbg', 'x32dbg', 'x96dbg', 'x64dbg-unsigned'],
    windows: true,
  },
  {
    id: 'windbg',
    title: 'WinDbg',
    kind: 'debugger',
    names: ['windbg', 'windbgx', 'cdb', 'ntsd', 'kd', 'dbgx.shell', 'dbgsrv', 'enghost'],
    windows: true,
  },
  { id: 'ollydbg', title: 'OllyDbg', kind: 'debugger', names: ['ollydbg', 'immunitydebugger'], windows: true },
  {
    id: 'ghidra',
    title: 'Ghidra',
    kind: 'debugger',
    names: ['ghidra', 'ghidrarun', 'pyghidrarun', 'analyzeheadless'],
    scripts: ['pyghidra', 'pyghidra_launcher'],
    classes: ['ghidra.'],
  },
  {
    id: 'ida',
    title: 'IDA',
    kind: 'debugger',
    names: [
      'ida',
      'ida32',
      'ida64',
      'idat',
      'idat32',
      'idat64',
      'idaq',
      'idaq64',
      'idal',
      'idal64',
      'idaw',
      'idaw64',
      'linux_server',
      'linux_server64',
      'win64_remote64',
      'dbgsrv_linux',
    ],
  },
  { id: 'binaryninja', title: 'Binary Ninja', kind: 'debugger', names: ['binaryninja'] },
  { id: 'radare2', title: 'radare2', kind: 'debugger', names: ['radare2', 'r2', 'r2agent', 'r2r', 'iaito'] },
  { id: 'rizin', title: 'Rizin', kind: 'debugger', names: ['rizin', 'rz-gdb', 'cutter-re'], starts: ['cutter-v'] },
  { id: 'delve', title: 'Delve', kind: 'debugger', names: ['dlv'] },
];

export const tracers: readonly Tool[] = [
  { id: 'strace', title: 'strace', kind: 'tracer', names: ['strace', 'strace64', 'strace-log-merge'] },
  { id: 'ltrace', title: 'ltrace', kind: 'tracer', names: ['ltrace', 'uftrace', 'latrace'] },
  { id: 'perf', title: 'perf', kind: 'tracer', names: ['perf', 'trace-cmd', 'kernelshark'] },
  {
    id: 'bpftrace',
    title: 'bpftrace or BCC',
    kind: 'tracer',
    names: ['bpftrace', 'bpftool', 'opensnoop-bpfcc', 'execsnoop-bpfcc', 'trace-bpfcc', 'sslsniff-bpfcc'],
    scripts: [
      'trace-bpfcc',
      'argdist-bpfcc',
      'sslsniff-bpfcc',
      'opensnoop-bpfcc',
      'funccount-bpfcc',
      'tcpdump-bpfcc',
      'ttysnoop-bpfcc',
      'bashreadline-bpfcc',
    ],
  },
  { id: 'systemtap', title: 'SystemTap', kind: 'tracer', names: ['stap', 'stapio', 'staprun'] },
  { id: 'sysdig', title: 'sysdig', kind: 'tracer', names: ['sysdig', 'csysdig'] },
  {
    id: 'frida',
    title: 'Frida',
    kind: 'tracer',
    names: [
      'frida',
      'frida-server',
      'frida-trace',
      'frida-inject',
      'frida-portal',
      'frida-discover',
      'frida-helper',
      'frida-helper-64',
      'frida-helper-32',
      'objection',
    ],
    starts: ['frida-server-', 'frida-inject-'],
    scripts: ['frida', 'frida-trace', 'frida-discover', 'frida-ps', 'frida_tools', 'objection'],
  },
];
